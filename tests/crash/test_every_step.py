"""Killed at each numbered step of a call's life, then taken up again: all right, nothing twice."""

from __future__ import annotations

import pytest

from orchestrator.engine.faultpoints import Step
from orchestrator.model import states
from tests.crash.engines import World
from tests.crash.workflows import WHOLE, WHOLE_RAN, WHOLE_TOTAL, numbers

QUICK = {
    Step.FILE_WRITTEN,
    Step.INTENT_RECORDED,
    Step.SUBMITTED,
    Step.END_UNRECORDED,
    Step.WORKFLOW_END_RECORDED,
}
FORWARD = [step for step in Step if step < Step.FINDING]
RECOVERY = [step for step in Step if step >= Step.FINDING]


def chosen(steps: list[Step]) -> list[object]:
    """The quick ones, and all others for the long run."""
    return [
        pytest.param(step, id=step.name, marks=() if step in QUICK else pytest.mark.slow)
        for step in steps
    ]


def started(world: World) -> str:
    return world.submit(WHOLE, numbers=numbers(world.folder))


def all_is_right(world: World, root_id: str) -> None:
    assert world.outputs(root_id)["w.total"] == WHOLE_TOTAL
    assert world.ran() == WHOLE_RAN, world.said
    assert len(set(world.lines())) == len(world.lines())
    assert world.nothing_is_open(root_id)


@pytest.mark.parametrize("step", chosen(FORWARD))
def test_killed_once_and_resumed(world: World, step: Step) -> None:
    root_id = started(world)
    world.engine(root_id, fault=step).was_killed()
    if step < Step.WORKFLOW_END_RECORDED:
        world.engine(root_id).succeeded()
    all_is_right(world, root_id)


@pytest.mark.slow
@pytest.mark.parametrize("step", [s for s in FORWARD if Step.PREPARED <= s <= Step.END_RECORDED])
@pytest.mark.parametrize("nth", [2, 3, 4])
def test_killed_at_a_later_call_or_attempt(world: World, step: Step, nth: int) -> None:
    """The fourth submission is the second attempt of its call."""
    root_id = started(world)
    world.engine(root_id, fault=f"{step}:{nth}").was_killed()
    if not states.is_terminal(world.workflow(root_id).state):  # the last call ends with it
        world.engine(root_id).succeeded()
    all_is_right(world, root_id)


@pytest.mark.slow
@pytest.mark.parametrize("step", RECOVERY, ids=lambda step: step.name)
def test_killed_again_while_it_recovers(world: World, step: Step) -> None:
    root_id = started(world)
    world.engine(root_id, fault=Step.INTENT_RECORDED).was_killed()
    world.engine(root_id, fault=step).was_killed()
    world.engine(root_id).succeeded()
    all_is_right(world, root_id)


@pytest.mark.slow
def test_killed_at_one_step_after_the_other(world: World) -> None:
    """Every process comes a little further than the one before."""
    root_id = started(world)
    for step in (Step.OPENED, Step.INTENT_RECORDED, Step.REVOKED, Step.SUBMITTED, Step.FOUND):
        world.engine(root_id, fault=step).was_killed()
    world.engine(root_id, fault=Step.JUDGED).was_killed()
    world.engine(root_id).succeeded()
    all_is_right(world, root_id)
