from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from orchestrator.backends.base import Change, JobState
from orchestrator.engine import judgement
from orchestrator.model import runtime
from orchestrator.model.failures import Failure, FailureCode, RetryClass
from orchestrator.model.manifest import Manifest, OutputFile


def change(code: int | None, stderr: str = "", failure: Failure | None = None) -> Change:
    manifest = Manifest(
        submission_id="s",
        attempt="a",
        job_id="j",
        return_code=code,
        stdout=OutputFile("stdout", "stdout", 0),
        stderr=OutputFile("stderr", "stderr", len(stderr)),
        stderr_tail=stderr,
        failure=failure,
    )
    return Change("s", 0, JobState.FINISHED, "j", manifest=manifest)


def judged(end: Change, attributes: dict[str, Any] | None = None, *keys: str) -> Failure | None:
    return judgement.judge(end, runtime.parse(attributes or {}), keys)


@pytest.mark.parametrize("code", [130, 137, 143])
def test_a_signals_code_of_the_command_itself_is_its_users_error(code: int) -> None:
    failure = judged(change(code))
    assert failure is not None
    assert failure.code is FailureCode.WRONG_RETURN_CODE
    assert failure.retry_class is RetryClass.USER
    assert "SIG" in failure.message


@pytest.mark.parametrize("code", [130, 137, 143, 1])
def test_a_signals_code_that_is_accepted_is_success(code: int) -> None:
    assert judged(change(code), {"continueOnReturnCode": [code]}) is None
    assert judged(change(code), {"returnCodes": "*"}) is None


def test_a_lost_host_is_lost_whatever_code_was_accepted() -> None:
    gone = Change("s", 0, JobState.FINISHED, "j", failure=None)
    failure = judged(gone, {"continueOnReturnCode": True})
    assert failure is not None
    assert failure.code is FailureCode.LOST
    spot = Failure(FailureCode.SPOT_LOSS, "taken away")
    told = dataclasses.replace(gone, failure=spot)
    assert judged(told, {"continueOnReturnCode": True}) is spot


def test_a_job_that_was_told_to_stop_is_no_wrong_return_code() -> None:
    spot = Failure(FailureCode.SPOT_LOSS, "taken away")
    assert judged(change(143, failure=spot)) is spot


def test_a_command_that_never_ended_is_lost() -> None:
    failure = judged(change(None))
    assert failure is not None
    assert failure.code is FailureCode.LOST


def test_stderr_counts_only_where_it_is_told_to() -> None:
    assert judged(change(0, "warning")) is None
    failure = judged(change(0, "warning"), {"failOnStderr": True})
    assert failure is not None
    assert failure.code is FailureCode.STDERR_NOT_EMPTY
    assert judged(change(0, ""), {"failOnStderr": True}) is None


def test_words_about_memory_count_only_after_a_wrong_return_code() -> None:
    text = "java.lang.OutOfMemoryError"
    assert judged(change(0, text), None, "OutOfMemory") is None
    failure = judged(change(1, text), None, "Killed", "OutOfMemory")
    assert failure is not None
    assert failure.code is FailureCode.OUT_OF_MEMORY
    assert "OutOfMemory" in failure.message
    assert "return code 1" in failure.message
    failure = judged(change(1, text))  # memory does not grow: nobody asked for the words
    assert failure is not None
    assert failure.code is FailureCode.WRONG_RETURN_CODE
