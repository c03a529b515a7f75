"""What AWS Batch says, in the failure codes of this project."""

from __future__ import annotations

import pytest

from orchestrator.backends.aws_batch.reasons import CANCELLED, Ended, classify, why_stopped
from orchestrator.backends.wrapper.exit_codes import WrapperExit
from orchestrator.model.failures import FailureCode

EXITED = "Essential container in task exited"


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        (Ended(False, "Host EC2 (instance i-08efb1) terminated."), FailureCode.SPOT_LOSS),
        (
            Ended(False, EXITED, "OutOfMemoryError: Container killed due to memory usage", 137),
            FailureCode.OUT_OF_MEMORY,
        ),
        (Ended(False, "Job attempt duration exceeded timeout", "", 137), FailureCode.TIMEOUT),
        (
            Ended(False, "Task failed to start", "CannotPullContainerError: manifest unknown"),
            FailureCode.IMAGE_PULL_FAILED,
        ),
        (
            Ended(False, "Task failed to start", "CannotStartContainerError: no such file"),
            FailureCode.CONTAINER_START_FAILED,
        ),
        (
            Ended(False, "Task failed to start", "DockerTimeoutError: Could not transition"),
            FailureCode.CONTAINER_START_FAILED,
        ),
        (
            Ended(False, "x", "CannotPullContainerError: write /a: no space left on device"),
            FailureCode.DISK_FULL,
        ),
        (Ended(False, CANCELLED, "", 143), FailureCode.ABORTED),
        (Ended(False, "stopped by ann"), FailureCode.ABORTED),
        (
            Ended(False, "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - too much"),
            FailureCode.SUBMIT_REFUSED,
        ),
        (Ended(False, EXITED, "", WrapperExit.REVOKED), FailureCode.LOST),
        (Ended(False, EXITED, "", WrapperExit.ALREADY_BEGUN), FailureCode.LOST),
        (Ended(False, EXITED, "", WrapperExit.TOOLS_MISSING), FailureCode.CONTAINER_START_FAILED),
        (
            Ended(False, EXITED, "", WrapperExit.LOCALIZATION_FAILED),
            FailureCode.LOCALIZATION_FAILED,
        ),
        (
            Ended(False, EXITED, "", WrapperExit.MANIFEST_NOT_WRITTEN),
            FailureCode.DELOCALIZATION_FAILED,
        ),
        (Ended(False, EXITED, "", 137), FailureCode.LOST),
        (Ended(False, EXITED, "", 1), FailureCode.LOST),
        (Ended(True, EXITED, "", 0), FailureCode.LOST),
        (Ended(False, vanished=True), FailureCode.LOST),
        (Ended(False), FailureCode.LOST),
    ],
)
def test_classification_without_a_manifest(ended: Ended, code: FailureCode) -> None:
    failure = classify(ended)
    assert failure.code is code
    for detail in (ended.status_reason, ended.container_reason):
        assert detail in failure.message


def test_an_ordinary_end_does_not_say_why_the_wrapper_was_stopped() -> None:
    assert why_stopped(Ended(False, EXITED, "", 143)) is None
    failure = why_stopped(Ended(False, "stopped by ann", "", 143))
    assert failure is not None
    assert "stopped by ann" in failure.message
