"""The shell scripts that people start: what shellcheck would say, before they hit it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["bootstrap", ".ci/run"])
def test_a_script_is_executable_and_clean(name: str) -> None:
    script = PROJECT / name
    assert script.stat().st_mode & 0o111
    if shutil.which("shellcheck") is None:
        pytest.skip("not installed: shellcheck (.ci/run installs it)")
    finished = subprocess.run(
        ["shellcheck", "--external-sources", "--severity=warning", name],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stdout
