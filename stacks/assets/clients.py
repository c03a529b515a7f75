"""The package clients as subprocesses: what they say is kept for the error they may end in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from orchestrator import errors
from stacks.instance_types import Architecture

_TIMEOUT_SECONDS = 900
_PLATFORM = {"x86_64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}


def uv_install(
    architecture: Architecture, target: Path, *arguments: str, what: str, cwd: Path | None = None
) -> None:
    """`uv pip install` into a directory, for Linux hosts of an architecture and no dependencies.

    Raises EnvironmentProblem, `what` being what could not be had.
    """
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        raise errors.EnvironmentProblem(
            f"uv is not here to fetch {what} with", hint="./bootstrap and make set-up install it"
        )
    run(
        [
            *(uv, "pip", "install", "--quiet", "--no-deps", "--link-mode=copy"),
            *("--python", sys.executable, "--python-platform", _PLATFORM[architecture]),
            *("--target", str(target), *arguments),
        ],
        what=what,
        hint="is PyPI reachable? then: make assets",
        cwd=cwd,
    )


def run(command: Sequence[str], *, what: str, hint: str, cwd: Path | None = None) -> None:
    """Run a client to its end. Raises EnvironmentProblem with the last it said."""
    done = attempt(command, cwd)
    if done.returncode != 0:
        raise failed(what, done.stdout, hint)


def attempt(command: Sequence[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a client, whatever comes of it; stdout has all it said."""
    try:
        return subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, f"no end after {_TIMEOUT_SECONDS} s\n")


def failed(what: str, output: str, hint: str) -> errors.EnvironmentProblem:
    """The error of a client that failed."""
    tail = "\n".join(f"    {line}" for line in output.splitlines()[-8:])
    return errors.EnvironmentProblem(f"could not get {what}:\n{tail}", hint=hint)
