"""Evaluation that takes long holds up its own workflow only."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator import errors
from orchestrator.backends.fake import FakeBackend, manifest
from orchestrator.engine import evaluation
from orchestrator.engine.admission import Admission, JobLimit
from orchestrator.engine.evaluation import Evaluators
from orchestrator.engine.run import Run
from orchestrator.engine.tenure import Tenure
from orchestrator.model.job import Submission
from orchestrator.model.manifest import Manifest
from orchestrator.model.states import WorkflowState

from .conftest import World, eventually

QUICK = """version 1.1
workflow quick { call t }
task t { command <<< x >>> runtime { docker: "d" } }
"""
SLOW = QUICK.replace("quick", "slow")


class Gate:
    """Where the evaluation of the workflow `slow` stops until it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()
        self.fault: Exception | None = None

    def pass_through(self) -> None:
        self.reached.set()
        assert self.opened.wait(30)
        if self.fault is not None:
            raise self.fault


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = Gate()
    work = Run.work

    def stopped(run: Run, deadline: Callable[[], bool]) -> bool:
        if run.root.name == "slow":
            made.pass_through()
        return work(run, deadline)

    monkeypatch.setattr(Run, "work", stopped)
    yield made
    made.opened.set()


def succeed(submission: Submission, index: int) -> Manifest:
    return manifest(submission.handle.id, submission.jobs[index])


def test_others_run_from_beginning_to_end_meanwhile(world: World, gate: Gate) -> None:
    engine = world.engine(FakeBackend(succeed), admission=Admission({"fake": JobLimit(1)}))
    slow, quick = world.submit(SLOW), world.submit(QUICK)
    world.adopt(engine, slow)
    assert gate.reached.wait(20)
    world.adopt(engine, quick)
    record = engine.wait(quick, timeout=20)
    assert record is not None
    assert record.state is WorkflowState.SUCCEEDED
    assert engine.wait(slow, timeout=0) is None
    gate.opened.set()
    record = engine.wait(slow, timeout=20)
    assert record is not None
    assert record.state is WorkflowState.SUCCEEDED


def test_what_comes_for_it_meanwhile_is_heard_afterwards(world: World, gate: Gate) -> None:
    engine = world.engine(FakeBackend(succeed))
    slow = world.submit(SLOW)
    world.adopt(engine, slow)
    assert gate.reached.wait(20)
    world.store.put_command(slow, "abort")
    engine.poke()
    eventually(lambda: engine._active[slow].inbox)
    gate.opened.set()
    record = engine.wait(slow, timeout=20)
    assert record is not None
    assert record.state is WorkflowState.ABORTED


def test_a_fault_in_it_ends_it_alone(world: World, gate: Gate) -> None:
    engine = world.engine(FakeBackend(succeed))
    slow, quick = world.submit(SLOW), world.submit(QUICK)
    world.adopt(engine, slow)
    assert gate.reached.wait(20)
    gate.fault = RuntimeError("broken")
    gate.opened.set()
    with pytest.raises(errors.OrchestratorError, match="RuntimeError: broken"):
        engine.wait(slow, timeout=20)
    world.adopt(engine, quick)
    assert engine.wait(quick, timeout=20)


def test_a_workflow_that_was_taken_over_meanwhile_is_left_alone(world: World, gate: Gate) -> None:
    engine = world.engine(FakeBackend(succeed))
    slow = world.submit(SLOW)
    world.adopt(engine, slow, seconds=0.0)
    assert gate.reached.wait(20)
    at = Tenure.now()
    (lease,) = world.store.claim("another", 60.0, 1, slow)
    engine.adopt(lease, at)  # the engine itself is the other one: what it had is over
    eventually(lambda: engine._active[slow].tenure.lease == lease)
    gate.opened.set()
    record = engine.wait(slow, timeout=20)
    assert record is not None
    assert record.state is WorkflowState.SUCCEEDED
    assert len(world.store.attempts(slow)) == 1


def test_what_it_has_found_out_is_committed_before_it_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Run.work
    begun = threading.Semaphore(0)
    go_on = threading.Semaphore(0)

    def always_late(run: Run, deadline: Callable[[], bool]) -> bool:
        begun.release()
        assert go_on.acquire(timeout=30)
        return work(run, lambda: True)  # one step a slice

    monkeypatch.setattr(Run, "work", always_late)
    engine = world.engine(FakeBackend(succeed))
    slow = world.submit(SLOW)
    world.adopt(engine, slow)
    seen = []
    for _ in range(3):
        assert begun.acquire(timeout=20)
        eventually(lambda: engine._active[slow].away)
        seen.append((world.store.workflow(slow).state, len(world.store.calls(slow))))
        go_on.release()
    assert seen[0] == (WorkflowState.SUBMITTED, 0)
    assert seen[1] == (WorkflowState.RUNNING, 1)
    go_on.release(1_000)
    record = engine.wait(slow, timeout=20)
    assert record is not None
    assert record.state is WorkflowState.SUCCEEDED


def test_an_engine_that_stops_does_not_wait_for_it(
    world: World, gate: Gate, tmp_path: Path
) -> None:
    engine = world.engine(FakeBackend(succeed))
    slow = world.submit(SLOW)
    world.adopt(engine, slow)
    assert gate.reached.wait(20)
    engine.stop()
    assert not gate.opened.is_set()
    assert world.store.holder(slow) is None


def test_work_that_is_done_in_time_raises_what_it_raised() -> None:
    evaluators = Evaluators(30.0)
    evaluators.start()
    late: list[BaseException | None] = []
    done: list[str] = []
    assert evaluators.work(lambda: done.append("it"), late.append)
    assert done == ["it"]

    def fail() -> None:
        raise errors.TryLater("no")

    with pytest.raises(errors.TryLater):
        evaluators.work(fail, late.append)
    assert not late
    evaluators.close()


def test_work_that_raises_a_timeout_of_its_own_is_done() -> None:
    evaluators = Evaluators(30.0)
    evaluators.start()

    def fail() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        evaluators.work(fail, lambda error: None)
    evaluators.close()


def evaluating() -> int:
    return sum(thread.name == "evaluation" for thread in threading.enumerate())


def test_threads_come_with_what_takes_long_and_go_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "_MOST", 3)
    eventually(lambda: not evaluating())  # those of other tests
    evaluators = Evaluators(0.01)
    evaluators.start()
    opened, counted = threading.Event(), threading.Semaphore(0)
    for _ in range(5):
        assert not evaluators.work(lambda: assert_(opened.wait(30)), lambda _: counted.release())
    assert evaluating() == 3
    opened.set()
    for _ in range(5):  # those that found no thread were not forgotten
        assert counted.acquire(timeout=20)
    eventually(lambda: evaluating() == 1)
    patient = Evaluators(30.0)
    patient.start()
    for _ in range(20):
        assert patient.work(lambda: None, lambda _: None)
    assert evaluating() == 2
    evaluators.close()
    patient.close()
    eventually(lambda: not evaluating())


def assert_(true: bool) -> None:
    assert true


def test_what_was_not_begun_when_it_closed_never_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "_MOST", 1)
    eventually(lambda: not evaluating())  # those of other tests
    evaluators = Evaluators(0.01)
    evaluators.start()
    opened, done = threading.Event(), []
    assert not evaluators.work(lambda: assert_(opened.wait(30)), lambda _: None)
    assert not evaluators.work(lambda: done.append("it"), lambda _: None)
    evaluators.close()
    opened.set()
    eventually(lambda: not evaluating())
    assert not done


def test_threads_take_turns_faster_only_while_an_engine_lives() -> None:
    before = sys.getswitchinterval()
    one, other = Evaluators(1.0), Evaluators(1.0)
    one.start()
    other.start()
    assert sys.getswitchinterval() == pytest.approx(0.001)
    one.close()
    one.close()
    assert sys.getswitchinterval() == pytest.approx(0.001)
    other.close()
    assert sys.getswitchinterval() == before


def test_a_process_that_ends_does_not_wait_for_an_expression() -> None:
    program = """if True:
        import time
        from orchestrator.engine.evaluation import Evaluators
        evaluators = Evaluators(0.01)
        evaluators.start()
        assert not evaluators.work(lambda: time.sleep(600), print)
        evaluators.close()
    """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
