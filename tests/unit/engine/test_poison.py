"""A workflow that servers die of is ended, and the others go on."""

from __future__ import annotations

import json

import pytest

from orchestrator import errors
from orchestrator.backends.fake import FakeBackend, manifest
from orchestrator.engine.run import Run
from orchestrator.model.job import Submission
from orchestrator.model.manifest import Manifest
from orchestrator.model.states import AttemptState, CallState, SubmissionState, WorkflowState

from .conftest import World, eventually

TWO = """version 1.1
workflow w { call t  call t as u }
task t {
  command <<< true >>>
  output { String o = read_string(stdout()) }
  runtime { docker: "d" }
}
"""
EMPTY = "version 1.1\nworkflow w { }\n"


def succeed(submission: Submission, index: int) -> Manifest:
    return manifest(submission.handle.id, submission.jobs[index])


def three_die_with(world: World, root_id: str) -> None:
    """Servers take it one after the other, and each is known to be dead."""
    servers = ["s0", "s1", "s2"]
    for server in servers:
        assert world.store.claim(server, 60, 1, dead_owners=servers)
    assert world.store.holder(root_id) == "s2"


def ended(world: World, backend: FakeBackend, root_id: str) -> list[str]:
    """A server comes, knows that s2 is dead, and ends it; the failures."""
    (lease,) = world.store.claim("s3", 60, 1, dead_owners=["s2"])
    assert lease.deaths == 3
    engine = world.engine(backend)
    engine.adopt(lease, 1e12)
    record = engine.wait(root_id, timeout=30)
    assert record is not None
    assert record.state is WorkflowState.FAILED
    assert record.ended_at
    eventually(lambda: world.store.holder(root_id) is None)
    assert not world.store.claim("s4", 60, 1)
    assert world.store.events(root_id)[-1][1].kind == "Finished"
    return [failure["message"] for failure in json.loads(record.failures or "[]")]


def submissions(world: World) -> dict[SubmissionState, int]:
    """As committed."""
    with world.store._database._engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT state, count(*) FROM submission GROUP BY state")
        return {SubmissionState(state): count for state, count in rows}


def test_its_jobs_are_ended_and_its_records_with_it(world: World) -> None:
    root_id = world.submit(TWO)
    backend = FakeBackend(lambda submission, index: None)
    first = world.engine(backend)
    world.adopt(first, root_id)
    eventually(lambda: submissions(world) == {SubmissionState.SUBMITTED: 2})
    first.stop()
    three_die_with(world, root_id)
    [message] = ended(world, backend, root_id)
    assert message.startswith("POISONED: 3 times in a row")
    assert "submit it again" in message
    assert {name for name, _ in backend.cancelled} == {s.handle.id for s in backend.submissions}
    assert not backend.revoked
    assert {call.state for call in world.store.calls(root_id)} == {CallState.ABORTED}
    assert {a.state for a in world.store.attempts(root_id)} == {AttemptState.ABORTED}
    assert submissions(world) == {SubmissionState.SETTLED: 2}


def test_what_was_only_intended_never_runs(world: World) -> None:
    root_id = world.submit(TWO)

    def away(submission: Submission) -> None:
        raise errors.Ambiguous("no answer")

    backend = FakeBackend(succeed, before_submit=away)
    backend.find = lambda handle: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    first = world.engine(backend)
    world.adopt(first, root_id)
    eventually(lambda: submissions(world) == {SubmissionState.INTENDED: 2})
    first.stop()
    three_die_with(world, root_id)
    healthy = FakeBackend(succeed)
    ended(world, healthy, root_id)
    assert len(healthy.revoked) == 2
    assert submissions(world) == {SubmissionState.REVOKED: 2}


def test_a_backend_that_does_not_answer_is_asked_again_by_the_next(world: World) -> None:
    root_id = world.submit(TWO)
    backend = FakeBackend(lambda submission, index: None)
    first = world.engine(backend)
    world.adopt(first, root_id)
    eventually(lambda: submissions(world) == {SubmissionState.SUBMITTED: 2})
    first.stop()
    three_die_with(world, root_id)

    def away(jobs: object) -> None:
        raise errors.TryLater("throttled")

    cancel, backend.cancel = backend.cancel, away  # type: ignore[method-assign]
    (lease,) = world.store.claim("s3", 60, 1, dead_owners=["s2"])
    engine = world.engine(backend)
    engine.adopt(lease, 1e12)
    with pytest.raises(errors.TryLater):
        engine.wait(root_id, timeout=30)
    assert world.store.workflow(root_id).state is WorkflowState.RUNNING
    backend.cancel = cancel  # type: ignore[method-assign]
    (lease,) = world.store.claim("s4", 60, 1)
    assert lease.deaths == 3
    engine.adopt(lease, 1e12)
    record = engine.wait(root_id, timeout=30)
    assert record is not None
    assert record.state is WorkflowState.FAILED
    assert submissions(world) == {SubmissionState.SETTLED: 2}


def test_one_that_breaks_the_engine_is_poisoned_and_the_others_go_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = world.submit(EMPTY), world.submit(TWO)
    tried: list[str] = []
    work = Run.work

    def breaks(run: Run, deadline: object) -> bool:
        if run.root.id == bad:
            tried.append(bad)
            raise RecursionError("a defect")
        return work(run, deadline)  # type: ignore[arg-type]

    monkeypatch.setattr(Run, "work", breaks)
    engine = world.engine(FakeBackend(succeed), capacity=5, claim_poll_seconds=0.02)
    eventually(lambda: world.store.workflow(good).state is WorkflowState.SUCCEEDED)
    eventually(lambda: world.store.workflow(bad).state is WorkflowState.FAILED)
    assert "POISONED" in (world.store.workflow(bad).failures or "")
    assert len(tried) == 3
    engine.stop()


def test_nobody_waits_for_an_engine_whose_thread_has_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = world.engine(FakeBackend(lambda submission, index: None))
    root_id = world.submit(TWO)
    world.adopt(engine, root_id)
    eventually(lambda: engine.progress(root_id))

    def broken(*_: object) -> float:
        raise MemoryError("no more")

    monkeypatch.setattr(engine, "_rest", broken)
    with pytest.raises(errors.OrchestratorError, match="the engine broke: MemoryError") as caught:
        engine.wait(root_id, timeout=30)
    assert "resume" in caught.value.hint
    assert world.store.workflow(root_id).state is WorkflowState.RUNNING
    engine.stop()
    assert world.store.holder(root_id) is None


def test_a_lease_taken_anew_by_its_own_engine_goes_on(world: World) -> None:
    """The store was away for longer than a lease: the engine claims what it still runs."""
    backend = FakeBackend(lambda submission, index: None)
    root_id = world.submit(TWO)
    engine = world.engine(backend, capacity=3, claim_poll_seconds=0.02)
    eventually(lambda: submissions(world) == {SubmissionState.SUBMITTED: 2})
    with world.store._database._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE lease SET expires_at = 1")
    eventually(lambda: _lease(world)[1] == 2)
    for submission in list(backend.submissions):
        backend.finish(submission.handle.id, 0, succeed(submission, 0))
    record = engine.wait(root_id, timeout=30)
    assert record is not None
    assert record.state is WorkflowState.SUCCEEDED
    assert _lease(world)[1:] == (2, 0)
    assert len(backend.submissions) == 2


def _lease(world: World) -> tuple[str | None, int, int]:
    with world.store._database._engine.connect() as connection:
        row = connection.exec_driver_sql("SELECT owner, epoch, deaths FROM lease").one()
        return row.owner, row.epoch, row.deaths
