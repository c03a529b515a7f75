"""The loop, what it says, and that a worker's old Python can run all of it."""

from __future__ import annotations

import ast
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import orchestrator.ebs_autoscale
from orchestrator.ebs_autoscale import __main__ as program
from orchestrator.ebs_autoscale.disks import DiskError, Disks, Usage
from orchestrator.ebs_autoscale.growth import CannotGrow
from orchestrator.ebs_autoscale.policy import GIB, Limits

PACKAGE = Path(orchestrator.ebs_autoscale.__file__).parent


class FakeGrowth:
    def __init__(self) -> None:
        self.done: list[Any] = []
        self.failing = False

    def start(self) -> None:
        self._note("start")

    def grow(self, gib: int) -> None:
        self._note(gib)

    def _note(self, what: Any) -> None:
        self.done.append(what)
        if self.failing:
            raise CannotGrow("not now")


class FakeDisks:
    used = 100 * GIB
    total = 200 * GIB

    def usage(self) -> Usage:
        return Usage(self.total, self.used, 0.1)


@pytest.fixture
def parts() -> tuple[program.Daemon, FakeGrowth, FakeDisks]:
    growth, disks = FakeGrowth(), FakeDisks()
    return program.Daemon(growth, disks, Limits(1000)), growth, disks  # type: ignore[arg-type]


def test_nothing_is_done_while_there_is_room(
    parts: tuple[program.Daemon, FakeGrowth, FakeDisks],
) -> None:
    daemon, growth, _ = parts
    for second in range(0, 600, 2):
        daemon.turn(second)
    assert growth.done == ["start"]


def test_it_grows_once_and_then_looks_what_became_of_it(
    parts: tuple[program.Daemon, FakeGrowth, FakeDisks],
) -> None:
    daemon, growth, disks = parts
    daemon.turn(0)
    disks.used = 180 * GIB
    for second in range(1000, 1020, 2):
        daemon.turn(second)
    assert growth.done == ["start", 400]
    daemon.turn(1040)
    assert growth.done == ["start", 400, 400]  # it is still too small


def test_failures_are_tried_again_less_and_less_often(
    parts: tuple[program.Daemon, FakeGrowth, FakeDisks], capsys: pytest.CaptureFixture[str]
) -> None:
    daemon, growth, disks = parts
    growth.failing = True
    for second in range(0, 3600, 2):
        daemon.turn(second)
    assert 12 < len(growth.done) < 30  # one in five minutes at the end
    growth.failing = False
    disks.used = 180 * GIB
    for second in range(3600, 4300, 2):
        daemon.turn(second)
    assert growth.done[-1] == 400
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"failed", "done", "growing"} <= {one["disk"] for one in said}
    assert all(one["why"] == "not now" for one in said if one["disk"] == "failed")


def test_a_disk_at_its_limit_is_told_now_and_then(
    parts: tuple[program.Daemon, FakeGrowth, FakeDisks], capsys: pytest.CaptureFixture[str]
) -> None:
    daemon, growth, disks = parts
    disks.total, disks.used = 1000 * GIB, 990 * GIB
    for second in range(0, 1200, 2):
        daemon.turn(second)
    assert growth.done == ["start"]
    said = [json.loads(line)["disk"] for line in capsys.readouterr().out.splitlines()]
    assert said.count("at its limit") == 2


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        monkeypatch.chdir(tmp_path)  # the path of a socket is short
        door.bind("door")
        monkeypatch.setenv("NOTIFY_SOCKET", "door")
        program.notify("READY=1")
        assert door.recv(64) == b"READY=1"
    program.notify("WATCHDOG=1")  # nobody listens any more
    monkeypatch.delenv("NOTIFY_SOCKET")
    program.notify("READY=1")


def test_the_usage_is_that_of_the_file_system(tmp_path: Path) -> None:
    usage = Disks(str(tmp_path), "orchestrator").usage()
    assert 0 < usage.used < usage.total
    assert 0 <= usage.inodes_used <= 1


def test_tools_that_fail_or_are_missing_are_errors_that_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    disks = Disks("/mnt", "orchestrator")
    with pytest.raises(DiskError, match="pvs"):
        disks.members()
    (tmp_path / "pvs").write_text("#!/bin/sh\necho 'the reason' >&2\nexit 5\n")
    (tmp_path / "pvs").chmod(0o755)
    with pytest.raises(DiskError, match=r"pvs --noheadings.*the reason"):
        disks.members()
    (tmp_path / "pvs").write_text("#!/bin/sh\necho '  /dev/null '\n")
    assert disks.members() == ["/dev/null"]


def test_it_is_python_3_9_and_the_standard_library() -> None:
    for path in PACKAGE.glob("*.py"):
        tree = ast.parse(path.read_text(), feature_version=(3, 9))
        for node in ast.walk(tree):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [str(node.module)]
            for name in names:
                assert name.partition(".")[0] in {*sys.stdlib_module_names}, (path, name)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "zip" or not node.keywords, path  # strict= is of 3.10
                if node.func.id == "dataclass":
                    assert not {k.arg for k in node.keywords} & {"slots", "kw_only"}, path


def test_it_runs_out_of_an_archive_on_its_own(tmp_path: Path) -> None:
    """As it is shipped: without the rest of the orchestrator, without site packages."""
    import zipfile

    archive = tmp_path / "ebs_autoscale.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in PACKAGE.glob("*.py"):
            file.write(path, f"ebs_autoscale/{path.name}")
    done = subprocess.run(
        [sys.executable, "-S", "-m", "ebs_autoscale", str(tmp_path / "no-settings.json")],
        env={"PYTHONPATH": str(archive)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "FileNotFoundError" in done.stderr
    assert "no-settings.json" in done.stderr
