"""`orchestrator jobs clean`."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from typer.testing import CliRunner, Result

from orchestrator import assembly, errors
from orchestrator.backends.aws_batch import AwsBatchBackend
from orchestrator.backends.base import Backend
from orchestrator.backends.fake import FakeBackend
from orchestrator.cli import app
from orchestrator.engine.coordinator import EngineSettings
from orchestrator.filesystems.base import Filesystems
from orchestrator.store.memory import MemoryStore
from tests.unit.backends.aws_batch.test_backend import DEPLOYMENT
from tests.unit.backends.aws_batch.test_definitions_cleaning import (
    NOW,
    QUEUES,
    Batch,
    definition,
)

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(backends: dict[str, Backend], *arguments: str) -> Result:
        parts = assembly.Assembly(
            store=MemoryStore(),
            backends=backends,
            filesystems=Filesystems(),
            default_backend="any",
            upload_roots={},
            _engine_settings=EngineSettings("any", {}),
        )
        monkeypatch.setattr(assembly, "assemble", lambda *_, **__: parts)
        return CliRunner().invoke(app, ["jobs", "clean", *arguments])

    return run


def backend(batch: Batch) -> AwsBatchBackend:
    clients: Any = SimpleNamespace(batch=batch, submitting=batch, s3=None, logs=None)
    return AwsBatchBackend(DEPLOYMENT, cast(Any, clients), clock=lambda: NOW, sleep=lambda _: None)


def test_what_was_removed_is_said_and_why_the_rest_was_kept(run: Run) -> None:
    old, new = definition(1), definition(2, age_days=3)
    batch = Batch(old, new)
    tried = run({"a": backend(batch)}, "--dry-run")
    assert tried.stdout == f"would remove {old['jobDefinitionName']}:1\n"
    assert batch.removed == []
    # Two backends of one environment: nothing is said twice.
    done = run({"a": backend(batch), "b": backend(batch)}, "--dry-run", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["dry_run"] is True
    assert [(one["name"], one["revision"]) for one in found["removed"]] == [
        (old["jobDefinitionName"], 1)
    ]
    assert found["removed"][0]["registered"] == old["tags"]["orchestrator:registered"]
    assert [one["reason"] for one in found["kept"]] == ["it was registered lately"]
    done = run({"a": backend(batch)}, "--unused-days", "2")
    assert done.stdout.splitlines() == [
        f"removed {old['jobDefinitionName']}:1",
        f"removed {new['jobDefinitionName']}:1",
    ]
    assert "2 job definitions removed, 0 kept" in done.stderr


def test_what_a_job_uses_stays_whatever_is_asked_for(run: Run) -> None:
    batch = Batch(definition(1))
    batch.jobs = [(QUEUES[0], "RUNNABLE", definition(1)["jobDefinitionArn"], 90.0)]
    found = json.loads(run({"a": backend(batch)}, "--unused-days", "1", "--json").stdout)
    assert found["removed"] == []
    assert batch.removed == []


def test_without_aws_batch_there_is_nothing_to_clean(run: Run) -> None:
    done = run({"local": FakeBackend(lambda submission, index: None)})
    assert isinstance(done.exception, errors.Invalid)
    assert run({}, "--unused-days", "0").exit_code == 2
