"""The deployment contract: what the stacks built, as the orchestrator needs to know it.

`stacks/` writes it as JSON into one SSM parameter (`parameter_name`); the orchestrator reads it
there. The two trees meet in this module and nowhere else. A `version` the reader does not know is
refused: old software never guesses at new stacks, nor new software at old ones.

Versions: 1, the first. 2: what a queue's hosts have of GPUs and disk, registries and the login to
Docker Hub, further job roles, the login to the database and when it pauses, the queue of
events.
"""

from __future__ import annotations

import importlib.metadata
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator import errors

VERSION = 2


def release() -> str:
    """The version of this software."""
    return importlib.metadata.version("wdl-batch-orchestrator")


def parameter_name(environment: str) -> str:
    """The SSM parameter that holds the contract of an environment."""
    return f"/orchestrator/{environment}/deployment"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Queue(_Part):
    """A job queue, and the largest job that it can ever place.

    `max_disk_gib` is the data disk of one host, which its jobs and their images share.
    `fair_share`: it has a scheduling policy, so every job names a share.
    """

    name: str
    arn: str
    kind: Literal["spot", "on-demand", "priority"]
    architecture: Literal["x86_64", "arm64"] = "x86_64"
    max_vcpus: int
    max_memory_mib: int
    max_gpus: int = 0
    max_disk_gib: int | None = None
    fair_share: bool = False


class Database(_Part):
    """The workflow database.

    `login` says how the orchestrator connects: `iam` as `user`, with tokens; `secret` with the
    `username` and `password` in the secret, which is the master's. `cluster_arn` and `secret_arn`
    are what the RDS Data API takes: the stack's function makes `user` by it. `pause_seconds`:
    it sleeps when nobody has been connected for so long; absent: it never does.
    """

    host: str
    port: int
    name: str
    secret_arn: str
    login: Literal["iam", "secret"] = "secret"
    user: str = "orchestrator"
    cluster_arn: str | None = None
    pause_seconds: int | None = None


class DockerHub(_Part):
    """How hosts log in to Docker Hub with the login that the orchestrator's configuration has.

    `secret` is the name of the secret that the orchestrator keeps it in. `way`: who reads it. ECR
    (`pull_through`; then `rewrites` has Docker Hub), a job's execution role (`job_secret`), hosts
    as they boot (`host_login`).
    """

    way: Literal["pull_through", "job_secret", "host_login"]
    secret: str


class Registries(_Part):
    """Where images come from.

    `rewrites`: a registry's host and what takes its place in an image's name, a prefix of ECR
    without a slash at its end (`docker.io` -> `1234.dkr.ecr.eu-west-1.amazonaws.com/docker-hub`).
    `secrets`: a registry's host and the secret that the execution role pulls with.
    `docker_hub`: absent where the environment has a login of its own for Docker Hub.
    `internet`: whether hosts can reach registries other than ECR at all.
    """

    rewrites: dict[str, str] = {}
    secrets: dict[str, str] = {}
    docker_hub: DockerHub | None = None
    internet: bool = True


class Deployment(_Part):
    """Everything about one environment. ARNs are whole; paths are on the worker hosts.

    `tools_path` holds the static tools jobs use (`sh`, `busybox`, `s5cmd`), mounted read-only at
    the same path; `scratch_path` is the data disk, mounted at the same path. `job_role_arns` are
    all roles that a job may have, `job_role_arn` is the one of tasks that ask for none.
    `fuse_mount`: whether privileged jobs are allowed. `release` is that of the stacks.
    """

    version: int = VERSION
    release: str = ""
    environment: str
    account: str
    region: str
    bucket: str
    root: str = Field(description="s3://bucket/prefix: the execution root")
    scratch_root: str = Field(description="s3://bucket/prefix of short-lived objects; expires")
    queues: tuple[Queue, ...]
    default_queue_arn: str
    job_role_arn: str
    job_role_arns: tuple[str, ...] = ()
    execution_role_arn: str
    orchestrator_role_arn: str | None = None
    operator_role_arn: str | None = None
    fuse_mount: bool = False
    log_group: str = Field(description="the log group of jobs")
    worker_log_group: str | None = None
    host_log_group: str | None = None
    event_queue_url: str | None = Field(None, description="SQS: job state changes of Batch")
    job_definition_prefix: str
    tools_path: str
    scratch_path: str
    registries: Registries = Registries()
    database: Database


def parse(text: str, environment: str) -> Deployment:
    """The contract from its JSON text. Raises DeploymentUnsupported."""
    version = _version(text)
    if version is not None and version != VERSION:
        raise errors.DeploymentUnsupported(
            f"environment {environment!r} has contract version {version}, "
            f"this orchestrator knows {VERSION}",
            hint="deploy with the stacks of this release, or use the orchestrator of that one",
        )
    try:
        return Deployment.model_validate_json(text)
    except ValidationError as error:
        raise errors.DeploymentUnsupported(
            f"the contract of environment {environment!r} cannot be read",
            hint="deploy the stacks again",
            findings=[
                errors.Finding(f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}")
                for e in error.errors()
            ],
        ) from None


def read(ssm: Any, environment: str) -> Deployment:
    """The contract of a deployed environment, through an SSM client of boto3."""
    try:
        answer = ssm.get_parameter(Name=parameter_name(environment))
    except ssm.exceptions.ParameterNotFound:
        raise errors.DeploymentMissing(
            f"no environment {environment!r} is deployed in this account and region",
            hint="deploy it with ./bootstrap",
        ) from None
    return parse(answer["Parameter"]["Value"], environment)


def _version(text: str) -> int | None:
    try:
        version = json.loads(text).get("version")
    except (ValueError, AttributeError):
        return None
    return version if isinstance(version, int) else None
