"""What /proc says about processes: trees, memory, environment. Linux only."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROC = Path("/proc")
_KILL_SECONDS = 2.0
try:
    _BOOT = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
except OSError:
    _BOOT = ""


@dataclass(frozen=True, slots=True)
class Process:
    """One line of /proc/PID/stat."""

    pid: int
    parent: int
    session: int
    started: str  # clock ticks since boot, and which boot
    resident_bytes: int
    zombie: bool


def read(pid: int) -> Process | None:
    """The process, or None when there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 (10,000 times a second)
            text = file.read()
    except OSError:
        return None
    # The name is in brackets and may hold anything, brackets too.
    fields = text[text.rindex(b")") + 2 :].split()
    return Process(
        pid=pid,
        parent=int(fields[1]),
        session=int(fields[3]),
        started=f"{fields[19].decode()}@{_BOOT}",
        resident_bytes=int(fields[21]) * _PAGE,
        zombie=fields[0] in (b"Z", b"X"),
    )


def start_time(pid: int) -> str:
    """When it started, in ticks of which boot: with the pid the name of a process for good."""
    process = read(pid)
    return process.started if process else f"0@{_BOOT}"


def processes() -> Iterator[Process]:
    """All that can be seen, dead ones left out."""
    for name in os.listdir("/proc"):  # noqa: PTH208 (half the time of iterdir)
        if name.isdigit() and (process := read(int(name))) and not process.zombie:
            yield process


def trees(leaders: Collection[int]) -> dict[int, list[Process]]:
    """For each session leader: its session and every descendant of it."""
    everyone = {process.pid: process for process in processes()}
    owner: dict[int, int] = {}

    def owner_of(pid: int) -> int:
        path = []
        while pid not in owner:
            process = everyone.get(pid)
            if pid in leaders:
                owner[pid] = pid
            elif process is None or process.parent <= 1:
                in_session = process is not None and process.session in leaders
                owner[pid] = process.session if process and in_session else 0
            elif process.session in leaders:
                owner[pid] = process.session
            else:
                path.append(pid)
                pid = process.parent
        for passed in path:
            owner[passed] = owner[pid]
        return owner[pid]

    found: dict[int, list[Process]] = {}
    for pid, process in everyone.items():
        if leader := owner_of(pid):
            found.setdefault(leader, []).append(process)
    return found


def own_bytes(pid: int) -> int:
    """Memory that only goes when the process goes: its share of anonymous and shared memory."""
    total = share = 0
    try:
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in ("Pss_Anon", "Pss_Shmem"):
                share += int(rest.split()[0]) << 10
            elif name == "Pss":
                total = int(rest.split()[0]) << 10
    except (OSError, ValueError):
        return 0
    return share or total


def kill_marked(name: str, values: Collection[str], *, prefix: bool = False) -> None:
    """Kill every process whose environment has variable `name` set to one of `values`.

    With `prefix`, to anything that begins with one of them. Members of their sessions go as well,
    which may have cleared their environment: only for processes that were started in a session of
    their own. Looks again until none is left: a process may fork while it is looked for.
    """
    needles = [f"{name}={value}".encode() for value in values]
    ends = b"" if prefix else b"\0"
    me, mine = os.getpid(), os.geteuid()
    sessions: set[int] = set()
    deadline = time.monotonic() + _KILL_SECONDS
    while time.monotonic() < deadline:
        found = False
        for process in processes():
            if process.pid == me:
                continue
            with contextlib.suppress(OSError):
                path = f"/proc/{process.pid}/environ"
                if mine and os.stat(path).st_uid != mine:  # noqa: PTH116
                    continue
                with open(path, "rb") as file:  # noqa: PTH123
                    text = b"\0" + file.read() + b"\0"
                if process.session in sessions or any(
                    b"\0" + needle + ends in text for needle in needles
                ):
                    sessions.add(process.session)
                    os.kill(process.pid, signal.SIGKILL)
                    found = True
        if not found:
            return
        time.sleep(0.005)


def kill_sessions(leaders: Mapping[int, str]) -> None:
    """Kill all members of these sessions: leader's pid -> its start time.

    A pid whose process started at another time is somebody else's by now. A leader that is gone
    still owns its number while its session has members. Looks again until none is left.
    """
    mine = {
        pid
        for pid, started in leaders.items()
        if started.endswith(f"@{_BOOT}")
        and ((process := read(pid)) is None or process.started == started)
    }
    deadline = time.monotonic() + _KILL_SECONDS
    while mine and time.monotonic() < deadline:
        found = False
        for process in processes():
            if process.session in mine:
                with contextlib.suppress(OSError):
                    os.kill(process.pid, signal.SIGKILL)
                    found = True
        if not found:
            return
        time.sleep(0.005)
