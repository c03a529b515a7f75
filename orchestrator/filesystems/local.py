"""Plain paths and `file://` URIs.

An object's identity is made of size, time of change and inode: a file that is rewritten, touched or
replaced counts as another one. It is cheap (no content is read) and errs on the side of "changed".
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat as modes
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO
from urllib.parse import quote, unquote, urlsplit

from orchestrator import errors
from orchestrator.filesystems.atomic import replacing
from orchestrator.filesystems.base import Source, Stat

_SCHEME = "file://"

# The file may be there again, or the disk have room again.
_PASSING = {
    errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE, errno.EAGAIN, errno.EINTR, errno.ENOMEM,
    errno.EMFILE, errno.ENFILE, errno.ETIMEDOUT, errno.EBUSY,
}  # fmt: skip
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL}


class LocalFilesystem:
    """Files of this machine. Only regular files are objects: never a device, pipe or socket."""

    schemes: tuple[str, ...] = ("", "file")

    def stat(self, uri: str) -> Stat:
        """Size and identity of a regular file; symbolic links are followed."""
        with _errors(uri):
            status = _path(uri).stat()
            _must_be_regular(uri, status)
            return Stat(uri, status.st_size, identity(status))

    def read(self, uri: str, limit_bytes: int) -> bytes:
        """The whole content, at most `limit_bytes`."""
        with _errors(uri), _open(uri) as file:
            content = file.read(limit_bytes + 1)
        if len(content) > limit_bytes:
            raise errors.Invalid(f"{uri} is larger than {limit_bytes:,} bytes, too large to read")
        return content

    def write(self, uri: str, content: bytes) -> None:
        """Create or replace; parent directories are made."""
        with _errors(uri), replacing(_path(uri)) as file:
            file.write(content)

    def write_stream(self, uri: str, source: Source) -> None:
        """Create or replace; parent directories are made."""
        with _errors(uri), replacing(_path(uri)) as file:
            while part := source.read(1024 * 1024):
                file.write(part)

    def list(self, uri: str) -> Iterator[Stat]:
        """Every regular file below a directory, symbolic links followed, no directory twice."""
        return iter(_listing(uri))

    def download(self, uri: str, path: str) -> None:
        """Copy."""
        with _errors(uri), _open(uri) as source, replacing(Path(path)) as target:
            shutil.copyfileobj(source, target, 1024 * 1024)

    def upload(self, path: str, uri: str) -> None:
        """Copy."""
        self.download(path, str(_path(uri)))

    def delete(self, uris: Iterable[str]) -> None:
        """Unlink files."""
        for uri in uris:
            with _errors(uri), contextlib.suppress(FileNotFoundError, NotADirectoryError):
                _path(uri).unlink()


def identity(status: os.stat_result) -> str:
    """What stands for the content of a local file."""
    return f"{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ino:x}"


def _path(uri: str) -> Path:
    if not uri.startswith(_SCHEME):
        return Path(uri)
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost"):
        raise errors.InvalidInputs(
            f"{uri} names the host {parts.netloc!r}; only files of this machine can be read",
            hint=f"three slashes: file:///{parts.netloc}{parts.path}",
        )
    # Not parts.path: '?' and '#' are ordinary characters of a file's name.
    return Path(unquote(uri[len(_SCHEME) + len(parts.netloc) :]))


def _listing(uri: str) -> list[Stat]:
    top = _path(uri)
    found: list[Stat] = []
    seen: set[tuple[int, int]] = set()

    def refuse(error: OSError) -> None:
        raise error

    with _errors(uri):
        if not top.is_dir():
            return []
        for directory, names, files in os.walk(top, followlinks=True, onerror=refuse):
            status = Path(directory).stat()
            if (status.st_dev, status.st_ino) in seen:
                names.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            for name in files:
                path = Path(directory, name)
                try:
                    status = path.stat()
                except OSError as error:
                    if error.errno in _ABSENT:  # a link that leads nowhere, or just gone
                        continue
                    raise
                if modes.S_ISREG(status.st_mode):
                    found.append(_below(uri, top, path, status))
    return sorted(found, key=lambda stat: os.fsencode(stat.uri))


def _open(uri: str) -> IO[bytes]:
    # O_NONBLOCK: opening a pipe nobody writes to must not hang; on a file it means nothing.
    descriptor = os.open(_path(uri), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _must_be_regular(uri, os.fstat(descriptor))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _below(uri: str, top: Path, path: Path, status: os.stat_result) -> Stat:
    relative = str(path.relative_to(top))
    if uri.startswith(_SCHEME):
        relative = quote(relative)
    return Stat(f"{uri.rstrip('/')}/{relative}", status.st_size, identity(status))


def _must_be_regular(uri: str, status: os.stat_result) -> None:
    if modes.S_ISDIR(status.st_mode):
        raise errors.NotFound(f"{uri} is a directory, not a file")
    if not modes.S_ISREG(status.st_mode):
        raise errors.NotAllowed(f"{uri} is a device, pipe or socket, not a file")


@contextlib.contextmanager
def _errors(uri: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        if error.errno in _ABSENT:
            raise errors.NotFound(f"there is no file {uri} ({reason})") from error
        if error.errno in _PASSING:
            raise errors.TryLater(f"{uri}: {reason}") from error
        raise errors.NotAllowed(f"{uri}: {reason}") from error
    except ValueError as error:  # a NUL character in the path
        raise errors.NotFound(f"there is no file {uri!r} ({error})") from error
