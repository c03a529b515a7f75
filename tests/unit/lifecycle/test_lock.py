"""One bootstrap at a time: the lock is held by whoever works, and ends with the last of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator import errors
from stacks.lifecycle import lock


def test_a_second_one_is_told_who_is_at_work(tmp_path: Path) -> None:
    with (
        lock.exclusive(tmp_path, "local"),
        pytest.raises(errors.TryLater, match=f"process: {os.getpid()}"),
        lock.exclusive(tmp_path, "local"),
    ):
        pass


def test_another_environment_is_not_in_the_way(tmp_path: Path) -> None:
    with lock.exclusive(tmp_path, "local"), lock.exclusive(tmp_path, "dev"):
        pass


def test_it_can_be_taken_again_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), lock.exclusive(tmp_path, "local"):
        raise RuntimeError
    with lock.exclusive(tmp_path, "local"):
        pass


def test_a_cdk_that_lost_its_parent_still_holds_it(tmp_path: Path) -> None:
    with lock.exclusive(tmp_path, "local") as held:
        child = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(held,)
        )
    with child:
        with pytest.raises(errors.TryLater), lock.exclusive(tmp_path, "local"):
            pass
        child.communicate(b"\n")
    with lock.exclusive(tmp_path, "local"):
        pass


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / ".orchestrator").write_text("a file")
    with (
        pytest.raises(errors.EnvironmentProblem, match=r"cannot write to .*\.orchestrator"),
        lock.exclusive(tmp_path, "local"),
    ):
        pass
