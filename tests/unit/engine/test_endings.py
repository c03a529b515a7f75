"""How a run ends: nothing is left running in its records, nothing with the backend."""

from __future__ import annotations

import pytest

from orchestrator import errors
from orchestrator.backends.fake import manifest
from orchestrator.engine.actions import Cancel, Find, Revoke, Submit, Withdraw
from orchestrator.model.failures import Failure, FailureCode
from orchestrator.model.states import AttemptState, CallState, SubmissionState, WorkflowState
from orchestrator.wdl.graph import Graph

from .stepping import ROOT, Stepped, of

BROKEN = Failure(FailureCode.WRONG_RETURN_CODE, "it broke")

NESTED = {
    "main.wdl": """version 1.1
import "inner.wdl" as lib
workflow outer {
  call lib.inner as bad { input: i = 1 }
  call lib.inner as good { input: i = 2 }
}
""",
    "inner.wdl": """version 1.1
workflow inner { input { Int i } call t { input: i = i } call u { input: i = t.o } output { } }
task t {
  input { Int i }
  command <<< echo ~{i} >>>
  output { Int o = read_int(stdout()) }
  runtime { docker: "d" }
}
task u { input { Int i } command <<< x >>> runtime { docker: "d" } }
""",
}

WIDE = """version 1.1
workflow w { input { Int n } scatter (i in range(n)) { call t } }
task t { command <<< x >>> runtime { docker: "d" } }
"""

ONE = """version 1.1
workflow w { call t }
task t { command <<< x >>> runtime { docker: "d" } }
"""


def test_a_failed_sub_workflow_is_recorded_as_failed_and_so_is_its_call() -> None:
    world = Stepped(NESTED)
    (both,) = world.submitted(world.turn())
    for index, spec in enumerate(both.jobs):
        bad = spec.script.split() == ["echo", "1"]
        world.finish(both, index, BROKEN if bad else manifest(both.handle.id, spec, stdout=b"2"))
    world.turn()
    assert world.state() is WorkflowState.FAILED
    calls = {c.name: c for c in world.journal.calls if c.workflow_id == ROOT}
    assert calls["bad"].state is CallState.FAILED
    assert "it broke" in (calls["bad"].failure_message or "")
    assert calls["good"].state is CallState.ABORTED
    states = {w.parent_call_id: w.state for w in world.journal.workflows if w.id != ROOT}
    assert states == {"call-bad": WorkflowState.FAILED, "call-good": WorkflowState.ABORTED}
    assert world.failures.count("it broke") == 1


def test_sub_workflows_end_with_an_aborted_workflow() -> None:
    world = Stepped(NESTED)
    (both,) = world.submitted(world.turn())
    world.run.abort()
    assert of(Cancel, world.turn())
    for index in range(2):
        world.finish(both, index, Failure(FailureCode.ABORTED, "ended"))
    world.turn()
    assert {w.state for w in world.journal.workflows} == {WorkflowState.ABORTED}
    assert {c.state for c in world.journal.calls} == {CallState.ABORTED}


def test_what_was_throttled_when_the_workflow_is_aborted_is_over_at_once() -> None:
    world = Stepped(ONE)
    (submission,) = (effect.submission for effect in of(Submit, world.turn()))
    world.run.submissions.submit_failed(submission.handle.id, errors.TryLater("throttled"))
    assert of(Revoke, world.turn())
    world.run.abort()
    world.run.submissions.revoked(submission.handle.id)
    world.turn()
    assert world.state() is WorkflowState.ABORTED
    assert {c.state for c in world.journal.calls} == {CallState.ABORTED}
    assert {a.state for a in world.journal.attempts} == {AttemptState.ABORTED}


def test_throttling_without_end_is_waited_for_without_end() -> None:
    world = Stepped(ONE)
    for _ in range(1100):
        effects = world.turn()
        (submission,) = (effect.submission for effect in of(Submit, effects))
        world.run.submissions.submit_failed(submission.handle.id, errors.TryLater("throttled"))
        world.run.submissions.revoked(submission.handle.id)
        world.now += 61
    assert len({s.id for s in world.journal.submissions}) == 1100


FAILS_BETWEEN = {
    "main.wdl": """version 1.1
import "inner.wdl" as lib
workflow outer { call lib.inner }
""",
    "inner.wdl": """version 1.1
workflow inner { call t  call n  Int x = [1][n.o]  output { } }
task t { command <<< x >>> runtime { docker: "d" } }
task n { command <<< x >>> output { Int o = read_int(stdout()) } runtime { docker: "d" } }
""",
}


def test_a_job_of_a_failed_sub_workflow_whose_start_is_unknown_does_not_outlive_a_restart() -> None:
    world = Stepped(FAILS_BETWEEN)
    by_call = {
        effect.submission.jobs[0].attempt.call_name: effect.submission
        for effect in of(Submit, world.turn())
    }
    n = by_call["n"]
    world.run.submissions.submitted(n.handle.id, "job-n")
    world.finish(n, 0, manifest(n.handle.id, n.jobs[0], stdout=b"7"))
    world.turn()
    assert world.state() is WorkflowState.RUNNING
    world.open()  # nobody knows whether t was submitted, and its call is not come to again
    (found,) = of(Find, world.turn())
    assert found.handle.id == by_call["t"].handle.id
    assert world.state() is WorkflowState.RUNNING
    world.run.submissions.found(found.handle.id, "job-t")
    (cancelled,) = of(Cancel, world.turn())
    assert cancelled.handle.job_id == "job-t"
    assert world.state() is WorkflowState.FAILED
    calls = {c.name: c.state for c in world.journal.calls}
    assert calls == {"inner": CallState.FAILED, "t": CallState.ABORTED, "n": CallState.DONE}
    attempts = {a.call_id: a.state for a in world.journal.attempts}
    assert attempts == {"call-t": AttemptState.ABORTED, "call-n": AttemptState.SUCCEEDED}
    assert {s.state for s in world.journal.submissions} == {SubmissionState.SETTLED}


def test_outputs_that_the_graph_refuses_fail_their_call(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Stepped(ONE)
    (submission,) = world.submitted(world.turn())

    def refuse(*_: object) -> None:
        raise errors.EvaluationFailed("an output is not what its type says")

    monkeypatch.setattr(Graph, "finish", refuse)
    world.finish(submission, 0, manifest(submission.handle.id, submission.jobs[0]))
    world.turn()
    assert world.state() is WorkflowState.FAILED
    assert "not what its type says" in world.failures
    assert {c.state for c in world.journal.calls} == {CallState.FAILED}
    assert {a.state for a in world.journal.attempts} == {AttemptState.FAILED}


def test_a_scatter_wider_than_allowed_fails_and_nothing_starts() -> None:
    world = Stepped(WIDE, {"w.n": 11}, max_scatter_width=10)
    assert not world.submitted(world.turn())
    assert world.state() is WorkflowState.FAILED
    assert "a scatter over 11 elements; at most 10 are allowed" in world.failures
    assert "system.max-scatter-width-per-scatter" in world.failures


def test_more_calls_than_allowed_fail_the_workflow() -> None:
    world = Stepped(WIDE, {"w.n": 11}, max_jobs=10)
    assert not world.submitted(world.turn())
    assert world.state() is WorkflowState.FAILED
    assert "more than 10 calls of tasks" in world.failures
    world = Stepped(WIDE, {"w.n": 10}, max_jobs=10)
    assert len(world.submitted(world.turn())[0].jobs) == 10


def test_a_workflow_that_can_only_fail_says_so_while_it_runs() -> None:
    world = Stepped(WIDE, {"w.n": 2})
    (submission,) = world.submitted(world.turn())
    world.finish(submission, 0, Failure(FailureCode.WRONG_RETURN_CODE, "it broke"))
    world.turn()
    assert world.state() is WorkflowState.RUNNING
    assert "it broke" in world.failures


def test_few_submissions_are_under_way_however_many_wait() -> None:
    """After a crash each of them has to be looked up."""
    world = Stepped(WIDE, {"w.n": 500})
    world.backend.max_array_size = 1
    effects = world.turn()
    assert len(of(Submit, effects)) == 64
    assert len(world.journal.submissions) == 64
    done = 0
    while effects:
        submitted = world.submitted(effects)
        done += len(submitted)
        effects = world.turn()
        assert len(of(Submit, effects)) <= 64
        for submission in submitted:
            world.finish(submission, 0, manifest(submission.handle.id, submission.jobs[0]))
    assert done == 500
    world.turn()
    assert world.state() is WorkflowState.SUCCEEDED


def test_what_waits_behind_others_never_begins_after_an_abort() -> None:
    world = Stepped(WIDE, {"w.n": 500})
    world.backend.max_array_size = 1
    first = of(Submit, world.turn())
    world.run.abort()
    withdrawn = of(Withdraw, world.turn())
    assert {w.submission_id for w in withdrawn} == {s.submission.handle.id for s in first}
    for effect in first:
        submission_id = effect.submission.handle.id
        world.run.submissions.submit_failed(submission_id, errors.TryLater("withdrawn"))
    for revoke in of(Revoke, world.turn()):
        world.run.submissions.revoked(revoke.handle.id)
    assert not of(Submit, [*world.turn(), *world.turn()])
    assert world.state() is WorkflowState.ABORTED
