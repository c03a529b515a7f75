"""What DescribeJobs and ListJobs say of one job, read in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.backends.aws_batch.reasons import Ended

OVER = ("SUCCEEDED", "FAILED")


@dataclass(frozen=True, slots=True)
class Report:
    """That a job has ended, and how. Times in seconds since the epoch."""

    job_id: str
    ended: Ended
    log_stream: str | None = None
    started_at: float | None = None
    ended_at: float | None = None
    created_at: float | None = None


def of(job: Mapping[str, Any]) -> Report:
    """Of a job that is over."""
    return Report(
        job["jobId"],
        ended(job),
        log_stream(job),
        seconds(job.get("startedAt")),
        seconds(job.get("stoppedAt")),
        seconds(job.get("createdAt")),
    )


def index(job_id: str) -> int:
    """The array index: a child's id is `<parent>:<index>`; 0 for a job that is no child."""
    return int(job_id.partition(":")[2] or 0)


def ended(job: Mapping[str, Any]) -> Ended:
    """How a job that is over ended. ListJobs has no attempts, and less of the container."""
    container, last = job.get("container", {}), _last_attempt(job)
    return Ended(
        succeeded=job["status"] == "SUCCEEDED",
        status_reason=job.get("statusReason") or "",
        container_reason=container.get("reason") or last.get("reason") or "",
        exit_code=container.get("exitCode", last.get("exitCode")),
    )


def log_stream(job: Mapping[str, Any]) -> str | None:
    """The log stream of its last attempt; only DescribeJobs tells."""
    container = job.get("container", {})
    stream: str | None = _last_attempt(job).get("logStreamName") or container.get("logStreamName")
    return stream


def seconds(milliseconds: int | None) -> float | None:
    """Batch's times as seconds since the epoch."""
    return milliseconds / 1000 if milliseconds else None


def _last_attempt(job: Mapping[str, Any]) -> Mapping[str, Any]:
    attempts = job.get("attempts") or [{}]
    container: Mapping[str, Any] = attempts[-1].get("container", {})
    return container
