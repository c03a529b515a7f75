"""Job definitions: registered, described and deregistered whole.

moto keeps the definitions, but its own RegisterJobDefinition drops what it does not know and lets a
new revision inherit from the one before. Here a definition is what its request says; the request is
kept with moto's object and is what DescribeJobDefinitions gives back.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from moto.batch.models import BatchBackend, JobDefinition

from orchestrator.local_aws.batch import logs, retry, tags
from orchestrator.local_aws.batch.refusals import refuse, refuse_unsupported

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
LEAST_TIMEOUT_SECONDS = 60
_LARGEST_BYTES = 24 << 10
_LISTS = (
    "command",
    "environment",
    "mountPoints",
    "resourceRequirements",
    "secrets",
    "ulimits",
    "volumes",
)
_UNSUPPORTED = ("nodeProperties", "eksProperties", "ecsProperties", "consumableResourceProperties")
_UNSUPPORTED_CONTAINER = (
    "enableExecuteCommand",
    "ephemeralStorage",
    "fargatePlatformConfiguration",
    "instanceType",
    "networkConfiguration",
    "runtimePlatform",
    "secrets",
)


def register(backend: BatchBackend, request: Mapping[str, Any], size: int = 0) -> JobDefinition:
    """A new revision, from the request as RegisterJobDefinition has it (also for CloudFormation).

    `size` is the request's length in bytes where it is known. Raises ClientException.
    """
    definition = _checked(copy.deepcopy(dict(request)), size)
    name = definition["jobDefinitionName"]
    revisions = [
        known.revision for known in backend._job_definitions.values() if known.name == name
    ]
    registered: Any = JobDefinition(  # type: ignore[abstract]
        name=name,
        parameters=definition["parameters"],
        _type="container",
        container_properties=copy.deepcopy(definition["containerProperties"]),
        node_properties=None,
        eks_properties=None,
        tags=definition["tags"],
        retry_strategy=definition.get("retryStrategy"),  # type: ignore[arg-type]
        timeout=definition.get("timeout"),  # type: ignore[arg-type]
        backend=backend,
        platform_capabilities=definition["platformCapabilities"],
        propagate_tags=definition["propagateTags"],
        revision=max(revisions, default=0),
    )
    registered.request = definition
    backend._job_definitions[registered.arn] = registered
    return cast(JobDefinition, registered)


def find_active(backend: BatchBackend, identifier: str) -> JobDefinition | None:
    """By name (its latest active revision), name:revision, or ARN with or without revision."""
    short = identifier.rpartition("job-definition/")[2]
    name, colon, revision = short.partition(":")
    found: JobDefinition | None = None
    for definition in backend._job_definitions.values():
        if definition.name != name or definition.status != "ACTIVE":
            continue
        if identifier.startswith("arn:") and definition.arn.rpartition(":")[0] not in (
            identifier,
            identifier.rpartition(":")[0],
        ):
            continue
        if colon:
            if str(definition.revision) == revision:
                return definition
        elif found is None or definition.revision > found.revision:
            found = definition
    return found


def deregister(backend: BatchBackend, identifier: str) -> None:
    """Make one revision INACTIVE. Raises ClientException for a name without a revision."""
    short = identifier.rpartition("job-definition/")[2]
    if ":" not in short:
        refuse(f"{identifier} must be a job definition's name:revision or ARN")
    definition = find_active(backend, identifier)
    if definition is not None:
        definition.deregister()


def properties_of(definition: JobDefinition) -> dict[str, Any]:
    """All of it, as DescribeJobDefinitions gives it back; also of one that moto itself made."""
    kept: Mapping[str, Any] | None = getattr(definition, "request", None)
    if kept is None:
        kept = {
            "containerProperties": definition.container_properties or {},
            "parameters": definition.parameters or {},
            "retryStrategy": definition.retry_strategy,
            "timeout": definition.timeout,
            "platformCapabilities": definition.platform_capabilities or ["EC2"],
            "propagateTags": bool(definition.propagate_tags),
        }
    answer = {
        "jobDefinitionName": definition.name,
        "jobDefinitionArn": definition.arn,
        "revision": definition.revision,
        "status": definition.status,
        "type": "container",
        "containerOrchestrationType": "ECS",
        **kept,
        "tags": definition.backend.tagger.get_tag_dict_for_resource(definition.arn),
    }
    return {name: value for name, value in answer.items() if value is not None}


def describe(backend: BatchBackend, request: Mapping[str, Any]) -> dict[str, Any]:
    """DescribeJobDefinitions: by list, by name, or all; at most 100 a page, newest first."""
    wanted = request.get("jobDefinitions")
    name = request.get("jobDefinitionName")
    status = request.get("status")
    limit = request.get("maxResults", 100)
    if not 1 <= limit <= 100:
        refuse("maxResults must be between 1 and 100")
    if wanted is not None and len(wanted) > 100:
        refuse("jobDefinitions can have at most 100 entries")
    found: Iterable[JobDefinition] = backend._job_definitions.values()
    if wanted:
        found = (known for known in found if any(_is(known, one) for one in wanted))
    elif name is not None:
        found = (known for known in found if known.name == name)
    if status is not None:
        found = (known for known in found if known.status == status)
    ordered = sorted(found, key=lambda known: (known.name, -known.revision))
    token = request.get("nextToken")
    if token:
        after = backend._job_definitions.get(token)
        if after is None:
            refuse("nextToken is not valid")
        place = (after.name, -after.revision)
        ordered = [known for known in ordered if (known.name, -known.revision) > place]
    answer: dict[str, Any] = {"jobDefinitions": [properties_of(one) for one in ordered[:limit]]}
    if len(ordered) > limit:
        answer["nextToken"] = ordered[limit - 1].arn
    return answer


def _is(definition: JobDefinition, identifier: str) -> bool:
    if identifier.startswith("arn:"):
        return identifier in (definition.arn, definition.arn.rpartition(":")[0])
    return identifier in (definition.name, f"{definition.name}:{definition.revision}")


def timeout_seconds(timeout: Mapping[str, Any] | None) -> int | None:
    """From a timeout of a request. Raises ClientException below AWS's least, 60."""
    seconds = (timeout or {}).get("attemptDurationSeconds")
    if seconds is None:
        return None
    if seconds < LEAST_TIMEOUT_SECONDS:
        refuse(f"attemptDurationSeconds must be at least {LEAST_TIMEOUT_SECONDS}")
    return int(seconds)


def check_environment(environment: Iterable[Mapping[str, str]]) -> None:
    """Names are given and none is Batch's own."""
    for variable in environment:
        name = variable.get("name")
        if not name or "=" in name or "\0" in name + variable.get("value", ""):
            refuse(f"environment variable name {name!r} is not valid")
        if name.startswith("AWS_BATCH"):
            refuse(f"environment variable {name}: names that start with AWS_BATCH are reserved")


def resource(requirements: Iterable[Mapping[str, str]], kind: str) -> float | None:
    """The value of one resourceRequirement. Raises ClientException when it is no whole number.

    Jobs on EC2 take whole vCPUs, MiB and GPUs; fractions are Fargate's.
    """
    for requirement in requirements:
        if requirement.get("type") == kind:
            value = str(requirement.get("value", ""))
            if not re.fullmatch(r"[0-9]{1,9}", value) or int(value) < 1:
                refuse(f"resourceRequirements value {value!r} for type {kind} is not valid")
            return float(value)
    return None


def check_resources(vcpus: float | None, memory_mib: float | None) -> None:
    """Both are needed; memory is at least 4 MiB."""
    if vcpus is None or vcpus < 1:
        refuse("the number of vCPUs must be at least 1")
    if memory_mib is None or memory_mib < 4:
        refuse("memory must be at least 4 MiB")


def _checked(request: dict[str, Any], size: int) -> dict[str, Any]:
    name = request.get("jobDefinitionName") or ""
    if not NAME.fullmatch(name):
        refuse(f"job definition name {name!r} is not valid")
    if size > _LARGEST_BYTES:
        refuse(f"the job definition has {size} bytes; at most {_LARGEST_BYTES} are allowed")
    for member in _UNSUPPORTED:
        if request.get(member):
            refuse_unsupported(member)
    if request.get("type") != "container":
        refuse_unsupported(f"job definition type {request.get('type')!r}")
    capabilities = request.get("platformCapabilities") or ["EC2"]
    if capabilities != ["EC2"]:
        refuse_unsupported(f"platformCapabilities {', '.join(capabilities)}")
    container = request.get("containerProperties")
    if not container:
        refuse("containerProperties must be specified for a container job")
    _check_container(container)
    for member in _LISTS:
        container.setdefault(member, [])
    # Batch forgets variables without a value.
    container["environment"] = [one for one in container["environment"] if one.get("value")]
    timeout_seconds(request.get("timeout"))
    priority = request.get("schedulingPriority")
    if priority is not None and not 0 <= priority <= 9999:
        refuse("schedulingPriority must be between 0 and 9999")
    definition = {
        "jobDefinitionName": name,
        "containerProperties": container,
        "parameters": request.get("parameters") or {},
        "platformCapabilities": capabilities,
        "propagateTags": bool(request.get("propagateTags")),
        "tags": tags.checked(request.get("tags")),
        "retryStrategy": retry.normalised(request.get("retryStrategy")),
        "timeout": request.get("timeout"),
        "schedulingPriority": priority,
    }
    return {member: value for member, value in definition.items() if value is not None}


def _check_container(container: Mapping[str, Any]) -> None:
    for member in _UNSUPPORTED_CONTAINER:
        if container.get(member):
            refuse_unsupported(f"containerProperties.{member}")
    image = container.get("image")
    if not image:
        refuse("containerProperties.image must be specified")
    requirements = container.get("resourceRequirements") or []
    check_resources(
        resource(requirements, "VCPU") or container.get("vcpus"),
        resource(requirements, "MEMORY") or container.get("memory"),
    )
    resource(requirements, "GPU")
    check_environment(container.get("environment") or [])
    volumes = set()
    for volume in container.get("volumes") or []:
        if not volume.get("name"):
            refuse("a volume needs a name")
        for kind in ("efsVolumeConfiguration", "s3filesVolumeConfiguration"):
            if volume.get(kind):
                refuse_unsupported(f"volume {volume['name']}: {kind}")
        volumes.add(volume["name"])
    for mount in container.get("mountPoints") or []:
        if mount.get("sourceVolume") not in volumes:
            refuse(f"mountPoints: unknown volume {mount.get('sourceVolume')!r}")
        if not (mount.get("containerPath") or "").startswith("/"):
            refuse(f"mountPoints: containerPath {mount.get('containerPath')!r} is not absolute")
    _check_logging(container.get("logConfiguration"))


def _check_logging(configuration: Mapping[str, Any] | None) -> None:
    if configuration is None:
        return
    if configuration.get("logDriver") != "awslogs":
        refuse_unsupported(f"log driver {configuration.get('logDriver')!r}")
    if configuration.get("secretOptions"):
        refuse_unsupported("logConfiguration.secretOptions")
    for option in configuration.get("options") or {}:
        if option not in logs.OPTIONS:
            refuse_unsupported(f"log option {option}")
