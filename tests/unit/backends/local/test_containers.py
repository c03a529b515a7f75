"""Jobs in containers of docker: who they are, what they see, how they end."""

from __future__ import annotations

import csv
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.backends.base import JobState
from orchestrator.backends.local import LocalBackend
from orchestrator.backends.local.containers import _mount
from orchestrator.model.failures import FailureCode
from orchestrator.model.job import Shape
from orchestrator.model.manifest import Manifest
from tests import containers
from tests.unit.backends.local.jobs import submit, wait

pytestmark = pytest.mark.docker


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[LocalBackend]:
    if reason := containers.why_not():
        pytest.skip(reason)
    backend = LocalBackend(
        tmp_path / "a: b, c", cores=2, memory_mib=2048, containers="docker", grace_seconds=1
    )
    yield backend
    backend.close()


def shape(memory_mib: int = 64) -> Shape:
    return Shape(image=containers.image(), cpu=1, memory_mib=memory_mib, shared_memory_mib=32)


def run(backend: LocalBackend, script: str, wanted: Shape | None = None) -> Manifest:
    submit(backend, [script], shape=wanted or shape())
    manifest = wait(backend, 1)[0].manifest
    assert manifest is not None
    return manifest


def left_over(submission_id: str) -> str:
    return subprocess.run(
        ["docker", "ps", "--all", "--quiet", "--filter", f"name={submission_id}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_the_command_is_the_caller_in_its_own_directory(backend: LocalBackend) -> None:
    manifest = run(backend, "id -u; pwd; echo $HOME $TMPDIR; ls / | tr '\\n' ' '")
    user, where, homes, root = Path(manifest.stdout.uri).read_text().splitlines()
    assert user == str(os.getuid())
    directory = str(Path(where).parent)
    assert where.endswith("/execution")
    assert homes == f"{directory}/home {directory}/tmp"
    assert "etc" in root
    assert "home" not in root.split()  # the host's directories are not there
    assert Path(manifest.stdout.uri).stat().st_uid == os.getuid()


def test_too_much_memory_is_told_from_other_ends(backend: LocalBackend) -> None:
    manifest = run(backend, "tail /dev/zero")
    assert manifest.return_code == 137
    assert manifest.failure is not None
    assert manifest.failure.code is FailureCode.OUT_OF_MEMORY
    assert "64 MiB" in manifest.failure.message
    assert run(backend, "exit 137").failure is None
    assert run(backend, "exit 125").failure is None


def test_an_image_that_is_not_there(backend: LocalBackend) -> None:
    missing = Shape(image="127.0.0.1:1/no/such:image", cpu=1, memory_mib=64)
    manifest = run(backend, "true", missing)
    assert manifest.failure is not None
    assert manifest.failure.code is FailureCode.IMAGE_PULL_FAILED
    assert "127.0.0.1:1/no/such:image" in manifest.failure.message


def test_a_cancelled_container_is_gone(backend: LocalBackend) -> None:
    handle = submit(backend, ["trap '' TERM; while :; do sleep 1; done"], shape=shape())
    wait(backend, 1, JobState.RUNNING)
    log = Path(backend.work_dir(handle.attempts[0]).stdout)
    while not log.exists():
        backend.changes(0.05)
    backend.cancel([(handle, [0])])
    change = wait(backend, 1)[0]
    failure = change.manifest.failure if change.manifest else change.failure
    assert failure is not None
    assert failure.code is FailureCode.ABORTED
    deadline = time.monotonic() + 30
    while left_over(handle.id):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_nothing_is_left_of_a_container_that_ended(backend: LocalBackend) -> None:
    handle = submit(backend, ["exit 1"], shape=shape())
    wait(backend, 1)
    assert left_over(handle.id) == ""


@pytest.mark.parametrize("path", ["/a b/c", "/a,b/c", '/a"b/c', "/a:b/c"])
def test_any_path_can_be_mounted(path: str) -> None:
    (row,) = csv.reader([_mount(path)])
    assert row == ["type=bind", f"source={path}", f"target={path}"]
