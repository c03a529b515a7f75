"""From one file system to another: inside of S3 by S3 itself, otherwise through this machine, and
what comes from the web as it comes, within the bounds of what is taken from there."""

from __future__ import annotations

import tempfile
from pathlib import Path

from orchestrator.filesystems.base import Filesystems
from orchestrator.filesystems.http import HttpFilesystem
from orchestrator.filesystems.local import LocalFilesystem
from orchestrator.filesystems.s3 import S3Filesystem


def copy(filesystems: Filesystems, source: str, target: str) -> None:
    """Copy one file; what is at `target` is replaced, atomically. Local ones are plain paths.

    Raises what the file systems raise: NotFound where there is no source, NotAllowed, TryLater,
    Invalid for what is too large to be taken from the web.
    """
    here, there = filesystems.of(source), filesystems.of(target)
    if isinstance(here, S3Filesystem) and here is there:
        here.copy(source, target)
    elif isinstance(here, HttpFilesystem):
        with here.open(source) as body:
            there.write_stream(target, body)
    elif isinstance(here, LocalFilesystem):
        there.upload(source, target)
    elif isinstance(there, LocalFilesystem):
        here.download(source, target)
    else:
        with tempfile.TemporaryDirectory(prefix="orchestrator-copy-") as folder:
            path = str(Path(folder) / "file")
            here.download(source, path)
            there.upload(path, target)
