"""Records and rows."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model.records import CallRecord, FactRecord
from orchestrator.model.states import CallState
from orchestrator.store import rows
from orchestrator.store.base import Lease

ALL = (*rows.UPSERTED, rows.FACT, rows.EVENT)


@pytest.mark.parametrize("mapping", ALL, ids=lambda mapping: mapping.table.name)
def test_every_field_has_its_column_and_every_column_a_source(
    mapping: rows.Mapping[object],  # type: ignore[type-var]
) -> None:
    columns = {column.name for column in mapping.table.c}
    numbered = {"number"} if mapping is rows.EVENT else set()
    assert columns == {*mapping.fields, *mapping.derived, *numbered, "epoch"}


@pytest.mark.parametrize("mapping", [*rows.UPSERTED, rows.FACT], ids=lambda m: m.table.name)
def test_key_below_the_root_is_the_tables_key(
    mapping: rows.Mapping[object],  # type: ignore[type-var]
) -> None:
    key = {"uri_digest" if name == "uri" else name for name in mapping.key} | {"root_id"}
    uniques = [
        {column.name for column in constraint.columns}
        for constraint in mapping.table.constraints
        if isinstance(constraint, sa.PrimaryKeyConstraint | sa.UniqueConstraint)
    ]
    assert key in uniques


@given(st.text(st.characters(codec=None)))
def test_clean_text_can_be_kept_and_clean_text_stays(text: str) -> None:
    cleaned = rows.clean(text)
    assert "\x00" not in cleaned
    cleaned.encode()
    assert rows.clean(cleaned) == cleaned
    if "\x00" not in text and text.isascii():
        assert cleaned == text


def test_what_sql_cannot_keep_becomes_visible() -> None:
    assert rows.clean("a\x00b\udcffü") == "a\\x00b\\udcffü"


def test_uris_that_are_no_unicode_have_digests_of_their_own() -> None:
    assert rows.uri_digest("/data/\udcff") != rows.uri_digest("/data/\udcfe")


def test_rows_share_what_they_have_in_common() -> None:
    calls = [
        CallRecord(
            "".join(["w", "f"]), "".join(["w", "f"]), f"c{n}", "t", (n,), CallState.DONE, "d"
        )
        for n in range(2)
    ]
    table = [[*row.values()][:15] for row in rows.CALL.rows(calls)]
    first, second = rows.CALL.records(table)
    assert [first, second] == calls
    assert first.workflow_id is second.workflow_id


def test_batch_keeps_the_last_record_and_the_first_fact() -> None:
    lease = Lease("w", "s", 7)
    call = CallRecord("w", "w", "c", "t", (), CallState.WAITING, "d")
    later = CallRecord("w", "w", "c", "t", (), CallState.DONE, "d")
    fact = FactRecord("w", "stat", "u", True, size=1)
    batch = rows.Batch(lease, [call, fact, later, FactRecord("w", "stat", "u", True, size=2)])
    assert [(r["state"], r["epoch"]) for r in batch.rows(rows.CALL)] == [("Done", 7)]
    assert [(r["size"], r["epoch"]) for r in batch.rows(rows.FACT)] == [(1, 7)]
    assert batch.rows(rows.ATTEMPT) == []
    assert batch.event_rows(5) == []
