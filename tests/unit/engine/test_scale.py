"""What a large workflow costs and how long it holds up others: counted, not timed."""

from __future__ import annotations

import gc
import json

import pytest

from orchestrator import errors
from orchestrator.assembly import load_bundle
from orchestrator.backends.base import Change, JobState
from orchestrator.backends.fake import FakeBackend, manifest
from orchestrator.engine import garbage
from orchestrator.engine.actions import Submit
from orchestrator.engine.active import Active
from orchestrator.engine.coordinator import Engine, EngineSettings
from orchestrator.engine.events import Changed
from orchestrator.engine.tenure import Tenure
from orchestrator.filesystems.base import Filesystems
from orchestrator.filesystems.local import LocalFilesystem
from orchestrator.model.failures import Failure, FailureCode
from orchestrator.model.job import Submission
from orchestrator.model.manifest import Manifest
from orchestrator.model.records import AttemptRecord, FactRecord, SubmissionRecord
from orchestrator.model.states import CallState, SubmissionState, WorkflowState
from tests.unit.wdl.drive import lines_run

from .conftest import World
from .stepping import Stepped, of

_ABORTED = Failure(FailureCode.ABORTED, "cancelled")
CHAIN = """version 1.1
workflow w {
  input { Int n  Array[String] shared = [] }
  scatter (i in range(n)) {
    call t as first { input: i = i, shared = shared }
    call t as second { input: i = first.o, shared = shared }
  }
  output { Array[Int] all = second.o }
}
task t {
  input { Int i  Array[String] shared }
  command <<< echo ~{i} >>>
  output { Int o = read_int(stdout()) }
  runtime { docker: "d" }
}
"""


def echoed(submission: Submission, index: int) -> Manifest:
    spec = submission.jobs[index]
    return manifest(submission.handle.id, spec, stdout=spec.script.split()[1].encode())


def run_through(stepped: Stepped) -> None:
    """Every job ends at once, until the workflow is over."""
    while stepped.state() is not WorkflowState.SUCCEEDED:
        for submission in stepped.submitted(stepped.turn()):
            for index in range(len(submission.jobs)):
                stepped.finish(submission, index, echoed(submission, index))


def test_a_call_of_many_costs_what_one_of_few_does() -> None:
    def lines_a_call(shards: int) -> float:
        return lines_run(lambda: run_through(Stepped(CHAIN, {"n": shards}))) / (2 * shards)

    lines_a_call(2)  # what is made once and kept
    few, many = lines_a_call(30), lines_a_call(240)
    assert many < 1.1 * few


SIZES = """version 1.1
workflow w {
  input { Array[File] files }
  scatter (f in files) { Float s = size(f) }
  output { Array[Float] all = s }
}
"""


def test_a_shard_that_waits_for_a_fact_costs_the_same_however_many_others_do() -> None:
    def lines_a_shard(shards: int) -> float:
        stepped = Stepped(SIZES, {"files": [f"s3://b/{n}" for n in range(shards)]})
        root_id = stepped.lease.root_id

        def run_through_one_by_one() -> None:
            stepped.turn()
            for n in range(shards):
                known = FactRecord(root_id, "stat", f"s3://b/{n}", True, 5)
                stepped.run.facts_fetched([known], {})
                stepped.turn()

        counted = lines_run(run_through_one_by_one)
        assert stepped.state() is WorkflowState.SUCCEEDED
        return counted / shards

    lines_a_shard(2)
    assert lines_a_shard(240) < 1.1 * lines_a_shard(30)


def test_an_engine_comes_to_the_end_of_an_array_that_it_takes_in_pieces(world: World) -> None:
    record = world.run(FakeBackend(echoed), CHAIN, {"n": 800})
    assert record.state is WorkflowState.SUCCEEDED
    assert json.loads(record.outputs or "")["w.all"] == list(range(800))
    assert len(world.store.calls(record.id)) == 1600


def test_no_turn_of_a_wide_workflow_says_or_starts_more_than_a_little() -> None:
    stepped = Stepped(CHAIN, {"n": 1500})
    run = stepped.run
    largest = 0
    while run.work(lambda: True) or run.unsaid:
        records, _ = run.take(100)
        stepped.store.write(stepped.lease, records)
        largest = max(largest, len(records))
    assert run.waiting == 1500
    run.dispatch(None)
    submissions: list[Submission] = []
    while not submissions:
        run.work(lambda: True)
        records, effects = run.take(100)
        largest = max(largest, len(records))
        submissions += [effect.submission for effect in of(Submit, effects)]
        stepped.store.write(stepped.lease, records)
        known = {s.id for s in stepped.journal.submissions}
        assert {s.handle.id for s in submissions} == known  # nothing starts that is not committed
    assert [len(s.jobs) for s in submissions] == [1500]
    assert largest < 1000  # one step of the graph enters so many calls


def test_an_array_that_was_committed_in_part_was_never_made() -> None:
    """A crash between two commits of one array: its attempts go on under another submission."""
    stepped = Stepped(CHAIN, {"n": 450})
    run = stepped.run
    while run.work(lambda: False):
        pass
    stepped.store.write(stepped.lease, run.take()[0])
    run.dispatch(None)
    records, effects = run.take()
    attempts = [record for record in records if isinstance(record, AttemptRecord)]
    assert 0 < len(attempts) < 450
    assert not effects
    assert not any(isinstance(record, SubmissionRecord) for record in records)
    stepped.store.write(stepped.lease, records)
    stepped.open()
    run_through(stepped)
    journal = stepped.journal
    assert len(journal.attempts) == 900
    assert {a.attempt for a in journal.attempts} == {1}
    assert {s.state for s in journal.submissions} == {SubmissionState.SETTLED}
    assert not {a.submission_id for a in attempts} & {s.id for s in journal.submissions}


def test_aborting_a_wide_workflow_ends_each_of_its_calls() -> None:
    stepped = Stepped(CHAIN, {"n": 450})
    (submission,) = stepped.submitted([effect for _ in range(9) for effect in stepped.turn()])
    stepped.run.abort()
    stepped.turn()
    for index in range(450):
        stepped.run.changed(
            Change(submission.handle.id, index, JobState.FINISHED, "j", failure=_ABORTED)
        )
    for _ in range(9):
        stepped.turn()
    assert stepped.state() is WorkflowState.ABORTED
    assert {call.state for call in stepped.journal.calls} == {CallState.ABORTED}


def test_what_all_shards_get_is_kept_once() -> None:
    shared = [f"s3://bucket/reference/{i}" for i in range(300)]
    stepped = Stepped(CHAIN, {"n": 50, "shared": shared})
    run_through(stepped)
    text = json.dumps(shared, separators=(",", ":"))
    assert list(stepped.store.shared_inputs(stepped.lease.root_id).values()) == [text]
    assert all(len(call.inputs) < 20 for call in stepped.journal.calls)
    kept = {json.loads(call.shared_inputs)["shared"] for call in stepped.journal.calls}
    assert kept == set(stepped.store.shared_inputs(stepped.lease.root_id))


def test_what_outlives_a_long_collection_is_set_aside_until_little_is_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(garbage, "_LONG_SECONDS", 0.0)
    before = gc.get_threshold()
    garbage.watch()
    try:
        made = [[n] for n in range(1000)]
        gc.collect()
        assert not any(item is made for item in gc.get_objects())
        garbage.thaw()
        assert gc.get_threshold() != before
    finally:
        garbage.unwatch()
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
    assert any(item is made for item in gc.get_objects())


def test_what_is_new_is_looked_at_in_every_turn_also_when_as_much_goes_as_is_made() -> None:
    garbage.watch()
    try:
        old = [[n] for n in range(20_000)]
        gc.collect()
        gc.freeze()
        new: list[list[int]] = []
        while old:  # Python's own count of what is new stays where it is
            old.pop()
            new.append([])
        assert len(gc.get_objects(generation=0)) > 20_000
        garbage.pace()
        assert len(gc.get_objects(generation=0)) < 2_000
    finally:
        garbage.unwatch()


def test_what_happens_to_one_workflow_costs_the_same_however_many_jobs_the_others_have(
    world: World,
) -> None:
    engine = Engine(
        world.store, {}, Filesystems(LocalFilesystem()), load_bundle, EngineSettings("fake", {})
    )
    lease = world.store.claim("o", 60.0, 1, world.submit(CHAIN, {"n": 1}))[0]
    change = Change("mine", 0, JobState.RUNNING, "j")

    def lines(others: int) -> float:
        active = Active(Stepped(CHAIN, {"n": 1}).run, Tenure(lease, 60.0, Tenure.now()), "fake")
        active.submissions.append("mine")
        engine._active = {active.root_id: active}
        engine._root_of = {"mine": active.root_id, **{str(n): "other" for n in range(others)}}

        def do() -> None:
            engine._on(Changed("fake", [change]))
            engine._drop(active.root_id, errors.LeaseLost("gone"))

        counted = lines_run(do)
        assert active.inbox.pop() is change
        assert len(engine._root_of) == others
        return counted

    lines(1)
    assert lines(10) == lines(10_000)
