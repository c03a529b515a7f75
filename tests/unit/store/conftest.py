"""Databases of both kinds, and a workflow to put into them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.model.records import CallRecord, WorkflowRecord
from orchestrator.model.states import CallState, WorkflowState
from orchestrator.store.base import Lease
from orchestrator.store.sql import SqlStore
from tests.postgres import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]


def root(name: str = "w", state: WorkflowState = WorkflowState.SUBMITTED) -> WorkflowRecord:
    return WorkflowRecord(name, name, "hello", state, "b" * 64, submitted_at=1.0)


def call(number: int, attempts: int = 0, root_id: str = "w") -> CallRecord:
    return CallRecord(
        workflow_id=root_id,
        root_id=root_id,
        id=f"call-t-{number}",
        name="t",
        shards=(number,),
        state=CallState.RUNNING,
        inputs_digest="d",
        attempts=attempts,
    )


def claimed(store: SqlStore, owner: str = "server", root_id: str = "w") -> Lease:
    store.create(root(root_id))
    [lease] = store.claim(owner, 60, 1, root_id)
    return lease


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/workflows.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty database of either kind."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return str(request.getfixturevalue(name))


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    """A migrated store over `url`."""
    store = SqlStore(url)
    store.migrate()
    yield store
    store.close()
