"""SubmitJob: a request, checked and resolved against queue and definition, becomes a submission.

The words of refusals are Batch's where they are known. What AWS offers and this AWS does not is
refused by name, never ignored.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import Any

from moto.batch.models import BatchBackend, JobDefinition

from orchestrator.local_aws.batch import definitions, logs, retry, tags
from orchestrator.local_aws.batch.engine import Engine
from orchestrator.local_aws.batch.jobs import Container, Submission
from orchestrator.local_aws.batch.refusals import refuse, refuse_unsupported

_UNSUPPORTED = (
    "dependsOn",
    "nodeOverrides",
    "eksPropertiesOverride",
    "ecsPropertiesOverride",
    "consumableResourcePropertiesOverride",
)
_LARGEST_REQUEST = 30 << 10
_LARGEST_OVERRIDES = 8192
_MOST_SHARES = 500
_SHARE = re.compile(r"[A-Za-z0-9]{1,255}\*?")
_REFERENCE = re.compile(r"Ref::([A-Za-z0-9_-]+)")


def submit(
    engine: Engine, backend: BatchBackend, request: Mapping[str, Any], size: int
) -> dict[str, Any]:
    """SubmitJob; `size` is the request's length in bytes. Two calls are two jobs: no token here."""
    given_tags = tags.checked(request.get("tags"))
    submission = _submission(engine, backend, request, size)
    job_id = engine.submit(backend, submission, given_tags)
    return {
        "jobArn": submission.arn_prefix + job_id,
        "jobName": submission.name,
        "jobId": job_id,
    }


def _submission(
    engine: Engine, backend: BatchBackend, request: Mapping[str, Any], size: int
) -> Submission:
    name = request["jobName"]
    if not definitions.NAME.fullmatch(name):
        refuse(
            f"job name {name!r} is not valid: up to 128 letters, digits, hyphens and underscores, "
            "a letter or digit first"
        )
    if size > _LARGEST_REQUEST:
        refuse(f"the request has {size} bytes; SubmitJob takes at most {_LARGEST_REQUEST}")
    for member in _UNSUPPORTED:
        if request.get(member):
            refuse_unsupported(member)
    queue = backend.get_job_queue(request["jobQueue"])
    if queue is None:
        refuse(f"JobQueue {request['jobQueue']} not found")
    if queue.state != "ENABLED":
        refuse(f"JobQueue {queue.name} is DISABLED: it takes no jobs")
    definition = definitions.find_active(backend, request["jobDefinition"])
    if definition is None:
        refuse(f"JobDefinition {request['jobDefinition']} not found or inactive")
    facts = definitions.properties_of(definition)
    for member in ("nodeProperties", "eksProperties", "ecsProperties"):
        if facts.get(member) or getattr(definition, _attribute(member), None):
            refuse_unsupported(member)
    array = request.get("arrayProperties") or {}
    array_size = array.get("size")
    if array_size is not None and not 2 <= array_size <= 10_000:
        refuse("array size must be between 2 and 10000")
    strategy = retry.normalised(request.get("retryStrategy")) or facts.get("retryStrategy")
    timeout = definitions.timeout_seconds(request.get("timeout") or facts.get("timeout"))
    parameters = {**facts.get("parameters", {}), **(request.get("parameters") or {})}
    propagate = request.get("propagateTags")
    return Submission(
        account=backend.account_id,
        region=backend.region_name,
        name=name,
        queue_arn=queue.arn,
        queue_name=queue.name,
        definition_arn=definition.arn,
        container=_container(backend, definition, facts, request, parameters),
        parameters=parameters,
        retry=retry.parse(strategy),
        retry_strategy=strategy or {"attempts": 1, "evaluateOnExit": []},
        timeout_seconds=timeout,
        size=array_size,
        share=_share(engine, backend, queue, request),
        scheduling_priority=_priority(request, facts),
        propagate_tags=bool(facts.get("propagateTags")) if propagate is None else propagate,
        definition_tags=facts.get("tags") or {},
        platform_capabilities=tuple(facts.get("platformCapabilities") or ("EC2",)),
        created_at=time.time_ns() // 1_000_000,
    )


def _attribute(member: str) -> str:
    return re.sub("([A-Z])", r"_\1", member).lower()


def _priority(request: Mapping[str, Any], facts: Mapping[str, Any]) -> int:
    priority = request.get("schedulingPriorityOverride")
    if priority is None:
        return int(facts.get("schedulingPriority") or 0)
    if not 0 <= priority <= 9999:
        refuse("schedulingPriorityOverride must be between 0 and 9999")
    return int(priority)


def _share(
    engine: Engine, backend: BatchBackend, queue: Any, request: Mapping[str, Any]
) -> str | None:
    share = request.get("shareIdentifier")
    if not queue.schedule_policy:
        if share is not None:
            refuse(
                f"shareIdentifier must not be given: JobQueue {queue.name} has no scheduling policy"
            )
        return None
    if share is None:
        refuse(f"shareIdentifier must be specified: JobQueue {queue.name} has a scheduling policy")
    if not _SHARE.fullmatch(share):
        refuse(f"shareIdentifier {share!r} is not valid: up to 255 letters and digits")
    with engine.region(backend) as region:
        active = region.scheduler.active_shares(queue.arn)
    if share not in active and len(active) >= _MOST_SHARES:
        refuse(f"JobQueue {queue.name} has {_MOST_SHARES} active share identifiers already")
    return str(share)


def _container(
    backend: BatchBackend,
    definition: JobDefinition,
    facts: Mapping[str, Any],
    request: Mapping[str, Any],
    parameters: Mapping[str, str],
) -> Container:
    properties: Mapping[str, Any] = facts.get("containerProperties") or {}
    overrides: Mapping[str, Any] = request.get("containerOverrides") or {}
    length = len(json.dumps(overrides, separators=(",", ":"), ensure_ascii=False).encode())
    if overrides and length > _LARGEST_OVERRIDES:
        refuse(f"Container Overrides length must be at most {_LARGEST_OVERRIDES}, is {length}")
    if overrides.get("instanceType"):
        refuse_unsupported("containerOverrides.instanceType")
    definitions.check_environment(overrides.get("environment") or [])
    given = {
        one["type"]: one
        for one in (
            *(properties.get("resourceRequirements") or []),
            *(overrides.get("resourceRequirements") or []),
        )
    }

    def amount(kind: str, legacy: str) -> float | None:
        # vcpus and memory of a request never override resourceRequirements of a definition.
        value = definitions.resource(given.values(), kind)
        return value or overrides.get(legacy) or properties.get(legacy)

    vcpus, memory = amount("VCPU", "vcpus"), amount("MEMORY", "memory")
    definitions.check_resources(vcpus, memory)
    environment = {
        one["name"]: one.get("value", "")
        for one in (*(properties.get("environment") or []), *(overrides.get("environment") or []))
    }
    command = overrides.get("command") or properties.get("command") or []
    options = (properties.get("logConfiguration") or {}).get("options") or {}
    return Container(
        image=str(properties["image"]),
        command=tuple(_fill_in(word, parameters) for word in command),
        environment=environment,
        vcpus=float(vcpus or 0),
        memory_mib=int(memory or 0),
        gpus=int(definitions.resource(given.values(), "GPU") or 0),
        properties={
            **properties,
            "resourceRequirements": [{"type": kind, **one} for kind, one in given.items()],
            **{
                member: overrides[member]
                for member in ("vcpus", "memory")
                if overrides.get(member) and not given
            },
        },
        log_group=options.get("awslogs-group") or logs.DEFAULT_GROUP,
        log_region=options.get("awslogs-region") or backend.region_name,
        log_prefix=options.get("awslogs-stream-prefix") or definition.name,
        log_group_created=str(options.get("awslogs-create-group", "")).lower() == "true",
    )


def _fill_in(word: str, parameters: Mapping[str, str]) -> str:
    """Every `Ref::name` of a parameter that is known; others stay as they are."""
    return _REFERENCE.sub(lambda match: str(parameters.get(match[1], match[0])), word)
