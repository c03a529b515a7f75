from __future__ import annotations

import pytest

from orchestrator.backends.aws_batch import reasons
from orchestrator.backends.aws_batch.manifests import judged
from orchestrator.backends.aws_batch.reasons import Ended
from orchestrator.model.failures import Failure, FailureCode
from orchestrator.model.manifest import Manifest, OutputFile


def manifest(code: int | None, failure: Failure | None = None) -> Manifest:
    log = OutputFile("log", "s3://b/log", 0)
    return Manifest("s", "a", "j", code, stdout=log, stderr=log, failure=failure)


STOPPED = Failure(FailureCode.ABORTED, "the job was told to stop (SIGTERM)")
ORDINARY = "Essential container in task exited"


@pytest.mark.parametrize(
    ("status_reason", "code"),
    [
        (reasons.CANCELLED, FailureCode.ABORTED),
        ("somebody ended it by hand", FailureCode.ABORTED),
        ("Host EC2 (instance i-0123) terminated.", FailureCode.SPOT_LOSS),
        (ORDINARY, FailureCode.LOST),
        ("", FailureCode.LOST),
    ],
)
def test_a_job_that_was_told_to_stop_ended_for_the_reason_that_batch_gives(
    status_reason: str, code: FailureCode
) -> None:
    ended = Ended(succeeded=False, status_reason=status_reason, exit_code=143)
    failure = judged(manifest(None, STOPPED), ended).failure
    assert failure is not None
    assert failure.code is code


@pytest.mark.parametrize("code", [1, 130, 137, 143])
def test_a_return_code_of_the_command_itself_stays_a_return_code(code: int) -> None:
    ended = Ended(succeeded=False, status_reason=ORDINARY, exit_code=code)
    assert judged(manifest(code), ended).failure is None


def test_a_command_that_was_killed_for_memory_lacked_memory() -> None:
    ended = Ended(
        succeeded=False,
        status_reason=ORDINARY,
        container_reason="OutOfMemoryError: Container killed due to memory usage",
        exit_code=137,
    )
    failure = judged(manifest(137), ended).failure
    assert failure is not None
    assert failure.code is FailureCode.OUT_OF_MEMORY
