"""What the orchestrator's host says of its environment every minute."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from stacks import assets

NOW = 1_700_000_000.0


@pytest.fixture(scope="module")
def report() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "report_of_host", assets.SCRIPTS / "host" / "report.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def serve() -> Iterator[Callable[[int], int]]:
    """A server on this machine that answers /health with a status; its port."""
    servers = []

    def start(status: int) -> int:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status if self.path == "/health" else 404)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_port

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class Batch:
    """Queues `q1` and `q2` share an environment; `q2` has one more."""

    def __init__(self, statuses: dict[str, str], front: dict[str, list[float]]) -> None:
        self._statuses, self._front = statuses, front

    def describe_job_queues(self, jobQueues: list[str]) -> dict[str, Any]:
        of = {"q1": ["shared"], "q2": ["shared", "own"]}
        return {
            "jobQueues": [
                {"computeEnvironmentOrder": [{"computeEnvironment": e} for e in of[queue]]}
                for queue in jobQueues
            ]
        }

    def describe_compute_environments(self, computeEnvironments: list[str]) -> dict[str, Any]:
        assert len(set(computeEnvironments)) == len(computeEnvironments)
        return {"computeEnvironments": [{"status": self._statuses[e]} for e in computeEnvironments]}

    def get_job_queue_snapshot(self, jobQueue: str) -> dict[str, Any]:
        since = self._front.get(jobQueue)
        if since is None:
            return {}
        return {
            "frontOfQueue": {
                "jobs": [{"earliestTimeAtPosition": int(1000 * (NOW - s))} for s in since]
            }
        }


def test_invalid_environments_are_counted_once(report: ModuleType) -> None:
    count = report.invalid_compute_environments
    assert count(Batch({"shared": "INVALID", "own": "VALID"}, {}), ["q1", "q2"]) == 1
    assert count(Batch({"shared": "VALID", "own": "UPDATING"}, {}), ["q1", "q2"]) == 0


def test_the_longest_wait_at_the_head_of_a_queue_counts(report: ModuleType) -> None:
    minutes = report.runnable_minutes
    queues = ["q1", "q2"]
    assert minutes(Batch({}, {}), queues, NOW) == 0
    assert minutes(Batch({}, {"q1": [90.0, 7200.0], "q2": [3660.0]}), queues, NOW) == 61


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (302, False)])
def test_healthy_is_an_answer_of_200(
    report: ModuleType, serve: Callable[[int], int], status: int, healthy: bool
) -> None:
    assert report.is_healthy(serve(status)) is healthy


def test_a_server_that_does_not_listen_is_not_healthy(report: ModuleType) -> None:
    assert report.is_healthy(1) is False


def test_what_cannot_be_found_out_is_left_out_and_the_rest_is_said(
    report: ModuleType, serve: Callable[[int], int], capsys: pytest.CaptureFixture[str]
) -> None:
    def clients(_: str) -> Any:
        raise ConnectionError("no way to AWS")

    said = report.report("dev", clients, serve(200))
    assert said["healthy"] == 1
    assert 0 <= said["disk_used_percent"] <= 100
    assert set(said) == {"healthy", "disk_used_percent"}
    assert "ConnectionError: no way to AWS" in capsys.readouterr().err


def test_all_of_it_is_one_line_of_numbers(
    report: ModuleType, serve: Callable[[int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    queues = (SimpleNamespace(arn="q1"), SimpleNamespace(arn="q2"))
    contract = SimpleNamespace(queues=queues)
    monkeypatch.setattr(report, "deployment", SimpleNamespace(read=lambda ssm, name: contract))
    batch = Batch({"shared": "VALID", "own": "INVALID"}, {})
    said = report.report("dev", lambda service: batch, serve(503))
    assert said["healthy"] == 0
    assert (said["invalid_compute_environments"], said["runnable_minutes"]) == (1, 0)
    assert all(type(value) is int for value in said.values())
