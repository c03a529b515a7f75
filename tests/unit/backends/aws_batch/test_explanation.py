"""Why a job stands where it stands: each answer of AWS Batch, in words and with a next step."""

from __future__ import annotations

from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from orchestrator import errors
from orchestrator.backends.aws_batch import explanation
from orchestrator.backends.base import Explanation

from .test_backend import ARN, DEPLOYMENT

NOW = 1_800_000_000.0


class Batch:
    """One job on the queue `spot` of the contract, and what surrounds it."""

    def __init__(self, **job: Any) -> None:
        self.job: dict[str, Any] = {
            "jobId": "id:3",
            "jobArn": "arn:aws:batch:us-east-1:123456789012:job/id:3",
            "jobQueue": f"{ARN}/spot",
            "status": "RUNNABLE",
            "createdAt": int((NOW - 840) * 1000),
            "container": {
                "resourceRequirements": [
                    {"type": "VCPU", "value": "4"},
                    {"type": "MEMORY", "value": "8192"},
                ]
            },
        } | job
        self.queue: dict[str, Any] = {
            "jobQueueName": "spot",
            "state": "ENABLED",
            "status": "VALID",
            "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "ce-1"}],
        }
        self.environments: list[dict[str, Any]] = [
            {
                "computeEnvironmentName": "ce-1",
                "state": "ENABLED",
                "status": "VALID",
                "computeResources": {"maxvCpus": 256},
            }
        ]
        self.front: list[str] = []
        self.used = 250.0
        self.snapshots = True

    def describe_jobs(self, jobs: list[str]) -> Any:
        assert jobs == ["id:3"]
        return {"jobs": [self.job] if self.job else []}

    def describe_job_queues(self, jobQueues: list[str]) -> Any:
        assert jobQueues == [f"{ARN}/spot"] or jobQueues == [self.job["jobQueue"]]
        return {"jobQueues": [self.queue] if self.queue else []}

    def describe_compute_environments(self, computeEnvironments: list[str]) -> Any:
        assert computeEnvironments == ["ce-1"]
        return {"computeEnvironments": self.environments}

    def get_job_queue_snapshot(self, jobQueue: str) -> Any:
        if not self.snapshots:
            answer: Any = {"Error": {"Code": "AccessDeniedException", "Message": "no"}}
            raise ClientError(answer, "GetJobQueueSnapshot")
        return {
            "frontOfQueue": {"jobs": [{"jobArn": arn} for arn in self.front]},
            "queueUtilization": {
                "totalCapacityUsage": [{"capacityUnit": "VCPU", "quantity": self.used}]
            },
        }


def explain(batch: Batch) -> Explanation:
    return explanation.explain(cast(Any, batch), DEPLOYMENT, "id:3", NOW)


def needs(vcpus: int, memory_mib: int, gpus: int = 0) -> dict[str, Any]:
    found = [
        {"type": "VCPU", "value": str(vcpus)},
        {"type": "MEMORY", "value": str(memory_mib)},
        {"type": "GPU", "value": str(gpus)},
    ]
    return {"resourceRequirements": found}


def test_a_job_that_waits_for_room_tells_how_long_for_what_and_who_comes_first() -> None:
    batch = Batch()
    job = "arn:aws:batch:us-east-1:123456789012:job"
    batch.front = [f"{job}/other", f"{job}/another:1", f"{job}/id"]
    said = explain(batch)
    assert said.state == "RUNNABLE"
    assert "14 min" in said.cause
    assert "4 vCPUs, 8192 MiB" in said.cause
    assert "may use 256 vCPUs at the same time, 250 are in use" in said.cause
    assert "2 jobs of the queue come first" in said.cause
    assert said.next_step
    batch.front = [f"{job}/id:3"]
    assert "it is the next one" in explain(batch).cause
    batch.front = [f"{job}/{number}" for number in range(100)]
    assert "at least 100 jobs" in explain(batch).cause


def test_without_the_right_to_a_snapshot_the_rest_is_told() -> None:
    batch = Batch()
    batch.snapshots = False
    assert "may use 256 vCPUs at the same time" in explain(batch).cause


@pytest.mark.parametrize(
    ("said", "meaning", "step"),
    [
        (
            "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill the capacity "
            "requested for instance type [m5.large]",
            "AWS has no host",
            "queueArn of big asks for on-demand hosts",
        ),
        (
            "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - CE(s) associated with the job "
            "queue cannot meet the CPU requirement of the job.",
            "may not become as large",
            "most vCPUs",
        ),
        (
            "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement "
            "(vCPU/memory/GPU) is higher than that can be met by the CE(s) attached to the job "
            "queue.",
            "the largest job of queue spot has 16 vCPUs, 60000 MiB, 0 GPUs",
            "it would fit big",
        ),
        (
            "MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS - Batch service role has a permission "
            "issue.",
            "may not start hosts",
            "service role",
        ),
        (
            "ACTION_REQUIRED - CE(s) associated with the job queue are invalid.",
            "invalid",
            "deploy the stacks",
        ),
        (
            "UNDETERMINED - Batch job is blocked, root cause is undetermined.",
            "does not know why",
            "subnets",
        ),
        ("SOMETHING_NEW - never seen.", "SOMETHING_NEW - never seen.", "guide"),
    ],
)
def test_what_batch_says_is_translated_and_kept(said: str, meaning: str, step: str) -> None:
    answer = explain(Batch(statusReason=said, container=needs(32, 65_536)))
    assert meaning in answer.cause
    assert said in answer.cause
    assert step in answer.next_step


def test_a_job_too_large_for_its_queue_is_told_where_it_would_fit() -> None:
    answer = explain(Batch(container=needs(32, 1024)))
    assert "can never be placed" in answer.cause
    assert "32 vCPUs" in answer.cause
    assert "it would fit big" in answer.next_step
    nowhere = explain(Batch(container=needs(1, 1024, gpus=9)))
    assert nowhere.next_step == "abort it and ask for less"


def test_a_queue_that_is_closed_or_gone_is_named() -> None:
    batch = Batch()
    batch.queue |= {"state": "DISABLED"}
    assert "queue spot is DISABLED, VALID" in explain(batch).cause
    batch.queue = {}
    assert f"{ARN}/spot is gone" in explain(batch).cause


def test_a_compute_environment_that_is_not_well_is_named_with_its_reason() -> None:
    batch = Batch()
    batch.environments[0] |= {"status": "INVALID", "statusReason": "CLIENT_ERROR - role gone"}
    answer = explain(batch)
    assert "compute environment ce-1 is ENABLED, INVALID: CLIENT_ERROR - role gone" in answer.cause
    assert "repair" in answer.next_step
    batch.job["statusReason"] = "ACTION_REQUIRED - CE(s) are invalid."
    assert "CLIENT_ERROR - role gone" in explain(batch).cause
    del batch.job["statusReason"]
    sound = {"computeEnvironmentName": "ce-2", "computeResources": {"maxvCpus": 8}}
    batch.environments.append(sound)
    waiting = explain(batch)
    assert "waits for room" in waiting.cause
    assert "role gone" in waiting.cause


def test_a_queue_that_the_contract_does_not_know_is_explained_all_the_same() -> None:
    answer = explain(Batch(jobQueue=f"{ARN}/elsewhere", container=needs(500, 1)))
    assert "waits for room" in answer.cause


def test_other_states_and_what_is_not_known() -> None:
    failed = Batch(status="FAILED", statusReason="Host EC2 terminated", container={"reason": "x"})
    assert explain(failed).cause == "Host EC2 terminated; x"
    assert explain(Batch(status="RUNNING")).state == "RUNNING"
    gone = Batch()
    gone.job = {}
    assert "does not know" in explain(gone).cause
    none = explanation.explain(cast(Any, gone), DEPLOYMENT, None, NOW)
    assert none.state == "Unknown"


def test_what_may_not_be_asked_is_an_error() -> None:
    class Closed(Batch):
        def describe_jobs(self, jobs: list[str]) -> Any:
            answer: Any = {"Error": {"Code": "AccessDeniedException", "Message": "no"}}
            raise ClientError(answer, "DescribeJobs")

    with pytest.raises(errors.NotAllowed):
        explain(Closed())
