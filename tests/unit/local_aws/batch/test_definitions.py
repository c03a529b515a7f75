"""Job definitions."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from orchestrator.local_aws import batch
from tests.unit.local_aws.batch.conftest import Cloud

RESOURCES = [{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "512"}]
WHOLE: dict[str, Any] = {
    "type": "container",
    "parameters": {"sample": "NA12878", "Mixed_Case": "kept"},
    "schedulingPriority": 7,
    "retryStrategy": {
        "attempts": 3,
        "evaluateOnExit": [{"onStatusReason": "Host EC2*", "action": "retry"}],
    },
    "propagateTags": True,
    "timeout": {"attemptDurationSeconds": 3600},
    "tags": {"team": "blue"},
    "platformCapabilities": ["EC2"],
    "containerProperties": {
        "image": "image:1",
        "command": ["run", "Ref::sample"],
        "jobRoleArn": "arn:aws:iam::123456789012:role/job",
        "executionRoleArn": "arn:aws:iam::123456789012:role/execution",
        "volumes": [{"name": "tools", "host": {"sourcePath": "/opt/tools"}}, {"name": "own"}],
        "environment": [{"name": "A", "value": "1"}],
        "mountPoints": [
            {"sourceVolume": "tools", "containerPath": "/opt/tools", "readOnly": True},
            {"sourceVolume": "own", "containerPath": "/own"},
        ],
        "readonlyRootFilesystem": True,
        "privileged": True,
        "ulimits": [{"name": "nofile", "softLimit": 1024, "hardLimit": 2048}],
        "user": "nobody",
        "resourceRequirements": RESOURCES,
        "linuxParameters": {
            "devices": [{"hostPath": "/dev/fuse", "permissions": ["READ"]}],
            "initProcessEnabled": True,
            "sharedMemorySize": 128,
            "tmpfs": [{"containerPath": "/t", "size": 8, "mountOptions": ["noexec"]}],
            "maxSwap": 64,
            "swappiness": 10,
        },
        "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "/mine"}},
        "secrets": [],
    },
}


def described(cloud: Cloud, **request: Any) -> list[dict[str, Any]]:
    return list(cloud.batch.describe_job_definitions(**request)["jobDefinitions"])


def test_a_definition_is_given_back_whole(cloud: Cloud) -> None:
    answer = cloud.batch.register_job_definition(jobDefinitionName="whole", **WHOLE)
    (definition,) = described(cloud, jobDefinitionName="whole")
    assert definition == {
        **WHOLE,
        "jobDefinitionName": "whole",
        "jobDefinitionArn": answer["jobDefinitionArn"],
        "revision": 1,
        "status": "ACTIVE",
        "containerOrchestrationType": "ECS",
    }


def test_a_job_shows_what_its_definition_says(cloud: Cloud) -> None:
    cloud.batch.register_job_definition(jobDefinitionName="whole", **WHOLE)
    job = cloud.job(cloud.submit(cloud.queue(), "whole"))
    given = WHOLE["containerProperties"]
    for member in set(given) - {"command"}:
        assert job["container"][member] == given[member], member
    assert job["container"]["command"] == ["run", "NA12878"]
    assert job["timeout"] == WHOLE["timeout"]
    assert job["retryStrategy"] == WHOLE["retryStrategy"]
    assert job["propagateTags"] is True


def test_a_new_revision_inherits_nothing(cloud: Cloud) -> None:
    cloud.batch.register_job_definition(jobDefinitionName="d", **WHOLE)
    bare = {"image": "other", "resourceRequirements": RESOURCES}
    answer = cloud.batch.register_job_definition(
        jobDefinitionName="d", type="container", containerProperties=bare
    )
    assert answer["revision"] == 2
    definition = described(cloud, jobDefinitions=["d:2"])[0]
    assert definition["parameters"] == {}
    assert "timeout" not in definition
    assert "retryStrategy" not in definition
    assert definition["containerProperties"]["environment"] == []


def test_the_latest_active_revision_is_meant_by_a_name(cloud: Cloud) -> None:
    queue = cloud.queue()
    arns = []
    for word in ("one", "two", "three"):
        answer = cloud.batch.register_job_definition(
            jobDefinitionName="d",
            type="container",
            containerProperties={
                "image": "i",
                "command": ["echo", word],
                "resourceRequirements": RESOURCES,
            },
        )
        arns.append(answer["jobDefinitionArn"])
    cloud.batch.deregister_job_definition(jobDefinition="d:3")
    base = arns[0].rpartition(":")[0]
    for reference, word in (
        ("d", "two"),
        ("d:1", "one"),
        (base, "two"),
        (arns[0], "one"),
    ):
        job = cloud.finished(cloud.submit(queue, reference))
        assert cloud.output(job) == [word], reference
    for reference in ("d:3", arns[2], "d:4", "unknown", base.replace("123456789012", "1")):
        with pytest.raises(ClientError, match="not found or inactive"):
            cloud.submit(queue, reference)
    assert {one["revision"]: one["status"] for one in described(cloud, jobDefinitionName="d")} == {
        1: "ACTIVE",
        2: "ACTIVE",
        3: "INACTIVE",
    }
    assert [one["revision"] for one in described(cloud, status="INACTIVE")] == [3]


def test_revisions_go_on_after_all_were_deregistered(cloud: Cloud) -> None:
    first = cloud.batch.register_job_definition(jobDefinitionName="d", **WHOLE)
    cloud.batch.deregister_job_definition(jobDefinition=first["jobDefinitionArn"])
    second = cloud.batch.register_job_definition(jobDefinitionName="d", **WHOLE)
    assert second["revision"] == 2


def test_definitions_are_described_in_pages(cloud: Cloud) -> None:
    for _ in range(5):
        cloud.define("true")
    request: dict[str, Any] = {"maxResults": 2}
    seen: list[str] = []
    sizes = []
    while True:
        answer = cloud.batch.describe_job_definitions(**request)
        sizes.append(len(answer["jobDefinitions"]))
        seen += [one["jobDefinitionArn"] for one in answer["jobDefinitions"]]
        if "nextToken" not in answer:
            break
        request["nextToken"] = answer["nextToken"]
    assert sizes == [2, 2, 1]
    assert len(set(seen)) == 5


def test_cloudformation_registers_through_the_same_door(cloud: Cloud) -> None:
    made = batch.register_job_definition(cloud.backend, {"jobDefinitionName": "cfn", **WHOLE})
    (definition,) = described(cloud, jobDefinitions=[made.arn])
    assert definition["timeout"] == WHOLE["timeout"]
    assert definition["parameters"] == WHOLE["parameters"]


def container(**members: Any) -> dict[str, Any]:
    return {
        "type": "container",
        "containerProperties": {"image": "i", "resourceRequirements": RESOURCES, **members},
    }


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        pytest.param({"type": "container"}, "containerProperties must be", id="no container"),
        pytest.param({"type": "multinode"}, "'multinode' is not supported", id="multinode"),
        pytest.param(
            {
                "type": "container",
                "nodeProperties": {"numNodes": 2, "mainNode": 0, "nodeRangeProperties": []},
            },
            "nodeProperties is not supported",
            id="nodes",
        ),
        pytest.param(
            {"type": "container", "eksProperties": {"podProperties": {"hostNetwork": True}}},
            "eksProperties is not supported",
            id="eks",
        ),
        pytest.param(
            {
                "type": "container",
                "ecsProperties": {"taskProperties": [{"containers": [{"image": "i"}]}]},
            },
            "ecsProperties is not supported",
            id="ecs",
        ),
        pytest.param(
            {**container(), "platformCapabilities": ["FARGATE"]},
            "platformCapabilities FARGATE is not supported",
            id="fargate",
        ),
        pytest.param(
            container(networkConfiguration={"assignPublicIp": "ENABLED"}),
            "networkConfiguration is not supported",
            id="network",
        ),
        pytest.param(
            container(secrets=[{"name": "S", "valueFrom": "arn"}]), "secrets is not", id="secrets"
        ),
        pytest.param(
            container(volumes=[{"name": "v", "efsVolumeConfiguration": {"fileSystemId": "f"}}]),
            "efsVolumeConfiguration is not supported",
            id="efs",
        ),
        pytest.param(
            container(logConfiguration={"logDriver": "splunk"}), "'splunk' is not", id="driver"
        ),
        pytest.param(
            container(
                logConfiguration={
                    "logDriver": "awslogs",
                    "options": {"awslogs-datetime-format": "%H"},
                }
            ),
            "awslogs-datetime-format is not supported",
            id="log option",
        ),
        pytest.param(container(image=""), "image must be", id="no image"),
        pytest.param(container(resourceRequirements=[]), "vCPUs", id="no vcpus"),
        pytest.param(
            container(resourceRequirements=[{"type": "VCPU", "value": "1"}]),
            "memory",
            id="no memory",
        ),
        pytest.param(
            container(resourceRequirements=[{"type": "VCPU", "value": "0.5"}]), "0.5", id="fraction"
        ),
        pytest.param(
            container(resourceRequirements=[RESOURCES[0], {"type": "MEMORY", "value": "3"}]),
            "at least 4 MiB",
            id="little memory",
        ),
        pytest.param(
            container(mountPoints=[{"sourceVolume": "v", "containerPath": "/v"}]),
            "unknown volume 'v'",
            id="volume",
        ),
        pytest.param(
            container(environment=[{"name": "AWS_BATCH_JOB_ID", "value": "x"}]),
            "reserved",
            id="reserved name",
        ),
        pytest.param(
            container(command=["x" * (25 << 10)]), "at most 24576 are allowed", id="too large"
        ),
        pytest.param({**container(), "tags": {str(i): "" for i in range(51)}}, "50", id="tags"),
        pytest.param({**container(), "schedulingPriority": 10_000}, "9999", id="priority"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    cloud: Cloud, request_: dict[str, Any], why: str
) -> None:
    with pytest.raises(ClientError, match=why) as caught:
        cloud.batch.register_job_definition(jobDefinitionName="d", **request_)
    assert caught.value.response["Error"]["Code"] == "ClientException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert described(cloud) == []


@pytest.mark.parametrize("name", ["", "-a", "a b", "a" * 129, "a:1"])
def test_names_that_batch_does_not_take_are_refused(cloud: Cloud, name: str) -> None:
    with pytest.raises(ClientError, match="not valid"):
        cloud.batch.register_job_definition(jobDefinitionName=name, **container())
