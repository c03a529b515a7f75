"""States of workflow, call, attempt and submission, and which may follow which."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import Any, Protocol, TypeVar


class WorkflowState(StrEnum):
    """Cromwell's words (core/.../WorkflowState.scala)."""

    SUBMITTED = "Submitted"
    ON_HOLD = "On Hold"
    RUNNING = "Running"
    ABORTING = "Aborting"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    ABORTED = "Aborted"


class CallState(StrEnum):
    """One call (every shard is one)."""

    WAITING = "Waiting"  # known, its attempt not dispatched yet
    RUNNING = "Running"  # an attempt is with the backend, or a sub-workflow runs
    DONE = "Done"
    FAILED = "Failed"
    ABORTED = "Aborted"


class AttemptState(StrEnum):
    """One try of a call."""

    SUBMITTING = "Submitting"  # its submission's intent is committed
    QUEUED = "Queued"  # the backend has it
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    ABORTED = "Aborted"


class SubmissionState(StrEnum):
    """One SubmitJob. Intent before effect."""

    INTENDED = "Intended"  # committed; the backend may or may not have it
    SUBMITTED = "Submitted"  # the backend has answered with a job id
    REVOKED = "Revoked"  # must never run: its bundle is deleted
    SETTLED = "Settled"  # every attempt of it is terminal


S = TypeVar("S", WorkflowState, CallState, AttemptState, SubmissionState)

_W, _C, _A, _S = WorkflowState, CallState, AttemptState, SubmissionState
# By class: members of different ones that are spelled alike are equal.
_NEXT: dict[type[StrEnum], dict[StrEnum, frozenset[StrEnum]]] = {
    WorkflowState: {
        _W.SUBMITTED: frozenset({_W.RUNNING, _W.FAILED, _W.ABORTING, _W.ABORTED, _W.ON_HOLD}),
        _W.ON_HOLD: frozenset({_W.SUBMITTED, _W.ABORTED}),
        _W.RUNNING: frozenset({_W.SUCCEEDED, _W.FAILED, _W.ABORTING, _W.ABORTED}),
        _W.ABORTING: frozenset({_W.ABORTED, _W.FAILED, _W.SUCCEEDED}),
    },
    CallState: {
        _C.WAITING: frozenset({_C.RUNNING, _C.DONE, _C.FAILED, _C.ABORTED}),
        _C.RUNNING: frozenset({_C.WAITING, _C.DONE, _C.FAILED, _C.ABORTED}),
    },
    AttemptState: {
        _A.SUBMITTING: frozenset({_A.QUEUED, _A.RUNNING, _A.SUCCEEDED, _A.FAILED, _A.ABORTED}),
        _A.QUEUED: frozenset({_A.RUNNING, _A.SUCCEEDED, _A.FAILED, _A.ABORTED}),
        _A.RUNNING: frozenset({_A.SUCCEEDED, _A.FAILED, _A.ABORTED}),
    },
    SubmissionState: {
        _S.INTENDED: frozenset({_S.SUBMITTED, _S.REVOKED, _S.SETTLED}),
        # Revoked: the backend has lost it.
        _S.SUBMITTED: frozenset({_S.SETTLED, _S.REVOKED}),
    },
}


def is_terminal(state: StrEnum) -> bool:
    """Whether nothing follows this state."""
    return state not in _NEXT[type(state)]


def may_follow(before: S, after: S) -> bool:
    """Whether `after` is a legal next state of `before`; staying where one is, is legal."""
    return before == after or after in _NEXT[type(before)].get(before, frozenset())


class _HasState(Protocol):
    @property
    def state(self) -> StrEnum: ...


R = TypeVar("R", bound=_HasState)


def moved(record: R, **changes: Any) -> R:
    """A record (a frozen dataclass) with these changes. Raises ValueError for a state that cannot
    follow: it never comes to the store."""
    after = changes.get("state", record.state)
    if not may_follow(record.state, after):
        raise ValueError(f"{after} cannot follow {record.state}: {record}")
    return replace(record, **changes)  # type: ignore[type-var]
