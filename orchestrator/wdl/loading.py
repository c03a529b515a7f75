"""Loading documents that strangers wrote: bounded, and where it has to be in a process of its own.

Parsing and checking take what a document makes them take. Known ways to make that much are refused
(`linking`, `miniwdl_checking`); this is for the unknown ones, for which there are two doors:

- `bounded` loads in this process, with a limit of time and memory that interrupts it. For commands:
  their user wrote the document, the limits cost nothing, and starting costs no more than before.
- `check` loads in a process that is killed when it takes too long. For servers: whatever happens
  there, happens to that process. What it found harmless the server then loads itself, which is
  slower than taking the loaded document from the child would be, but other threads go on while
  Python parses, and stand still while half a second of pickle is read. About 0.4 s a new bundle.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

from orchestrator import errors
from orchestrator.wdl import document
from orchestrator.wdl.bundle import Bundle

SECONDS = 60
SECONDS_FOR_COMMANDS = 600  # the user waits, or does not
MEMORY_BYTES = 2 * 1024**3  # more than the process has when it begins


class _TooLong(BaseException):
    """Not an Exception: nobody on the way may take it for a defect of the document."""


def bounded(
    bundle: Bundle, *, strict: bool = False, seconds: float = SECONDS_FOR_COMMANDS
) -> document.Document:
    """`document.load`, ended when it takes longer or more memory. In the main thread only: others
    cannot be interrupted, and load without limits. Raises InvalidWdl."""
    if threading.current_thread() is not threading.main_thread():
        return document.load(bundle, strict=strict)
    try:
        with _limits(seconds):
            return document.load(bundle, strict=strict)
    except _TooLong:
        raise _took_too_much(bundle, f"longer than {seconds:g} s") from None


@contextlib.contextmanager
def _limits(seconds: float) -> Iterator[None]:
    def ring(number: int, frame: Any) -> None:
        raise _TooLong

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = _address_space() + MEMORY_BYTES
    for known in (soft, hard):
        limit = limit if known == resource.RLIM_INFINITY else min(limit, known)
    before = signal.signal(signal.SIGALRM, ring)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
        signal.setitimer(signal.ITIMER_REAL, seconds)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _address_space() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123
            return int(statm.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 4 * 1024**3


def check(bundle: Bundle, *, seconds: float = SECONDS) -> None:
    """Load a bundle in another process. Raises what loading raises; InvalidWdl when that process
    takes too long, too much, or dies."""
    request = json.dumps({"main": bundle.main, "files": dict(bundle.files), "seconds": seconds})
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _CHILD, *sys.path],
            input=request.encode("utf-8", "surrogatepass"),
            capture_output=True,
            timeout=seconds + 10,  # its own alarm rings first
            cwd="/",
            env={"PATH": os.environ.get("PATH", "")},  # no secrets where strangers' text is read
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _took_too_much(bundle, f"longer than {seconds:g} s") from None
    except OSError as error:
        raise errors.TryLater(f"no process to load the document in: {error.strerror}") from None
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise _took_too_much(bundle, "more than a process may") from None
    if answer is not None:
        raise _error(answer)


def _took_too_much(bundle: Bundle, what: str) -> errors.InvalidWdl:
    return errors.InvalidWdl(
        f"loading {bundle.main} takes {what}",
        place=errors.Place(bundle.main),
        hint="simplify it: split long expressions, structs of structs and chains of imports",
    )


_CHILD = """\
import sys
sys.path[:] = sys.argv[1:]
from orchestrator.wdl import loading
loading.answer()
"""


def answer() -> None:
    """What the child does: a bundle on stdin, null or an error on stdout."""
    request = json.loads(sys.stdin.buffer.read())
    seconds = request.pop("seconds")
    # Should the alarm not get through, the kernel's does: processor time, not to be caught.
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 5, int(seconds) + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    found: Any = None
    try:
        bounded(Bundle(**request), seconds=seconds)
    except errors.InvalidWdl as error:
        found = {
            "message": error.message,
            "hint": error.hint,
            "place": _place(error.place),
            "findings": [[f.message, _place(f.place), f.hint] for f in error.findings],
        }
    print(json.dumps(found))  # noqa: T201  the protocol


def _place(place: errors.Place | None) -> list[Any] | None:
    return None if place is None else [place.file, place.line, place.column]


def _error(found: dict[str, Any]) -> errors.InvalidWdl:
    def place(parts: list[Any] | None) -> errors.Place | None:
        return None if parts is None else errors.Place(*parts)

    return errors.InvalidWdl(
        found["message"],
        hint=found["hint"],
        place=place(found["place"]),
        findings=[
            errors.Finding(message, place(where), hint)
            for message, where, hint in found["findings"]
        ],
    )
