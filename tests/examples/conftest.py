"""The examples as a user runs them: the console script, in a directory of the test's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]
ORCHESTRATOR = Path(sys.executable).parent / "orchestrator"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def need(*programs: str) -> None:
    """Skip the test, saying which of these programs are missing."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (.ci/run installs them)")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory that looks like the project's root, so that the README's commands work in it."""
    shutil.copytree(PROJECT / "examples", tmp_path / "examples")
    return tmp_path


@pytest.fixture
def orchestrator(project: Path) -> Run:
    """Runs `orchestrator ARGUMENTS` in the project directory, with a home of its own."""
    home = project / "home"
    home.mkdir()

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "ORCHESTRATOR_", "XDG_"))
        }
        return subprocess.run(
            [ORCHESTRATOR, *arguments],
            cwd=project,
            env=environment | {"HOME": str(home)},
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run


def outputs_of(finished: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The outputs JSON: the whole of stdout. A failed run fails the test with what it said."""
    assert finished.returncode == 0, finished.stderr
    outputs: dict[str, Any] = json.loads(finished.stdout)
    return outputs
