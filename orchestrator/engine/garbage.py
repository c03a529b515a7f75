"""Python's collector of circles, kept from stopping everything while a large workflow is alive.

A full collection walks all that lives: seconds for a workflow of 100,000 calls, in which no thread
of the process moves. So what outlives a collection that took long is set aside (`gc.freeze`): later
ones walk only what is new. Set aside is not lost: most of it goes with its last reference, and
`thaw` gives the rest back to the collector in an idle moment.

Python begins a collection when more was made than has gone. Where as much goes as is made, as in an
engine under way, what is new piles up unseen and is walked all at once one day; so the engine has
it looked at in every turn (`pace`).
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Mapping

# CPU time of a full collection from which on what it left is set aside.
_LONG_SECONDS = 0.006
# CPU time spent on what is young from which on all that is not set aside is looked at.
_YOUNG_SECONDS = 0.005
# Objects made between two collections of the youngest, and how many collections of one generation
# there are before one of the next. Full ones come often enough to find little that is new.
_THRESHOLDS = (2_000, 5, 3)

_lock = threading.Lock()
_engines = 0  # of this process; a program has one, tests have several
_before = gc.get_threshold()
_began = 0.0
_young = 0.0
_aside = False


def watch() -> None:
    """From now on long collections are not repeated. Once for each engine."""
    global _engines, _before
    with _lock:
        _engines += 1
        if _engines == 1:
            _before = gc.get_threshold()
            gc.freeze()  # what the program has loaded stays
            gc.collect()  # of next to nothing: the next full one comes when a little is new
            gc.set_threshold(*_THRESHOLDS)
            gc.callbacks.append(_on_collection)


def unwatch() -> None:
    """Leave the collector as it was."""
    global _engines
    with _lock:
        _engines -= 1
        if _engines == 0:
            gc.callbacks.remove(_on_collection)
            gc.set_threshold(*_before)
            gc.unfreeze()


def pace() -> None:
    """Look at what is new, before it is much. To be called in every turn."""
    gc.collect(0)
    if _young > _YOUNG_SECONDS:
        gc.collect()


def thaw() -> None:
    """Give back to the collector what was set aside: to be called when nothing is under way."""
    global _aside
    if _aside:
        _aside = False
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        gc.collect()


def _on_collection(phase: str, info: Mapping[str, int]) -> None:
    global _began, _young, _aside
    if phase == "start":
        _began = time.thread_time()
        return
    took = time.thread_time() - _began
    if info["generation"] < 2:
        _young += took
        return
    _young = 0.0
    if took > _LONG_SECONDS:
        _aside = True
        gc.freeze()
