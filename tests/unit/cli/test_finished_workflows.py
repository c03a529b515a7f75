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
from orchestrator.model.records import WorkflowRecord
from orchestrator.model.states import WorkflowState
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


def finished(made: assembly.Assembly, state: WorkflowState, **end: Any) -> None:
    source = 'version 1.1\nworkflow w { output { File f = "x" } }'
    loaded = document.load(Bundle("w.wdl", {"w.wdl": source}))
    made.store.put_bundle(loaded.bundle.digest, {"": "w.wdl", **loaded.bundle.files})
    new = WorkflowRecord(ROOT, ROOT, "w", WorkflowState.SUBMITTED, loaded.bundle.digest)
    made.store.create(new)
    (lease,) = made.store.claim("test", 60, 1)
    over = WorkflowRecord(ROOT, ROOT, "w", state, loaded.bundle.digest, **end)
    made.store.write(lease, [over])
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
