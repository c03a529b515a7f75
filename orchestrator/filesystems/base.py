"""The port of a file system, and `Filesystems`, which picks one by the URI's scheme."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from orchestrator import errors


@dataclass(frozen=True, slots=True)
class Stat:
    """One object. `size` in bytes; `etag` is its identity: changes when the content does."""

    uri: str
    size: int
    etag: str | None = None


class Source(Protocol):
    """What a stream is read from."""

    def read(self, size: int = -1, /) -> bytes:
        """The next part: so many bytes, fewer only at the end, which the source is sure of then."""


class Filesystem(Protocol):
    """Raises `errors.NotFound`, `errors.NotAllowed`, `errors.TryLater`, naming the URI."""

    schemes: tuple[str, ...]  # "" stands for plain paths

    def stat(self, uri: str) -> Stat:
        """The object's size and identity."""

    def read(self, uri: str, limit_bytes: int) -> bytes:
        """The whole content; raises `errors.Invalid` when it is larger than the limit."""

    def write(self, uri: str, content: bytes) -> None:
        """Create or replace, atomically: a reader sees the old or the new, never a part."""

    def write_stream(self, uri: str, source: Source) -> None:
        """As `write`, of what need not fit into memory. What `source` raises comes through, and
        nothing is left then."""

    def list(self, uri: str) -> Iterator[Stat]:
        """Every object below this directory, sorted by URI; none where there is nothing."""

    def download(self, uri: str, path: str) -> None:
        """Copy to a local path, atomically; parent directories are made."""

    def upload(self, path: str, uri: str) -> None:
        """Copy a local file to `uri`, atomically, replacing what is there."""

    def delete(self, uris: Iterable[str]) -> None:
        """Delete objects; those that are not there are no error."""


class Filesystems:
    """All file systems of this process, by scheme."""

    def __init__(
        self, *filesystems: Filesystem, made_when_used: Mapping[str, Callable[[], Filesystem]] = {}
    ) -> None:
        """`made_when_used`: scheme -> what makes its file system; a client of S3 takes a while."""
        self._by_scheme = {scheme: one for one in filesystems for scheme in one.schemes}
        self._factories = dict(made_when_used)
        self._lock = threading.Lock()

    def of(self, uri: str) -> Filesystem:
        """The file system of this URI. Raises `errors.InvalidInputs` for an unknown scheme."""
        scheme, separator, _ = uri.partition("://")
        scheme = scheme if separator else ""
        with self._lock:
            if scheme in self._factories and scheme not in self._by_scheme:
                self._by_scheme[scheme] = self._factories[scheme]()
            found = self._by_scheme.get(scheme)
        if found is None:
            known = sorted(f"{s}://" for s in {*self._by_scheme, *self._factories} if s)
            raise errors.InvalidInputs(
                f"nothing here can read {uri}", hint=f"known here: {', '.join(['paths', *known])}"
            )
        return found
