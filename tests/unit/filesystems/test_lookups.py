"""Facts as file systems answer them; copies from web servers."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from orchestrator import errors
from orchestrator.filesystems.base import Filesystems
from orchestrator.filesystems.http import HttpFilesystem
from orchestrator.filesystems.local import LocalFilesystem
from orchestrator.filesystems.lookups import Lookups


class _Server(http.server.BaseHTTPRequestHandler):
    contents: ClassVar[dict[str, bytes]] = {}
    etags: ClassVar[dict[str, str]] = {}

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/data/a%20b.txt")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = self.contents.get(path)
        self.send_response(200 if content is not None else 404)
        self.send_header("Content-Length", str(len(content or b"") + 5 * (path == "/broken")))
        if path in self.etags:
            self.send_header("ETag", self.etags[path])
        self.end_headers()
        self.wfile.write(content or b"")


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    contents = {"/data/a%20b.txt": b"hello", "/broken": b"half", "/": b"root"}
    monkeypatch.setattr(_Server, "contents", contents)
    monkeypatch.setattr(_Server, "etags", {"/data/a%20b.txt": '"v1"'})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def lookups(read_limit: int = 100, **web: Any) -> Lookups:
    files = Filesystems(LocalFilesystem(), HttpFilesystem(timeout_seconds=5, **web))
    return Lookups(files, read_limit)


def copies(place: Path) -> list[Path]:
    return [path for path in place.rglob("*") if path.is_file()]


def test_stat_content_and_listing(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").write_bytes(b"abc")
    look = lookups()
    assert look.fact("r", "stat", f"{tmp_path}/d/x").size == 3
    assert look.fact("r", "content", f"{tmp_path}/d/x").content == b"abc"
    ((name, size, _),) = json.loads(look.fact("r", "listing", f"{tmp_path}/d").content or b"")
    assert (name, size) == ("x", 3)


@pytest.mark.parametrize("kind", ["stat", "content", "listing"])
def test_nothing_is_a_fact_too(kind: str, tmp_path: Path) -> None:
    record = lookups().fact("r", kind, f"{tmp_path}/gone")
    assert not record.exists
    assert (record.kind, record.uri) == (kind, f"{tmp_path}/gone")


def test_a_content_that_is_too_large_has_a_size_only(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 101)
    record = lookups(read_limit=100).fact("r", "content", f"{tmp_path}/big")
    assert (record.exists, record.size, record.content) == (True, 101, None)


def test_a_copy_has_the_url_s_name_and_lies_below_its_place(base: str, tmp_path: Path) -> None:
    url = f"{base}/data/a%20b.txt?token=secret"
    record = lookups().fact("r", "stage", url, f"{tmp_path}/staged")
    copy = Path((record.content or b"").decode())
    assert (record.exists, record.size) == (True, 5)
    assert copy.read_bytes() == b"hello"
    assert copy.parent.parent == tmp_path / "staged"
    assert copy.name == "a%20b.txt"
    assert "secret" not in str(copy)


def test_the_same_content_is_copied_to_the_same_place_another_one_beside_it(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one process has pinned is never replaced by what another one finds."""
    url, look = f"{base}/data/a%20b.txt", lookups()
    first = look.fact("r", "stage", url, str(tmp_path)).content
    assert look.fact("r", "stage", url, str(tmp_path)).content == first
    monkeypatch.setattr(_Server, "contents", {"/data/a%20b.txt": b"other"})
    monkeypatch.setattr(_Server, "etags", {"/data/a%20b.txt": '"v2"'})
    second = look.fact("r", "stage", url, str(tmp_path)).content
    assert second != first
    assert Path((first or b"").decode()).read_bytes() == b"hello"


def test_a_content_that_has_no_identity_is_never_replaced(base: str, tmp_path: Path) -> None:
    look = lookups()
    first = look.fact("r", "stage", f"{base}/", str(tmp_path)).content
    assert look.fact("r", "stage", f"{base}/", str(tmp_path)).content != first
    assert (first or b"").endswith(b"/file")


def test_redirects_are_followed(base: str, tmp_path: Path) -> None:
    record = lookups().fact("r", "stage", f"{base}/moved", str(tmp_path))
    assert Path((record.content or b"").decode()).read_bytes() == b"hello"


def test_a_url_with_nothing_behind_it_is_a_fact(base: str, tmp_path: Path) -> None:
    assert not lookups().fact("r", "stage", f"{base}/gone", str(tmp_path)).exists


def test_half_a_copy_is_no_copy(base: str, tmp_path: Path) -> None:
    with pytest.raises(errors.TryLater):
        lookups().fact("r", "stage", f"{base}/broken", str(tmp_path))
    assert not copies(tmp_path)


def test_a_file_that_is_too_large_is_refused(base: str, tmp_path: Path) -> None:
    with pytest.raises(errors.Invalid, match="larger than 4 bytes"):
        lookups(largest_bytes=4).fact("r", "stage", f"{base}/data/a%20b.txt", str(tmp_path))
    assert not copies(tmp_path)


def test_a_copy_ends_when_it_is_told_to(base: str, tmp_path: Path) -> None:
    with pytest.raises(errors.TryLater, match="stopping"):
        lookups().fact("r", "stage", f"{base}/moved", str(tmp_path), stopped=lambda: True)
    assert not copies(tmp_path)


def test_private_addresses_are_not_copied_from_where_that_is_forbidden(
    base: str, tmp_path: Path
) -> None:
    with pytest.raises(errors.NotAllowed):
        lookups(public_only=True).fact("r", "stage", f"{base}/moved", str(tmp_path))
