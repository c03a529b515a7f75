"""Two engines on one PostgreSQL: they share the work, and the lease says who may do what."""

from __future__ import annotations

import functools
import json
import signal
from collections import Counter
from pathlib import Path

import pytest

from orchestrator.engine.faultpoints import Step
from orchestrator.model import states
from orchestrator.model.states import WorkflowState
from tests.crash.engines import World, eventually
from tests.crash.workflows import WAITING, WHOLE, WHOLE_RAN, WHOLE_TOTAL, numbers

# As on hosts of their own: neither can see the other die, only the lease's time tells.
ONE, TWO = "host-1/boot/1/1", "host-2/boot/2/2"
LEASE = 3.0  # seconds: not below what a busy machine delays a heartbeat by


def is_over(world: World, root_id: str) -> bool:
    return states.is_terminal(world.workflow(root_id).state)


def all_is_right(world: World, root_id: str) -> None:
    assert world.outputs(root_id)["w.total"] == WHOLE_TOTAL
    assert world.ran() == WHOLE_RAN, world.said
    assert len(set(world.lines())) == len(world.lines())


def journal(world: World) -> list[tuple[str, int, str]]:
    """Table, epoch and content of every row."""
    rows: list[tuple[str, int, str]] = []
    with world.store._database._engine.connect() as connection:
        for table in ("workflow", "call", "attempt", "submission", "fact", "event"):
            found = connection.exec_driver_sql(f"SELECT epoch, t::text FROM {table} t")
            rows += [(table, epoch, text) for epoch, text in found]
    return sorted(rows)


@pytest.mark.slow
def test_workflows_are_shared_by_capacity(shared: World) -> None:
    go = shared.folder / "go"
    ids = [shared.submit(WAITING, go=str(go)) for _ in range(5)]
    for owner in (ONE, TWO):
        shared.engine(owner=owner, capacity=2)
    held = eventually(lambda: _full(shared, ids, {ONE: 2, TWO: 2}))
    assert held[None] == 1  # it waits for a place
    go.touch()
    eventually(lambda: all(is_over(shared, root_id) for root_id in ids))
    assert all(shared.outputs(root_id) == {"w.o": [0]} for root_id in ids)
    assert len(set(shared.lines())) == len(shared.lines()) == 5


def _full(world: World, ids: list[str], wanted: dict[str, int]) -> Counter[str | None] | None:
    held = Counter(world.store.holder(root_id) for root_id in ids)
    return held if all(held[owner] == count for owner, count in wanted.items()) else None


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(True, id="on-this-host"),
        pytest.param(False, id="on-another-host", marks=pytest.mark.slow),
    ],
)
def test_a_dead_engines_workflows_are_taken_over(shared: World, seen: bool) -> None:
    """On this host it is seen to be dead, and nobody waits for its leases to run out."""
    go = shared.folder / "go"
    lease = 3600.0 if seen else LEASE
    first = shared.engine(capacity=9, owner=None if seen else ONE, lease_seconds=lease)
    ids = [shared.submit(WAITING, go=str(go), n=3) for _ in range(2)]
    eventually(lambda: len(shared.lines()) == 6)
    first.kill()
    second = shared.engine(capacity=9, owner=TWO, lease_seconds=lease)
    eventually(lambda: all(shared.store.holder(root_id) == TWO for root_id in ids))
    go.touch()
    eventually(lambda: all(is_over(shared, root_id) for root_id in ids))
    assert all(shared.outputs(root_id) == {"w.o": [0, 1, 2]} for root_id in ids)
    assert len(set(shared.lines())) == len(shared.lines()) == 6
    second.signal(signal.SIGTERM)
    assert second.end() == 0


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(step, id=step.name, marks=() if quick else pytest.mark.slow)
        for step, quick in (
            (Step.OPENED, False),
            (Step.INTENT_UNRECORDED, False),
            (Step.INTENT_RECORDED, True),  # the lease is asked for after this
            (Step.SUBMITTING, False),  # ... and has been asked for before this
            (Step.SUBMITTED, False),
            (Step.RUNNING_UNRECORDED, False),
            (Step.JUDGED, False),
            (Step.END_UNRECORDED, False),
            (Step.WORKFLOW_END_UNRECORDED, False),
        )
    ],
)
def test_a_stopped_engine_that_goes_on_does_nothing_with_a_stolen_lease(
    shared: World, step: Step
) -> None:
    """Stopped in the middle of a transaction of its heartbeat's, it keeps the lease's row locked
    until the database ends its session: that takes a minute then."""
    root_id = shared.submit(WHOLE, numbers=numbers(shared.folder))
    first = shared.engine(owner=ONE, capacity=1, lease_seconds=LEASE, fault=f"{step}:1:STOP")
    eventually(first.is_stopped)
    second = shared.engine(owner=TWO, capacity=1, lease_seconds=LEASE)
    eventually(lambda: is_over(shared, root_id))
    all_is_right(shared, root_id)
    before, submitted = journal(shared), submissions(shared)
    second.signal(signal.SIGTERM)
    assert second.end() == 0
    first.signal(signal.SIGCONT)
    # It takes new work when it has let go of the old.
    other = shared.submit(WHOLE, numbers=numbers(shared.folder))
    eventually(lambda: shared.workflow(other).state is WorkflowState.SUCCEEDED)
    assert [row for row in journal(shared) if other not in row[2]] == before
    assert {path for path in submissions(shared) if root_id in path} == submitted
    assert len(set(shared.lines())) == len(shared.lines()) == 2 * sum(WHOLE_RAN.values())


def submissions(world: World) -> set[str]:
    """What the backend has taken, and not only been told to refuse."""
    return {str(path.parent) for path in Path(world.setup.root).rglob("submission.json")}


@pytest.mark.slow
def test_a_workflow_that_three_servers_died_with_is_poisoned_and_the_others_go_on(
    shared: World,
) -> None:
    go = shared.folder / "go"
    bad = shared.submit(WAITING, go=str(go))
    for _ in range(3):
        server = shared.engine(capacity=9)
        eventually(lambda: len(shared.lines()) == 1)
        eventually(functools.partial(shared.is_held_by, bad, server))
        server.kill()
    good = shared.submit(WHOLE, numbers=numbers(shared.folder))
    shared.engine(capacity=9)
    eventually(lambda: is_over(shared, bad) and is_over(shared, good))
    assert shared.outputs(good)["w.total"] == WHOLE_TOTAL
    record = shared.workflow(bad)
    assert record.state is WorkflowState.FAILED
    [failure] = json.loads(record.failures or "[]")
    assert failure["message"].startswith("POISONED")
    # Its job was told to end, and does not run on for nobody.
    lock = next(Path(shared.setup.root).rglob(f"{bad}/.submissions/*/0/lock"))
    eventually(lambda: not _lives(lock))
    assert shared.ran()["wait 0"] == 1


def _lives(lock: Path) -> bool:
    from orchestrator.backends.local import processes

    return processes.lives(lock)


@pytest.mark.slow
def test_who_resumes_a_workflow_by_hand_is_not_held_to_the_count(shared: World) -> None:
    go = shared.folder / "go"
    root_id = shared.submit(WAITING, go=str(go))
    for _ in range(5):
        engine = shared.engine(root_id)
        eventually(functools.partial(shared.is_held_by, root_id, engine))
        eventually(lambda: len(shared.lines()) == 1)
        engine.kill()
    go.touch()
    shared.engine(root_id).succeeded()
    assert shared.outputs(root_id) == {"w.o": [0]}
    assert len(shared.lines()) == 1
