from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from aws_cdk.assertions import Template

from tests.stacks.text import mime_parts, render


def _launch_template(template: Template) -> dict[str, Any]:
    (entry,) = template.find_resources("AWS::EC2::LaunchTemplate").values()
    return dict(entry["Properties"])


def _user_data(template: Template) -> str:
    return render(_launch_template(template)["LaunchTemplateData"]["UserData"])


def test_hosts_have_encrypted_disks_and_only_the_second_metadata_version(
    templates: Mapping[str, Template],
) -> None:
    data = _launch_template(templates["compute"])["LaunchTemplateData"]
    assert data["MetadataOptions"] == {
        "HttpEndpoint": "enabled",
        "HttpPutResponseHopLimit": 1,
        "HttpTokens": "required",
    }
    disks = data["BlockDeviceMappings"]
    assert [d["DeviceName"] for d in disks] == ["/dev/xvda", "/dev/xvdb"]
    assert all(d["Ebs"]["Encrypted"] and d["Ebs"]["DeleteOnTermination"] for d in disks)


def test_a_changed_launch_template_reaches_hosts(templates: Mapping[str, Template]) -> None:
    environments = templates["compute"].find_resources("AWS::Batch::ComputeEnvironment")
    assert len(environments) == 2
    for entry in environments.values():
        template = entry["Properties"]["ComputeResources"]["LaunchTemplate"]
        name = template["LaunchTemplateId"]["Ref"]
        assert template["Version"] == {"Fn::GetAtt": [name, "LatestVersionNumber"]}
        # In place, which needs the service-linked role and a strategy that allows it.
        assert entry["Properties"]["ReplaceComputeEnvironment"] is False
        assert "ServiceRole" not in entry["Properties"]
        assert entry["Properties"]["UpdatePolicy"]["TerminateJobsOnUpdate"] is False


def test_pools_are_spot_and_on_demand_and_shrink_to_nothing(
    templates: Mapping[str, Template],
) -> None:
    environments = templates["compute"].find_resources("AWS::Batch::ComputeEnvironment")
    compute = [e["Properties"]["ComputeResources"] for e in environments.values()]
    assert {(c["Type"], c["AllocationStrategy"], c["MaxvCpus"]) for c in compute} == {
        ("SPOT", "SPOT_PRICE_CAPACITY_OPTIMIZED", 256),
        ("EC2", "BEST_FIT_PROGRESSIVE", 64),
    }
    for one in compute:
        assert one["MinvCpus"] == 0
        assert one["InstanceTypes"] == ["c6i", "m6i", "r6i", "c6a", "m6a", "r6a"]
        assert one["Ec2Configuration"] == [{"ImageType": "ECS_AL2023"}]


def test_queues_have_stable_names_and_drop_what_can_never_run(
    templates: Mapping[str, Template],
) -> None:
    queues = templates["compute"].find_resources("AWS::Batch::JobQueue").values()
    assert {q["Properties"]["JobQueueName"] for q in queues} == {"dev-spot", "dev-on-demand"}
    for queue in queues:
        actions = queue["Properties"]["JobStateTimeLimitActions"]
        assert {a["Reason"] for a in actions} == {
            "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE",
            "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
        }


def test_a_pool_of_no_vcpus_is_not_built(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    compute = synthesise(**{"set.compute.on_demand_max_vcpus": "0"})["compute"]
    compute.resource_count_is("AWS::Batch::ComputeEnvironment", 1)
    compute.has_resource_properties("AWS::Batch::JobQueue", {"JobQueueName": "dev-spot"})


def test_job_logs_do_not_stay_for_ever(templates: Mapping[str, Template]) -> None:
    templates["compute"].has_resource_properties(
        "AWS::Logs::LogGroup", {"LogGroupName": "/orchestrator/dev/jobs", "RetentionInDays": 30}
    )


def test_hosts_start_only_after_they_may_read_their_tools(
    bodies: Mapping[str, dict[str, Any]],
) -> None:
    resources = bodies["compute"]["Resources"]
    (policy,) = [n for n, r in resources.items() if r["Type"] == "AWS::IAM::Policy"]
    for entry in resources.values():
        if entry["Type"] == "AWS::Batch::ComputeEnvironment":
            assert policy in entry["DependsOn"]


def test_user_data_is_mime_with_the_disk_before_docker_and_the_tools_after(
    templates: Mapping[str, Template],
) -> None:
    """Batch makes an environment INVALID whose template has user data of another kind."""
    user_data = _user_data(templates["compute"])
    assert len(user_data.encode()) < 12_000  # EC2's limit is 16 KiB, and Batch adds a part
    (first, disk), (second, tools) = mime_parts(user_data)
    assert (first, second) == ("text/cloud-boothook", "text/x-shellscript")
    assert "mkfs.xfs" in disk
    assert "SCRATCH_PATH=/mnt/scratch\n" in disk
    assert "TOOLS_PATH=/opt/orchestrator/tools\n" in tools


def test_user_data_is_clean_bash(
    templates: Mapping[str, Template], synthesise: Callable[..., Mapping[str, Template]]
) -> None:
    odd = synthesise(
        **{"set.worker.tools_path": "/srv/with space/tools", "set.worker.scratch_path": "/mnt/(x)"}
    )
    for template in (templates["compute"], odd["compute"]):
        for _, script in mime_parts(_user_data(template)):
            assert script.startswith("#!/bin/bash\n")
            checked = subprocess.run(
                ["bash", "-n"], input=script, text=True, capture_output=True, check=False
            )
            assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize(
    ("types", "architecture"), [('["m7g"]', "arm64"), ('["m6i.xlarge", "c6a"]', "x86_64")]
)
def test_the_architecture_follows_from_the_instance_types(
    synthesise: Callable[..., Mapping[str, Template]], types: str, architecture: str
) -> None:
    made = synthesise(**{"set.compute.instance_types": types})
    (contract,) = made["host"].find_resources("AWS::SSM::Parameter").values()
    assert f'"architecture":"{architecture}"' in render(contract["Properties"]["Value"])
