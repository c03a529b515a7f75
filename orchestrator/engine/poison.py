"""The end of a workflow that servers die of: without loading its source or stepping its graph."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

from orchestrator import errors
from orchestrator.backends.base import Backend
from orchestrator.engine import recovery
from orchestrator.model import states
from orchestrator.model.failures import FailureCode
from orchestrator.model.records import EventRecord, Record
from orchestrator.model.states import AttemptState, CallState, SubmissionState, WorkflowState
from orchestrator.store.base import POISON_DEATHS, Journal, Lease

MESSAGE = (
    f"{FailureCode.POISONED}: {POISON_DEATHS} times in a row an orchestrator died or broke while "
    "it ran this workflow, and no call of it ended in between. It is not run again, so that others "
    "can go on. Look at the end of the orchestrators' logs (out of memory?), make the workflow or "
    "its inputs smaller or give the host more memory, then submit it again"
)


def is_poisoned(lease: Lease) -> bool:
    """Whether it is to be ended instead of run."""
    return lease.deaths >= POISON_DEATHS


def end(journal: Journal, backends: Mapping[str, Backend], now: float) -> Iterator[Record]:
    """End its jobs, and give the records that say so. Blocks on I/O.

    Raises what the backend raises: then it is to be done again, from the beginning.
    """
    submissions = list(_end_jobs(journal, backends))
    root, *others = journal.workflows
    for workflow in others:
        if not states.is_terminal(workflow.state):
            yield replace(workflow, state=WorkflowState.ABORTED, ended_at=now)
    for call in journal.calls:
        if not states.is_terminal(call.state):
            yield replace(call, state=CallState.ABORTED, ended_at=now)
    for attempt in journal.attempts:
        if not states.is_terminal(attempt.state):
            yield replace(attempt, state=AttemptState.ABORTED, ended_at=now)
    yield from submissions
    failures = json.dumps([{"message": MESSAGE, "causedBy": []}])
    yield replace(root, state=WorkflowState.FAILED, failures=failures, ended_at=now)
    yield EventRecord(root.id, root.id, now, "Finished")


def _end_jobs(journal: Journal, backends: Mapping[str, Backend]) -> Iterator[Record]:
    for live in recovery.live_submissions(journal):
        backend = backends.get(live.record.backend)
        if backend is None:
            raise errors.BackendUnavailable(
                f"jobs of workflow {live.record.root_id} are with backend {live.record.backend!r}, "
                "which is not configured here",
                hint="give the configuration that it was started with",
            )
        job_id = backend.find(live.handle)
        if job_id is None:
            backend.revoke(live.handle)
            yield replace(live.record, state=SubmissionState.REVOKED)
        else:
            backend.cancel([(replace(live.handle, job_id=job_id), sorted(live.remaining))])
            yield replace(live.record, state=SubmissionState.SETTLED, job_id=job_id)
