"""Programs that a bootstrap starts end with it, whatever ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

_GRACE_SECONDS = 5.0


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM unwinds like Ctrl-C does, so that what was started is ended; exit status 143."""

    def unwind(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def end_group(process: subprocess.Popen[str]) -> None:
    """End a child that leads a process group, and everything it started."""
    for number, seconds in ((signal.SIGTERM, _GRACE_SECONDS), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)


def run_to_its_end(command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> int:
    """Run a program that handles interruption itself; its exit status.

    Ctrl-C reaches it from the terminal and it winds up by itself: here is only waited for it.
    SIGTERM reaches this process alone and is passed on.
    """
    with subprocess.Popen(command, cwd=cwd, env=environment) as process:

        def wait_on(number: int, frame: FrameType | None) -> None:
            pass

        def pass_on(number: int, frame: FrameType | None) -> None:
            process.send_signal(number)

        before = {
            signal.SIGINT: signal.signal(signal.SIGINT, wait_on),
            signal.SIGTERM: signal.signal(signal.SIGTERM, pass_on),
        }
        try:
            code = process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    return code if code >= 0 else 128 - code
