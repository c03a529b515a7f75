from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import pytest
from aws_cdk.assertions import Template

from orchestrator import deployment, errors
from tests.stacks.test_matrix import EVERYTHING
from tests.stacks.text import render


def _contract(template: Template, environment: str) -> deployment.Deployment:
    (entry,) = template.find_resources("AWS::SSM::Parameter").values()
    assert entry["Properties"]["Name"] == deployment.parameter_name(environment)
    text = render(entry["Properties"]["Value"])
    # The port is a number, and the cluster's own.
    text, found = re.subn(r'"port":<[^>]*EndpointPort[^>]*>', '"port":5432', text)
    assert found == 1
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


def test_the_contract_says_all_of_an_environment_that_has_everything(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    contract = _contract(synthesise(**EVERYTHING)["contract"], "dev")
    assert contract.release == deployment.release()
    queues = {q.name: q for q in contract.queues}
    assert set(queues) == {
        "dev-spot",
        "dev-on-demand",
        "dev-priority",
        "dev-spot-arm64",
        "dev-on-demand-gpu",
    }
    assert queues["dev-spot-arm64"].architecture == "arm64"
    gpu = queues["dev-on-demand-gpu"]
    assert (gpu.max_gpus, gpu.max_vcpus, gpu.max_memory_mib) == (1, 4, 15_308)
    assert {q.max_disk_gib for q in contract.queues} == {2000}
    assert queues["dev-spot"].max_gpus == 0
    registries = contract.registries
    assert not registries.internet
    ecr = "111122223333.dkr.ecr.us-east-1.amazonaws.com"
    assert registries.rewrites == {"docker.io": f"{ecr}/docker-hub"}
    assert registries.docker_hub is None  # by a secret of the settings' own
    assert contract.job_role_arns == (
        contract.job_role_arn,
        "arn:aws:iam::111122223333:role/special",
    )
    assert contract.fuse_mount
    assert contract.host_log_group == "/orchestrator/dev/host"
    assert contract.worker_log_group == "/orchestrator/dev/workers"
    url = "https://sqs.us-east-1.amazonaws.com/111122223333/dev-batch-events"
    assert contract.event_queue_url == url
    database = contract.database
    assert (database.login, database.user) == ("iam", "orchestrator")
    assert database.cluster_arn is not None
    assert "cluster" in database.cluster_arn


@pytest.mark.parametrize(
    ("way", "secret"),
    [
        ("job_secret", "orchestrator/dev/docker-hub"),
        ("host_login", "orchestrator/dev/docker-hub"),
        ("pull_through", "ecr-pullthroughcache/dev-hub"),
    ],
)
def test_the_contract_says_how_the_login_to_docker_hub_is_used(
    synthesise: Callable[..., Mapping[str, Template]], way: str, secret: str
) -> None:
    made = synthesise(**{"set.registries.docker_hub": way})
    registries = _contract(made["contract"], "dev").registries
    assert registries.docker_hub is not None
    assert (registries.docker_hub.way, registries.docker_hub.secret) == (way, secret)
    assert registries.secrets == {}
    ecr = "111122223333.dkr.ecr.us-east-1.amazonaws.com"
    assert registries.rewrites == ({"docker.io": f"{ecr}/dev-hub"} if way == "pull_through" else {})


@pytest.mark.parametrize("version", [1, deployment.VERSION + 1])
def test_a_contract_of_another_version_is_refused_with_what_to_do(
    templates: Mapping[str, Template], version: int
) -> None:
    contract = _contract(templates["contract"], "dev")
    text = contract.model_copy(update={"version": version}).model_dump_json()
    with pytest.raises(errors.DeploymentUnsupported, match=f"version {version}") as raised:
        deployment.parse(text, "dev")
    assert "deploy with the stacks of this release" in raised.value.hint


def test_a_long_contract_still_fits_its_parameter(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    for context in ({"environment": "prod"}, EVERYTHING):
        (entry,) = synthesise(**context)["contract"].find_resources("AWS::SSM::Parameter").values()
        assert entry["Properties"]["Tier"] == "Intelligent-Tiering"  # free up to 4,096 characters
        assert len(render(entry["Properties"]["Value"])) < 8192
