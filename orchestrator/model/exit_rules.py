"""AWS Batch's `retryStrategy`, kept to by the engine: Batch itself makes one attempt of each job.

Source: AWS Batch API reference, RetryStrategy and EvaluateOnExit; user guide, Automated job
retries; Job timeouts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.model.failures import FailureCode

# Batch does not retry what ran into its time limit or was ended by somebody; and has no part in
# what never became a job, or ended well before its outputs were evaluated.
_NEVER = frozenset(
    {
        FailureCode.TIMEOUT,
        FailureCode.ABORTED,
        FailureCode.SUBMIT_REFUSED,
        FailureCode.EVALUATION_FAILED,
        FailureCode.REPLAY_MISMATCH,
        FailureCode.POISONED,
    }
)


@dataclass(frozen=True, slots=True)
class ExitRule:
    """One rule of `evaluateOnExit`. What is empty is no condition; `*` may end a condition."""

    action: str  # RETRY or EXIT
    on_exit_code: str = ""
    on_reason: str = ""
    on_status_reason: str = ""


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How a job ended, in the backend's words."""

    code: FailureCode
    exit_code: int | None = None
    reason: str = ""
    status_reason: str = ""


def further_attempts(attempts: int, rules: Iterable[ExitRule], end: JobEnd) -> int:
    """How many attempts beyond the first a strategy of so many `attempts` grants after this end.

    The first rule that matches decides; without one Batch retries.
    """
    if end.code in _NEVER:
        return 0
    action = next((rule.action for rule in rules if _matches(rule, end)), "RETRY")
    return max(0, attempts - 1) if action == "RETRY" else 0


def _matches(rule: ExitRule, end: JobEnd) -> bool:
    exit_code = "" if end.exit_code is None else str(end.exit_code)
    return all(
        _fits(pattern, text)
        for pattern, text in (
            (rule.on_exit_code, exit_code),
            (rule.on_reason, end.reason),
            (rule.on_status_reason, end.status_reason),
        )
        if pattern
    )


def _fits(pattern: str, text: str) -> bool:
    if pattern.endswith("*"):
        return text.startswith(pattern[:-1])
    return text == pattern
