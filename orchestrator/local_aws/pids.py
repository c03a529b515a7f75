"""Processes known by pid *and* start, so that a reused pid is never taken for the old process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class KnownProcess:
    """One process of one boot. `started` is opaque: equal means the same start."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> KnownProcess | None:
        """The process that has this pid now; None when there is none (a zombie is none)."""
        started = _started(pid)
        return None if started is None else cls(pid, started)

    @classmethod
    def from_json(cls, value: Any) -> KnownProcess | None:
        """What `as_json` wrote; None when it is something else."""
        try:
            return cls(int(value["pid"]), str(value["started"]))
        except (KeyError, TypeError, ValueError):
            return None

    def as_json(self) -> dict[str, Any]:
        return {"pid": self.pid, "started": self.started}

    def alive(self) -> bool:
        """Whether this very process still runs."""
        return KnownProcess.of(self.pid) == self

    def send(self, number: signal.Signals) -> None:
        """Signal it, if it is still that process."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, seconds: float) -> bool:
        """Wait until it is gone; False when it is still there after `seconds`."""
        deadline = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        with contextlib.suppress(ChildProcessError):  # a child of ours: collect its exit code
            os.waitpid(self.pid, os.WNOHANG)
        return True

    def end(self, *, gently: float, first: signal.Signals = signal.SIGTERM) -> bool:
        """`first`, `gently` seconds to act on it, then SIGKILL. True when it is gone."""
        self.send(first)
        if self.wait(gently):
            return True
        self.send(signal.SIGKILL)
        return self.wait(10)


def _started(pid: int) -> str | None:
    if not _PROC.joinpath("self/stat").exists():
        return _started_without_proc(pid)
    try:
        stat = _PROC.joinpath(str(pid), "stat").read_text()
    except OSError:
        return None
    # proc(5): the command is in parentheses and may hold anything; state is the field after it,
    # starttime (clock ticks since boot: no change of the clock moves it) the 20th.
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else f"{_boot()}/{fields[19]}"


@cache
def _boot() -> str:
    try:
        return _PROC.joinpath("sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def _started_without_proc(pid: int) -> str | None:
    """From ps(1), where there is no /proc (macOS)."""
    answer = subprocess.run(
        ["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, started = answer.stdout.strip().partition(" ")
    return started.strip() or None if not state.startswith("Z") else None
