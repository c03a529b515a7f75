"""Wrapper processes: started so that they outlive us, found again, ended.

A lock (flock) on a file of the job is taken before its process is made, and inherited by it and by
what it starts. So from the first moment on, whoever wants to know whether a job still lives asks
for the lock, and no process id has to be trusted across a restart.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

_PASSES = 20
_LOCK_FD = 9  # what the wrapper inherits it as; it uses 3 and 4 itself


class AlreadyRuns(Exception):
    """The lock is taken: the job's process lives."""


def start(argv: Sequence[str], lock: Path, log: Path, environment: Mapping[str, str]) -> int:
    """Start a process in a session of its own, holding the lock; the answer is its id.

    Its stdin and stdout are empty, its stderr goes to `log`. Raises AlreadyRuns, OSError.
    """
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # Far from what file actions write to.
        high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 20)
    finally:
        os.close(descriptor)
    try:
        try:
            fcntl.flock(high, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRuns from None
        return os.posix_spawn(
            argv[0],
            list(argv),
            dict(environment),
            file_actions=[
                *((os.POSIX_SPAWN_CLOSE, other) for other in _inheritable()),
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, high, _LOCK_FD),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGXFSZ, signal.SIGCHLD],
        )
    finally:
        os.close(high)


def _inheritable() -> list[int]:
    """Descriptors that whoever started us left open: a job must not keep their pipes open."""
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names only
        with contextlib.suppress(OSError):
            if int(name) > 2 and os.get_inheritable(int(name)):
                found.append(int(name))
    return found


def lives(lock: Path) -> bool:
    """Whether anything holds the job's lock."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared: two that ask do not take each other for the job.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def terminate(lock: Path) -> None:
    """SIGTERM to the wrapper: it passes it on to the command, and takes care of what is left."""
    _signal(lock, signal.SIGTERM, leader_only=True)


def kill(lock: Path) -> None:
    """SIGKILL to everything that holds the job's lock, the command included."""
    # Again, as long as there is anybody: one may have made another while the list was read.
    for _ in range(_PASSES):
        if not _signal(lock, signal.SIGKILL, leader_only=False):
            return


def _signal(lock: Path, number: signal.Signals, *, leader_only: bool) -> bool:
    """Whether there was anybody to send it to."""
    found = False
    try:
        wanted = lock.stat()
    except FileNotFoundError:
        return found
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # it has gone, or is somebody else's
            process = os.pidfd_open(int(entry.name))
            try:
                # Looked at after the descriptor was made: it cannot mean another process by now.
                held = (entry / "fd" / str(_LOCK_FD)).stat()
                ours = (held.st_dev, held.st_ino) == (wanted.st_dev, wanted.st_ino)
                if ours and (not leader_only or _is_wrapper(entry)):
                    signal.pidfd_send_signal(process, number)
                    found = True
            finally:
                os.close(process)
    return found


def _is_wrapper(entry: Path) -> bool:
    """Whether this is the process that `start` made: it leads its session and runs the wrapper."""
    arguments = (entry / "cmdline").read_bytes().split(b"\0")
    runs_it = any(argument.endswith(b"/wrapper.sh") for argument in arguments[:3])
    return runs_it and os.getsid(int(entry.name)) == int(entry.name)
