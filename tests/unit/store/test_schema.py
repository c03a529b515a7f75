"""Every statement of the store is served by an index."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from orchestrator.model.records import (
    AttemptRecord,
    EventRecord,
    FactRecord,
    SharedInput,
    SubmissionRecord,
)
from orchestrator.model.states import AttemptState, SubmissionState
from orchestrator.store import schema
from orchestrator.store.sql import SqlStore
from tests.unit.store.conftest import call, claimed

Statement = tuple[str, Any]


def _recorded(store: SqlStore, use: Callable[[], object]) -> list[Statement]:
    engine = store._database._engine
    seen: list[Statement] = []

    def record(_c: Any, _cursor: Any, text: str, parameters: Any, _x: Any, many: bool) -> None:
        if text.startswith(("SELECT", "UPDATE", "DELETE")):
            seen.append((text, parameters[0] if many else parameters))

    event.listen(engine, "before_cursor_execute", record)
    use()
    event.remove(engine, "before_cursor_execute", record)
    return seen


def _use_everything(store: SqlStore) -> None:
    lease = claimed(store)
    store.claim("other", 60, 5)
    store.steal("server", 60, "w", "nobody")
    store.holder("w")
    store.renew([lease], 60)
    fact = FactRecord("w", "stat", "s3://b/k", True)
    attempt = AttemptRecord("w", "w", "call-t-1", 1, AttemptState.QUEUED, "s", 0)
    submission = SubmissionRecord("s", "w", "n", "b", "q", 1, SubmissionState.INTENDED, 1.0)
    happened = EventRecord("w", "w", 1.0, "k")
    shared = SharedInput("w", "d" * 64, "[1]")
    store.write(lease, [call(1), attempt, submission, fact, happened, shared])
    store.shared_inputs("w")
    store.journal(lease)
    store.workflow("w")
    store.matching("")
    store.matching("w")
    store.calls("w")
    store.attempts("w")
    store.events("w")
    store.put_command("w", "abort")
    store.commanded("server")
    store.take_commands(lease)
    store.put_bundle("d", {})
    store.bundle("d")
    store.release(lease)


def test_no_statement_reads_a_whole_table(store: SqlStore) -> None:
    statements = _recorded(store, lambda: _use_everything(store))
    tables = {name for name in schema.metadata.tables for text, _ in statements if name in text}
    assert tables == set(schema.metadata.tables)
    engine = store._database._engine
    with engine.connect() as connection:
        for text, parameters in statements:
            if engine.name == "sqlite":
                rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", parameters)
                plan = [row[3] for row in rows]
                served = ("USING INDEX", "USING COVERING INDEX", "CONSTANT ROW", "(subquery")
                bad = [s for s in plan if s.startswith("SCAN") and not any(w in s for w in served)]
            else:
                # Sequential scans cost a fortune now: one is only left where nothing else serves.
                connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
                plan = [r[0] for r in connection.exec_driver_sql(f"EXPLAIN {text}", parameters)]
                bad = [step for step in plan if "Seq Scan" in step]
            assert not bad, (text, plan)


def test_claim_walks_the_claimable_only(store: SqlStore) -> None:
    texts = {t for t, _ in _recorded(store, lambda: store.claim("s", 60, 5)) if "JOIN" in t}
    assert len(texts) == 2  # those for which the next death is the last, and all others
    assert all(schema.is_claimable("workflow.").text in text for text in texts)
    assert any(schema.has_deaths("lease.").text in text for text in texts)
    engine = store._database._engine
    with engine.connect() as connection:
        indexes = sa.inspect(connection).get_indexes("workflow")
    assert {"ix_workflow_claimable", "ix_workflow_roots"} <= {index["name"] for index in indexes}


def test_everything_of_a_root_goes_with_it(store: SqlStore) -> None:
    _use_everything(store)
    engine = store._database._engine
    with engine.begin() as connection:
        connection.execute(sa.delete(schema.workflow).where(schema.workflow.c.id == "w"))
        for name, table in schema.metadata.tables.items():
            rows = connection.execute(sa.select(sa.func.count()).select_from(table)).scalar()
            assert rows == (1 if name == "bundle" else 0), name
