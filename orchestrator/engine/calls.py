"""The calls of a run that are not over, their workflows, and how many stand where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.engine.outbox import Outbox
from orchestrator.model import runtime, states
from orchestrator.model.attempt import AttemptRef
from orchestrator.model.records import AttemptRecord, CallRecord, WorkflowRecord
from orchestrator.model.states import CallState
from orchestrator.wdl.graph import Graph, ReadyCall
from orchestrator.wdl.task import PreparedTask, TaskCall


@dataclass(slots=True, eq=False)
class Flow:
    """A workflow or sub-workflow being stepped."""

    record: WorkflowRecord
    graph: Graph
    parent: Call | None = None
    stepping: bool = False  # a graph step is queued


@dataclass(slots=True, eq=False)
class Call:
    """A call that is not over."""

    flow: Flow
    ready: ReadyCall
    record: CallRecord
    task: TaskCall | None = None
    attempt: int = 1
    attempt_record: AttemptRecord | None = None
    prepared: PreparedTask | None = None
    attributes: runtime.RuntimeAttributes | None = None
    failed_before: list[str] = field(default_factory=list)  # codes of earlier attempts

    @property
    def ref(self) -> AttemptRef:
        """Its current attempt."""
        return AttemptRef(
            self.record.root_id,
            self.flow.record.id,
            self.flow.record.directory,
            self.ready.id,
            self.ready.name,
            self.ready.shards,
            self.attempt,
        )

    @property
    def failure_text(self) -> str:
        """What failed it, for people."""
        shard = "".join(f"[{shard}]" for shard in self.ready.shards)
        attempts = f" (attempt {self.attempt})" if self.attempt > 1 else ""
        return (
            f"{self.flow.record.name}.{self.ready.name}{shard}{attempts}: "
            f"{self.record.failure_code}: {self.record.failure_message}"
        )


class Calls:
    """Writes the calls' records; `open` are those that are not over."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._open: dict[tuple[str, str], Call] = {}
        self._counts: dict[str, Counter[CallState]] = {}

    @property
    def open(self) -> list[Call]:
        """Those that are not over."""
        return list(self._open.values())

    @property
    def counts(self) -> Mapping[str, Mapping[CallState, int]]:
        """Call name -> how many are in which state."""
        return {name: dict(counts) for name, counts in self._counts.items()}

    def enter(self, call: Call) -> None:
        """It is there and not over."""
        self._open[call.record.workflow_id, call.record.id] = call

    def count(self, record: CallRecord) -> None:
        """One more in its state: it has just become known."""
        self._counts.setdefault(record.name, Counter())[record.state] += 1

    def change(self, call: Call, **changes: Any) -> None:
        """Write what is new about it."""
        before = call.record.state
        call.record = states.moved(call.record, **changes)
        self._outbox.record(call.record)
        if call.record.state is not before:
            counts = self._counts[call.record.name]
            counts[before] -= 1
            counts[call.record.state] += 1
        if states.is_terminal(call.record.state):
            self._open.pop((call.record.workflow_id, call.record.id), None)
