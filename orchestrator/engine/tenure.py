"""The lease in time: who owns it, its heartbeat, and whether its holder may still act.

A holder that was paused (SIGSTOP, a stalled host) must not act on a lease that somebody else has
taken meanwhile. So effects ask `Tenure.may_act` right before they happen, by a clock that goes on
while a process is stopped, and stop well before the lease runs out.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from orchestrator import errors
from orchestrator.store.base import Lease, Store

_log = structlog.get_logger(__name__)


def this_process() -> str:
    """`host/boot/pid/start`: names this process so that another one on this host can see it die."""
    return "/".join((socket.gethostname(), _boot_id(), str(os.getpid()), _started(os.getpid())))


def is_dead(owner: str) -> bool:
    """Whether that process is certainly dead: it was on this host and is not there any more."""
    try:
        host, boot, pid, started = owner.split("/")
    except ValueError:
        return False
    if host != socket.gethostname():
        return False
    if boot != _boot_id():
        return True
    return _started(int(pid)) != started


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "-"


def _started(pid: int) -> str:
    """The start time of a process in ticks since boot; empty where it does not live."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        if Path("/proc/self").exists():
            return ""
        try:  # no /proc on this system: alive or not is all there is to know
            os.kill(pid, 0)
        except ProcessLookupError:
            return ""
        except PermissionError:
            pass
        return "-"
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]


class Tenure:
    """One lease, and until when it may be acted on."""

    def __init__(self, lease: Lease, lease_seconds: float, claimed_at: float) -> None:
        """`claimed_at`: `now()` taken before the claim was made."""
        self.lease = lease
        self._seconds = lease_seconds
        self._renewed_at = claimed_at
        self._lost = False

    @staticmethod
    def now() -> float:
        """Seconds of a clock that goes on while a process, or the machine, sleeps."""
        clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
        return time.clock_gettime(clock)

    def renewed(self, at: float) -> None:
        """The store has extended the lease; `at` was taken before it was asked."""
        self._renewed_at = at

    @property
    def lost(self) -> bool:
        """Whether somebody else is known to have it."""
        return self._lost

    def lose(self) -> None:
        """Somebody else has it."""
        self._lost = True

    def may_act(self) -> bool:
        """False from half the lease's time without renewal on: nothing new is begun then."""
        return not self._lost and self.now() - self._renewed_at < self._seconds / 2


class Heartbeat:
    """Renews all leases from a thread of its own, as long as the engine's thread makes progress."""

    def __init__(
        self,
        store: Store,
        lease_seconds: float,
        engine_stalled: Callable[[], bool],
        on_lost: Callable[[str], None],
    ) -> None:
        self._store = store
        self._lease_seconds = lease_seconds
        self._engine_stalled = engine_stalled
        self._on_lost = on_lost
        self._tenures: dict[str, Tenure] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to renew."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; leases stay until released or run out."""
        self._stop.set()
        self._thread.join(timeout=10)

    def add(self, tenure: Tenure) -> None:
        """Keep this lease alive."""
        with self._lock:
            self._tenures[tenure.lease.root_id] = tenure

    def remove(self, root_id: str) -> None:
        """Let this lease go."""
        with self._lock:
            self._tenures.pop(root_id, None)

    def confirm(self, tenure: Tenure) -> bool:
        """Whether its holder may act now. After a pause the store is asked: nobody else may have
        taken a lease although its time had run out."""
        if not tenure.may_act() and not tenure.lost:
            self._renew([tenure])
        return tenure.may_act()

    def _beat(self) -> None:
        while not self._stop.wait(self._lease_seconds / 5):
            if self._engine_stalled():
                _log.warning("the engine makes no progress: leases are not renewed")
                continue
            with self._lock:
                tenures = list(self._tenures.values())
            if tenures:
                self._renew(tenures)

    def _renew(self, tenures: Iterable[Tenure]) -> None:
        by_root = {tenure.lease.root_id: tenure for tenure in tenures}
        at = Tenure.now()
        try:
            lost = self._store.renew([t.lease for t in by_root.values()], self._lease_seconds)
        except errors.OrchestratorError as error:
            _log.warning("leases could not be renewed", reason=error.message)
            return
        for lease in lost:
            tenure = by_root.pop(lease.root_id)
            tenure.lose()
            self.remove(lease.root_id)
            self._on_lost(lease.root_id)
        for tenure in by_root.values():
            tenure.renewed(at)
