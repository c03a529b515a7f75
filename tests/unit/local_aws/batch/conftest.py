"""A Batch engine in this process, on `mock_aws()`, with queues to submit to."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from orchestrator.local_aws import batch

REGION = "us-east-1"
DEADLINE_SECONDS = 60.0


def until(condition: Callable[[], Any], what: str, seconds: float = DEADLINE_SECONDS) -> Any:
    """Poll until `condition` gives something true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        result = condition()
        if result:
            return result
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s: {what}")


@dataclass
class Cloud:
    """The clients, an engine, and what tests say often."""

    engine: batch.Installation
    batch: Any = field(init=False)
    logs: Any = field(init=False)
    _count: int = 0

    def __post_init__(self) -> None:
        self.batch = boto3.client("batch", REGION)
        self.logs = boto3.client("logs", REGION)
        iam, ec2 = boto3.client("iam", REGION), boto3.client("ec2", REGION)
        self.role = iam.create_role(RoleName="service", AssumeRolePolicyDocument="{}")["Role"][
            "Arn"
        ]
        iam.create_role(RoleName="instance", AssumeRolePolicyDocument="{}")
        iam.create_instance_profile(InstanceProfileName="instance")
        iam.add_role_to_instance_profile(InstanceProfileName="instance", RoleName="instance")
        network = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.subnet = ec2.create_subnet(VpcId=network, CidrBlock="10.0.0.0/24")["Subnet"][
            "SubnetId"
        ]
        self.group = ec2.create_security_group(GroupName="jobs", Description="jobs", VpcId=network)[
            "GroupId"
        ]

    def name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}-{self._count}"

    def environment(self, max_vcpus: int = 256, instance_types: tuple[str, ...] = ("m5",)) -> str:
        name = self.name("environment")
        self.batch.create_compute_environment(
            computeEnvironmentName=name,
            type="MANAGED",
            state="ENABLED",
            serviceRole=self.role,
            computeResources={
                "type": "EC2",
                "minvCpus": 0,
                "desiredvCpus": 0,
                "maxvCpus": max_vcpus,
                "instanceTypes": list(instance_types),
                "instanceRole": "instance",
                "securityGroupIds": [self.group],
                "subnets": [self.subnet],
            },
        )
        return name

    def queue(self, *environments: str, priority: int = 1, **more: Any) -> str:
        name = self.name("queue")
        self.batch.create_job_queue(
            jobQueueName=name,
            state="ENABLED",
            priority=priority,
            computeEnvironmentOrder=[
                {"order": order, "computeEnvironment": environment}
                for order, environment in enumerate(environments or (self.environment(),), start=1)
            ],
            **more,
        )
        return name

    def define(
        self, *command: str, vcpus: int = 1, memory: int = 64, container: Any = None, **more: Any
    ) -> str:
        """A job definition; the answer is its ARN."""
        answer = self.batch.register_job_definition(
            jobDefinitionName=self.name("definition"),
            type="container",
            containerProperties={
                "image": "busybox",
                "command": list(command),
                "resourceRequirements": [
                    {"type": "VCPU", "value": str(vcpus)},
                    {"type": "MEMORY", "value": str(memory)},
                ],
                **(container or {}),
            },
            **more,
        )
        return str(answer["jobDefinitionArn"])

    def submit(self, queue: str, definition: str, name: str = "job", **more: Any) -> str:
        answer = self.batch.submit_job(
            jobName=name, jobQueue=queue, jobDefinition=definition, **more
        )
        return str(answer["jobId"])

    def run(self, script: str, queue: str | None = None, **more: Any) -> dict[str, Any]:
        """Submit a shell script; the answer is the job when it has ended."""
        definition = self.define("/bin/sh", "-c", script)
        return self.finished(self.submit(queue or self.queue(), definition, **more))

    def job(self, job_id: str) -> dict[str, Any]:
        jobs = self.batch.describe_jobs(jobs=[job_id])["jobs"]
        assert jobs, f"no job {job_id}"
        return dict(jobs[0])

    def in_status(self, job_id: str, *statuses: str) -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            job = self.job(job_id)
            return job if job["status"] in statuses else None

        return dict(until(there, f"job {job_id} in {statuses}"))

    def finished(self, job_id: str) -> dict[str, Any]:
        return self.in_status(job_id, "SUCCEEDED", "FAILED")

    def listed(self, **request: Any) -> list[dict[str, Any]]:
        """All pages of ListJobs."""
        rows: list[dict[str, Any]] = []
        while True:
            answer = self.batch.list_jobs(**request)
            rows += answer["jobSummaryList"]
            if "nextToken" not in answer:
                return rows
            request["nextToken"] = answer["nextToken"]

    def output(self, job: dict[str, Any], group: str = "/aws/batch/job") -> list[str]:
        stream = job["container"]["logStreamName"]
        events = self.logs.get_log_events(
            logGroupName=group, logStreamName=stream, startFromHead=True
        )["events"]
        return [event["message"] for event in events]


@pytest.fixture
def make_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Cloud]]:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    with mock_aws():

        def make(runner: str = "process", **settings: Any) -> Cloud:
            settings = {"max_running_jobs": 8, **settings}
            return Cloud(batch.install(runner, tmp_path, "http://127.0.0.1:1", **settings))

        try:
            yield make
        finally:
            batch.shutdown()


@pytest.fixture
def cloud(make_cloud: Callable[..., Cloud]) -> Cloud:
    """Jobs as plain processes."""
    return make_cloud()
