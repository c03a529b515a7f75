"""Servers of all manners: no HEAD, no length, broken off, redirected to where nobody may go."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from orchestrator import errors
from orchestrator.filesystems import copying
from orchestrator.filesystems import http as module
from orchestrator.filesystems.base import Filesystems
from orchestrator.filesystems.http import HttpFilesystem, shown
from orchestrator.filesystems.local import LocalFilesystem


class _Server(http.server.BaseHTTPRequestHandler):
    seen: ClassVar[list[str]] = []

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        if self.path.startswith("/presigned"):
            self._answer(403)
        elif self.path.startswith("/status/"):
            self._answer(int(self.path.partition("?")[0].rpartition("/")[2]))
        else:
            self._answer(200, {} if self.path == "/unsized" else {"Content-Length": "5"})

    def do_GET(self) -> None:
        if self.path.startswith("/presigned"):
            self._answer(200, {"Content-Length": "5", "ETag": '"abc"'}, b"hello")
        elif self.path.startswith("/status/"):
            self._answer(
                int(self.path.partition("?")[0].rpartition("/")[2]), {"Content-Length": "0"}
            )
        elif self.path == "/unsized":
            self._answer(200, {}, b"hello")
        elif self.path == "/short":
            self._answer(200, {"Content-Length": "100"}, b"hello")
        elif self.path == "/metadata":
            self._answer(302, {"Location": "http://[::ffff:169.254.1.1]/", "Content-Length": "0"})
        elif self.path == "/file":
            self._answer(302, {"Location": "file:///etc/passwd", "Content-Length": "0"})

    def _answer(
        self, status: int, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def base() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


WEB = HttpFilesystem(timeout_seconds=5)


def test_a_server_that_refuses_head_is_asked_with_get(base: str) -> None:
    stat = WEB.stat(f"{base}/presigned?X-Amz-Signature=s")
    assert (stat.size, stat.etag) == (5, "abc")


def test_a_size_that_no_header_tells_is_counted(base: str) -> None:
    assert WEB.stat(f"{base}/unsized").size == 5
    assert WEB.read(f"{base}/unsized", 5) == b"hello"


def test_a_body_that_breaks_off_is_never_taken_for_whole(base: str, tmp_path: Path) -> None:
    with pytest.raises(errors.TryLater):
        WEB.read(f"{base}/short", 1000)
    with pytest.raises(errors.TryLater):
        WEB.download(f"{base}/short", str(tmp_path / "copy"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (404, errors.NotFound),
        (410, errors.NotFound),
        (401, errors.NotAllowed),
        (403, errors.NotAllowed),
        (429, errors.TryLater),
        (500, errors.TryLater),
        (503, errors.TryLater),
    ],
)
def test_answers_become_errors(
    base: str, status: int, expected: type[errors.OrchestratorError]
) -> None:
    for call in (
        lambda: WEB.stat(f"{base}/status/{status}"),
        lambda: WEB.read(f"{base}/status/{status}", 10),
    ):
        with pytest.raises(errors.OrchestratorError) as caught:
            call()
        assert type(caught.value) is expected


def test_no_more_is_taken_than_is_allowed(base: str, tmp_path: Path) -> None:
    bounded = HttpFilesystem(largest_bytes=4)
    everything = Filesystems(bounded, LocalFilesystem())
    for path in ("/presigned", "/unsized"):  # told beforehand, and found on the way
        with pytest.raises(errors.Invalid, match="larger than 4 bytes"):
            bounded.download(f"{base}{path}", str(tmp_path / "file"))
        with pytest.raises(errors.Invalid, match="larger than 4 bytes"):
            copying.copy(everything, f"{base}{path}", str(tmp_path / "file"))
    assert list(tmp_path.iterdir()) == []


def test_a_query_is_never_shown(base: str) -> None:
    with pytest.raises(errors.NotFound) as caught:
        WEB.stat(f"{base}/status/404?X-Amz-Signature=sesame")
    assert "sesame" not in str(caught.value)
    assert "status/404" in str(caught.value)
    assert "sesame" not in shown("https://me:sesame@host/path?a=sesame#sesame")


def test_no_redirect_leads_to_files_of_this_machine(base: str) -> None:
    with pytest.raises(errors.NotAllowed):
        WEB.read(f"{base}/file", 10_000)


class _Connected:
    """A connection to this address."""

    host = "example.org"

    def __init__(self, address: str, public_only: bool) -> None:
        self.sock, self.public_only, self.closed = self, public_only, False
        self._address = address

    def getpeername(self) -> tuple[str, int]:
        return self._address, 80

    def close(self) -> None:
        self.closed = True


LINK_LOCAL = ["169.254.169.254", "169.254.170.2", "::ffff:169.254.169.254", "fe80::1%eth0"]
LINK_LOCAL += ["fd00:ec2::254"]
PRIVATE = ["127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "0.0.0.0", "::1"]
PRIVATE += ["fc00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "224.0.0.1"]


@pytest.mark.parametrize("address", LINK_LOCAL + PRIVATE + ["8.8.8.8", "2606:4700::1111"])
@pytest.mark.parametrize("public_only", [False, True])
def test_the_address_that_counts_is_the_one_connected_to(address: str, public_only: bool) -> None:
    """Whatever name or redirect led there."""
    connected: Any = _Connected(address, public_only)
    if address in LINK_LOCAL or (public_only and address in PRIVATE):
        with pytest.raises(module._Refused):
            module._check_peer(connected)
        assert connected.closed
    else:
        module._check_peer(connected)


def test_an_address_that_is_not_talked_to_is_said(base: str) -> None:
    with pytest.raises(errors.NotAllowed, match=r"127\.0\.0\.1, which is not talked to"):
        HttpFilesystem(timeout_seconds=5, public_only=True).read(f"{base}/unsized", 10)


def test_a_proxy_may_have_a_private_address(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", base)
    web = HttpFilesystem(timeout_seconds=5, public_only=True)
    with pytest.raises(errors.TryLater, match="closed connection"):  # it got there
        web.read("http://example.org/status/404", 10)


def test_every_redirect_needs_the_permit(base: str) -> None:
    asked: list[str] = []

    def permit(url: str) -> None:
        asked.append(url)
        if "169.254" in url:
            raise errors.NotAllowed("not there")

    with pytest.raises(errors.NotAllowed, match="not there"):
        HttpFilesystem(timeout_seconds=5, permit=permit).read(f"{base}/metadata", 10)
    assert asked == [f"{base}/metadata", "http://[::ffff:169.254.1.1]/"]


@pytest.mark.parametrize(
    "uri", ["http://", "http://me:sesame@host/x", "http://[::1/x", "http://h:x/"]
)
def test_what_is_no_url_is_invalid(uri: str) -> None:
    with pytest.raises(errors.InvalidInputs) as caught:
        WEB.stat(uri)
    assert "sesame" not in str(caught.value)


def test_a_server_that_is_not_there_is_tried_later() -> None:
    with pytest.raises(errors.TryLater, match="refused"):
        WEB.read("http://127.0.0.1:9/x", 10)
