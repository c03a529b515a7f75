"""Batch's job verbs but SubmitJob: a request (names and types checked) in, a response out.

Shapes are those of the API reference and botocore's model; the words of refusals are Batch's where
they are known. What AWS offers and this AWS does not is refused by name, never ignored.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from moto.batch.models import BatchBackend

from orchestrator.local_aws.batch import detail
from orchestrator.local_aws.batch.engine import Engine
from orchestrator.local_aws.batch.jobs import Status
from orchestrator.local_aws.batch.listing import Row
from orchestrator.local_aws.batch.refusals import refuse, refuse_unsupported

_MOST_DESCRIBED = 100
_LONGEST_REASON = 1024
_FRONT = 100
_TOP_SHARES = 20
_FILTERS = (
    "JOB_NAME",
    "JOB_DEFINITION",
    "BEFORE_CREATED_AT",
    "AFTER_CREATED_AT",
    "SHARE_IDENTIFIER",
)


# -- DescribeJobs


def describe(engine: Engine, backend: BatchBackend, request: Mapping[str, Any]) -> dict[str, Any]:
    """DescribeJobs: at most 100 ids or ARNs; unknown ones are left out."""
    wanted = request["jobs"]
    if len(wanted) > _MOST_DESCRIBED:
        refuse(f"{len(wanted)} jobs are asked for; DescribeJobs takes at most {_MOST_DESCRIBED}")
    with engine.region(backend) as region:
        ids = dict.fromkeys(one.rpartition("job/")[2] for one in wanted)
        found = [region.table.jobs[one] for one in ids if one in region.table.jobs]
        return {"jobs": [detail.of_job(region.backend, job) for job in found]}


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
    detail.put_times(summary, row.status_reason, row.started_at, row.stopped_at)
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
