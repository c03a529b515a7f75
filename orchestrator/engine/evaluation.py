"""Threads in which runs evaluate: an expression that takes seconds holds up its own workflow only.

Nothing stops an expression half-way: `range(1000000)` is one step. So the engine's thread lets
another one evaluate, and waits for it as long as a slice of time takes. What is not back by then is
left to itself and told of once it is: Python lets threads take turns, so the others go on.
As a rule one thread works at a time, as if there were only one.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future

_MOST = 32  # that take long at the same time; what comes then waits for the first of them
# How long a thread that evaluates goes on while the engine's wants to. A commit to SQLite lets
# others have their turn at every row.
_SWITCH_SECONDS = 0.001

_lock = threading.Lock()
_engines = 0  # of this process; a program has one, tests have several
_before = sys.getswitchinterval()


class Evaluators:
    """Work that mostly takes a moment.

    The threads are daemons, which an executor's are not: a process that ends does not wait for an
    expression.
    """

    def __init__(self, patience_seconds: float) -> None:
        """How long `work` waits."""
        self._patience = patience_seconds
        self._works: queue.SimpleQueue[tuple[Callable[[], None], Future[None]] | None] = (
            queue.SimpleQueue()
        )
        self._lock = threading.Lock()
        self._threads = 0
        self._unfinished = 0  # works; at most one thread more than these is kept
        self._open = False

    def start(self) -> None:
        """To be called before the first work."""
        self._open = True
        _take_turns()

    def work(self, do: Callable[[], None], late: Callable[[BaseException | None], None]) -> bool:
        """True: it is done. Raises what it raised. False: it takes longer; `late` is told once it
        is done, with what it raised, in the thread where it was."""
        done: Future[None] = Future()
        with self._lock:
            if self._threads == self._unfinished < _MOST:
                threading.Thread(target=self._evaluate, name="evaluation", daemon=True).start()
                self._threads += 1
            self._unfinished += 1
        self._works.put((do, done))
        try:
            done.result(self._patience)
        except TimeoutError:
            if not done.done():
                done.add_done_callback(lambda end: late(end.exception()))
                return False
            done.result()
        return True

    def close(self) -> None:
        """Nothing is begun any more; nobody waits for what is under way."""
        if self._open:
            self._open = False
            for _ in range(self._threads):
                self._works.put(None)
            _leave_turns()

    def _evaluate(self) -> None:
        while self._next():
            pass

    def _next(self) -> bool:
        """False: this thread is not needed any more. Nothing of a work outlives it here."""
        work = self._works.get()
        if work is None or not self._open:
            return False
        do, done = work
        error = None
        try:
            do()
        except BaseException as raised:
            error = raised
        with self._lock:
            self._unfinished -= 1
            needed = self._threads <= self._unfinished + 1
            self._threads -= not needed
        # Last: whoever is told comes with the next work, which then finds a thread that rests.
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
        return needed


def _take_turns() -> None:
    global _engines, _before
    with _lock:
        _engines += 1
        if _engines == 1:
            _before = sys.getswitchinterval()
            sys.setswitchinterval(min(_before, _SWITCH_SECONDS))


def _leave_turns() -> None:
    global _engines
    with _lock:
        _engines -= 1
        if _engines == 0:
            sys.setswitchinterval(_before)
