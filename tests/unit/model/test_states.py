from __future__ import annotations

from enum import StrEnum

import pytest

from orchestrator.model import states
from orchestrator.model.attempt import AttemptRef
from orchestrator.model.failures import RETRY_CLASS, Failure, FailureCode, RetryClass
from orchestrator.model.records import SubmissionRecord


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


def test_states_of_different_kinds_that_are_spelled_alike_are_told_apart() -> None:
    workflow, submission = states.WorkflowState, states.SubmissionState
    assert workflow.SUBMITTED == submission.SUBMITTED  # type: ignore[comparison-overlap]
    assert states.may_follow(workflow.SUBMITTED, workflow.RUNNING)
    assert states.may_follow(submission.SUBMITTED, submission.SETTLED)
    assert states.may_follow(states.CallState.RUNNING, states.CallState.DONE)
    assert states.may_follow(workflow.RUNNING, workflow.SUCCEEDED)


def test_a_record_moves_only_where_it_may() -> None:
    record = SubmissionRecord("s", "w", "n", "b", "", 1, states.SubmissionState.INTENDED, 0.0)
    moved = states.moved(record, state=states.SubmissionState.SUBMITTED, job_id="j")
    assert (moved.state, moved.job_id) == (states.SubmissionState.SUBMITTED, "j")
    assert states.moved(moved, job_id="k").job_id == "k"
    with pytest.raises(ValueError, match="Intended cannot follow Submitted"):
        states.moved(moved, state=states.SubmissionState.INTENDED)
