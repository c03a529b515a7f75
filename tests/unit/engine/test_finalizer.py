"""The end of a workflow: what is copied where, what is deleted, and that a crash costs nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator import errors
from orchestrator.backends.fake import manifest
from orchestrator.engine.actions import CopyFile, DeleteFiles, PlanEnd, WriteLog
from orchestrator.filesystems.base import Filesystems
from orchestrator.filesystems.local import LocalFilesystem
from orchestrator.model.failures import Failure, FailureCode
from orchestrator.model.job import Submission
from orchestrator.model.states import WorkflowState

from .endings import Ending, tree
from .stepping import ROOT, of

SOURCE = """version 1.2
workflow w {
  input { File given }
  scatter (i in [0, 1]) { call part { input: i = i } }
  call whole { input: parts = part.out }
  output {
    File result = whole.result
    File? nothing = whole.nothing
    Array[File] kept = select_all([whole.more])
    File back = given
  }
}
task part {
  input { Int i }
  command <<< x >>>
  output { File out = "part.txt" }
  runtime { docker: "d" }
}
task whole {
  input { Array[File] parts }
  command <<< x >>>
  output { File result = "result.txt"  File? nothing = "absent"  File? more = "sub/more.txt" }
  runtime { docker: "d" }
}
"""

HOME = f"w/{ROOT}"


def leave(submission: Submission, index: int) -> Mapping[str, str]:
    call = submission.jobs[index].attempt.call_name
    if call == "part":
        return {"part.txt": str(index)}
    return {"result.txt": "result", "sub/more.txt": "more"}


@pytest.fixture
def given(tmp_path: Path) -> Path:
    path = tmp_path / "inputs" / "given.txt"
    path.parent.mkdir()
    path.write_text("given")
    return path


def ending(tmp_path: Path, given: Path, **options: Any) -> Ending:
    return Ending(tmp_path, SOURCE, options, leave, {"w.given": str(given)})


def told(world: Ending) -> Any:
    return json.loads(world.world.store.workflow(ROOT).outputs or "null")


def test_without_options_nothing_is_copied(tmp_path: Path, given: Path) -> None:
    world = ending(tmp_path, given)
    world.run()
    assert world.world.state() is WorkflowState.SUCCEEDED
    assert not world.done


def test_outputs_are_copied_as_they_lie_below_the_root(tmp_path: Path, given: Path) -> None:
    world = ending(tmp_path, given, final_workflow_outputs_dir=f"{tmp_path}/final")
    world.run()
    assert world.world.state() is WorkflowState.SUCCEEDED
    assert tree(tmp_path / "final") == {
        f"{HOME}/call-whole/result.txt",
        f"{HOME}/call-whole/sub/more.txt",
        f"{HOME}{given}",
    }
    assert told(world)["w.result"] == f"{world.home}/call-whole/result.txt"
    assert (world.home / "call-whole/result.txt").read_text() == "result"


def test_relative_paths_leave_the_calls_directories_out(tmp_path: Path, given: Path) -> None:
    world = ending(
        tmp_path,
        given,
        final_workflow_outputs_dir=f"{tmp_path}/final",
        use_relative_output_paths=True,
        final_workflow_outputs_dir_metadata="destination",
    )
    world.run()
    assert tree(tmp_path / "final") == {"result.txt", "sub/more.txt", "given.txt"}
    assert told(world) == {
        "w.result": f"{tmp_path}/final/result.txt",
        "w.nothing": None,
        "w.kept": [f"{tmp_path}/final/sub/more.txt"],
        "w.back": f"{tmp_path}/final/given.txt",
    }


SAME_NAMES = SOURCE.replace("File result = whole.result", "Array[File] result = part.out")


def test_what_would_collide_fails_the_workflow_and_nothing_is_copied(
    tmp_path: Path, given: Path
) -> None:
    options = {
        "final_workflow_outputs_dir": f"{tmp_path}/final",
        "use_relative_output_paths": True,
        "delete_intermediate_output_files": True,
    }
    world = Ending(tmp_path, SAME_NAMES, options, leave, {"w.given": str(given)})
    world.run()
    assert world.world.state() is WorkflowState.FAILED
    failure = world.world.failures
    assert "call-part/shard-0/part.txt" in failure
    assert "call-part/shard-1/part.txt" in failure
    assert "use_relative_output_paths" in failure
    assert not (tmp_path / "final").exists()
    assert not of(DeleteFiles, world.done)
    assert len(told(world)["w.result"]) == 2  # the results are told, and are there


def test_move_takes_files_away_from_the_calls_but_never_an_input(
    tmp_path: Path, given: Path
) -> None:
    world = ending(
        tmp_path,
        given,
        final_workflow_outputs_dir=f"{tmp_path}/final",
        final_workflow_outputs_mode="move",
        use_relative_output_paths=True,
    )
    world.run()
    assert world.world.state() is WorkflowState.SUCCEEDED
    assert tree(tmp_path / "final") == {"result.txt", "sub/more.txt", "given.txt"}
    assert not (world.home / "call-whole/result.txt").exists()
    assert (world.home / "call-part/shard-0/part.txt").exists()
    assert given.exists()
    assert told(world)["w.result"] == f"{tmp_path}/final/result.txt"


def test_intermediate_files_are_deleted_and_outputs_inputs_and_logs_stay(
    tmp_path: Path, given: Path
) -> None:
    world = ending(tmp_path, given, delete_intermediate_output_files=True)
    world.run()
    assert world.world.state() is WorkflowState.SUCCEEDED
    left = {path for path in tree(world.home) if "std" not in path}
    assert left == {"call-whole/result.txt", "call-whole/sub/more.txt"}
    assert (world.home / "call-part/shard-0/stdout").exists()
    assert given.exists()


def test_a_file_that_an_output_only_names_in_a_string_is_kept(tmp_path: Path, given: Path) -> None:
    source = SOURCE.replace(
        "File result = whole.result", 'String result = "~{whole.result} and ~{part.out[0]}"'
    )
    options = {"delete_intermediate_output_files": True}
    world = Ending(tmp_path, source, options, leave, {"w.given": str(given)})
    world.run()
    assert (world.home / "call-whole/result.txt").exists()
    assert (world.home / "call-part/shard-0/part.txt").exists()
    assert not (world.home / "call-part/shard-1/part.txt").exists()


def test_logs_of_every_attempt_are_copied(tmp_path: Path, given: Path) -> None:
    world = ending(
        tmp_path,
        given,
        final_call_logs_dir=f"{tmp_path}/logs",
        final_workflow_log_dir=f"{tmp_path}/wf",
    )
    world.run()
    calls = ("call-part/shard-0", "call-part/shard-1", "call-whole")
    assert tree(tmp_path / "logs") == {
        f"{HOME}/{call}/{name}" for call in calls for name in ("stdout", "stderr")
    }
    text = (tmp_path / "wf" / f"workflow.{ROOT}.log").read_text()
    assert "PickedUp" in text
    assert text.endswith("Succeeded\n")


def test_logs_are_copied_for_failed_workflows_too_and_absent_ones_left_out(
    tmp_path: Path, given: Path
) -> None:
    world = ending(
        tmp_path,
        given,
        final_call_logs_dir=f"{tmp_path}/logs",
        final_workflow_log_dir=f"{tmp_path}/wf",
        final_workflow_outputs_dir=f"{tmp_path}/final",
    )
    (parts,) = world.world.submitted(world.world.turn())
    spec = parts.jobs[0]
    Path(spec.work_dir.stderr).parent.mkdir(parents=True)
    Path(spec.work_dir.stderr).write_text("broken")
    world.world.finish(parts, 0, manifest(parts.handle.id, spec, return_code=3, stderr="broken"))
    world.world.finish(parts, 1, Failure(FailureCode.LOST, "gone"))
    world.run()
    assert world.world.state() is WorkflowState.FAILED
    assert tree(tmp_path / "logs") == {f"{HOME}/call-part/shard-0/stderr"}
    assert "return code 3" in (tmp_path / "wf" / f"workflow.{ROOT}.log").read_text()
    assert not (tmp_path / "final").exists()
    assert "return code 3" in world.world.failures


def test_a_copy_that_cannot_be_made_fails_the_workflow_and_says_which(
    tmp_path: Path, given: Path
) -> None:
    (tmp_path / "final").write_text("a file where a directory has to be")
    world = ending(
        tmp_path,
        given,
        final_workflow_outputs_dir=f"{tmp_path}/final",
        delete_intermediate_output_files=True,
        final_workflow_log_dir=f"{tmp_path}/wf",
    )
    world.run()
    assert world.world.state() is WorkflowState.FAILED
    assert f"{world.home}/call-whole/result.txt was not copied to" in world.world.failures
    assert "is still there" in world.world.failures
    assert not of(DeleteFiles, world.done)
    assert (tmp_path / "wf" / f"workflow.{ROOT}.log").read_text().endswith("Failed\n")
    assert {c.state for c in world.world.journal.calls} == {"Done"}


class Busy(LocalFilesystem):
    """Copies fail so many times."""

    def __init__(self, times: int) -> None:
        self.times = times

    def upload(self, path: str, uri: str) -> None:
        self.times -= 1
        if self.times >= 0:
            raise errors.TryLater("busy")
        super().upload(path, uri)


@pytest.mark.parametrize(
    ("times", "state"), [(6, WorkflowState.SUCCEEDED), (100, WorkflowState.FAILED)]
)
def test_what_may_succeed_later_is_tried_again_later(
    tmp_path: Path, given: Path, times: int, state: WorkflowState
) -> None:
    world = ending(tmp_path, given, final_workflow_outputs_dir=f"{tmp_path}/final")
    world.filesystems = Filesystems(Busy(times))
    world.run()
    assert world.world.state() is state
    if state is WorkflowState.FAILED:
        assert "busy" in world.world.failures


def test_an_abort_ends_copying_at_once_and_copies_only_logs(tmp_path: Path, given: Path) -> None:
    world = ending(
        tmp_path,
        given,
        final_workflow_outputs_dir=f"{tmp_path}/final",
        final_workflow_log_dir=f"{tmp_path}/wf",
    )
    assert not world.run(crash_after=7)
    world.world.run.abort()
    world.done.clear()
    world.run()
    assert world.world.state() is WorkflowState.ABORTED
    assert not of(CopyFile, world.done)
    assert (tmp_path / "wf" / f"workflow.{ROOT}.log").read_text().endswith("Aborted\n")


def test_answers_to_an_earlier_round_are_not_heard(tmp_path: Path, given: Path) -> None:
    world = ending(tmp_path, given, final_workflow_outputs_dir=f"{tmp_path}/final")
    effects: list[PlanEnd] = []
    while not effects:
        turn = world.world.turn()
        effects = of(PlanEnd, turn)
        for submission in world.world.submitted(turn):
            world.work(submission)
    finalizer = world.world.run.finalizer
    world.world.run.abort()
    finalizer.planned(effects[0].number, None, "too late")
    finalizer.copied(effects[0].number, "x", False, None)
    finalizer.deleted(effects[0].number, None)
    finalizer.logged(effects[0].number, None)
    world.run()
    assert world.world.state() is WorkflowState.ABORTED


EVERYTHING = {
    "use_relative_output_paths": True,
    "final_workflow_outputs_dir_metadata": "destination",
    "delete_intermediate_output_files": True,
}


@pytest.mark.parametrize("mode", [pytest.param("copy", marks=pytest.mark.slow), "move"])
def test_a_crash_at_each_step_costs_nothing(tmp_path: Path, mode: str) -> None:
    for step in range(1, 200):
        folder = tmp_path / str(step)
        given = folder / "inputs" / "given.txt"
        given.parent.mkdir(parents=True)
        given.write_text("given")
        world = ending(
            folder,
            given,
            final_workflow_outputs_dir=f"{folder}/final",
            final_call_logs_dir=f"{folder}/logs",
            final_workflow_log_dir=f"{folder}/wf",
            final_workflow_outputs_mode=mode,
            **EVERYTHING,
        )
        survived = world.run(crash_after=step)
        if not survived:
            assert world.run()
        assert world.world.state() is WorkflowState.SUCCEEDED
        assert tree(folder / "final") == {"result.txt", "sub/more.txt", "given.txt"}
        assert (folder / "final/result.txt").read_text() == "result"
        assert len(tree(folder / "logs")) == 6
        left = {path for path in tree(world.home) if "std" not in path}
        assert left == (
            {"call-whole/result.txt", "call-whole/sub/more.txt"} if mode == "copy" else set()
        )
        assert told(world)["w.result"] == f"{folder}/final/result.txt"
        assert of(WriteLog, world.done)
        if survived:
            assert step > 20
            return
    raise AssertionError("it never came to its end")


def test_a_restart_does_not_copy_again_what_the_journal_knows(tmp_path: Path, given: Path) -> None:
    world = ending(
        tmp_path, given, final_workflow_outputs_dir=f"{tmp_path}/final",
        final_workflow_outputs_mode="move",
    )  # fmt: skip
    world.crash_on = DeleteFiles
    assert not world.run()
    copied = len(of(CopyFile, world.done))
    world.done.clear()
    world.run()
    assert copied >= 3
    assert not of(CopyFile, world.done)
    assert world.world.state() is WorkflowState.SUCCEEDED


def test_events_tell_how_it_goes(tmp_path: Path, given: Path) -> None:
    world = ending(tmp_path, given, final_workflow_outputs_dir=f"{tmp_path}/final")
    world.run()
    kinds = [event.kind for _, event in world.world.store.events(ROOT)]
    assert kinds[-3:] == ["Finalizing", "Finalized", "Finished"]
