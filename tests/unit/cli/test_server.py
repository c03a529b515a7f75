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

from orchestrator.assembly import assemble
from orchestrator.config import settings
from orchestrator.model.states import WorkflowState
from orchestrator.submission import submit
from orchestrator.wdl import bundle, document

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
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the server and this process keep their database."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def running(folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = start(folder, "--port", "0")
    yield process
    process.kill()
    process.wait()
    assert process.stderr is not None
    process.stderr.close()


def new_workflow(folder: Path) -> str:
    (folder / "hello.wdl").write_text(HELLO)
    made = assemble(settings.load(None))
    try:
        return submit(
            made,
            document.load(bundle.read(folder / "hello.wdl")),
            input_files=[],
            assignments=[],
            options={},
            labels={},
            say=lambda line: None,
        )
    finally:
        made.close()


def test_it_runs_what_is_submitted_and_stops_when_told_to(
    folder: Path, running: subprocess.Popen[str]
) -> None:
    address = address_of(running)
    assert ask(f"{address}/health")["status"] == "ok"
    assert ask(f"{address}/engine/v1/status")["engine"]["ok"] is True
    assert ask(f"{address}/engine/v1/version")["cromwell"]
    with pytest.raises(urllib.error.HTTPError, match="404"):
        ask(f"{address}/etc/passwd")
    root_id = new_workflow(folder)
    made = assemble(settings.load(None))
    try:
        eventually(lambda: made.store.workflow(root_id).state is WorkflowState.SUCCEEDED)
        assert json.loads(made.store.workflow(root_id).outputs or "") == {"hello.words": "hello"}
    finally:
        made.close()
    running.send_signal(signal.SIGTERM)
    assert running.wait(30) == 0


def test_a_port_that_is_taken_is_said_and_nothing_begins(folder: Path) -> None:
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
