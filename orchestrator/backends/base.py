"""The port every backend implements. One contract suite runs against every adapter.

Calls may block on I/O: the engine makes them from its bounded pool and its poller, never from its
own thread. All methods may be called from several threads at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from orchestrator.model.attempt import AttemptRef
from orchestrator.model.failures import Failure
from orchestrator.model.job import Shape, Submission, SubmissionHandle, WorkDir
from orchestrator.model.manifest import Manifest, Phase


class JobState(StrEnum):
    """What a backend reports of one job; the order is the order of a job's life."""

    QUEUED = "Queued"
    RUNNING = "Running"
    FINISHED = "Finished"


@dataclass(frozen=True, slots=True)
class Change:
    """One job moved. FINISHED comes exactly once a job and process.

    A finished job carries its manifest (the truth about it), or, where none was written, the
    failure that the backend reads from its own records. `return_code` in a manifest is not judged
    here. `job_id` is the child's own id (`<parent>:<index>` in an array on AWS Batch). The reasons
    and `exit_code` (the container's) are the backend's own words, where it has such. `phases` are
    what only the backend knows: those before the ones in the manifest.
    """

    submission_id: str
    index: int
    state: JobState
    job_id: str
    manifest: Manifest | None = None
    failure: Failure | None = None
    log_stream: str | None = None
    started_at: float | None = None
    ended_at: float | None = None
    phases: tuple[Phase, ...] = ()
    status_reason: str = ""
    container_reason: str = ""
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a job stands where it stands: the facts, what they mean, what to do next."""

    state: str
    cause: str
    next_step: str = ""


class Log(Protocol):
    """A job's log, for one reader. `late_seconds`: so long after a job's end lines may still come.

    Iterating gives the lines so far, oldest first, without their ends; iterating again goes on
    where it ended: what a running job has written since comes, and no line twice. Empty until the
    job runs. Raises NotAllowed, NotFound, TryLater where it cannot be read; after TryLater it can
    be gone on with.
    """

    late_seconds: float

    def __iter__(self) -> Iterator[str]: ...


class Backend(Protocol):
    """Runs submissions."""

    name: str
    max_array_size: int  # jobs in one submission at the most

    def work_dir(self, attempt: AttemptRef) -> WorkDir:
        """Where this attempt will work and be kept. Pure; the same answer for ever."""

    def fits(self, shape: Shape) -> Failure | None:
        """None where a job of this shape can run here some day, else why it never can.

        Asked before anything is submitted. Raises InvalidRuntimeAttribute for a shape that makes no
        sense here at all.
        """

    def lasting(self, shape: Shape) -> Shape | None:
        """The same on hosts that nobody takes away; None where `shape` is on such, or none fits."""

    def submit(self, submission: Submission) -> str:
        """Start it; the answer is the job's id. From here on `changes` reports on it.

        The caller has committed the intent. Called at most once for a submission's id.
        Raises `errors.Ambiguous` when it may have started although no answer came: use `find`.
        Raises `errors.TryLater` (throttled; certainly not started) and other OrchestratorErrors
        (refused; certainly not started).
        """

    def find(self, handle: SubmissionHandle) -> str | None:
        """The job's id if the backend has this submission, looked up until the answer is certain.

        Also after a restart with `handle.job_id` known. From here on `changes` reports on it.
        """

    def revoke(self, handle: SubmissionHandle) -> None:
        """Make sure that this submission never runs a command that it has not begun. Idempotent."""

    def changes(self, wait_seconds: float) -> Sequence[Change]:
        """What moved since the last call, for all submissions; waits at most so long for something.

        Called by one poller thread. Many jobs cost few calls: never one a child.
        """

    def cancel(self, jobs: Iterable[tuple[SubmissionHandle, Sequence[int]]]) -> None:
        """End these jobs, running ones too. A whole submission when every index is named.

        Idempotent. The jobs still finish through `changes`, with failure ABORTED.
        """

    def logs(self, handle: SubmissionHandle, index: int) -> Log:
        """The job's log, from its beginning. `handle.job_id` is known by now."""

    def explain(self, handle: SubmissionHandle, index: int) -> Explanation:
        """Why this job stands where it stands."""

    def close(self) -> None:
        """Let go of threads and connections; running jobs go on."""
