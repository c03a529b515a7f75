"""One bootstrap at a time works on an environment of one home."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from orchestrator import errors


@contextlib.contextmanager
def exclusive(home: Path, environment: str) -> Iterator[int]:
    """Hold the lock; yields its descriptor, for children that must be waited for as well.

    It ends with the last process that holds it, however that ends. Raises TryLater when another one
    does, and EnvironmentProblem when the home cannot be written to.
    """
    path = home / ".orchestrator" / f"bootstrap-{environment}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise errors.EnvironmentProblem(
            f"cannot write to {path.parent}: {error.strerror}",
            hint="run as the owner of that folder, or give one of your own with --home",
        ) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(handle, 20, 0).decode("ascii", "replace") or "about to start"
            raise errors.TryLater(
                f"another bootstrap is at work on {environment!r} in {home} (process: {owner}, "
                "or a cdk that it left running)",
                hint="wait until it is done, or stop it with Ctrl-C; then the same command again",
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield handle
    finally:
        os.close(handle)
