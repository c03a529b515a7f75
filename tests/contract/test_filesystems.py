"""What every file system promises, checked on each of them with a real counterpart: a disk, S3 as
moto plays it, a web server in a thread."""

from __future__ import annotations

import contextlib
import functools
import http.server
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from orchestrator import errors
from orchestrator.filesystems.base import Filesystem, Filesystems
from orchestrator.filesystems.http import HttpFilesystem
from orchestrator.filesystems.local import LocalFilesystem
from orchestrator.filesystems.s3 import S3Filesystem


@dataclass
class Case:
    """One adapter, where its objects lie, and a way to put one there behind its back."""

    filesystem: Filesystem
    base: str
    put: Callable[[str, bytes], None]
    read_only: bool = False


@contextlib.contextmanager
def _local(tmp_path: Path, prefix: str = "") -> Iterator[Case]:
    def put(name: str, content: bytes) -> None:
        path = tmp_path / "objects" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    yield Case(LocalFilesystem(), f"{prefix}{tmp_path}/objects", put)


@contextlib.contextmanager
def _s3(tmp_path: Path) -> Iterator[Case]:
    with mock_aws():
        client = boto3.client(
            "s3",
            region_name="us-east-1",
            aws_access_key_id="AKIAEXAMPLE",
            aws_secret_access_key="example",
        )
        client.create_bucket(Bucket="bucket")

        def put(name: str, content: bytes) -> None:
            client.put_object(Bucket="bucket", Key=f"objects/{name}", Body=content)

        yield Case(S3Filesystem(client), "s3://bucket/objects", put)
        client.close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def _http(tmp_path: Path) -> Iterator[Case]:
    with _local(tmp_path) as local:
        handler = functools.partial(_Quiet, directory=str(tmp_path))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            base = f"http://127.0.0.1:{server.server_port}/objects"
            yield Case(HttpFilesystem(timeout_seconds=10), base, local.put, read_only=True)
            server.shutdown()
            thread.join()


CASES = {
    "local": _local,
    "file": functools.partial(_local, prefix="file://"),
    "s3": _s3,
    "http": _http,
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    with CASES[request.param](tmp_path) as case:
        yield case


@pytest.fixture(params=[name for name in CASES if name != "http"])
def writable(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    with CASES[request.param](tmp_path) as case:
        yield case


def test_stat_tells_size_and_an_identity_that_stays(case: Case) -> None:
    case.put("a.txt", b"hello")
    stat = case.filesystem.stat(f"{case.base}/a.txt")
    assert (stat.uri, stat.size) == (f"{case.base}/a.txt", 5)
    assert stat.etag
    assert case.filesystem.stat(f"{case.base}/a.txt") == stat


def test_the_identity_changes_with_the_content(case: Case) -> None:
    case.put("a.txt", b"hello")
    before = case.filesystem.stat(f"{case.base}/a.txt")
    case.put("a.txt", b"hello, again")
    assert case.filesystem.stat(f"{case.base}/a.txt").etag != before.etag


def test_an_empty_object_is_an_object(case: Case) -> None:
    case.put("empty", b"")
    assert case.filesystem.stat(f"{case.base}/empty").size == 0
    assert case.filesystem.read(f"{case.base}/empty", 0) == b""


def test_what_is_not_there_is_not_found_and_named(case: Case, tmp_path: Path) -> None:
    case.put("other", b"")
    uri = f"{case.base}/nope"
    calls: list[Callable[[], object]] = [
        lambda: case.filesystem.stat(uri),
        lambda: case.filesystem.read(uri, 10),
        lambda: case.filesystem.download(uri, str(tmp_path / "copy")),
    ]
    for call in calls:
        with pytest.raises(errors.NotFound) as caught:
            call()
        assert uri in caught.value.message
    assert not (tmp_path / "copy").exists()


def test_reading_stops_at_the_limit(case: Case) -> None:
    case.put("ten", b"0123456789")
    assert case.filesystem.read(f"{case.base}/ten", 10) == b"0123456789"
    with pytest.raises(errors.Invalid, match="ten"):
        case.filesystem.read(f"{case.base}/ten", 9)


def test_download_makes_directories_and_leaves_no_part(case: Case, tmp_path: Path) -> None:
    content = bytes(range(256)) * 40_000  # some 10 MB: several parts of a transfer
    case.put("big", content)
    target = tmp_path / "deep" / "down" / "copy"
    case.filesystem.download(f"{case.base}/big", str(target))
    assert target.read_bytes() == content
    assert [p.name for p in target.parent.iterdir()] == ["copy"]


def test_a_failed_download_leaves_the_old_file(case: Case, tmp_path: Path) -> None:
    case.put("other", b"")
    target = tmp_path / "copy"
    target.write_bytes(b"old")
    with pytest.raises(errors.NotFound):
        case.filesystem.download(f"{case.base}/nope", str(target))
    assert target.read_bytes() == b"old"


def test_write_creates_and_replaces(writable: Case) -> None:
    uri = f"{writable.base}/new/deep/x.txt"
    writable.filesystem.write(uri, b"one")
    assert writable.filesystem.read(uri, 100) == b"one"
    writable.filesystem.write(uri, b"two")
    assert writable.filesystem.read(uri, 100) == b"two"
    assert [stat.uri for stat in writable.filesystem.list(writable.base)] == [uri]


class _Parts:
    """A source of so many bytes; it may break."""

    def __init__(self, size: int, breaks: bool = False) -> None:
        self._left, self._breaks = size, breaks

    def read(self, size: int = -1, /) -> bytes:
        if self._breaks and not 0 <= size <= self._left:
            raise errors.TryLater("the source broke off")
        part = b"x" * min(self._left, size if size >= 0 else self._left)
        self._left -= len(part)
        return part


@pytest.mark.parametrize("size", [0, 5, 3 * 1024**2])
def test_a_stream_is_written_whole(writable: Case, size: int) -> None:
    uri = f"{writable.base}/streamed"
    writable.filesystem.write_stream(uri, _Parts(size))
    assert writable.filesystem.read(uri, 10**7) == b"x" * size


def test_a_stream_that_breaks_leaves_what_was_there(writable: Case) -> None:
    uri = f"{writable.base}/streamed"
    writable.filesystem.write(uri, b"old")
    with pytest.raises(errors.TryLater, match="broke off"):
        writable.filesystem.write_stream(uri, _Parts(70 * 1024**2, breaks=True))
    assert writable.filesystem.read(uri, 10) == b"old"


def test_list_is_deep_sorted_and_ends_at_the_slash(writable: Case) -> None:
    for name in ("dir/b", "dir/a/z", "dir/a-c", "dir/B", "dir2/x", "dir.txt"):
        writable.put(name, name.encode())
    found = list(writable.filesystem.list(f"{writable.base}/dir"))
    assert [stat.uri.removeprefix(f"{writable.base}/") for stat in found] == [
        "dir/B", "dir/a-c", "dir/a/z", "dir/b",
    ]  # fmt: skip
    assert found == list(writable.filesystem.list(f"{writable.base}/dir/"))
    assert found == [writable.filesystem.stat(stat.uri) for stat in found]


def test_listing_nothing_gives_nothing(writable: Case) -> None:
    writable.put("file", b"")
    assert list(writable.filesystem.list(f"{writable.base}/nope")) == []
    assert list(writable.filesystem.list(f"{writable.base}/file")) == []


@pytest.mark.parametrize("name", ["with space", "plus+plus", "per%41cent", "hash#1", "q?x=1", "é"])
def test_names_are_taken_as_they_are(writable: Case, name: str) -> None:
    writable.put(f"dir/{name}", b"x")
    (stat,) = writable.filesystem.list(f"{writable.base}/dir")
    assert writable.filesystem.read(stat.uri, 1) == b"x"
    if not writable.base.startswith("file://"):
        assert stat.uri == f"{writable.base}/dir/{name}"


def test_delete_takes_many_and_does_not_mind_what_is_gone(writable: Case) -> None:
    names = [f"many/{number:04}" for number in range(1203)]
    for name in names:
        writable.put(name, b"")
    writable.put("kept", b"")
    writable.filesystem.delete(f"{writable.base}/{name}" for name in [*names, "many/never"])
    assert [stat.uri for stat in writable.filesystem.list(writable.base)] == [
        f"{writable.base}/kept"
    ]


def test_a_directory_is_no_object(writable: Case) -> None:
    writable.put("dir/file", b"")
    for uri in (f"{writable.base}/dir", f"{writable.base}/dir/"):
        with pytest.raises(errors.NotFound):
            writable.filesystem.stat(uri)
        with pytest.raises(errors.NotFound):
            writable.filesystem.read(uri, 100)


def test_http_is_read_only(tmp_path: Path) -> None:
    with _http(tmp_path) as case:
        uri = f"{case.base}/x"
        for call in (
            lambda: case.filesystem.write(uri, b""),
            lambda: list(case.filesystem.list(uri)),
            lambda: case.filesystem.delete([uri]),
        ):
            with pytest.raises(errors.NotAllowed, match="/objects/x"):
                call()


def test_the_scheme_picks_the_filesystem() -> None:
    local, web = LocalFilesystem(), HttpFilesystem()
    filesystems = Filesystems(local, web)
    assert filesystems.of("/a/b") is local
    assert filesystems.of("relative/b") is local
    assert filesystems.of("file:///a") is local
    assert filesystems.of("https://host/a") is web
    with pytest.raises(errors.InvalidInputs, match="gs://bucket/a"):
        filesystems.of("gs://bucket/a")
