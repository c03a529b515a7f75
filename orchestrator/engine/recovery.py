"""The journal as a replay needs it: what is known of each call, and what may still be with the
backend. Whatever may be there is looked up before anything is submitted again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.model import states
from orchestrator.model.attempt import AttemptRef
from orchestrator.model.job import SubmissionHandle
from orchestrator.model.records import AttemptRecord, CallRecord, SubmissionRecord
from orchestrator.model.states import CallState, SubmissionState
from orchestrator.store.base import Journal


@dataclass(slots=True, eq=False)
class LiveSubmission:
    """A submission of which something may still come."""

    record: SubmissionRecord
    handle: SubmissionHandle
    remaining: set[int]  # not finished
    judging: int = 0  # finished, but their attempts are not recorded so yet


class Replay:
    """The journal's calls and their attempts, each given out once: when the graph comes to it."""

    def __init__(self, journal: Journal) -> None:
        self._calls = {(c.workflow_id, c.id): c for c in journal.calls}
        self._attempts: dict[tuple[str, str], list[AttemptRecord]] = {}
        for attempt in sorted(journal.attempts, key=lambda a: a.attempt):
            key = (attempt.workflow_id, attempt.call_id)
            self._attempts.setdefault(key, []).append(attempt)

    @property
    def over(self) -> bool:
        """Whether the graph has come to every call of the journal."""
        return not self._calls

    def take(
        self, workflow_id: str, call_id: str
    ) -> tuple[CallRecord | None, Sequence[AttemptRecord]]:
        """What is known of a call and of its attempts, the first one first."""
        key = (workflow_id, call_id)
        return self._calls.pop(key, None), self._attempts.pop(key, ())

    def abandoned(self) -> Iterator[CallRecord | AttemptRecord]:
        """What the graph did not come to, and had begun."""
        for call in self._calls.values():
            if call.state is CallState.RUNNING:
                yield call
        for attempts in self._attempts.values():
            yield from (a for a in attempts if not states.is_terminal(a.state))


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
