"""A job in the shape of DescribeJobs, which events of its state changes have too."""

from __future__ import annotations

from typing import Any

from moto.batch.models import BatchBackend

from orchestrator.local_aws.batch.jobs import Attempt, Job


def of_job(backend: BatchBackend, job: Job) -> dict[str, Any]:
    """A job of DescribeJobs' answer."""
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
        "tags": backend.list_tags_for_resource(job.arn),
        "propagateTags": submission.propagate_tags,
        "platformCapabilities": list(submission.platform_capabilities),
        "container": _container_detail(job),
        "eksAttempts": [],
        "isCancelled": job.cancelled,
        "isTerminated": job.terminated,
    }
    put_times(detail, job.status_reason, job.started_at, job.stopped_at)
    if submission.share is not None:
        detail["shareIdentifier"] = submission.share
        detail["schedulingPriority"] = submission.scheduling_priority
    if submission.timeout_seconds is not None:
        detail["timeout"] = {"attemptDurationSeconds": submission.timeout_seconds}
    if job.counts is not None:
        detail["arrayProperties"] = {"statusSummary": summary_of(job), "size": submission.size}
    elif job.index is not None:
        detail["arrayProperties"] = {"statusSummary": {}, "index": job.index}
    return detail


def summary_of(parent: Job) -> dict[str, int]:
    """How many children are in which status."""
    return {status.value: count for status, count in (parent.counts or {}).items()}


def put_times(
    answer: dict[str, Any], reason: str, started_at: int | None, stopped_at: int | None
) -> None:
    """Members that are left out where they have no value."""
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
    put_times(detail, attempt.status_reason, attempt.started_at, attempt.stopped_at)
    return detail
