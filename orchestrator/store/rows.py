"""Records <-> rows of `schema`."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from orchestrator.model.records import (
    AttemptRecord,
    CallRecord,
    EventRecord,
    FactRecord,
    Record,
    SharedInput,
    SubmissionRecord,
    WorkflowRecord,
)
from orchestrator.model.states import (
    AttemptState,
    CallState,
    SubmissionState,
    WorkflowState,
    is_terminal,
)
from orchestrator.store import schema
from orchestrator.store.base import Lease

R = TypeVar("R", WorkflowRecord, CallRecord, SharedInput, AttemptRecord, SubmissionRecord,
            FactRecord, EventRecord)  # fmt: skip
Row = dict[str, Any]


def clean(text: str) -> str:
    """Text that both dialects can keep: NUL and lone surrogates (bytes of a tool's output, of a
    file's name) become visible escapes."""
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    return text.replace("\x00", "\\x00") if "\x00" in text else text


def uri_digest(uri: str) -> str:
    """What stands for a URI in a key."""
    return hashlib.sha256(uri.encode("utf-8", "surrogatepass")).hexdigest()


def _shards_text(shards: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shards))}]"


def _shards(text: str) -> tuple[int, ...]:
    return () if text == "[]" else tuple(json.loads(text))


@dataclass(frozen=True)
class Mapping(Generic[R]):
    """One kind of record and its table: field names are column names.

    `key` names the fields that identify a record below its root. `to_column` and `to_field` convert
    what SQL has no type for; `shared` are fields that many rows have in common: one copy in memory.
    """

    record: type[R]
    table: sa.Table
    key: tuple[str, ...]
    to_column: dict[str, Callable[[Any], Any]] = dataclasses.field(default_factory=dict)
    to_field: dict[str, Callable[[Any], Any]] = dataclasses.field(default_factory=dict)
    derived: dict[str, Callable[[R], Any]] = dataclasses.field(default_factory=dict)
    shared: tuple[str, ...] = ("root_id", "workflow_id")

    @property
    def fields(self) -> tuple[str, ...]:
        """Field names in the record's order."""
        return tuple(f.name for f in dataclasses.fields(self.record))

    @property
    def columns(self) -> tuple[sa.Column[Any], ...]:
        """Columns in the record's order."""
        return tuple(self.table.c[name] for name in self.fields)

    def rows(self, records: Iterable[R], **more: Any) -> list[Row]:
        """Rows to insert; `more` are columns that are no fields of the record."""
        names, values_of = self.fields, attrgetter(*self.fields)
        rows = []
        for record in records:
            row = dict(zip(names, values_of(record), strict=True))
            for name, convert in self.to_column.items():
                row[name] = convert(row[name])
            for name, value in row.items():
                if type(value) is str:
                    row[name] = clean(value)
            for name, derive in self.derived.items():
                row[name] = derive(record)
            row.update(more)
            rows.append(row)
        return rows

    def records(self, rows: Iterable[Sequence[Any]]) -> Iterator[R]:
        """Records from rows of `columns`."""
        position = {name: index for index, name in enumerate(self.fields)}
        converted = [(position[name], convert) for name, convert in self.to_field.items()]
        shared = [position[name] for name in self.shared if name in position]
        kept: dict[str, str] = {}
        for row in rows:
            values = list(row)
            for index, convert in converted:
                values[index] = convert(values[index])
            for index in shared:
                values[index] = kept.setdefault(values[index], values[index])
            yield self.record(*values)


_value = attrgetter("value")


def _of(states: type[StrEnum]) -> Callable[[str], StrEnum]:
    return {state.value: state for state in states}.__getitem__


WORKFLOW = Mapping(
    WorkflowRecord,
    schema.workflow,
    ("id",),
    to_column={"state": _value},
    to_field={"state": _of(WorkflowState)},
)
CALL = Mapping(
    CallRecord,
    schema.call,
    ("workflow_id", "id"),
    to_column={"state": _value, "shards": _shards_text},
    to_field={"state": _of(CallState), "shards": _shards},
    shared=("root_id", "workflow_id", "name"),
)
ATTEMPT = Mapping(
    AttemptRecord,
    schema.attempt,
    ("workflow_id", "call_id", "attempt"),
    to_column={"state": _value},
    to_field={"state": _of(AttemptState)},
    shared=("root_id", "workflow_id", "runtime"),
)
SUBMISSION = Mapping(
    SubmissionRecord,
    schema.submission,
    ("id",),
    to_column={"state": _value},
    to_field={"state": _of(SubmissionState)},
    shared=("root_id", "queue", "backend"),
)
FACT = Mapping(
    FactRecord,
    schema.fact,
    ("kind", "uri"),
    derived={"uri_digest": lambda fact: uri_digest(fact.uri)},
    shared=("root_id", "kind"),
)
SHARED_INPUT = Mapping(SharedInput, schema.shared_input, ("digest",))
EVENT = Mapping(EventRecord, schema.event, (), shared=("root_id", "workflow_id", "kind"))

# In the order in which they are written: what others refer to comes first.
UPSERTED: tuple[Mapping[Any], ...] = (WORKFLOW, CALL, SUBMISSION, ATTEMPT)
# Never changed once they are there.
KEPT: tuple[Mapping[Any], ...] = (FACT, SHARED_INPUT)


class Batch:
    """What one write is asked to keep: of each key the last record, of a fact the first."""

    def __init__(self, lease: Lease, records: Iterable[Record]) -> None:
        """Raises ValueError for a record of another root: the lease does not cover it."""
        self._epoch = lease.epoch
        self._kept: dict[type, dict[Any, Any]] = {}
        self._events: list[EventRecord] = []
        for record in records:
            if record.root_id != lease.root_id:
                raise ValueError(f"{record!r} is not of workflow {lease.root_id}")
            if isinstance(record, EventRecord):
                self._events.append(record)
                continue
            kept = self._kept.setdefault(type(record), {})
            key = _KEY[type(record)](record)
            if isinstance(record, FactRecord | SharedInput):
                kept.setdefault(key, record)
            else:
                kept[key] = record

    @property
    def ends_a_call(self) -> bool:
        """Whether a call is over with this."""
        return any(is_terminal(call.state) for call in self._kept.get(CallRecord, {}).values())

    def rows(self, mapping: Mapping[Any]) -> list[Row]:
        """Rows to insert or to replace."""
        return mapping.rows(self._kept.get(mapping.record, {}).values(), epoch=self._epoch)

    def event_rows(self, first_number: int) -> list[Row]:
        """Rows to append, numbered from there on."""
        rows = EVENT.rows(self._events, epoch=self._epoch)
        for number, row in enumerate(rows, first_number):
            row["number"] = number
        return rows


_KEY: dict[type, Callable[[Any], Any]] = {m.record: attrgetter(*m.key) for m in (*UPSERTED, *KEPT)}
