"""Facts from file systems: what is asked of them for evaluation, and what they answer, as records.

`stage` copies: a file of a web server to a place that jobs can fetch from. It may be done twice, by
two processes at once or again after a crash: the copy's name holds what the server calls the
content, so that what is pinned first is never replaced by something else.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable
from urllib.parse import urlsplit

from orchestrator import errors
from orchestrator.filesystems.base import Filesystems
from orchestrator.filesystems.http import Body, HttpFilesystem, shown
from orchestrator.model.records import FactRecord


class Lookups:
    """Answers wants. Everything may block; may be used by several threads."""

    def __init__(self, filesystems: Filesystems, read_limit_bytes: int) -> None:
        self._filesystems = filesystems
        self._read_limit = read_limit_bytes

    def fact(
        self,
        root_id: str,
        kind: str,
        uri: str,
        place: str = "",
        stopped: Callable[[], bool] = lambda: False,
    ) -> FactRecord:
        """One fact. `place`: the URI or directory that a copy lies below; `stopped`: whether a long
        copy should end, with TryLater.

        Raises what file systems raise, except that nothing at the URI is a fact, too; and so is a
        content that is too large to be read: it has a size only.
        """
        try:
            match kind:
                case "stat":
                    stat = self._filesystems.of(uri).stat(uri)
                    return FactRecord(root_id, kind, uri, True, stat.size, stat.etag)
                case "content":
                    return self._content(root_id, uri)
                case "listing":
                    return self._listing(root_id, uri)
                case "stage":
                    return self._stage(root_id, uri, place, stopped)
        except errors.NotFound:
            return FactRecord(root_id, kind, uri, False)
        raise AssertionError(kind)

    def _content(self, root_id: str, uri: str) -> FactRecord:
        filesystem = self._filesystems.of(uri)
        try:
            content = filesystem.read(uri, self._read_limit)
        except errors.Invalid:
            size = filesystem.stat(uri).size
            if size <= self._read_limit:  # something else
                raise
            return FactRecord(root_id, "content", uri, True, size)
        return FactRecord(root_id, "content", uri, True, len(content), None, content)

    def _listing(self, root_id: str, uri: str) -> FactRecord:
        base = uri.rstrip("/") + "/"
        entries = [
            (stat.uri.removeprefix(base), stat.size, stat.etag)
            for stat in self._filesystems.of(uri).list(uri)
        ]
        total = sum(size for _, size, _ in entries)
        content = json.dumps(entries).encode()
        return FactRecord(root_id, "listing", uri, bool(entries), total, None, content)

    def _stage(self, root_id: str, uri: str, place: str, stopped: Callable[[], bool]) -> FactRecord:
        web = self._filesystems.of(uri)
        if not isinstance(web, HttpFilesystem):
            raise errors.InvalidInputs(f"{uri} needs no copy: jobs fetch it themselves")
        with web.open(uri) as body:
            copy = f"{place.rstrip('/')}/{_name(uri, body)}"
            target = self._filesystems.of(copy)
            target.write_stream(copy, _Stoppable(body, stopped, shown(uri)))
        stat = target.stat(copy)
        return FactRecord(root_id, "stage", uri, True, stat.size, stat.etag, copy.encode())


class _Stoppable:
    """A source that ends with an error when it is told to."""

    def __init__(self, body: Body, stopped: Callable[[], bool], name: str) -> None:
        self._body, self._stopped, self._name = body, stopped, name

    def read(self, size: int = -1, /) -> bytes:
        """The next part."""
        if self._stopped():
            raise errors.TryLater(f"{self._name} was not copied to its end: stopping")
        return self._body.read(size)


def _name(uri: str, body: Body) -> str:
    """A directory for this content of this URL, and the URL's last name. The query may be a secret:
    nothing of it shows."""
    content = body.identity or secrets.token_hex(16)
    digest = hashlib.sha256(f"{uri}\n{content}".encode()).hexdigest()[:32]
    base = re.sub(r"[^A-Za-z0-9._%+=@,~-]", "_", urlsplit(uri).path.rpartition("/")[2])[-200:]
    return f"{digest}/{base if base.strip('.') else 'file'}"
