"""The port of a file system, and `Filesystems`, which picks one by the URI's scheme."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from orchestrator import errors


@dataclass(frozen=True, slots=True)
class Stat:
    """One object. `size` in bytes; `etag` is its identity: changes when the content does."""

    uri: str
    size: int
    etag: str | None = None


class Filesystem(Protocol):
    """Raises `errors.NotFound`, `errors.NotAllowed`, `errors.TryLater`, naming the URI."""

    schemes: tuple[str, ...]  # "" stands for plain paths

    def stat(self, uri: str) -> Stat:
        """The object's size and identity."""

    def read(self, uri: str, limit_bytes: int) -> bytes:
        """The whole content; raises `errors.Invalid` when it is larger than the limit."""

    def write(self, uri: str, content: bytes) -> None:
        """Create or replace, atomically: a reader sees the old or the new, never a part."""

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

    def __init__(self, *filesystems: Filesystem) -> None:
        self._by_scheme: Mapping[str, Filesystem] = {
            scheme: filesystem for filesystem in filesystems for scheme in filesystem.schemes
        }

    def of(self, uri: str) -> Filesystem:
        """The file system of this URI. Raises `errors.InvalidInputs` for an unknown scheme."""
        scheme, separator, _ = uri.partition("://")
        try:
            return self._by_scheme[scheme if separator else ""]
        except KeyError:
            known = ", ".join(sorted(f"{s}://" for s in self._by_scheme if s)) or "plain paths"
            raise errors.InvalidInputs(
                f"nothing here can read {uri}", hint=f"known here: plain paths, {known}"
            ) from None
