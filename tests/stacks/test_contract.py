from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import pytest
from aws_cdk.assertions import Template

from orchestrator import deployment
from tests.stacks.text import render


def _contract(template: Template, environment: str) -> deployment.Deployment:
    (entry,) = template.find_resources("AWS::SSM::Parameter").values()
    assert entry["Properties"]["Name"] == deployment.parameter_name(environment)
    text = render(entry["Properties"]["Value"])
    # The port is a number, and the cluster's own.
    text, found = re.subn(r'"port":<[^>]*EndpointPort[^>]*>', '"port":5432', text)
    assert found == 1
    assert len(text) < 4000  # the free tier of parameters holds 4,096 characters
    return deployment.parse(text, environment)


def test_the_parameter_is_the_contract_as_the_orchestrator_reads_it(
    templates: Mapping[str, Template],
) -> None:
    contract = _contract(templates["contract"], "dev")
    assert contract.version == deployment.VERSION
    assert (contract.account, contract.region) == ("111122223333", "us-east-1")
    assert contract.root == f"s3://{contract.bucket}/workflows"
    assert contract.scratch_root == f"s3://{contract.bucket}/scratch"
    assert contract.default_queue_arn == contract.queues[0].arn
    assert contract.log_group == "/orchestrator/dev/jobs"
    assert contract.database.port == 5432
    assert "MasterUserSecret" in contract.database.secret_arn


def test_the_contract_names_the_queues_that_the_compute_stack_makes(
    templates: Mapping[str, Template],
) -> None:
    contract = _contract(templates["contract"], "dev")
    made = templates["compute"].find_resources("AWS::Batch::JobQueue").values()
    assert {q.name for q in contract.queues} == {q["Properties"]["JobQueueName"] for q in made}
    for queue in contract.queues:
        assert queue.arn == f"arn:aws:batch:us-east-1:111122223333:job-queue/{queue.name}"
        assert queue.name.endswith(queue.kind)


def test_the_log_group_and_the_paths_are_those_of_the_hosts(
    templates: Mapping[str, Template],
) -> None:
    contract = _contract(templates["contract"], "dev")
    templates["compute"].has_resource_properties(
        "AWS::Logs::LogGroup", {"LogGroupName": contract.log_group}
    )
    (entry,) = templates["compute"].find_resources("AWS::EC2::LaunchTemplate").values()
    user_data = render(entry["Properties"]["LaunchTemplateData"]["UserData"])
    assert f"TOOLS_PATH={contract.tools_path}\n" in user_data
    assert f"SCRATCH_PATH={contract.scratch_path}\n" in user_data


@pytest.mark.parametrize(
    ("types", "limit", "vcpus", "memory_mib"),
    [
        ('["m6i.4xlarge"]', 256, 16, 62_003),
        ('["m6i.4xlarge"]', 8, 8, 62_003),
        ('["c6i.large", "r6i.xlarge"]', 256, 4, 30_873),
    ],
)
def test_the_largest_job_follows_from_the_instance_types_and_the_limit(
    synthesise: Callable[..., Mapping[str, Template]],
    types: str,
    limit: int,
    vcpus: int,
    memory_mib: int,
) -> None:
    made = synthesise(
        **{"set.compute.instance_types": types, "set.compute.spot_max_vcpus": str(limit)}
    )
    spot = _contract(made["contract"], "dev").queues[0]
    assert (spot.max_vcpus, spot.max_memory_mib) == (vcpus, memory_mib)
