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
        self._calls: dict[str, dict[str, CallRecord]] = {}  # by workflow; none is empty
        self._closed: list[CallRecord] = []  # of sub-workflows that nobody steps again
        for call in journal.calls:
            self._calls.setdefault(call.workflow_id, {})[call.id] = call
        self._attempts: dict[tuple[str, str], list[AttemptRecord]] = {}
        for attempt in sorted(journal.attempts, key=lambda a: a.attempt):
            key = (attempt.workflow_id, attempt.call_id)
            self._attempts.setdefault(key, []).append(attempt)

    @property
    def over(self) -> bool:
        """Whether the graph has come to every call of the journal that it has to come to."""
        return not self._calls

    def waits_for(self, workflow_id: str) -> CallRecord | None:
        """A call of this workflow that its graph has not come to yet."""
        return next(iter(self._calls.get(workflow_id, {}).values()), None)

    def take(
        self, workflow_id: str, call_id: str
    ) -> tuple[CallRecord | None, Sequence[AttemptRecord]]:
        """What is known of a call and of its attempts, the first one first."""
        calls = self._calls.get(workflow_id, {})
        call = calls.pop(call_id, None)
        if call is not None and not calls:
            del self._calls[workflow_id]
        if call is not None and call.sub_workflow_id and states.is_terminal(call.state):
            self._close(call.sub_workflow_id)
        return call, self._attempts.pop((workflow_id, call_id), ())

    def _close(self, workflow_id: str) -> None:
        """Its end is known: its graph is not stepped again, nor those of its own sub-workflows."""
        for call in self._calls.pop(workflow_id, {}).values():
            self._closed.append(call)
            if call.sub_workflow_id:
                self._close(call.sub_workflow_id)

    def abandoned(self) -> Iterator[CallRecord | AttemptRecord]:
        """What the graph did not come to, and had begun."""
        for calls in (self._closed, *(calls.values() for calls in self._calls.values())):
            yield from (call for call in calls if call.state is CallState.RUNNING)
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
