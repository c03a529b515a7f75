"""Whoever hands something in knocks at the server of the same machine."""

from __future__ import annotations

import asyncio
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.api import app
from orchestrator.cli import options, waking
from orchestrator.engine.coordinator import Health

HELLO = """version 1.1
workflow hello { call greet }
task greet { command <<< echo hello >>> }
"""


@pytest.fixture
def server() -> Iterator[tuple[int, list[str]]]:
    """Its port, and what it was asked."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield listening.server_port, asked
        listening.shutdown()
        thread.join()


def configured(folder: Path, port: int, seconds: int, interface: str = "0.0.0.0") -> Path:
    path = folder / "orchestrator.conf"
    path.write_text(
        'include required(classpath("application"))\n'
        f'webservice {{ interface = "{interface}", port = {port} }}\n'
        f"orchestrator.idle-poll-seconds = {seconds}\n"
    )
    return path


def test_submit_release_and_abort_knock(tmp_path: Path, server: tuple[int, list[str]]) -> None:
    port, asked = server
    config = configured(tmp_path, port, 3600)
    (tmp_path / "hello.wdl").write_text(HELLO)

    def run(*arguments: str) -> str:
        program = str(Path(sys.executable).with_name("orchestrator"))
        done = subprocess.run(
            [program, *arguments, "--config", str(config)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    held = run("submit", "hello.wdl", "--hold")
    assert asked == []
    run("release", held)
    assert asked == ["/wake"]
    run("abort", held)
    assert asked == ["/wake"] * 2
    assert json.loads(run("submit", "hello.wdl", "--json"))["status"] == "Submitted"
    assert asked == ["/wake"] * 3


def test_a_server_that_asks_often_is_left_in_peace(
    tmp_path: Path, server: tuple[int, list[str]]
) -> None:
    port, asked = server
    waking.wake(options.load(configured(tmp_path, port, 2), None))
    assert asked == []


def test_nobody_there_is_no_error(tmp_path: Path) -> None:
    waking.wake(options.load(configured(tmp_path, 9, 3600, "127.0.0.1"), None))


def test_the_server_looks_for_work_when_it_is_woken() -> None:
    woken: list[bool] = []
    served = app.make(lambda: Health(None, 0), lambda: woken.append(True))

    def ask(method: str) -> int:
        sent: list[dict[str, Any]] = []
        scope = {
            "type": "http",
            "method": method,
            "path": "/wake",
            "headers": [],
            "query_string": b"",
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(served(scope, receive, send))
        return int(sent[0]["status"])

    assert ask("POST") == 204
    assert woken == [True]
    assert ask("GET") == 405
    assert woken == [True]
