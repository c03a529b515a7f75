"""Jobs for tests of the local backend; imported by the processes that tests kill, too."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import replace

from orchestrator.backends.base import Backend, Change, JobState
from orchestrator.model.attempt import AttemptRef
from orchestrator.model.job import JobSpec, Shape, Submission, SubmissionHandle


def submission(
    backend: Backend, scripts: Sequence[str], *, shape: Shape | None = None, number: int = 0
) -> Submission:
    """An array of one job a script."""
    jobs = []
    for index, script in enumerate(scripts):
        attempt = AttemptRef("id", "id", "flow/id", f"call-t-{number}-{index}", "t",
                             (number, index))  # fmt: skip
        jobs.append(JobSpec(attempt, backend.work_dir(attempt), script))
    identity = secrets.token_hex(16)
    attempts = tuple(job.attempt for job in jobs)
    handle = SubmissionHandle(identity, f"t-{identity}", "Local", "", time.time(), attempts)
    return Submission(handle, shape or Shape(cpu=1, memory_mib=16), tuple(jobs))


def submit(
    backend: Backend, scripts: Sequence[str], *, shape: Shape | None = None, number: int = 0
) -> SubmissionHandle:
    """Submit them."""
    made = submission(backend, scripts, shape=shape, number=number)
    return replace(made.handle, job_id=backend.submit(made))


def wait(
    backend: Backend,
    count: int,
    state: JobState = JobState.FINISHED,
    seconds: float = 60,
) -> list[Change]:
    """The next so many changes to this state."""
    found: list[Change] = []
    deadline = time.monotonic() + seconds
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} changes to {state}"
        found += [change for change in backend.changes(0.2) if change.state is state]
    assert len(found) == count
    return found
