"""States of workflow, call, attempt and submission, and which may follow which."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar


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
_NEXT: dict[StrEnum, frozenset[StrEnum]] = {
    _W.SUBMITTED: frozenset({_W.RUNNING, _W.FAILED, _W.ABORTING, _W.ABORTED, _W.ON_HOLD}),
    _W.ON_HOLD: frozenset({_W.SUBMITTED, _W.ABORTED}),
    _W.RUNNING: frozenset({_W.SUCCEEDED, _W.FAILED, _W.ABORTING, _W.ABORTED}),
    _W.ABORTING: frozenset({_W.ABORTED, _W.FAILED, _W.SUCCEEDED}),
    _C.WAITING: frozenset({_C.RUNNING, _C.DONE, _C.FAILED, _C.ABORTED}),
    _C.RUNNING: frozenset({_C.WAITING, _C.DONE, _C.FAILED, _C.ABORTED}),
    _A.SUBMITTING: frozenset({_A.QUEUED, _A.RUNNING, _A.SUCCEEDED, _A.FAILED, _A.ABORTED}),
    _A.QUEUED: frozenset({_A.RUNNING, _A.SUCCEEDED, _A.FAILED, _A.ABORTED}),
    _A.RUNNING: frozenset({_A.SUCCEEDED, _A.FAILED, _A.ABORTED}),
    _S.INTENDED: frozenset({_S.SUBMITTED, _S.REVOKED, _S.SETTLED}),
    _S.SUBMITTED: frozenset({_S.SETTLED}),
}


def is_terminal(state: StrEnum) -> bool:
    """Whether nothing follows this state."""
    return state not in _NEXT


def may_follow(before: S, after: S) -> bool:
    """Whether `after` is a legal next state of `before`; staying where one is, is legal."""
    return before == after or after in _NEXT.get(before, frozenset())
