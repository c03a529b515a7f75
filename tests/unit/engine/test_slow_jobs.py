"""Cromwell's slow-job-warning-time and job-shell, in the engine."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.backends.fake import manifest
from orchestrator.model.job import Submission
from orchestrator.model.records import EventRecord

from .stepping import ROOT, Stepped

WDL = """version 1.1
workflow w { scatter (i in range(2)) { call t { input: i = i } } }
task t { input { Int i } command <<< ~{i} >>> runtime { docker: "d" } }
"""


def started(**settings: Any) -> tuple[Stepped, Submission]:
    world = Stepped(WDL, **settings)
    while True:
        found = world.submitted(world.turn())
        if found:
            return world, found[0]


def warnings(world: Stepped) -> list[EventRecord]:
    return [event for _, event in world.store.events(ROOT) if event.kind == "SlowJob"]


def wait(world: Stepped, seconds: float) -> None:
    """Turns at the times that the run asks for."""
    until = world.now + seconds
    while (at := world.run.wake_at()) is not None and at <= until:
        world.now = max(world.now, at)
        world.turn()
    world.now = until


def test_a_job_that_takes_long_is_warned_of_once() -> None:
    world, submission = started(slow_job_warning_seconds=3600.0)
    wait(world, 3500.0)
    assert warnings(world) == []
    done = manifest(submission.handle.id, submission.jobs[0])
    world.finish(submission, 0, done)
    wait(world, 7200.0)
    [warning] = warnings(world)
    assert warning.call_id == submission.handle.attempts[1].call_id
    assert warning.attempt == 1
    detail = json.loads(warning.detail)
    assert 3600 <= detail["seconds"] < 3600 + 100
    assert detail["running"] is False


def test_nobody_is_warned_who_did_not_ask_and_nothing_is_woken_for_it() -> None:
    world, _ = started()
    wait(world, 1e6)
    assert warnings(world) == []
    assert world.run.wake_at() is None


def test_commands_run_in_the_shell_that_is_configured() -> None:
    _, submission = started(shell="/bin/dash")
    assert submission.shape.shell == "/bin/dash"
    assert started()[1].shape.shell == "/bin/bash"
