"""Several workflows in one engine, and what happens at its edges."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestrator import errors
from orchestrator.backends.base import Change
from orchestrator.backends.fake import FakeBackend, manifest
from orchestrator.engine import coordinator, events
from orchestrator.engine.admission import Admission, JobLimit
from orchestrator.engine.run import Run
from orchestrator.engine.tenure import Tenure, this_process
from orchestrator.filesystems.local import LocalFilesystem
from orchestrator.model.job import Submission
from orchestrator.model.manifest import Manifest
from orchestrator.model.records import WorkflowRecord
from orchestrator.model.states import WorkflowState
from orchestrator.store.base import Lease

from .conftest import World, eventually

ONE = """version 1.1
workflow w { call t }
task t { command <<< x >>> runtime { docker: "d" } }
"""
MANY = """version 1.1
workflow w { scatter (i in range(20)) { call t } }
task t { command <<< x >>> runtime { docker: "d" } }
"""


def succeed(submission: Submission, index: int) -> Manifest:
    return manifest(submission.handle.id, submission.jobs[index])


def test_a_place_that_one_workflow_leaves_is_taken_by_another(world: World) -> None:
    backend = FakeBackend(lambda submission, index: None)
    # Nothing else wakes the second workflow: commands are not looked for meanwhile.
    engine = world.engine(backend, admission=Admission({"fake": JobLimit(1)}))
    engine._commands_at = 1e12
    ids = [world.submit(ONE) for _ in range(2)]
    world.adopt(engine, ids[0])
    eventually(lambda: len(backend.submissions) == 1)
    world.adopt(engine, ids[1])
    eventually(lambda: engine.progress(ids[1]))
    first = backend.submissions[0]
    backend.finish(first.handle.id, 0, succeed(first, 0))
    assert engine.wait(ids[0], timeout=10)
    second = eventually(lambda: backend.submissions[1:], seconds=10)[0]
    backend.finish(second.handle.id, 0, succeed(second, 0))
    assert engine.wait(ids[1], timeout=10)


def test_a_lease_that_is_found_lost_after_the_end_changes_nothing(world: World) -> None:
    root_id = world.submit(ONE)
    engine = world.engine(FakeBackend(succeed))
    world.adopt(engine, root_id)
    assert engine.wait(root_id, timeout=10)
    engine._queue.put(events.Lost(root_id))  # a heartbeat that was under way
    engine._queue.put(events.Poke())
    eventually(engine._queue.empty)
    engine.stop()
    record = engine.wait(root_id, timeout=0)
    assert record is not None
    assert record.state is WorkflowState.SUCCEEDED


def test_a_fault_in_one_workflow_loses_no_news_of_another(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = FakeBackend(lambda submission, index: None)
    engine = world.engine(backend)
    ids = [world.submit(ONE) for _ in range(2)]
    for count, root_id in enumerate(ids, 1):
        world.adopt(engine, root_id)
        eventually(lambda count=count: len(backend.submissions) == count)  # type: ignore[misc]
    changed = Run.changed

    def broken(run: Run, change: Change) -> bool:
        if run.root.id == ids[0]:
            raise RuntimeError("a defect")
        return changed(run, change)

    monkeypatch.setattr(Run, "changed", broken)
    with backend._moved:
        for submission in backend.submissions:
            backend.finish(submission.handle.id, 0, succeed(submission, 0))
    record = engine.wait(ids[1], timeout=10)
    assert record is not None
    assert record.state is WorkflowState.SUCCEEDED
    with pytest.raises(errors.OrchestratorError, match="a defect"):
        engine.wait(ids[0], timeout=10)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (  # of one that has begun: a release that understands it may come back
            {"inputs": '{"w.gone": 1}', "state": WorkflowState.RUNNING},
            errors.InvalidInputs,
            "inputs",
        ),
        ({"backend": "batch"}, errors.BackendUnavailable, "batch"),
    ],
)
def test_a_workflow_that_cannot_be_taken_up_says_why_and_its_lease_is_given_back(
    world: World, change: dict[str, Any], kind: type[errors.OrchestratorError], words: str
) -> None:
    root_id = world.submit(ONE)
    (lease,) = world.store.claim("before", 60, 1, root_id)
    record: WorkflowRecord = dataclasses.replace(world.store.workflow(root_id), **change)
    world.store.write(lease, [record])
    world.store.release(lease)
    engine = world.engine(FakeBackend(succeed))
    world.adopt(engine, root_id)
    with pytest.raises(kind, match=words):
        engine.wait(root_id, timeout=10)
    eventually(lambda: world.store.holder(root_id) is None)


def test_a_store_that_cannot_be_asked_only_delays_a_submission(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease may have run out meanwhile; nobody has taken it."""
    asked = threading.Event()
    renew = world.store.renew

    def unavailable(*arguments: object) -> object:
        if not asked.is_set():
            asked.set()
            raise errors.StoreUnavailable("restarting")
        return renew(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(world.store, "renew", unavailable)
    backend = FakeBackend(succeed)
    root_id = world.submit(ONE)
    engine = world.engine(backend)
    (lease,) = world.store.claim(engine._settings.owner, 60, 1, root_id)
    engine.adopt(lease, Tenure.now() - 31)
    record = engine.wait(root_id, timeout=20)
    assert record is not None
    assert record.state is WorkflowState.SUCCEEDED
    assert asked.is_set()
    assert len(backend.submissions) == 1


def test_a_job_is_ended_although_the_first_request_is_throttled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = FakeBackend(lambda submission, index: None)
    cancel, asked = backend.cancel, []

    def throttled(jobs: object) -> None:
        asked.append(jobs)
        if len(asked) == 1:
            raise errors.TryLater("throttled")
        cancel(jobs)  # type: ignore[arg-type]

    monkeypatch.setattr(backend, "cancel", throttled)
    root_id = world.submit(ONE)
    engine = world.engine(backend)
    world.adopt(engine, root_id)
    eventually(lambda: backend.submissions)
    world.store.put_command(root_id, "abort")
    engine.poke()
    record = engine.wait(root_id, timeout=20)
    assert record is not None
    assert record.state is WorkflowState.ABORTED


def test_commands_of_all_workflows_are_one_question(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[set[str]] = []
    taken: list[str] = []
    commanded, take = world.store.commanded, world.store.take_commands

    def ask(owner: str) -> Collection[str]:
        found = commanded(owner)
        asked.append(set(found))
        return found

    def note(lease: Lease) -> Sequence[tuple[int, str, str]]:
        taken.append(lease.root_id)
        return take(lease)

    monkeypatch.setattr(world.store, "commanded", ask)
    monkeypatch.setattr(world.store, "take_commands", note)
    backend = FakeBackend(lambda submission, index: None)
    engine = world.engine(backend)
    ids = [world.submit(ONE) for _ in range(5)]
    for root_id in ids:
        world.adopt(engine, root_id)
    eventually(lambda: len(backend.submissions) == 5)
    eventually(lambda: len(asked) >= 3)
    assert not taken
    world.store.put_command(ids[3], "abort")
    engine.poke()
    record = engine.wait(ids[3], timeout=20)
    assert record is not None
    assert record.state is WorkflowState.ABORTED
    assert set(taken) == {ids[3]}
    assert {ids[3]} in asked


def test_a_hiccup_of_the_storage_fails_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "in.txt").write_text("text")
    refused: set[str] = set()

    def hiccup(name: str) -> Callable[..., Any]:
        real = getattr(LocalFilesystem, name)

        def once(*arguments: Any) -> Any:
            if name not in refused:
                refused.add(name)
                raise errors.TryLater("slow down")
            return real(*arguments)

        return once

    for name in ("read", "write"):
        monkeypatch.setattr(LocalFilesystem, name, hiccup(name))
    source = """version 1.1
workflow w { input { File f } output { File o = write_lines([read_string(f)]) } }
"""
    record = world.run(FakeBackend(succeed), source, {"w.f": str(tmp_path / "in.txt")})
    assert record.state is WorkflowState.SUCCEEDED, record.failures
    assert refused == {"read", "write"}


def test_a_workflow_that_is_not_opened_yet_is_given_back_when_the_engine_stops(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    root_id = world.submit(ONE)
    engine = world.engine(FakeBackend(succeed))
    monkeypatch.setattr(engine._opening, "open", lambda lease: None)  # still loading
    world.adopt(engine, root_id)
    assert world.store.holder(root_id)
    engine.stop()
    assert world.store.holder(root_id) is None


def test_an_engine_with_room_looks_for_work_itself(world: World) -> None:
    backend = FakeBackend(lambda submission, index: None)
    engine = world.engine(backend, capacity=2, claim_poll_seconds=0.05)
    ids = [world.submit(ONE) for _ in range(3)]
    eventually(lambda: len(backend.submissions) == 2)
    assert len(world.store.claim("somebody else", 60, 5)) == 1, "it takes no more than it may"
    for submission in list(backend.submissions):
        backend.finish(submission.handle.id, 0, succeed(submission, 0))
    done = [w for w in ids if engine.wait(w, timeout=0.0 if w == ids[2] else 10)]
    assert len(done) == 2


def test_what_a_dead_process_of_this_host_had_is_taken_at_once(world: World) -> None:
    root_id = world.submit(ONE)
    host, boot, _, started = this_process().split("/")
    assert world.store.claim(f"{host}/{boot}/999999999/{started}", 3600, 1, root_id)
    engine = world.engine(FakeBackend(succeed), capacity=1, claim_poll_seconds=0.05)
    record = engine.wait(root_id, timeout=20)
    assert record is not None
    assert record.state is WorkflowState.SUCCEEDED


def test_places_go_to_the_small_workflow_first(world: World) -> None:
    backend = FakeBackend(lambda submission, index: None)
    engine = world.engine(backend, admission=Admission({"fake": JobLimit(4)}))
    large, small = world.submit(MANY), world.submit(ONE)
    world.adopt(engine, large)
    eventually(lambda: sum(len(s.jobs) for s in backend.submissions) == 4)
    world.adopt(engine, small)
    eventually(lambda: engine.progress(small))
    first = backend.submissions[0]
    backend.finish(first.handle.id, 0, succeed(first, 0))
    eventually(lambda: len(backend.submissions) == 2)
    assert backend.submissions[1].jobs[0].attempt.root_workflow_id == small


def test_an_abort_withdraws_what_waits_to_be_submitted(world: World) -> None:
    """However long the backend takes for each: nothing new begins, and it ends in seconds."""
    begun, go_on = threading.Event(), threading.Event()

    def slowly(submission: Submission) -> None:
        begun.set()
        assert go_on.wait(30)

    backend = FakeBackend(succeed, before_submit=slowly)
    backend.max_array_size = 1
    root_id = world.submit(MANY)
    engine = world.engine(backend, workers=1)  # two submit at the same time
    world.adopt(engine, root_id)
    assert begun.wait(20)
    world.store.put_command(root_id, "abort")
    eventually(lambda: (p := engine.progress(root_id)) and p.state is WorkflowState.ABORTING)
    go_on.set()
    record = engine.wait(root_id, timeout=20)
    assert record is not None
    assert record.state is WorkflowState.ABORTED
    assert len(backend.submissions) == 2


def test_a_workflow_that_can_never_begin_has_failed(world: World) -> None:
    """As doors that take anything in need it; its inputs lack what its document asks for."""
    root_id = world.submit(ONE)
    record = world.store.workflow(root_id)
    broken = dataclasses.replace(
        record, id=f"{root_id[:-4]}beef", root_id=f"{root_id[:-4]}beef", inputs='{"w.nonsense": 1}'
    )
    world.store.create(broken)
    engine = world.engine(FakeBackend(succeed), capacity=5, claim_poll_seconds=0.05)
    ended = engine.wait(broken.id, timeout=20)
    assert ended is not None
    assert ended.state is WorkflowState.FAILED
    assert "nonsense" in (world.store.workflow(broken.id).failures or "")
    other = engine.wait(root_id, timeout=20)
    assert other is not None
    assert other.state is WorkflowState.SUCCEEDED


def test_what_cannot_be_opened_here_is_left_to_others_and_stays_as_it_is(world: World) -> None:
    root_id = world.submit(ONE)
    elsewhere = dataclasses.replace(
        world.store.workflow(root_id), id="elsewhere", root_id="elsewhere", backend="of another"
    )
    world.store.create(elsewhere)
    engine = world.engine(FakeBackend(succeed), capacity=5, claim_poll_seconds=0.05)
    with pytest.raises(errors.BackendUnavailable, match="of another"):
        engine.wait("elsewhere", timeout=20)
    assert engine.wait(root_id, timeout=20) is not None
    assert world.store.workflow("elsewhere").state is WorkflowState.SUBMITTED
    eventually(lambda: world.store.claim("another server", 60, 1, "elsewhere"))


def test_an_engine_does_not_keep_all_that_it_ever_ran(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coordinator, "_ENDS_KEPT", 2)
    engine = world.engine(FakeBackend(succeed))
    for _ in range(4):
        root_id = world.submit(ONE)
        world.adopt(engine, root_id)
        assert engine.wait(root_id, timeout=20)
    assert len(engine._over) == 2
    assert len(engine._progress) == 2
