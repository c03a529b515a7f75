"""The shell scripts that people start: what shellcheck would say, before they hit it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


STARTED = ["bootstrap", ".ci/run"]
RUN_BY_A_SHELL = [
    "orchestrator/backends/wrapper/wrapper.sh",
    "orchestrator/backends/local/container.sh",
]


@pytest.mark.parametrize("name", STARTED)
def test_a_script_can_be_started(name: str) -> None:
    assert (PROJECT / name).stat().st_mode & 0o111


@pytest.mark.parametrize("name", [*STARTED, *RUN_BY_A_SHELL])
def test_a_script_is_clean(name: str) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("not installed: shellcheck (.ci/run installs it)")
    finished = subprocess.run(
        ["shellcheck", "--external-sources", "--severity=warning", name],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stdout


def stub(folder: Path, name: str, body: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


def start(
    script: Path, stubs: Path, cwd: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(script), *arguments],
        cwd=cwd,
        env={"PATH": f"{stubs}:/usr/bin:/bin", "HOME": str(cwd)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


def copy_of_bootstrap(folder: Path) -> Path:
    folder.mkdir()
    for name in ("bootstrap", ".setup.sh", "uv.lock", "package-lock.json"):
        shutil.copy(PROJECT / name, folder / name)
    return folder / "bootstrap"


def test_a_python_that_is_too_old_is_one_error(tmp_path: Path) -> None:
    script = copy_of_bootstrap(tmp_path / "project")
    for name in ("python3.13", "python3.12", "python3.11", "python3"):
        stub(tmp_path / "stubs", name, "exit 1")
    done = start(script, tmp_path / "stubs", tmp_path, "--local")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.count("error:") == 1
    assert "no Python 3.11 or newer" in done.stderr
    assert "PYTHON=" in done.stderr


def test_a_folder_that_cannot_hold_a_virtual_environment_is_named(tmp_path: Path) -> None:
    script = copy_of_bootstrap(tmp_path / "a:b")
    done = start(script, tmp_path / "stubs", tmp_path, "--local")
    assert (done.returncode, done.stdout) == (4, "")
    assert "colon" in done.stderr


def test_what_is_set_up_is_started_where_one_stands(tmp_path: Path) -> None:
    """Nothing is fetched again, and a relative path in an option means the caller's folder."""
    project = tmp_path / "my project"
    script = copy_of_bootstrap(project)
    bin_ = project / ".venv" / "bin"
    bin_.parent.mkdir()
    stub(bin_, "orchestrator", 'pwd; echo "$@"')
    stub(bin_, "python", "exit 0")
    (project / "node_modules" / ".bin").mkdir(parents=True)
    stub(project / "node_modules" / ".bin", "cdk", "")
    stamped = ". ./.setup.sh; wanted >.venv/.set-up"
    subprocess.run(["sh", "-c", stamped], cwd=project, check=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "link").symlink_to(script)
    done = start(elsewhere / "link", tmp_path / "stubs", elsewhere, "--local", "--home", "x y")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{elsewhere}\nbootstrap --local --home x y\n"


def test_ci_passes_on_what_make_test_ended_with(tmp_path: Path) -> None:
    stubs = tmp_path / "stubs"
    stub(stubs, "make", 'echo "ran $*" >&2; [ "$1" = test ] && exit 7')
    stub(stubs, "docker", "exit 0")  # an engine answers: none is started
    stub(stubs, "dpkg-query", "printf installed")  # and nothing is installed
    done = start(PROJECT / ".ci" / "run", stubs, tmp_path)
    assert done.returncode == 7
    assert "ran test\n" in done.stderr
