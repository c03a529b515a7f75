"""A failure -> another attempt, or the end of the call.

Every class of failure has a budget of its own: losing a spot host five times leaves the retries
that a user granted (`maxRetries`) untouched, and the reverse.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.model.failures import RETRY_CLASS, Failure, FailureCode, RetryClass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The engine's own budgets and delays (seconds, doubled with each use of the budget)."""

    lost: int = 5
    spot: int = 2  # losses of a spot host, and then the job goes where hosts last
    transient: int = 3
    first_delay_seconds: float = 2.0
    longest_delay_seconds: float = 300.0

    def budget(self, retry_class: RetryClass, max_retries: int) -> int:
        """Attempts beyond the first that this class may cost."""
        return {
            RetryClass.NEVER: 0,
            RetryClass.USER: max_retries,
            RetryClass.LOST: self.lost,
            RetryClass.TRANSIENT: self.transient,
        }[retry_class]

    def wants_lasting(self, earlier: Iterable[str]) -> bool:
        """Whether the next attempt shall be on hosts that nobody takes away."""
        return Counter(earlier)[FailureCode.SPOT_LOSS] >= self.spot

    def spent(
        self, failure: Failure, earlier: Iterable[str], max_retries: int, further: int = 0
    ) -> dict[str, int]:
        """Of the budget that pays for another attempt: `used`, that one included, and `budget`."""
        retry_class = failure.retry_class
        used = Counter(_class_of(code) for code in earlier)[retry_class]
        return {"used": used, "budget": self.budget(retry_class, max_retries) + further}

    def delay(
        self, failure: Failure, earlier: Iterable[str], max_retries: int, further: int = 0
    ) -> float | None:
        """Seconds until the next attempt, or None where there is none.

        `earlier` are the failure codes of the call's attempts before this one. `further` attempts
        are granted on top of the budget by what the task says of such an end.
        """
        retry_class = failure.retry_class
        used = Counter(_class_of(code) for code in earlier)[retry_class]
        if used >= self.budget(retry_class, max_retries) + further:
            return None
        if retry_class is RetryClass.USER:
            return 0.0  # the command's own fault: waiting changes nothing
        return float(min(self.first_delay_seconds * 2**used, self.longest_delay_seconds))


def _class_of(code: str) -> RetryClass:
    try:
        return RETRY_CLASS.get(FailureCode(code), RetryClass.NEVER)
    except ValueError:  # a code of another release
        return RetryClass.NEVER
