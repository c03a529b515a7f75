"""What a run makes of a journal that a crash left, at moments that a test has to choose."""

from __future__ import annotations

import dataclasses

import pytest

from orchestrator import errors
from orchestrator.backends.fake import manifest
from orchestrator.engine.actions import Cancel, Fetch, Find, Put, Revoke, Submit
from orchestrator.model.failures import Failure, FailureCode
from orchestrator.model.job import Submission
from orchestrator.model.states import AttemptState, CallState, SubmissionState, WorkflowState

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


TWO = """version 1.1
workflow w { call a  call b  call after { input: i = b.o } }
task a { command <<< x >>> runtime { docker: "d" maxRetries: 2 } }
task b { command <<< x >>> output { Int o = 1 } runtime { docker: "d" } }
task after { input { Int i } command <<< x >>> runtime { docker: "d" } }
"""
BROKEN = Failure(FailureCode.WRONG_RETURN_CODE, "it broke")


def by_call(submissions: list[Submission]) -> dict[str, Submission]:
    return {one.jobs[0].attempt.call_name: one for one in submissions}


def test_an_aborting_workflow_ends_its_jobs_after_a_restart_known_or_not() -> None:
    world = Stepped(TWO)
    both = by_call([effect.submission for effect in of(Submit, world.turn())])
    world.run.submissions.submitted(both["a"].handle.id, "job-a")
    world.turn()
    world.run.abort()
    world.turn()
    world.open()
    effects = world.turn()
    assert {find.handle.id for find in of(Find, effects)} == {s.handle.id for s in both.values()}
    assert {c.handle.job_id for c in of(Cancel, effects)} == {"job-a"}
    world.run.submissions.found(both["a"].handle.id, "job-a")
    world.run.submissions.found(both["b"].handle.id, "job-b")
    assert "job-b" in {c.handle.job_id for c in of(Cancel, world.turn())}
    for one in both.values():
        assert world.state() is WorkflowState.ABORTING
        world.finish(one, 0, Failure(FailureCode.ABORTED, "ended"))
        world.turn()
    assert world.state() is WorkflowState.ABORTED
    assert {a.state for a in world.journal.attempts} == {AttemptState.ABORTED}


def test_a_failing_workflow_waits_for_its_jobs_after_a_restart_and_starts_nothing() -> None:
    world = Stepped(TWO.replace("maxRetries: 2", ""))
    both = by_call(world.submitted(world.turn()))
    world.finish(both["a"], 0, BROKEN)
    world.turn()
    world.open()
    effects = world.turn()
    assert [find.handle.id for find in of(Find, effects)] == [both["b"].handle.id]
    assert not of(Cancel, effects)
    assert world.state() is WorkflowState.RUNNING
    b = both["b"]
    world.finish(b, 0, manifest(b.handle.id, b.jobs[0]))
    assert not of(Submit, world.turn())
    assert world.state() is WorkflowState.FAILED
    states = {c.name: c.state for c in world.journal.calls}
    assert states == {"a": CallState.FAILED, "b": CallState.DONE}
    assert world.failures.count("it broke") == 1


def test_retries_are_counted_across_restarts() -> None:
    world = Stepped(TWO)
    for attempt in (1, 2, 3):
        a = by_call(world.submitted(world.turn()))["a"]
        assert a.jobs[0].attempt.attempt == attempt
        world.finish(a, 0, BROKEN)
        world.turn()
        if attempt < 3:
            world.open()
    assert CallState.FAILED in {c.state for c in world.journal.calls if c.name == "a"}


def test_what_a_restart_finds_nowhere_is_submitted_once_more_under_a_new_id() -> None:
    world = Stepped(TWO)
    lost = by_call([effect.submission for effect in of(Submit, world.turn())])["a"]
    world.open()
    world.turn()
    world.run.submissions.found(lost.handle.id, None)
    assert [effect.handle.id for effect in of(Revoke, world.turn())] == [lost.handle.id]
    world.run.submissions.revoked(lost.handle.id)
    (again,) = world.submitted(world.turn())
    assert again.handle.id != lost.handle.id
    assert again.jobs[0].attempt == lost.jobs[0].attempt
    world.open()
    assert again.handle.id in {find.handle.id for find in of(Find, world.turn())}


READS = """version 1.1
workflow w { output { String o = read_string("%s") } }
"""


@pytest.mark.parametrize("uri", ["/etc/passwd", "../x", "file:///etc/passwd"])
def test_files_of_the_servers_host_are_not_shown_where_jobs_run_elsewhere(uri: str) -> None:
    world = Stepped(READS % uri, root="s3://bucket/root")
    assert not of(Fetch, world.turn())
    world.turn()
    assert world.state() is WorkflowState.FAILED
    assert "which workflows do not see" in world.failures


@pytest.mark.parametrize(
    ("uri", "root"), [("s3://b/x", "s3://b/root"), ("https://h/x", "s3://b/root"), ("/x", "/root")]
)
def test_what_jobs_could_see_is_looked_up(uri: str, root: str) -> None:
    world = Stepped(READS % uri, root=root)
    (fetch,) = of(Fetch, world.turn())
    assert {want.uri for want in fetch.wants} == {uri}
