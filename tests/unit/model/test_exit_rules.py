"""AWS Batch's retryStrategy, as the engine keeps to it."""

from __future__ import annotations

import pytest

from orchestrator.model.exit_rules import ExitRule, JobEnd, further_attempts
from orchestrator.model.failures import FailureCode

FAILED = FailureCode.WRONG_RETURN_CODE
SPOT = ExitRule("RETRY", on_status_reason="Host EC2*")
REST = ExitRule("EXIT", on_reason="*")
GONE = JobEnd(FailureCode.SPOT_LOSS, status_reason="Host EC2 (instance i-1) terminated.")


@pytest.mark.parametrize(
    ("rules", "end", "retried"),
    [
        ((), JobEnd(FAILED, 1), True),
        ((SPOT, REST), GONE, True),
        ((SPOT, REST), JobEnd(FAILED, 1, "", "Essential container in task exited"), False),
        ((SPOT,), JobEnd(FAILED, 1), True),  # no rule matches: Batch retries
        ((REST, SPOT), GONE, False),  # the first that matches
        ((ExitRule("EXIT", on_exit_code="1"),), JobEnd(FAILED, 1), False),
        ((ExitRule("EXIT", on_exit_code="1"),), JobEnd(FAILED, 13), True),
        ((ExitRule("EXIT", on_exit_code="1*"),), JobEnd(FAILED, 13), False),
        ((ExitRule("EXIT", on_exit_code="1"),), JobEnd(FailureCode.LOST), True),
        ((ExitRule("EXIT", "137", "OutOfMemory*"),), JobEnd(FAILED, 137, "other"), True),
        (
            (ExitRule("EXIT", "137", "OutOfMemory*"),),
            JobEnd(FailureCode.OUT_OF_MEMORY, 137, "OutOfMemoryError: x"),
            False,
        ),
        ((), JobEnd(FailureCode.IMAGE_NOT_FOUND), True),
        ((), JobEnd(FailureCode.TIMEOUT), False),
        ((), JobEnd(FailureCode.ABORTED), False),
        ((), JobEnd(FailureCode.SUBMIT_REFUSED), False),
    ],
)
def test_the_first_rule_that_matches_decides(
    rules: tuple[ExitRule, ...], end: JobEnd, retried: bool
) -> None:
    assert further_attempts(3, rules, end) == (2 if retried else 0)


@pytest.mark.parametrize(("attempts", "further"), [(0, 0), (1, 0), (10, 9)])
def test_attempts_include_the_first(attempts: int, further: int) -> None:
    assert further_attempts(attempts, (), JobEnd(FAILED, 1)) == further
