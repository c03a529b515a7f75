"""Facts: what is known about files, so that evaluation needs no I/O and a replay sees the same."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.model.records import FactRecord

Kind = Literal["stat", "content", "listing", "stage"]


@dataclass(frozen=True, slots=True)
class Want:
    """A fact that an expression needs.

    `stage`: a file of a web server has to be copied to where jobs can fetch it, somewhere below
    `place`. The fact's content is the URI of the copy; size and ETag are the copy's.
    """

    kind: Kind
    uri: str
    place: str = field(default="", compare=False)


class NeedFacts(Exception):
    """Evaluation stopped: fetch these facts, pin them, evaluate again."""

    def __init__(self, wants: Iterable[Want]) -> None:
        self.wants = frozenset(wants)
        super().__init__(", ".join(f"{w.kind} of {w.uri}" for w in sorted(self.wants, key=str)))


class Facts:
    """The pinned facts of one root workflow. First writer wins: a fact never changes."""

    def __init__(self, records: Iterable[FactRecord] = ()) -> None:
        self._known: dict[tuple[str, str], FactRecord] = {}
        self._order: list[Want] = []  # as they became known
        for record in records:
            self.add(record)

    def add(self, record: FactRecord) -> bool:
        """Pin a fact; False when it was pinned already."""
        if (record.kind, record.uri) in self._known:
            return False
        self._known[record.kind, record.uri] = record
        self._order.append(Want(record.kind, record.uri))  # type: ignore[arg-type]
        return True

    @property
    def count(self) -> int:
        """How many are known."""
        return len(self._order)

    def since(self, count: int) -> Iterable[Want]:
        """Those that became known when so many were already."""
        return self._order[count:]

    def dismantle(self) -> None:
        """Nobody asks any more: they go one by one, so that no thread has to wait for it."""
        self._order.clear()
        while self._known:
            self._known.popitem()

    def get(self, kind: Kind, uri: str) -> FactRecord:
        """The fact. Raises NeedFacts where it is not known; `.exists` tells whether it is there."""
        try:
            return self._known[kind, uri]
        except KeyError:
            raise NeedFacts([Want(kind, uri)]) from None

    def peek(self, kind: Kind, uri: str) -> FactRecord | None:
        """The fact if it is known."""
        return self._known.get((kind, uri))

    def listing(self, uri: str) -> list[tuple[str, int, str | None]]:
        """(relative path, size, etag) of everything below a directory. Raises NeedFacts."""
        record = self.get("listing", uri)
        return [(path, size, etag) for path, size, etag in json.loads(record.content or b"[]")]
