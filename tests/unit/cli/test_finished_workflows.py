"""Commands on a workflow that is over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestrator import assembly
from orchestrator.cli import app
from orchestrator.engine.coordinator import EngineSettings
from orchestrator.filesystems.base import Filesystems
from orchestrator.filesystems.local import LocalFilesystem
from orchestrator.model.records import AttemptRecord, CallRecord, Record, WorkflowRecord
from orchestrator.model.states import AttemptState, CallState, WorkflowState
from orchestrator.store.memory import MemoryStore
from orchestrator.wdl import document
from orchestrator.wdl.bundle import Bundle

ROOT = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> assembly.Assembly:
    parts = assembly.Assembly(
        store=MemoryStore(),
        backends={},
        filesystems=Filesystems(LocalFilesystem()),
        default_backend="local",
        upload_roots={},
        _engine_settings=EngineSettings("local", {}),
    )
    monkeypatch.setattr(assembly, "assemble", lambda *_, **__: parts)
    return parts


def finished(made: assembly.Assembly, state: WorkflowState, *more: Record, **end: Any) -> None:
    source = 'version 1.1\nworkflow w { output { File f = "x" } }'
    loaded = document.load(Bundle("w.wdl", {"w.wdl": source}))
    made.store.put_bundle(loaded.bundle.digest, {"": "w.wdl", **loaded.bundle.files})
    new = WorkflowRecord(ROOT, ROOT, "w", WorkflowState.SUBMITTED, loaded.bundle.digest)
    made.store.create(new)
    (lease,) = made.store.claim("test", 60, 1)
    over = WorkflowRecord(ROOT, ROOT, "w", state, loaded.bundle.digest, **end)
    made.store.write(lease, [*more, over])
    made.store.release(lease)


def test_resume_prints_the_outputs_and_copies_them(made: assembly.Assembly, tmp_path: Path) -> None:
    (tmp_path / "made.txt").write_text("content")
    outputs = {"w.f": str(tmp_path / "made.txt")}
    finished(made, WorkflowState.SUCCEEDED, outputs=json.dumps(outputs))
    done = CliRunner().invoke(app, ["resume", ROOT[:8], "--copy-outputs", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == outputs
    assert (tmp_path / "out/made.txt").read_text() == "content"


def test_resume_tells_the_failures_and_exits_as_the_run_did(made: assembly.Assembly) -> None:
    failures = json.dumps([{"message": "w.t: it broke", "causedBy": []}])
    finished(made, WorkflowState.FAILED, failures=failures)
    done = CliRunner().invoke(app, ["resume", ROOT, "--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["failures"] == ["w.t: it broke"]
    assert "it broke" in done.stderr


def test_status_tells_where_the_time_of_each_attempt_went(made: assembly.Assembly) -> None:
    sub = "22222222-2222-3333-4444-555555555555"
    attempt = AttemptRecord(
        sub,
        ROOT,
        "call-t-1",
        2,
        AttemptState.SUCCEEDED,
        None,
        0,
        return_code=0,
        phases='[["queue", 10.0, 12.5], ["pull", 12.5, 20.0], ["command", 20.5, 21.0]]',
        peak_memory_bytes=7,
        peak_disk_bytes=8,
        started_at=12.0,
        ended_at=21.0,
    )
    finished(
        made,
        WorkflowState.SUCCEEDED,
        CallRecord(ROOT, ROOT, "call-s", "s", (), CallState.DONE, "d", sub_workflow_id=sub),
        WorkflowRecord(sub, ROOT, "inner", WorkflowState.SUCCEEDED, "digest"),
        CallRecord(sub, ROOT, "call-t-1", "t", (1,), CallState.DONE, "d"),
        attempt,
    )
    done = CliRunner().invoke(app, ["status", ROOT, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["attempts"] == [
        {
            "call": "s.t[1]",
            "attempt": 2,
            "status": "Succeeded",
            "job": None,
            "return_code": 0,
            "failure": None,
            "start": "1970-01-01T00:00:12.000Z",
            "end": "1970-01-01T00:00:21.000Z",
            "seconds": {"queue": 2.5, "pull": 7.5, "command": 0.5},
            "peak_memory_bytes": 7,
            "peak_disk_bytes": 8,
        }
    ]
