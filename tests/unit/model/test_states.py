from __future__ import annotations

from enum import StrEnum

import pytest

from orchestrator.model import states
from orchestrator.model.attempt import AttemptRef
from orchestrator.model.failures import RETRY_CLASS, Failure, FailureCode, RetryClass


@pytest.mark.parametrize(
    "terminal",
    [
        states.WorkflowState.SUCCEEDED,
        states.CallState.DONE,
        states.AttemptState.FAILED,
        states.SubmissionState.REVOKED,
    ],
)
def test_nothing_follows_a_terminal_state(terminal: StrEnum) -> None:
    assert states.is_terminal(terminal)
    assert not any(states.may_follow(terminal, s) for s in type(terminal) if s is not terminal)


def test_states_go_forward_only() -> None:
    assert states.may_follow(states.AttemptState.QUEUED, states.AttemptState.RUNNING)
    assert not states.may_follow(states.AttemptState.RUNNING, states.AttemptState.QUEUED)


def test_a_users_error_is_never_taken_for_a_lost_host_nor_the_reverse() -> None:
    assert Failure(FailureCode.WRONG_RETURN_CODE, "").retry_class is RetryClass.USER
    assert Failure(FailureCode.SPOT_LOSS, "").retry_class is RetryClass.LOST
    assert Failure(FailureCode.ABORTED, "").retry_class is RetryClass.NEVER
    assert set(RETRY_CLASS) <= set(FailureCode)


def test_an_attempts_directory_is_cromwells() -> None:
    ref = AttemptRef("root", "id", "wf/id", "call-align-3", "align", (3,), 2)
    assert ref.call_directory == "wf/id/call-align/shard-3/attempt-2"
    assert ref.basename == "align-3"
    assert AttemptRef("root", "id", "wf/id", "call-t", "t").call_directory == "wf/id/call-t"


def test_an_attempts_token_is_its_own() -> None:
    refs = {
        AttemptRef("r", "w", "d", call, "t", (), attempt).token
        for call in ("call-t-1", "call-t-11")
        for attempt in (1, 2)
    }
    assert len(refs) == 4
    assert all(len(token) == 16 for token in refs)
