"""`orchestrator server`: runs what is submitted, answers, and stops when told to."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HELLO = """version 1.1
workflow hello { call greet output { String words = greet.words } }
task greet { command <<< echo hello >>> output { String words = read_string(stdout()) } }
"""


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("orchestrator")), "server", *options],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    )


def address_of(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("orchestrator server: "):
            return line.split()[-1].removesuffix("/health")
    raise AssertionError(f"it ended with {process.wait()} and said no address")


def ask(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def eventually(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)
    return value


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = start(tmp_path, "--port", "0")
    yield process
    process.kill()
    process.wait()
    assert process.stderr is not None
    process.stderr.close()


def orchestrator(folder: Path, *arguments: str) -> str:
    """What the command prints."""
    command = [str(Path(sys.executable).with_name("orchestrator")), *arguments]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def status(folder: Path, root_id: str) -> Any:
    return json.loads(orchestrator(folder, "status", root_id, "--json"))


def test_it_runs_what_is_submitted_and_stops_when_told_to(
    tmp_path: Path, running: subprocess.Popen[str]
) -> None:
    folder = tmp_path
    address = address_of(running)
    assert ask(f"{address}/health")["status"] == "ok"
    assert ask(f"{address}/engine/v1/status")["engine"]["ok"] is True
    assert ask(f"{address}/engine/v1/version")["cromwell"]
    with pytest.raises(urllib.error.HTTPError, match="404"):
        ask(f"{address}/etc/passwd")
    (folder / "hello.wdl").write_text(HELLO)
    held, aborted = (
        orchestrator(folder, "submit", "hello.wdl", "--hold", "--quiet") for _ in range(2)
    )
    root_id = orchestrator(folder, "submit", "hello.wdl", "--quiet")
    done = eventually(lambda: (s := status(folder, root_id))["end"] and s)
    assert done["outputs"] == {"hello.words": "hello"}
    assert status(folder, held)["status"] == "On Hold"
    orchestrator(folder, "release", held)
    orchestrator(folder, "abort", aborted)
    assert status(folder, aborted)["status"] == "Aborted"
    assert eventually(lambda: (s := status(folder, held))["end"] and s)["status"] == "Succeeded"
    running.send_signal(signal.SIGTERM)
    assert running.wait(30) == 0


def test_a_port_that_is_taken_is_said_and_nothing_begins(tmp_path: Path) -> None:
    folder = tmp_path
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start(folder, "--port", str(port))
        assert process.stderr is not None
        with process.stderr as errors:
            said = errors.read()
        assert process.wait(30) == 4
    assert f"127.0.0.1:{port} cannot be listened on" in said
    assert not list(folder.rglob("*.db"))
