"""`orchestrator status ID CALL`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from orchestrator import errors
from orchestrator.backends.base import Explanation
from orchestrator.cli import app
from orchestrator.model.states import AttemptState, CallState

from .test_logs import ROOT, World, world

__all__ = ["world"]


def status(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["status", ROOT[:8], *arguments])


@pytest.fixture
def asked(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Jobs that the backend was asked about; each is stuck for the same reason."""
    jobs: list[str] = []

    def explain(handle: Any, index: int) -> Explanation:
        jobs.append(f"{handle.job_id}:{index}")
        if "denied" in (handle.job_id or ""):
            raise errors.NotAllowed("no right to DescribeJobs", hint="a policy")
        return Explanation("RUNNABLE", "no host has so much memory", "ask for less")

    monkeypatch.setattr(world.backend, "explain", explain)
    return jobs


def test_a_job_that_is_stuck_is_told_with_its_reason_and_the_next_step(
    world: World, asked: list[str]
) -> None:
    world.attempt(world.call("align"), 2, submission="s", state=AttemptState.SUBMITTING)
    done = status("align")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        "align  Running  attempt 2",
        "  RUNNABLE: no host has so much memory",
        "  next: ask for less",
    ]
    assert asked == ["job-s:0"]
    [row] = json.loads(status("align", "--json").stdout)["shards"]
    assert row["explanation"] == {
        "state": "RUNNABLE",
        "cause": "no host has so much memory",
        "next_step": "ask for less",
    }


def test_of_many_shards_few_are_asked_about_and_one_reason_is_told_once(
    world: World, asked: list[str]
) -> None:
    for shard in range(15):
        world.attempt(world.call("many", shard), state=AttemptState.SUBMITTING)
    for shard in range(15, 40):
        call = world.call("many", shard, state=CallState.DONE)
        world.attempt(call, state=AttemptState.SUCCEEDED)
    text = status("many").stdout
    assert "15 Running, 25 Done" in text
    assert text.count("no host has so much memory") == 1
    assert "... and 20 more" in text
    assert len(asked) == 10


def test_what_is_over_is_not_asked_about_and_what_is_not_known_says_so(
    world: World, asked: list[str]
) -> None:
    call = world.call(
        "align", state=CallState.FAILED, failure_code="OUT_OF_MEMORY", failure_message="too much"
    )
    world.attempt(call, state=AttemptState.FAILED)
    assert "OUT_OF_MEMORY: too much" in status("align").stdout
    assert asked == []
    world.attempt(world.call("many", 0), submission="denied")
    assert "no right to DescribeJobs" in status("many:0").stdout
    world.attempt(world.call("many", 1), job=False, state=AttemptState.SUBMITTING)
    assert "is being submitted" in status("many:1").stdout
    assert isinstance(status("no_such_call").exception, errors.NotFound)
