"""Why an attempt failed, and what that means for a retry.

Each code belongs to a class with a budget of its own: a spot loss never uses up the retries a user
granted for errors of their own command.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RetryClass(StrEnum):
    """Whose retry budget a failure draws on."""

    NEVER = "never"
    USER = "user"  # the task's maxRetries
    LOST = "lost"  # the host or the job vanished; the engine's budget
    TRANSIENT = "transient"  # image pull, throttled storage; the engine's budget


class FailureCode(StrEnum):
    """Stable codes: they stand in metadata and in the documentation."""

    WRONG_RETURN_CODE = "WRONG_RETURN_CODE"
    STDERR_NOT_EMPTY = "STDERR_NOT_EMPTY"
    OUTPUT_MISSING = "OUTPUT_MISSING"
    OUTPUT_REFUSED = "OUTPUT_REFUSED"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    DISK_FULL = "DISK_FULL"
    TIMEOUT = "TIMEOUT"
    LOCALIZATION_FAILED = "LOCALIZATION_FAILED"
    DELOCALIZATION_FAILED = "DELOCALIZATION_FAILED"
    INPUT_CHANGED = "INPUT_CHANGED"
    IMAGE_PULL_FAILED = "IMAGE_PULL_FAILED"
    IMAGE_NOT_FOUND = "IMAGE_NOT_FOUND"
    CONTAINER_START_FAILED = "CONTAINER_START_FAILED"
    TOOLS_MISSING = "TOOLS_MISSING"
    SPOT_LOSS = "SPOT_LOSS"
    LOST = "LOST"
    SUBMIT_REFUSED = "SUBMIT_REFUSED"
    EVALUATION_FAILED = "EVALUATION_FAILED"
    ABORTED = "ABORTED"
    REPLAY_MISMATCH = "REPLAY_MISMATCH"
    POISONED = "POISONED"


RETRY_CLASS: dict[FailureCode, RetryClass] = {
    FailureCode.WRONG_RETURN_CODE: RetryClass.USER,
    FailureCode.STDERR_NOT_EMPTY: RetryClass.USER,
    FailureCode.OUTPUT_MISSING: RetryClass.USER,
    FailureCode.OUT_OF_MEMORY: RetryClass.USER,
    FailureCode.DISK_FULL: RetryClass.USER,
    FailureCode.TIMEOUT: RetryClass.USER,
    FailureCode.LOCALIZATION_FAILED: RetryClass.TRANSIENT,
    FailureCode.DELOCALIZATION_FAILED: RetryClass.TRANSIENT,
    FailureCode.IMAGE_PULL_FAILED: RetryClass.TRANSIENT,
    FailureCode.CONTAINER_START_FAILED: RetryClass.TRANSIENT,
    FailureCode.TOOLS_MISSING: RetryClass.TRANSIENT,
    FailureCode.SPOT_LOSS: RetryClass.LOST,
    FailureCode.LOST: RetryClass.LOST,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """One reason, in words. `message` is for people: what, where, what next."""

    code: FailureCode
    message: str

    @property
    def retry_class(self) -> RetryClass:
        """Codes not in the table are never retried."""
        return RETRY_CLASS.get(self.code, RetryClass.NEVER)
