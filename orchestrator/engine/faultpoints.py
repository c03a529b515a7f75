"""Places where a test may kill or stop this process: a number for every step of a call's life.

For tests only, and off unless the environment variable `ORCHESTRATOR_FAULT_POINT` says where:
`<step>[:<occurrence>[:<signal>]]`. `8` kills this process (SIGKILL) when it comes to step 8 for the
first time, `7:2:STOP` stops it (SIGSTOP) when it comes to step 7 for the second time. Off, a step
costs one comparison.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from enum import IntEnum

from orchestrator.model import states
from orchestrator.model.records import (
    AttemptRecord,
    CallRecord,
    FactRecord,
    Record,
    SubmissionRecord,
    WorkflowRecord,
)
from orchestrator.model.states import AttemptState, SubmissionState

VARIABLE = "ORCHESTRATOR_FAULT_POINT"


class Step(IntEnum):
    """In the order in which a call that is tried once comes to them; recovery has its own."""

    CLAIMED = 1  # the lease is ours, nothing is loaded
    OPENED = 2  # journal and document are loaded
    CALL_UNRECORDED = 3  # a call is ready; nobody knows
    CALL_RECORDED = 4
    FILE_WRITTEN = 5  # a file of the engine's own lies there; nobody knows
    FACTS_FETCHED = 6  # looked up, not pinned
    FACTS_PINNED = 7
    PREPARED = 8  # command and attributes are evaluated
    INTENT_UNRECORDED = 9
    INTENT_RECORDED = 10  # nothing is started, the lease is not asked for yet
    SUBMITTING = 11  # the lease is ours; the backend is not called yet
    SUBMITTED = 12  # the backend has answered; nobody knows
    SUBMISSION_UNRECORDED = 13
    SUBMISSION_RECORDED = 14
    RUNNING_UNRECORDED = 15
    RUNNING_RECORDED = 16
    FINISHED_SEEN = 17  # the poller has said so
    JUDGED = 18
    END_UNRECORDED = 19  # of an attempt: outputs, or its failure
    END_RECORDED = 20
    WORKFLOW_END_UNRECORDED = 21
    WORKFLOW_END_RECORDED = 22  # the lease is still held
    RELEASED = 23
    FINDING = 24
    FOUND = 25  # it is known whether the backend has it; nobody has been told
    REVOKING = 26
    REVOKED = 27


class _Armed:
    """One place, and what happens there."""

    def __init__(self, text: str) -> None:
        step, _, rest = text.partition(":")
        occurrence, _, name = rest.partition(":")
        self._step = Step(int(step))
        self._occurrence = int(occurrence or 1)
        self._signal = signal.Signals[f"SIG{name or 'KILL'}"]
        self._count = itertools.count(1)

    def reached(self, step: Step) -> None:
        if step is self._step and next(self._count) == self._occurrence:
            # To this thread: no other instruction of it comes before the signal takes effect.
            signal.pthread_kill(threading.get_ident(), self._signal)


_armed: _Armed | None = None


def arm(text: str | None) -> None:
    """Set the place, in the form of the variable; None for none. Raises ValueError, KeyError."""
    global _armed
    _armed = _Armed(text) if text else None


def reach(step: Step) -> None:
    """This step is done, or about to be done, as its name says."""
    if _armed is not None:
        _armed.reached(step)


def committing(records: Iterable[Record]) -> None:
    """They are about to be committed."""
    if _armed is not None:
        for before, _ in _steps(records):
            _armed.reached(before)


def committed(records: Iterable[Record]) -> None:
    """They are committed; nothing has come of it yet."""
    if _armed is not None:
        for _, after in _steps(records):
            _armed.reached(after)


def _steps(records: Iterable[Record]) -> Iterator[tuple[Step, Step]]:
    """Each once, however many records say the same: one commit is one step."""
    return iter(dict.fromkeys(steps for record in records if (steps := _steps_of(record))))


def _steps_of(record: Record) -> tuple[Step, Step] | None:
    match record:
        case CallRecord(state=states.CallState.WAITING):
            return Step.CALL_UNRECORDED, Step.CALL_RECORDED
        case FactRecord():
            return Step.FACTS_FETCHED, Step.FACTS_PINNED
        case SubmissionRecord(state=SubmissionState.INTENDED):
            return Step.INTENT_UNRECORDED, Step.INTENT_RECORDED
        case SubmissionRecord(state=SubmissionState.SUBMITTED):
            return Step.SUBMISSION_UNRECORDED, Step.SUBMISSION_RECORDED
        case AttemptRecord(state=AttemptState.RUNNING):
            return Step.RUNNING_UNRECORDED, Step.RUNNING_RECORDED
        case AttemptRecord() if states.is_terminal(record.state):
            return Step.END_UNRECORDED, Step.END_RECORDED
        case WorkflowRecord() if record.id == record.root_id and states.is_terminal(record.state):
            return Step.WORKFLOW_END_UNRECORDED, Step.WORKFLOW_END_RECORDED
        case _:
            return None


arm(os.environ.get(VARIABLE))
