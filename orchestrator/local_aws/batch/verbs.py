"""Batch's job verbs: a request (checked for names and types already) in, a response out.

Shapes are those of the API reference and botocore's model; the words of refusals are Batch's where
they are known. What AWS offers and this AWS does not is refused by name, never ignored.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from moto.batch.models import BatchBackend, JobDefinition

from orchestrator.local_aws.batch import definitions, logs, retry, tags
from orchestrator.local_aws.batch.engine import Engine, Region
from orchestrator.local_aws.batch.jobs import Attempt, Container, Job, Status, Submission
from orchestrator.local_aws.batch.listing import Row
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
_MOST_DESCRIBED = 100
_MOST_SHARES = 500
_LONGEST_REASON = 1024
_SHARE = re.compile(r"[A-Za-z0-9]{1,255}\*?")
_REFERENCE = re.compile(r"Ref::([A-Za-z0-9_-]+)")
_FRONT = 100
_TOP_SHARES = 20
_FILTERS = (
    "JOB_NAME",
    "JOB_DEFINITION",
    "BEFORE_CREATED_AT",
    "AFTER_CREATED_AT",
    "SHARE_IDENTIFIER",
)


# -- SubmitJob


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


# -- DescribeJobs


def describe(engine: Engine, backend: BatchBackend, request: Mapping[str, Any]) -> dict[str, Any]:
    """DescribeJobs: at most 100 ids or ARNs; unknown ones are left out."""
    wanted = request["jobs"]
    if len(wanted) > _MOST_DESCRIBED:
        refuse(f"{len(wanted)} jobs are asked for; DescribeJobs takes at most {_MOST_DESCRIBED}")
    with engine.region(backend) as region:
        ids = dict.fromkeys(one.rpartition("job/")[2] for one in wanted)
        found = [region.table.jobs[one] for one in ids if one in region.table.jobs]
        return {"jobs": [_detail(region, job) for job in found]}


def _detail(region: Region, job: Job) -> dict[str, Any]:
    submission = job.submission
    detail: dict[str, Any] = {
        "jobArn": job.arn,
        "jobName": submission.name,
        "jobId": job.id,
        "jobQueue": submission.queue_arn,
        "status": job.status.value,
        "attempts": [_attempt(job, one) for one in job.attempts],
        "createdAt": job.created_at,
        "retryStrategy": dict(submission.retry_strategy),
        "dependsOn": [],
        "jobDefinition": submission.definition_arn,
        "parameters": dict(submission.parameters),
        "tags": region.backend.list_tags_for_resource(job.arn),
        "propagateTags": submission.propagate_tags,
        "platformCapabilities": list(submission.platform_capabilities),
        "container": _container_detail(job),
        "eksAttempts": [],
        "isCancelled": job.cancelled,
        "isTerminated": job.terminated,
    }
    _put_times(detail, job.status_reason, job.started_at, job.stopped_at)
    if submission.share is not None:
        detail["shareIdentifier"] = submission.share
        detail["schedulingPriority"] = submission.scheduling_priority
    if submission.timeout_seconds is not None:
        detail["timeout"] = {"attemptDurationSeconds": submission.timeout_seconds}
    if job.counts is not None:
        detail["arrayProperties"] = {"statusSummary": _summary_of(job), "size": submission.size}
    elif job.index is not None:
        detail["arrayProperties"] = {"statusSummary": {}, "index": job.index}
    return detail


def _summary_of(parent: Job) -> dict[str, int]:
    return {status.value: count for status, count in (parent.counts or {}).items()}


def _put_times(
    answer: dict[str, Any], reason: str, started_at: int | None, stopped_at: int | None
) -> None:
    if reason:
        answer["statusReason"] = reason
    if started_at is not None:
        answer["startedAt"] = started_at
    if stopped_at is not None:
        answer["stoppedAt"] = stopped_at


def _container_detail(job: Job) -> dict[str, Any]:
    container = job.submission.container
    detail: dict[str, Any] = {
        **container.properties,
        "image": container.image,
        "command": list(container.command),
        "environment": [{"name": k, "value": v} for k, v in container.environment.items()],
        "networkInterfaces": [],
    }
    last = job.last_attempt
    if last is not None:
        detail |= _run_detail(job, last)
    return detail


def _run_detail(job: Job, attempt: Attempt) -> dict[str, Any]:
    submission = job.submission
    place = f"arn:aws:ecs:{submission.region}:{submission.account}"
    cluster = attempt.environment_name
    detail: dict[str, Any] = {
        "containerInstanceArn": f"{place}:container-instance/{cluster}/this-machine",
        "taskArn": f"{place}:task/{cluster}/{attempt.task_id}",
    }
    if attempt.started_at is not None:
        detail["logStreamName"] = attempt.log_stream
    if attempt.exit_code is not None:
        detail["exitCode"] = attempt.exit_code
    if attempt.reason:
        detail["reason"] = attempt.reason
    return detail


def _attempt(job: Job, attempt: Attempt) -> dict[str, Any]:
    detail: dict[str, Any] = {"container": {**_run_detail(job, attempt), "networkInterfaces": []}}
    _put_times(detail, attempt.status_reason, attempt.started_at, attempt.stopped_at)
    return detail


# -- ListJobs


def list_jobs(engine: Engine, backend: BatchBackend, request: Mapping[str, Any]) -> dict[str, Any]:
    """ListJobs: of a queue or of an array; RUNNING unless a status or a filter says otherwise."""
    if request.get("multiNodeJobId"):
        refuse_unsupported("multiNodeJobId")
    queue_name, array_id = request.get("jobQueue"), request.get("arrayJobId")
    if (queue_name is None) == (array_id is None):
        refuse("one of jobQueue and arrayJobId must be specified")
    filters = request.get("filters") or []
    limit = request.get("maxResults")
    if limit is not None and limit < 1:
        refuse("maxResults must be at least 1")
    most = 100 if filters else 1000
    status = request.get("jobStatus")
    if status is not None and status not in list(Status):
        refuse(f"jobStatus {status!r} is not valid")
    accepts, keeps_status = _filter(filters)
    if not filters:
        status = status or Status.RUNNING
    elif not keeps_status:
        status = None
    with engine.region(backend) as region:
        if array_id is not None:
            if filters:
                refuse("filters cannot be used with arrayJobId")
            parent = region.table.jobs.get(array_id.rpartition("job/")[2])
            if parent is None or parent.counts is None:
                refuse(f"array job {array_id} not found")
            scope = parent.id
        else:
            queue = backend.get_job_queue(str(queue_name))
            if queue is None:
                refuse(f"JobQueue {queue_name} not found")
            scope = queue.arn
        try:
            rows, token = region.table.listing.page(
                scope,
                status,
                min(limit or most, most),
                request.get("nextToken"),
                accepts=accepts,
                newest_first=array_id is None,
            )
        except ValueError:
            refuse("nextToken is not valid")
        answer: dict[str, Any] = {"jobSummaryList": [_summary(row) for row in rows]}
    if token is not None:
        answer["nextToken"] = token
    return answer


def _filter(filters: list[Mapping[str, Any]]) -> tuple[Callable[[Row], bool], bool]:
    """What a row must be, and whether jobStatus counts besides."""
    if not filters:
        return (lambda row: True), True
    if len(filters) > 1:
        refuse("only one filter can be used at a time")
    name, values = filters[0].get("name"), filters[0].get("values") or []
    if name not in _FILTERS:
        refuse(f"filter {name!r} is not one of {', '.join(_FILTERS)}")
    if not values:
        refuse(f"filter {name} has no values")
    if name == "JOB_NAME":
        wanted = [value.lower() for value in values]
        return (lambda row: _any(wanted, row.job.submission.name.lower())), False
    if name == "JOB_DEFINITION":
        return (lambda row: _of_definition(values, row.job.submission.definition_arn)), False
    if name == "SHARE_IDENTIFIER":
        return (lambda row: row.job.submission.share in values), True
    if len(values) > 1 or not re.fullmatch(r"[0-9]{1,16}", values[0]):
        refuse(f"filter {name} takes one number of milliseconds since the epoch")
    moment = int(values[0])
    if name == "BEFORE_CREATED_AT":
        return (lambda row: row.job.created_at < moment), False
    return (lambda row: row.job.created_at > moment), False


def _any(patterns: list[str], text: str) -> bool:
    return any(text.startswith(one[:-1]) if one.endswith("*") else text == one for one in patterns)


def _of_definition(patterns: list[str], arn: str) -> bool:
    name = arn.rpartition("job-definition/")[2].partition(":")[0]
    return any(arn == one for one in patterns) or _any(
        [one for one in patterns if not one.startswith("arn:")], name
    )


def _summary(row: Row) -> dict[str, Any]:
    job, submission = row.job, row.job.submission
    summary: dict[str, Any] = {
        "jobArn": job.arn,
        "jobId": job.id,
        "jobName": submission.name,
        "createdAt": job.created_at,
        "status": str(row.status),
        "jobDefinition": submission.definition_arn,
    }
    _put_times(summary, row.status_reason, row.started_at, row.stopped_at)
    container: dict[str, Any] = {}
    if row.exit_code is not None:
        container["exitCode"] = row.exit_code
    if row.reason:
        container["reason"] = row.reason
    if container:
        summary["container"] = container
    if submission.share is not None:
        summary["shareIdentifier"] = submission.share
    if job.counts is not None:
        summary["arrayProperties"] = {"size": submission.size}
    elif job.index is not None:
        summary["arrayProperties"] = {"index": job.index}
    if job.cancelled:
        summary["isCancelled"] = True
    if job.terminated:
        summary["isTerminated"] = True
    return summary


# -- TerminateJob, CancelJob


def stop(
    engine: Engine, backend: BatchBackend, request: Mapping[str, Any], *, terminate: bool
) -> dict[str, Any]:
    """TerminateJob, or CancelJob, which leaves alone what starts or runs, and succeeds."""
    reason = request["reason"]
    if not reason or len(reason) > _LONGEST_REASON:
        refuse(f"reason must have 1 to {_LONGEST_REASON} characters")
    job_id = request["jobId"].rpartition("job/")[2]
    if not engine.stop_job(backend, job_id, reason, terminate=terminate):
        refuse(f"Job {request['jobId']} not found")
    return {}


# -- GetJobQueueSnapshot


def snapshot(engine: Engine, backend: BatchBackend, request: Mapping[str, Any]) -> dict[str, Any]:
    """GetJobQueueSnapshot: the first 100 RUNNABLE jobs, and the vCPUs in use."""
    queue = backend.get_job_queue(request["jobQueue"])
    if queue is None:
        refuse(f"JobQueue {request['jobQueue']} not found")
    now = time.time_ns() // 1_000_000
    with engine.region(backend) as region:
        front = list(region.scheduler.waiting(queue.arn, time.monotonic(), _FRONT))
        used = region.scheduler.used_vcpus(queue.arn)
    utilization: dict[str, Any] = {
        "totalCapacityUsage": _usage(sum(used.values())),
        "lastUpdatedAt": now,
    }
    if queue.schedule_policy:
        active = sorted(((vcpus, share) for share, vcpus in used.items() if vcpus), reverse=True)
        utilization["fairshareUtilization"] = {
            "activeShareCount": len(active),
            "topCapacityUtilization": [
                {"shareIdentifier": share, "capacityUsage": _usage(vcpus)}
                for vcpus, share in active[:_TOP_SHARES]
            ],
        }
    return {
        "frontOfQueue": {
            "jobs": [
                {"jobArn": job.arn, "earliestTimeAtPosition": job.head_since or job.created_at}
                for job in front
            ],
            "lastUpdatedAt": now,
        },
        "queueUtilization": utilization,
    }


def _usage(vcpus: float) -> list[dict[str, Any]]:
    return [{"capacityUnit": "VCPU", "quantity": vcpus}]
