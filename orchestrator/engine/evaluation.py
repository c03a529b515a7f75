"""Threads in which runs evaluate: an expression that takes seconds holds up its own workflow only.

Nothing stops an expression half-way: `range(1000000)` is one step. So the engine's thread lets
another one evaluate, and waits for it as long as a slice of time takes. What is not back by then is
left to itself and told of once it is: Python lets threads take turns, so the others go on.
As a rule one thread works at a time, as if there were only one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

_MOST = 32  # that take long at the same time; what comes then waits for the first of them
# How long a thread that evaluates goes on while the engine's wants to. A commit to SQLite lets
# others have their turn at every row.
_SWITCH_SECONDS = 0.001


class Evaluators:
    """Work that mostly takes a moment."""

    def __init__(self, patience_seconds: float) -> None:
        """How long `work` waits."""
        self._patience = patience_seconds
        self._threads = ThreadPoolExecutor(_MOST, thread_name_prefix="evaluation")

    def start(self) -> None:
        """To be called before the first work."""
        sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_SECONDS))

    def work(self, do: Callable[[], None], late: Callable[[BaseException | None], None]) -> bool:
        """True: it is done. Raises what it raised. False: it takes longer; `late` is told once it
        is done, with what it raised, in the thread where it was."""
        done = self._threads.submit(do)
        try:
            done.result(self._patience)
        except TimeoutError:
            if not done.done():
                done.add_done_callback(lambda end: _tell(end, late))
                return False
            done.result()
        return True

    def close(self) -> None:
        """Nothing is begun any more; nobody waits for what is under way."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _tell(end: Future[None], late: Callable[[BaseException | None], None]) -> None:
    if not end.cancelled():
        late(end.exception())
