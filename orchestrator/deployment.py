"""The deployment contract: what the stacks built, as the orchestrator needs to know it.

`stacks/` writes it as JSON into one SSM parameter (`parameter_name`); the orchestrator reads it
there. The two trees meet in this module and nowhere else. A `version` the reader does not know is
refused: old software never guesses at new stacks.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator import errors

VERSION = 1


def parameter_name(environment: str) -> str:
    """The SSM parameter that holds the contract of an environment."""
    return f"/orchestrator/{environment}/deployment"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Queue(_Part):
    """A job queue, and the largest job that it can ever place."""

    name: str
    arn: str
    kind: Literal["spot", "on-demand"]
    architecture: Literal["x86_64", "arm64"] = "x86_64"
    max_vcpus: int
    max_memory_mib: int


class Database(_Part):
    """The workflow database; the secret holds `username` and `password`."""

    host: str
    port: int
    name: str
    secret_arn: str


class Deployment(_Part):
    """Everything about one environment. ARNs are whole; paths are on the worker hosts.

    `tools_path` holds the static tools jobs use (`sh`, `busybox`, `s5cmd`), mounted read-only at
    the same path; `scratch_path` is the data disk, mounted at the same path.
    """

    version: int = VERSION
    environment: str
    account: str
    region: str
    bucket: str
    root: str = Field(description="s3://bucket/prefix: the execution root")
    scratch_root: str = Field(description="s3://bucket/prefix of short-lived objects; expires")
    queues: tuple[Queue, ...]
    default_queue_arn: str
    job_role_arn: str
    execution_role_arn: str
    log_group: str
    job_definition_prefix: str
    tools_path: str
    scratch_path: str
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
