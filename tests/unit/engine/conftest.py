"""An engine over a fake backend, a real store (SQLite) and real WDL."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator.assembly import load_bundle
from orchestrator.backends.fake import FakeBackend
from orchestrator.engine.coordinator import Engine, EngineSettings
from orchestrator.engine.jobs import RunSettings
from orchestrator.engine.retry import RetryPolicy
from orchestrator.engine.tenure import Tenure
from orchestrator.filesystems.base import Filesystems
from orchestrator.filesystems.local import LocalFilesystem
from orchestrator.model.records import WorkflowRecord
from orchestrator.store.sql import SqlStore
from tests import submitting
from tests.submitting import Source


class World:
    """One store; engines come and go over it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = SqlStore(f"sqlite:///{folder}/store.db")
        self.store.migrate()
        self.engines: list[Engine] = []

    def engine(self, backend: FakeBackend, **settings: Any) -> Engine:
        """A new engine, started. It does not stop the others: that is what tests are about."""
        engine = Engine(
            self.store,
            {backend.name: backend},
            Filesystems(LocalFilesystem()),
            load_bundle,
            EngineSettings(
                default_backend=backend.name,
                runs={
                    backend.name: RunSettings(
                        root=str(self.folder / "root"),
                        retry=RetryPolicy(lost=2, transient=1, first_delay_seconds=0.01),
                    )
                },
                owner=f"test-{uuid.uuid4()}",
                command_poll_seconds=0.05,
                **settings,
            ),
        )
        engine.start()
        self.engines.append(engine)
        return engine

    def submit(
        self,
        source: Source,
        values: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> str:
        """A new workflow; its id."""
        return submitting.submit(self.store, source, values, options)

    def adopt(self, engine: Engine, root_id: str, seconds: float = 60.0) -> None:
        """Claim the workflow for this engine."""
        at = Tenure.now()
        (lease,) = self.store.claim(engine._settings.owner, seconds, 1, root_id)
        engine.adopt(lease, at)

    def run(
        self,
        backend: FakeBackend,
        source: Source,
        values: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> WorkflowRecord:
        """Submit, run to the end, stop the engine."""
        root_id = self.submit(source, values, more.pop("options", None))
        engine = self.engine(backend, **more)
        self.adopt(engine, root_id)
        record = engine.wait(root_id, timeout=30)
        assert record is not None, engine.progress(root_id)
        engine.stop()
        return record


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    for engine in made.engines:
        engine.stop()
    made.store.close()


def eventually(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """The condition's first true value; fails when the time is up."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)
    return value
