"""What a run has to say after a turn: records, and effects that wait until those are committed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from orchestrator.engine.actions import Effect
from orchestrator.model.records import EventRecord, Record


class Outbox:
    """Records and effects in the order they came about. `now` is the time of the current turn."""

    def __init__(self, root_id: str, now: float) -> None:
        self.root_id = root_id
        self.now = now
        self._records: list[Record] = []
        self._effects: list[Effect] = []

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

    def take_records(self) -> list[Record]:
        """What must be committed before `take_effects` may be started."""
        taken, self._records = self._records, []
        return taken

    def take_effects(self) -> list[Effect]:
        """What is to be done once the records are committed."""
        taken, self._effects = self._effects, []
        return taken
