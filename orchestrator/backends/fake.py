"""A backend that runs nothing: what a job does is a Python function. For tests and benchmarks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

from orchestrator import errors
from orchestrator.backends.base import Change, Explanation, JobState
from orchestrator.model.attempt import AttemptRef, below
from orchestrator.model.failures import Failure, FailureCode
from orchestrator.model.job import JobSpec, Shape, Submission, SubmissionHandle, WorkDir
from orchestrator.model.manifest import Manifest, OutputFile

Behaviour = Callable[[Submission, int], Manifest | Failure | None]


def manifest(
    submission_id: str,
    spec: JobSpec,
    *,
    return_code: int = 0,
    files: dict[str, bytes] | None = None,
    stdout: bytes = b"",
    stderr: str = "",
) -> Manifest:
    """The manifest of a job that left these files (path -> content)."""
    where = spec.work_dir
    return Manifest(
        submission_id=submission_id,
        attempt=spec.attempt.token,
        job_id=submission_id,
        return_code=return_code,
        stdout=OutputFile(where.stdout, where.stdout, len(stdout), content=stdout),
        stderr=OutputFile(where.stderr, where.stderr, len(stderr), content=stderr.encode()),
        files={
            path: OutputFile(path, f"{where.uri}/{path}", len(content), "etag", content)
            for path, content in (files or {}).items()
        },
        stderr_tail=stderr,
    )


class FakeLog:
    """The log of a fake job. An error among the lines is raised in its place, once."""

    late_seconds = 0.0

    def __init__(self, written: Sequence[str | errors.OrchestratorError]) -> None:
        self._written = written
        self._read = 0

    def __iter__(self) -> Iterator[str]:
        while self._read < len(self._written):
            self._read += 1
            line = self._written[self._read - 1]
            if not isinstance(line, str):
                raise line
            yield line


class FakeBackend:
    """Finishes every job when it is submitted; `None` from the behaviour leaves it running.

    `before_submit` may raise what a backend may raise: `errors.Ambiguous` after the effect has
    happened is had with `lose_answers`.
    """

    def __init__(
        self,
        behave: Behaviour,
        *,
        name: str = "fake",
        max_array_size: int = 10_000,
        root: str = "s3://fake",
        lose_answers: int = 0,
        remember: bool = True,
        before_submit: Callable[[Submission], None] = lambda submission: None,
    ) -> None:
        """`lose_answers`: so many submissions take effect although no answer comes. Without
        `remember` a submission is forgotten once all its jobs have ended: for benchmarks."""
        self.name = name
        self.max_array_size = max_array_size
        self.submissions: list[Submission] = []
        self.revoked: set[str] = set()
        self.cancelled: list[tuple[str, tuple[int, ...]]] = []
        self.written: dict[tuple[str, int], list[str | errors.OrchestratorError]] = {}
        self._behave = behave
        self._root = root
        self._lose = lose_answers
        self._remember = remember
        self._before_submit = before_submit
        self._known: dict[str, Submission] = {}
        self._ended: dict[tuple[str, int], Manifest | Failure] = {}  # by `finish`
        self._changes: list[Change] = []
        self._moved = threading.Condition()

    def work_dir(self, attempt: AttemptRef) -> WorkDir:
        """`<root>/<call directory>`."""
        uri = below(self._root, attempt.call_directory)
        return WorkDir(
            f"/work/{attempt.token}/execution",
            uri,
            *(f"{uri}/{name}" for name in ("script", "rc", "stdout", "stderr", "manifest.json")),
        )

    def fits(self, shape: Shape) -> Failure | None:
        """Everything fits."""
        return None

    def lasting(self, shape: Shape) -> Shape | None:
        """Its hosts are as they are."""
        return None

    def submit(self, submission: Submission) -> str:
        """Take it, and let it behave."""
        self._before_submit(submission)
        with self._moved:
            if self._remember:
                self.submissions.append(submission)
            self._known[submission.handle.id] = submission
            if self._lose > 0:
                self._lose -= 1
                raise errors.Ambiguous("the answer was lost")
            self._report(submission)
        return f"job-{submission.handle.id}"

    def find(self, handle: SubmissionHandle) -> str | None:
        """Known when it was taken and not revoked."""
        with self._moved:
            submission = self._known.get(handle.id)
            if submission is None:
                return None
            self._report(submission)
        return f"job-{handle.id}"

    def revoke(self, handle: SubmissionHandle) -> None:
        """Remember it."""
        self.revoked.add(handle.id)

    def finish(self, submission_id: str, index: int, end: Manifest | Failure) -> None:
        """End a job that was left running."""
        with self._moved:
            self._ended[submission_id, index] = end
            self._changes.append(_finished(submission_id, index, end))
            self._moved.notify_all()

    def changes(self, wait_seconds: float) -> Sequence[Change]:
        """What behaved since the last call."""
        with self._moved:
            self._moved.wait_for(lambda: bool(self._changes), wait_seconds)
            taken, self._changes = self._changes, []
        return taken

    def cancel(self, jobs: Iterable[tuple[SubmissionHandle, Sequence[int]]]) -> None:
        """They end as aborted."""
        for handle, indices in jobs:
            self.cancelled.append((handle.id, tuple(indices)))
            for index in indices:
                self.finish(handle.id, index, Failure(FailureCode.ABORTED, "cancelled"))

    def logs(self, handle: SubmissionHandle, index: int) -> FakeLog:
        """What `written` has of it."""
        return FakeLog(self.written.setdefault((handle.id, index), []))

    def explain(self, handle: SubmissionHandle, index: int) -> Explanation:
        """Nothing to explain."""
        return Explanation("fake", "it is a fake")

    def close(self) -> None:
        """Nothing to close."""

    def _report(self, submission: Submission) -> None:
        ended = 0
        for index in range(len(submission.jobs)):
            end = self._ended.get((submission.handle.id, index))
            end = end or self._behave(submission, index)
            if end is not None:
                self._changes.append(_finished(submission.handle.id, index, end))
                ended += 1
        if not self._remember and ended == len(submission.jobs):
            del self._known[submission.handle.id]
        self._moved.notify_all()


def _finished(submission_id: str, index: int, end: Manifest | Failure) -> Change:
    job_id = f"job-{submission_id}:{index}"
    if isinstance(end, Failure):
        return Change(submission_id, index, JobState.FINISHED, job_id, failure=end)
    return Change(submission_id, index, JobState.FINISHED, job_id, manifest=end)
