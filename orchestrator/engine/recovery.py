"""From the journal: the submissions of which something may still come.

Whatever may be with the backend is looked up before anything is submitted again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.model import states
from orchestrator.model.attempt import AttemptRef
from orchestrator.model.job import SubmissionHandle
from orchestrator.model.records import AttemptRecord, SubmissionRecord
from orchestrator.model.states import SubmissionState
from orchestrator.store.base import Journal


@dataclass(slots=True, eq=False)
class LiveSubmission:
    """A submission of which something may still come."""

    record: SubmissionRecord
    handle: SubmissionHandle
    remaining: set[int]  # not finished
    judging: int = 0  # finished, but their attempts are not recorded so yet


def live_submissions(journal: Journal) -> Iterator[LiveSubmission]:
    """Those that the journal leaves intended or submitted."""
    flows = {w.id: w for w in journal.workflows}
    calls = {(c.workflow_id, c.id): c for c in journal.calls}
    members: dict[str, dict[int, AttemptRecord]] = {}
    for attempt in journal.attempts:
        if attempt.submission_id is not None:
            members.setdefault(attempt.submission_id, {})[attempt.array_index] = attempt
    for record in journal.submissions:
        if record.state not in (SubmissionState.INTENDED, SubmissionState.SUBMITTED):
            continue
        attempts = members.get(record.id, {})
        refs = []
        for index in range(record.size):
            attempt = attempts[index]
            call = calls[attempt.workflow_id, attempt.call_id]
            refs.append(
                AttemptRef(
                    record.root_id,
                    attempt.workflow_id,
                    flows[attempt.workflow_id].directory,
                    attempt.call_id,
                    call.name,
                    call.shards,
                    attempt.attempt,
                )
            )
        handle = SubmissionHandle(
            record.id,
            record.name,
            record.backend,
            record.queue,
            record.created_at,
            tuple(refs),
            record.job_id,
        )
        remaining = {i for i, a in attempts.items() if not states.is_terminal(a.state)}
        yield LiveSubmission(record, handle, remaining)
