"""The end of workflows in a whole engine, with its threads, over real files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.backends.fake import FakeBackend, manifest
from orchestrator.model.job import Submission
from orchestrator.model.manifest import Manifest
from orchestrator.model.states import WorkflowState

from .conftest import World
from .endings import tree

SOURCE = """version 1.1
workflow w {
  scatter (i in range(40)) { call t { input: i = i } }
  output { Array[File] o = t.o }
}
task t {
  input { Int i }
  command <<< x >>>
  output { File o = "out.txt" }
  runtime { docker: "d" }
}
"""


def backend(folder: Path) -> FakeBackend:
    def behave(submission: Submission, index: int) -> Manifest:
        spec = submission.jobs[index]
        path = Path(spec.work_dir.uri) / "out.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        Path(spec.work_dir.stdout).write_text("log")
        return manifest(submission.handle.id, spec, files={"out.txt": b"x"})

    return FakeBackend(behave, root=str(folder / "root"))


def test_outputs_and_logs_are_there_when_a_workflow_has_succeeded(world: World) -> None:
    options = {
        "final_workflow_outputs_dir": f"{world.folder}/final",
        "final_workflow_outputs_dir_metadata": "destination",
        "final_call_logs_dir": f"{world.folder}/logs",
        "final_workflow_log_dir": f"{world.folder}/wf",
    }
    record = world.run(backend(world.folder), SOURCE, options=options)
    assert record.state is WorkflowState.SUCCEEDED
    outputs = json.loads(record.outputs or "")["w.o"]
    assert len(outputs) == 40
    assert all(Path(uri).read_text() == "x" for uri in outputs)
    assert all(uri.startswith(f"{world.folder}/final/w/") for uri in outputs)
    assert len(tree(world.folder / "logs")) == 40
    assert len(tree(world.folder / "wf")) == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"use_relative_output_paths": True}, "overwrite each other"),
        ({"final_workflow_outputs_dir": "/dev/null/x"}, "was not copied to /dev/null/x"),
    ],
)
def test_what_goes_wrong_at_the_end_fails_the_workflow(
    world: World, options: dict[str, Any], reason: str
) -> None:
    options = {"final_workflow_outputs_dir": f"{world.folder}/final", **options}
    record = world.run(backend(world.folder), SOURCE, options=options)
    assert record.state is WorkflowState.FAILED
    assert reason in (record.failures or "")
    assert len(json.loads(record.failures or "")) <= 3
    assert not (world.folder / "final").exists()
