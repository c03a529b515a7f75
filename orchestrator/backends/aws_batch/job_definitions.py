"""Job definitions: one for each distinct container, found again by name, never changed.

What differs from job to job (vCPUs, memory, GPUs, environment, timeout) is given at SubmitJob. The
name is a hash of everything else, so any process finds the definition that another one registered.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from orchestrator.backends.aws_batch import foreign_hosts, refusals, stage
from orchestrator.backends.aws_batch.registries import Registries
from orchestrator.deployment import Deployment
from orchestrator.model.job import Shape

if TYPE_CHECKING:
    from types_boto3_batch import BatchClient


ENVIRONMENT_TAG = "orchestrator:environment"
REGISTERED_TAG = "orchestrator:registered"  # when, in ISO 8601: AWS Batch does not keep it


class JobDefinitions:
    """Registers each definition once a process, and not at all if it is there already."""

    def __init__(
        self,
        batch: BatchClient,
        deployment: Deployment,
        registries: Registries | None = None,
        environment: Iterable[tuple[str, str]] = (),
        *,
        registering: BatchClient | None = None,
        cli_path: str = "",
    ) -> None:
        """`environment`: what all jobs have. `registering`: a client that repeats nothing itself:
        after a lost answer the definition is looked for, not registered again. `cli_path`: where
        hosts that are not ours have the AWS CLI."""
        self._batch = batch
        self._deployment = deployment
        self._registries = registries or Registries(deployment)
        self._environment = tuple(environment)
        self._registering = registering or batch
        self._cli_path = cli_path
        self._lock = threading.Lock()
        self._known: dict[str, str] = {}

    def arn(self, shape: Shape) -> str:
        """The ARN, with its revision, of the definition for jobs of this shape."""
        properties = self._properties(shape)
        name = self._name(properties)
        with self._lock:
            if name not in self._known:
                self._known[name] = self._find(name, properties) or self._register(name, properties)
            return self._known[name]

    def is_gone(self, arn: str) -> bool:
        """Asked when AWS Batch refused a job: whether somebody deregistered its definition.

        Then the next `arn` of that shape finds or makes another.
        """
        with self._lock:
            self._known = {name: known for name, known in self._known.items() if known != arn}
        with refusals.translated("DescribeJobDefinitions"):
            answer = self._batch.describe_job_definitions(jobDefinitions=[arn])
        return all(found.get("status") != "ACTIVE" for found in answer["jobDefinitions"])

    def _properties(self, shape: Shape) -> dict[str, Any]:
        properties = container_properties(
            self._deployment, shape, self._registries, self._environment
        )
        if not self._cli_path:
            return properties
        return foreign_hosts.adapted(properties, self._cli_path, self._deployment.scratch_path)

    def _name(self, properties: dict[str, Any]) -> str:
        text = json.dumps(properties, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:32]
        return f"{self._deployment.job_definition_prefix}-{digest}"

    def _find(self, name: str, properties: dict[str, Any]) -> str | None:
        with refusals.translated("DescribeJobDefinitions"):
            answer = self._batch.describe_job_definitions(jobDefinitionName=name, status="ACTIVE")
        # The name is a promise that anybody with the right to register could break.
        same = [
            found
            for found in answer["jobDefinitions"]
            if _contains(found.get("containerProperties", {}), properties)
            and found.get("retryStrategy", {}).get("attempts", 1) == 1
        ]
        newest = max(same, key=lambda found: found["revision"], default=None)
        return newest["jobDefinitionArn"] if newest else None

    def _register(self, name: str, properties: dict[str, Any]) -> str:
        with refusals.translated("RegisterJobDefinition"):
            answer = self._registering.register_job_definition(
                jobDefinitionName=name,
                type="container",
                containerProperties=cast(Any, properties),
                retryStrategy={"attempts": 1},  # the engine owns every retry
                propagateTags=True,
                platformCapabilities=["EC2"],
                tags={
                    ENVIRONMENT_TAG: self._deployment.environment,
                    REGISTERED_TAG: datetime.now(UTC).isoformat(timespec="seconds"),
                },
            )
        return answer["jobDefinitionArn"]


def container_properties(
    deployment: Deployment,
    shape: Shape,
    registries: Registries | None = None,
    environment: Iterable[tuple[str, str]] = (),
) -> dict[str, Any]:
    """`containerProperties` of RegisterJobDefinition. May keep a registry's login: see there."""
    registries = registries or Registries(deployment)
    linux: dict[str, Any] = {}
    if shape.shared_memory_mib:
        linux["sharedMemorySize"] = shape.shared_memory_mib
    if shape.fuse:
        linux["devices"] = [{"hostPath": "/dev/fuse", "containerPath": "/dev/fuse"}]
    mounts = [
        {"name": f"disk-{number}", "path": path, "shared": path in shape.shared_mounts}
        for number, path in enumerate(shape.mounts)
    ]
    limits = [
        {"name": name, "softLimit": soft, "hardLimit": hard} for name, soft, hard in shape.ulimits
    ]
    secret = registries.credentials(shape.image)
    login = {"repositoryCredentials": {"credentialsParameter": secret}} if secret else {}
    return {
        "image": registries.pulled(shape.image),
        "command": stage.command(deployment.tools_path, deployment.scratch_path),
        "jobRoleArn": shape.job_role_arn or deployment.job_role_arn,
        "executionRoleArn": deployment.execution_role_arn,
        "volumes": [
            {"name": "tools", "host": {"sourcePath": deployment.tools_path}},
            {"name": "scratch", "host": {"sourcePath": deployment.scratch_path}},
            # Without a path of the host's, Docker makes a new one, gone with the container.
            *(
                {"name": m["name"], "host": {"sourcePath": m["path"]} if m["shared"] else {}}
                for m in mounts
            ),
        ],
        "mountPoints": [
            {
                "sourceVolume": "tools",
                "containerPath": deployment.tools_path,
                "readOnly": True,
            },
            {
                "sourceVolume": "scratch",
                "containerPath": deployment.scratch_path,
                "readOnly": False,
            },
            *(
                {"sourceVolume": m["name"], "containerPath": m["path"], "readOnly": False}
                for m in mounts
            ),
        ],
        "environment": [
            {"name": name, "value": value}
            for name, value in {**_environment(deployment.region), **dict(environment)}.items()
        ],
        "resourceRequirements": [
            {"type": "VCPU", "value": "1"},
            {"type": "MEMORY", "value": "512"},
        ],
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": shape.log_group or deployment.log_group,
                "awslogs-stream-prefix": "job",
            },
        },
        **({"linuxParameters": linux} if linux else {}),
        **({"privileged": True} if shape.fuse else {}),
        **({"ulimits": limits} if limits else {}),
        **login,
    }


def _environment(region: str) -> dict[str, str]:
    """Nothing else on a host tells a job its region, and thereby its partition."""
    return {
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        # Big scatters swamp the credentials endpoint (amazon-genomics-cli#80).
        "AWS_METADATA_SERVICE_NUM_ATTEMPTS": "10",
        "AWS_METADATA_SERVICE_TIMEOUT": "10",
    }


def _contains(found: Any, wanted: Any) -> bool:
    """Whether `found` is `wanted` and at most AWS's own defaults besides."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            _contains(found.get(key), value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(any(_contains(f, w) for f in found) for w in wanted)
        )
    return bool(found == wanted)
