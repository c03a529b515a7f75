"""One connection, many requests; none is mistaken for what was left of the one before."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.serving import make_server

from orchestrator.local_aws import keep_alive


def app(environ: dict[str, Any], start: Any) -> Iterator[bytes]:
    """/read answers with the body, /ignore reads nothing, /stream says no length, /short lies."""
    match environ["PATH_INFO"]:
        case "/read":
            body = environ["wsgi.input"].read()
            start("200 OK", [("Content-Length", str(len(body)))])
            yield body
        case "/stream":
            start("200 OK", [])
            yield from (b"one,", b"", b"two")
        case "/short":
            start("200 OK", [("Content-Length", "10")])
            yield b"short"
        case "/broken":
            start("200 OK", [("Content-Length", "10")])
            yield b"half"
            raise RuntimeError("a defect of the service")
        case "/none":
            start("204 No Content", [])
        case _:
            start("404 Not Found", [("Content-Length", "4")])
            yield b"gone"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=keep_alive.Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def connection(port: int) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    yield connection
    connection.close()


Ask = tuple[str, str, Any, bytes]


@pytest.mark.parametrize(
    "first",
    [
        ("POST", "/read", b"x" * 100_000, b"x" * 100_000),
        ("POST", "/read", iter([b"a", b"b"]), b"ab"),
        ("POST", "/ignore", b"GET /read HTTP/1.1\r\n\r\n" * 5000, b"gone"),
        ("POST", "/ignore", iter([b"not", b"read"]), b"gone"),
        ("GET", "/stream", None, b"one,two"),
        ("HEAD", "/ignore", None, b""),
        ("HEAD", "/stream", None, b""),
        ("GET", "/none", None, b""),
    ],
    ids=lambda ask: f"{ask[0]} {ask[1]}",
)
def test_the_next_request_is_answered_on_the_same_connection(
    connection: http.client.HTTPConnection, first: Ask
) -> None:
    method, path, body, answer = first
    connection.request(method, path, body)
    assert connection.getresponse().read() == answer
    socket = connection.sock
    assert socket is not None
    connection.request("POST", "/read", b"second")
    assert connection.getresponse().read() == b"second"
    assert connection.sock is socket


@pytest.mark.parametrize("path", ["/short", "/broken"])
def test_a_client_is_not_left_waiting_for_what_does_not_come(
    connection: http.client.HTTPConnection, path: str
) -> None:
    connection.request("GET", path)
    with pytest.raises(http.client.IncompleteRead):
        connection.getresponse().read()


def test_a_client_that_asks_for_it_has_its_connection_closed(
    connection: http.client.HTTPConnection,
) -> None:
    connection.request("GET", "/ignore", headers={"Connection": "close"})
    answer = connection.getresponse()
    assert answer.getheader("Connection") == "close"
    assert answer.read() == b"gone"
    assert connection.sock is None
