"""How fast SubmitJob is called: below AWS's limit, and slower for a while after it has refused.

AWS Batch takes 50 SubmitJob a second in an account and region (Service quotas), of all programs
together. A refusal halves the rate, every job that is taken gives a little of it back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_SLOWEST = 1.0
_GIVEN_BACK = 0.02  # of the full rate, for a job that was taken


class Pace:
    """Shared by all threads that submit."""

    def __init__(
        self,
        per_second: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._full = self._rate = per_second
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._next = 0.0  # when the next call may be made

    @property
    def rate(self) -> float:
        """Calls a second, now."""
        return self._rate

    def wait(self) -> None:
        """Until it is this caller's turn."""
        with self._lock:
            now = self._clock()
            turn = max(now, self._next)
            self._next = turn + 1 / self._rate
        if turn > now:
            self._sleep(turn - now)

    def taken(self) -> None:
        """AWS took a job."""
        with self._lock:
            self._rate = min(self._full, self._rate + self._full * _GIVEN_BACK)

    def refused(self) -> None:
        """AWS was asked too often: by us or by others."""
        with self._lock:
            self._rate = max(min(_SLOWEST, self._full), self._rate / 2)
            self._next = max(self._next, self._clock() + 1 / self._rate)
