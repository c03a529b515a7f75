"""A Batch engine in this process, on `mock_aws()`, with queues to submit to."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.batch.models import BatchBackend, ComputeEnvironment, batch_backends

from orchestrator.local_aws import batch

REGION = "us-east-1"
ACCOUNT = "123456789012"
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


@functools.cache
def client(service: str) -> Any:
    """Clients are costly to make; moto answers for all that are made after its import."""
    return boto3.client(
        service, REGION, aws_access_key_id="testing", aws_secret_access_key="testing"
    )


@dataclass
class Cloud:
    """The clients, an engine, and what tests say often."""

    engine: batch.Installation
    _count: int = 0

    @property
    def batch(self) -> Any:
        return client("batch")

    @property
    def logs(self) -> Any:
        return client("logs")

    @property
    def backend(self) -> BatchBackend:
        return batch_backends[ACCOUNT][REGION]

    def name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}-{self._count}"

    def environment(self, max_vcpus: int = 256, instance_types: tuple[str, ...] = ("m5",)) -> str:
        """Put in directly: moto would ask for roles, networks and instance profiles first."""
        environment: Any = ComputeEnvironment(  # type: ignore[abstract]
            self.name("environment"),
            "MANAGED",
            "ENABLED",
            {"type": "EC2", "maxvCpus": max_vcpus, "instanceTypes": list(instance_types)},
            "role",
            ACCOUNT,
            REGION,
        )
        self.backend._compute_environments[environment.arn] = environment
        return str(environment.name)

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
