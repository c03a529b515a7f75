"""Jobs, their attempts and states; the table of them is the only place where a status changes.

A job goes SUBMITTED, PENDING (children of an array), RUNNABLE, STARTING, RUNNING, then SUCCEEDED or
FAILED; a retry takes it back to RUNNABLE. An array's parent is PENDING from the first runnable
child to the last one's end. Nothing here is thread-safe: the engine's lock guards it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from orchestrator.local_aws.batch.listing import Listing
from orchestrator.local_aws.batch.retry import RetryStrategy

CHILD_FAILED = "Array Child Job failed"


class Status(StrEnum):
    """Batch's job statuses, in the order of a job's life."""

    SUBMITTED = "SUBMITTED"
    PENDING = "PENDING"
    RUNNABLE = "RUNNABLE"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    @property
    def terminal(self) -> bool:
        return self in (Status.SUCCEEDED, Status.FAILED)


_RANK = {status: rank for rank, status in enumerate(Status)}


@dataclass(frozen=True, slots=True)
class Container:
    """What a job definition and a submission's overrides come to.

    `properties` are the definition's containerProperties as given back by DescribeJobs;
    `environment` and `command` are those of the job, parameters filled in.
    """

    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    vcpus: float
    memory_mib: int
    gpus: int
    properties: Mapping[str, Any]
    log_group: str
    log_region: str
    log_prefix: str
    log_group_created: bool  # awslogs-create-group


@dataclass(frozen=True, slots=True)
class Submission:
    """One SubmitJob; an array's children share it."""

    account: str
    region: str
    name: str
    queue_arn: str
    queue_name: str
    definition_arn: str
    container: Container
    parameters: Mapping[str, str]
    retry: RetryStrategy
    retry_strategy: Mapping[str, Any]  # as DescribeJobs gives it
    timeout_seconds: int | None
    size: int | None
    share: str | None
    scheduling_priority: int
    propagate_tags: bool
    definition_tags: Mapping[str, str]
    platform_capabilities: tuple[str, ...]
    created_at: int  # milliseconds since the epoch

    @property
    def arn_prefix(self) -> str:
        return f"arn:aws:batch:{self.region}:{self.account}:job/"


@dataclass(slots=True)
class Attempt:
    """One try. Times in milliseconds since the epoch; no `started_at` when it never ran."""

    number: int
    task_id: str
    environment_name: str
    log_stream: str
    started_at: int | None = None
    stopped_at: int | None = None
    exit_code: int | None = None
    reason: str = ""
    status_reason: str = ""


class Job:
    """A single job, an array's parent, or a child. Kept small: one call makes ten thousand."""

    __slots__ = (
        "attempts",
        "cancelled",
        "children",
        "counts",
        "created_at",
        "current",
        "head_since",
        "id",
        "index",
        "listed",
        "parent",
        "sequence",
        "started_at",
        "status",
        "status_reason",
        "stop_reason",
        "stopped_at",
        "submission",
        "terminated",
    )

    def __init__(
        self, job_id: str, submission: Submission, sequence: int, parent: Job | None = None
    ) -> None:
        self.id = job_id
        self.submission = submission
        self.sequence = sequence  # of all jobs; also the array index, counted on from the parent's
        self.parent = parent
        self.index: int | None = None if parent is None else sequence - parent.sequence - 1
        self.children: list[Job] = []
        self.counts: dict[Status, int] | None = None
        self.status = Status.SUBMITTED
        self.status_reason = ""
        self.created_at = submission.created_at
        self.started_at: int | None = None
        self.stopped_at: int | None = None
        self.attempts: list[Attempt] = []  # those that have ended
        self.current: Attempt | None = None
        self.stop_reason = ""  # why it is being stopped while it starts or runs
        self.cancelled = False
        self.terminated = False
        self.head_since: int | None = None  # when it came to the head of its queue
        self.listed: Any = None  # owned by the listing

    @property
    def arn(self) -> str:
        return self.submission.arn_prefix + self.id

    @property
    def scope(self) -> str:
        """What ListJobs lists it under: its array, or its queue."""
        return self.parent.id if self.parent else self.submission.queue_arn

    @property
    def last_attempt(self) -> Attempt | None:
        """The one that starts or runs, else the one that ended last."""
        return self.current or (self.attempts[-1] if self.attempts else None)


@dataclass(slots=True)
class JobTable:
    """All jobs of one account and region."""

    listing: Listing
    changed: Callable[[Job], None] = lambda job: None  # told of every status, the first included
    jobs: dict[str, Job] = field(default_factory=dict)
    next_sequence: int = 0

    def add(self, job_id: str, submission: Submission) -> Job:
        """A new job, with its children when it is an array."""
        parent = self._add(Job(job_id, submission, self.next_sequence))
        if submission.size:
            parent.counts = dict.fromkeys(Status, 0)
            parent.counts[Status.SUBMITTED] = submission.size
            parent.children = [
                self._add(Job(f"{job_id}:{index}", submission, self.next_sequence, parent))
                for index in range(submission.size)
            ]
        for job in (parent, *parent.children):
            self.changed(job)
        return parent

    def _add(self, job: Job) -> Job:
        self.next_sequence += 1
        self.jobs[job.id] = job
        self.listing.note(job)
        return job

    def move(self, job: Job, status: Status, reason: str = "", *, now: int) -> None:
        """Change a status, and what follows from it for the array's parent.

        Raises ValueError on a step back that is no retry: a defect of the engine.
        """
        before = job.status
        if before.terminal or (
            _RANK[status] <= _RANK[before] and not (job.attempts and status is Status.RUNNABLE)
        ):
            raise ValueError(f"job {job.id} cannot go from {before} to {status}")
        job.status = status
        job.status_reason = reason
        if status is Status.RUNNING:
            job.started_at = now
        elif status is Status.RUNNABLE:
            job.started_at = None
            job.head_since = None
        elif status.terminal:
            job.stopped_at = now
        self.listing.note(job)
        self.changed(job)
        if job.parent is not None:
            self._count(job.parent, before, status, now)

    def explain(self, job: Job, reason: str) -> bool:
        """Say why a job waits; whether that is news."""
        if job.status_reason == reason:
            return False
        job.status_reason = reason
        self.listing.note(job)
        return True

    def _count(self, parent: Job, before: Status, after: Status, now: int) -> None:
        counts = parent.counts
        assert counts is not None
        counts[before] -= 1
        counts[after] += 1
        if after.terminal:
            if counts[Status.SUCCEEDED] + counts[Status.FAILED] < len(parent.children):
                return
            if counts[Status.FAILED]:
                reason = parent.stop_reason or CHILD_FAILED
                self.move(parent, Status.FAILED, reason, now=now)
            else:
                self.move(parent, Status.SUCCEEDED, now=now)
        elif after is Status.RUNNABLE and parent.status is Status.SUBMITTED:
            self.move(parent, Status.PENDING, now=now)
