"""Workflows outlive the version that they began with; one whose meaning changed is told so."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.model.states import AttemptState, CallState, SubmissionState, WorkflowState
from orchestrator.wdl import document
from orchestrator.wdl.bundle import Bundle

from . import older_versions
from .older_versions import World
from .stepping import ROOT, Stepped

OLDER = sorted(older_versions.FOLDER.glob("*.sql"))


@pytest.mark.parametrize("path", OLDER, ids=lambda path: path.stem)
def test_what_an_older_version_began_is_gone_on_with(path: Path, tmp_path: Path) -> None:
    """Whatever makes this fail also fails the workflows of everybody who upgrades."""
    stepped, store = older_versions.restored(path, tmp_path)
    before = stepped.journal
    live = {s.id for s in before.submissions if s.state is SubmissionState.SUBMITTED}
    done = {(c.workflow_id, c.id): c for c in before.calls if c.state is CallState.DONE}
    assert (len(live), len(done), len(before.calls)) == (3, 13, 17)
    world = World(stepped)
    while len(world.found) < 3:
        assert world.turn()
    assert {handle.id for handle in world.found} == live
    assert not world.submitted
    for handle in world.found:
        world.end_jobs(handle)  # the poller also tells of those that are known to have ended
    while world.turn():
        for handle in world.submitted:
            world.end_jobs(handle)
        world.submitted.clear()
    after = stepped.journal
    assert stepped.failures == ""
    assert after.workflows[0].state is WorkflowState.SUCCEEDED
    assert not world.fetched, "facts are pinned"
    calls = {(c.workflow_id, c.id): c for c in after.calls}
    assert {key: calls[key] for key in done} == done
    assert calls.keys() - {(c.workflow_id, c.id) for c in before.calls} == {(ROOT, "call-last")}
    assert {attempt.attempt for attempt in after.attempts} == {1}
    store.close()


def source(body: str) -> str:
    return f"""version 1.1
workflow w {{
{body}
}}
task t {{
  input {{ String x }}
  command <<< echo ~{{x}} >>>
  output {{ String o = read_string(stdout()) }}
  runtime {{ docker: "d" }}
}}
"""


SHARDS = """  scatter (i in range(%d)) { call t { input: x = "%s" } }
  call t as last { input: x = sep("", t.o) }
  output { String o = last.o }"""
BEFORE = source(SHARDS % (3, "~{i}"))


def began(ended: int, before: str = BEFORE) -> World:
    """So many of its three shards have ended, two or all."""
    world = World(Stepped(before))
    world.turn()
    (handle,) = world.submitted
    world.end_jobs(handle, but=None if ended == 3 else 2)
    world.turn()
    world.submitted.clear()
    return world


def goes_on(world: World, changed: str) -> None:
    """Under a version to which the same document means something else."""
    world.world.document = document.load(Bundle("main.wdl", {"main.wdl": changed}))
    world.world.open()
    for _ in range(50):
        if not world.turn():
            return
        for handle in world.found + world.submitted:
            world.end_jobs(handle)
    raise AssertionError("it does not end")


@pytest.mark.parametrize("ended", [2, 3])
def test_a_call_that_would_get_other_inputs_fails_the_workflow_by_name(ended: int) -> None:
    world = began(ended)
    goes_on(world, source(SHARDS % (3, "0~{i}")))
    assert world.world.state() is WorkflowState.FAILED
    assert "REPLAY_MISMATCH: call t (call-t-0)" in world.world.failures
    nothing_is_left(world)


@pytest.mark.parametrize("ended", [2, 3])
def test_a_call_that_the_workflow_does_not_come_to_any_more_fails_it_too(ended: int) -> None:
    shards = """  scatter (i in range(%d)) { call t { input: x = i } }
  output { Array[String] o = t.o  File f = write_lines(o) }"""
    world = began(ended, source(shards % 3))
    goes_on(world, source(shards % 2))
    assert world.world.state() is WorkflowState.FAILED
    assert "REPLAY_MISMATCH: call t (call-t-2)" in world.world.failures
    nothing_is_left(world)


def nothing_is_left(world: World) -> None:
    journal = world.world.journal
    assert journal.workflows[0].outputs is None
    assert {c.state for c in journal.calls} <= {
        CallState.DONE,
        CallState.ABORTED,
        CallState.WAITING,
    }
    assert {a.state for a in journal.attempts} <= {AttemptState.SUCCEEDED, AttemptState.ABORTED}
    assert {s.state for s in journal.submissions} == {SubmissionState.SETTLED}


def test_more_shards_than_before_are_no_other_meaning() -> None:
    """What has ended is what it was; how much follows is not known before it is evaluated."""
    world = began(2)
    goes_on(world, source(SHARDS % (4, "~{i}")))
    assert world.world.state() is WorkflowState.SUCCEEDED
    assert len(world.world.journal.calls) == 5
