"""What a run has to say after a turn: records, and effects that wait until those are committed.

A turn may say a great deal, and a commit is not to take long. So what must become durable together
is one group, and commits are made of whole groups: a restart may find any number of them.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from typing import Any

from orchestrator.engine.actions import Effect
from orchestrator.model.records import EventRecord, Record


class Outbox:
    """Records and effects in the order they came about. `now` is the time of the current turn."""

    def __init__(self, root_id: str, now: float) -> None:
        self.root_id = root_id
        self.now = now
        self._groups: deque[tuple[list[Record], list[Effect]]] = deque()
        self._records: list[Record] = []  # of the group that is being made
        self._effects: list[Effect] = []
        self._size = 0  # records and effects in groups

    def record(self, *records: Record) -> None:
        """To be committed with this turn."""
        self._records += records

    def perform(self, effect: Effect) -> None:
        """To be started once the turn's records are committed."""
        self._effects.append(effect)

    def event(
        self,
        workflow_id: str,
        kind: str,
        *,
        call_id: str | None = None,
        attempt: int | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Tell people."""
        self.record(
            EventRecord(
                self.root_id,
                workflow_id,
                self.now,
                kind,
                call_id,
                attempt,
                json.dumps(detail or {}),
            )
        )

    def seal(self) -> None:
        """The group is complete: what was recorded so far is true without what comes next."""
        if self._records or self._effects:
            self._size += len(self._records) + len(self._effects)
            self._groups.append((self._records, self._effects))
            self._records, self._effects = [], []

    def __len__(self) -> int:
        """How many records and effects are waiting."""
        return self._size + len(self._records) + len(self._effects)

    def take(self, limit: int | None = None) -> tuple[list[Record], list[Effect]]:
        """Whole groups of at least `limit` records, if there are so many; all of them without.

        The effects are to be started once these records are committed.
        """
        self.seal()
        records: list[Record] = []
        effects: list[Effect] = []
        while self._groups and (limit is None or len(records) < limit):
            group = self._groups.popleft()
            self._size -= len(group[0]) + len(group[1])
            records += group[0]
            effects += group[1]
        return records, effects
