"""Plain files: links, special files, file URIs, writing whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator import errors
from orchestrator.filesystems.atomic import replacing
from orchestrator.filesystems.local import LocalFilesystem

FILES = LocalFilesystem()


def test_a_file_of_the_same_size_and_time_but_another_inode_is_another(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"1234")
        os.utime(tmp_path / name, ns=(10**18, 10**18))
    before = FILES.stat(str(tmp_path / "a"))
    (tmp_path / "b").replace(tmp_path / "a")
    assert FILES.stat(str(tmp_path / "a")).etag != before.etag


def test_links_are_followed_loops_and_dangling_links_are_not(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"x")
    top = tmp_path / "top"
    top.mkdir()
    (top / "link").symlink_to(tmp_path / "data")
    (top / "gone").symlink_to(tmp_path / "nowhere")
    (top / "loop").symlink_to(top)
    (top / "self").symlink_to("self")
    assert [stat.uri for stat in FILES.list(str(top))] == [f"{top}/link"]
    assert FILES.stat(f"{top}/link").size == 1
    with pytest.raises(errors.NotFound):
        FILES.stat(f"{top}/self")


def test_special_files_are_refused_and_never_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for uri in (str(tmp_path / "pipe"), "/dev/zero"):
        for call in (
            lambda uri=uri: FILES.stat(uri),
            lambda uri=uri: FILES.read(uri, 10),
            lambda uri=uri: FILES.download(uri, str(tmp_path / "copy")),
        ):
            with pytest.raises(errors.NotAllowed, match="not a file"):
                call()
    assert list(FILES.list(str(tmp_path))) == []


def test_a_file_uri_of_another_host_is_refused() -> None:
    with pytest.raises(errors.InvalidInputs, match="'data'"):
        FILES.stat("file://data/a.txt")


def test_a_name_with_nul_is_not_found() -> None:
    with pytest.raises(errors.NotFound):
        FILES.read("/tmp/a\0b", 10)


def test_a_block_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    class Stop(Exception):
        pass

    def fail() -> None:
        with replacing(path) as file:
            file.write(b"half")
            raise Stop

    with pytest.raises(Stop):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


def test_written_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        FILES.write(str(tmp_path / "file"), b"")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
