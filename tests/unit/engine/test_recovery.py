"""What a run makes of a journal that a crash left, at moments that a test has to choose."""

from __future__ import annotations

import dataclasses

from orchestrator import errors
from orchestrator.backends.fake import manifest
from orchestrator.engine.run import Fetch, Find, Put, Submit
from orchestrator.model.states import AttemptState, SubmissionState, WorkflowState

from .stepping import Stepped, of

READS_ITS_FILE = """version 1.1
workflow w { scatter (i in [1, 2]) { call t } output { Array[String] o = t.o } }
task t {
  command <<< x >>>
  output { String o = read_string("result") }
  runtime { docker: "d" }
}
"""


def test_a_job_whose_outputs_are_still_being_looked_up_is_not_run_again_after_a_crash() -> None:
    world = Stepped(READS_ITS_FILE)
    (submission,) = world.submitted(world.turn())
    for index, spec in enumerate(submission.jobs):
        full = manifest(submission.handle.id, spec, files={"result": b"long"})
        without = {p: dataclasses.replace(f, content=None) for p, f in full.files.items()}
        world.finish(submission, index, dataclasses.replace(full, files=without))
    assert of(Fetch, world.turn())
    assert {a.state for a in world.journal.attempts} == {AttemptState.SUBMITTING}
    assert [s.state for s in world.journal.submissions] == [SubmissionState.SUBMITTED]
    world.open()
    effects = world.turn()
    assert [found.handle.id for found in of(Find, effects)] == [submission.handle.id]
    assert not of(Submit, effects)


def test_a_submission_is_settled_with_its_last_attempt() -> None:
    world = Stepped(READS_ITS_FILE)
    (submission,) = world.submitted(world.turn())
    for index, spec in enumerate(submission.jobs):
        assert [s.state for s in world.journal.submissions] != [SubmissionState.SETTLED]
        end = manifest(submission.handle.id, spec, files={"result": b"short"})
        world.finish(submission, index, end)
        world.turn()
    assert [s.state for s in world.journal.submissions] == [SubmissionState.SETTLED]


WRITES_A_FILE = """version 1.1
workflow w { output { File f = write_lines(["a"]) } }
"""


def test_a_workflow_has_not_succeeded_before_its_files_are_written() -> None:
    world = Stepped(WRITES_A_FILE)
    assert of(Put, world.turn())
    assert world.state() is WorkflowState.RUNNING
    world.run.objects_written(None)
    world.turn()
    assert world.state() is WorkflowState.SUCCEEDED


def test_a_file_that_was_not_written_before_a_crash_is_written_after_it() -> None:
    world = Stepped(WRITES_A_FILE)
    (lost,) = of(Put, world.turn())
    world.open()
    (again,) = of(Put, world.turn())
    assert again == lost
    world.run.objects_written(None)
    world.turn()
    assert world.state() is WorkflowState.SUCCEEDED


def test_a_file_that_cannot_be_written_fails_the_workflow_in_either_mode() -> None:
    for mode in ("NoNewCalls", "ContinueWhilePossible"):
        world = Stepped(WRITES_A_FILE, options={"workflow_failure_mode": mode})
        world.turn()
        world.run.objects_written(errors.NotAllowed("the bucket refuses it"))
        world.turn()
        assert world.state() is WorkflowState.FAILED
        assert "the bucket refuses it" in world.failures


def test_after_an_expression_has_failed_nothing_new_is_submitted() -> None:
    world = Stepped(
        """version 1.1
workflow w { call t  Int x = [1][7] }
task t { command <<< x >>> runtime { docker: "d" } }
"""
    )
    assert not of(Submit, world.turn())
    assert world.state() is WorkflowState.FAILED
