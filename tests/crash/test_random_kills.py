"""Killed at random times with hundreds of calls in flight, over and over: all right in the end."""

from __future__ import annotations

import functools
import random
import time
from pathlib import Path

import pytest

from orchestrator.backends.local import processes
from orchestrator.model import states
from tests.crash.engines import World, eventually
from tests.crash.workflows import WIDE


def everything_ran_once(world: World, root_id: str, n: int) -> None:
    assert world.outputs(root_id) == {"w.o": [i + 1 for i in range(n)]}
    wanted = {f"{name} {i}": 1 for name in ("first", "second") for i in range(n)}
    assert world.ran() == wanted, world.said


def ended(world: World, root_id: str) -> int:
    """How many of its calls."""
    return sum(states.is_terminal(call.state) for call in world.calls(root_id))


def got_on(world: World, root_id: str, before: int) -> bool:
    """Whether more of its calls have ended, or all of it."""
    return ended(world, root_id) > before or states.is_terminal(world.workflow(root_id).state)


def killed_at_random(world: World, root_id: str, seed: int, times: int) -> None:
    """Each time it comes a little further, or not."""
    chance = random.Random(seed)
    for _ in range(times):
        engine = world.engine(root_id)
        engine.process.join(chance.uniform(0.1, 2.5))
        engine.kill()
        if states.is_terminal(world.workflow(root_id).state):
            return
    world.engine(root_id).succeeded()


@pytest.mark.parametrize(
    ("seed", "n", "times"),
    [(1, 40, 4), *(pytest.param(s, 250, 12, marks=pytest.mark.slow) for s in range(2, 6))],
)
def test_the_engine_alone(world: World, seed: int, n: int, times: int) -> None:
    root_id = world.submit(WIDE, n=n)
    killed_at_random(world, root_id, seed, times)
    everything_ran_once(world, root_id, n)
    assert world.nothing_is_open(root_id)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_one_after_the_other_of_those_that_share_a_database(shared: World, seed: int) -> None:
    """Two serve, and one of them is killed again and again, but not so often that nothing gets on:
    that is what poisoned workflows are known by."""
    chance = random.Random(seed)
    ids = [shared.submit(WIDE, n=60) for _ in range(4)]
    serving = [shared.engine(capacity=2) for _ in range(2)]
    deadline = time.monotonic() + 250
    while not all(states.is_terminal(shared.workflow(root_id).state) for root_id in ids):
        assert time.monotonic() < deadline, shared.said
        before = {root_id: ended(shared, root_id) for root_id in ids}
        victim = chance.randrange(2)
        serving[victim].kill()
        serving[victim] = shared.engine(capacity=4)
        for root_id in ids:
            eventually(functools.partial(got_on, shared, root_id, before[root_id]))
        time.sleep(chance.uniform(0.0, 0.5))  # not to wait for something: that is the test
    for root_id in ids:
        assert shared.outputs(root_id) == {"w.o": [i + 1 for i in range(60)]}
        assert shared.nothing_is_open(root_id)
    assert set(shared.ran().values()) == {4}  # once in each workflow
    assert len(set(shared.lines())) == len(shared.lines()) == 4 * 120


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_machine_with_all_its_jobs(world: World, seed: int) -> None:
    """Jobs that were killed are tried again, as another attempt; what had ended is not."""
    chance = random.Random(seed)
    root_id = world.submit(WIDE, n=60)
    for _ in range(3):
        engine = world.engine(root_id)
        engine.process.join(chance.uniform(1.0, 3.0))
        engine.kill()
        for lock in Path(world.setup.root).rglob(".submissions/*/*/lock"):
            processes.kill(lock)
    if not states.is_terminal(world.workflow(root_id).state):
        world.engine(root_id).succeeded()
    assert world.outputs(root_id) == {"w.o": [i + 1 for i in range(60)]}
    assert world.nothing_is_open(root_id)
    assert len(set(world.lines())) == len(world.lines())  # no attempt ran twice
    attempts = {(a.call_id, a.attempt): a for a in world.attempts(root_id)}
    assert world.ran().total() <= len(attempts)
    lost = {a.failure_code for a in attempts.values() if a.failure_code}
    assert lost <= {"LOST"}
