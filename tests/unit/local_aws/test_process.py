"""Starting and stopping the AWS of this machine, from other processes and after violent ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import errors
from orchestrator.local_aws import process
from orchestrator.local_aws.pids import KnownProcess


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "state"
    yield directory
    process.stop(directory, destroy=True)


def test_start_answers_and_a_second_start_finds_the_same_process(state: Path) -> None:
    first = process.start(state)
    assert urllib.request.urlopen(f"{first.endpoint}/_local-aws/health").status == 200
    assert process.start(state) == first
    assert process.status(state) == first


def test_two_starts_at_once_give_one_process(state: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from orchestrator.local_aws import process;"
        "print(process.start(Path(sys.argv[1])).pid)"
    )
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(state)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    pids = {starter.communicate(timeout=60)[0] for starter in starters}
    assert len(pids) == 1
    running = process.status(state)
    assert running is not None
    assert str(running.pid) == pids.pop().strip()


def test_stop_leaves_neither_process_nor_file(state: Path) -> None:
    running = process.start(state)
    assert process.stop(state, destroy=True)
    assert not running.process.alive()
    assert not state.exists()
    assert process.status(state) is None
    assert not process.stop(state)


def test_the_port_stays_over_a_restart(state: Path) -> None:
    port = process.start(state).port
    process.stop(state)
    assert process.start(state).port == port


def test_another_port_is_taken_when_somebody_has_the_old_one(state: Path) -> None:
    port = process.start(state).port
    process.stop(state)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        assert process.start(state).port != port


def test_a_taken_port_that_was_asked_for_is_an_error_that_says_so(state: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(errors.EnvironmentProblem, match="Address already in use"):
            process.start(state, port=other.getsockname()[1])


def test_a_killed_server_is_noticed_and_replaced(state: Path) -> None:
    first = process.start(state)
    os.kill(first.pid, signal.SIGKILL)
    assert first.process.wait(10)
    assert process.status(state) is None
    assert process.start(state).process != first.process


def test_a_reused_pid_is_neither_trusted_nor_killed(state: Path) -> None:
    state.mkdir()
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        record = {"pid": bystander.pid, "started": "an-older-boot/1", "port": 1, "jobs": "auto"}
        (state / "server.json").write_text(json.dumps(record))
        assert process.status(state) is None
        process.stop(state)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_damaged_record_is_no_process(state: Path) -> None:
    state.mkdir()
    (state / "server.json").write_text('{"pid": 1')
    assert process.status(state) is None
    assert process.start(state).pid > 0


def test_the_state_directory_is_private_and_holds_every_file(state: Path) -> None:
    process.start(state)
    assert state.stat().st_mode & 0o077 == 0


def test_a_process_that_ended_while_a_zombie_stays_is_not_alive() -> None:
    child = subprocess.Popen(["true"])
    deadline = time.monotonic() + 10
    while KnownProcess.of(child.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert KnownProcess.of(child.pid) is None
    child.wait()
