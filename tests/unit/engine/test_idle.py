"""A server without work leaves the database alone, and hears of work all the same."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator import errors
from orchestrator.backends.fake import FakeBackend, manifest
from orchestrator.engine.coordinator import Engine
from orchestrator.model.job import Submission
from orchestrator.model.manifest import Manifest

from .conftest import World, eventually

ONE = """version 1.1
workflow w { call t }
task t { command <<< x >>> runtime { docker: "d" } }
"""
SECONDS = 0.02


def succeed(submission: Submission, index: int) -> Manifest:
    return manifest(submission.handle.id, submission.jobs[index])


@pytest.fixture
def claims(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each time that the engine asks for work."""
    made: list[str] = []
    claim = world.store.claim

    def counted(owner: str, *arguments: Any, **more: Any) -> Any:
        made.append(owner)
        return claim(owner, *arguments, **more)

    monkeypatch.setattr(world.store, "claim", counted)
    return made


def idle(world: World, backend: FakeBackend) -> Engine:
    """An engine that has had nothing to do for a while."""
    engine = world.engine(backend, capacity=2, claim_poll_seconds=SECONDS, idle_poll_seconds=3600.0)
    eventually(lambda: engine._claim_every >= 1.0)
    return engine


def test_it_asks_less_and_less_often(world: World, claims: list[str]) -> None:
    idle(world, FakeBackend(succeed))
    assert len(claims) <= 7  # 0.02, 0.04, ... 1.28 s


def test_it_never_asks_less_often_than_it_is_told(world: World, claims: list[str]) -> None:
    world.engine(
        FakeBackend(succeed), capacity=2, claim_poll_seconds=SECONDS, idle_poll_seconds=SECONDS
    )
    eventually(lambda: len(claims) > 20)


def test_who_wakes_it_is_heard_at_once(world: World) -> None:
    engine = idle(world, FakeBackend(succeed))
    engine._claims_at = 1e12  # it would not ask by itself any more
    root_id = world.submit(ONE)
    assert engine.wait(root_id, timeout=0.3) is None
    engine.poke()
    assert engine.wait(root_id, timeout=20)


def test_after_work_it_asks_as_often_as_at_first(world: World, claims: list[str]) -> None:
    """The database is awake then, and where one came from there may be more."""
    engine = idle(world, FakeBackend(succeed))
    root_id = world.submit(ONE)
    engine.poke()
    assert engine.wait(root_id, timeout=20)
    assert engine._claim_every < 1.0
    count = len(claims)
    eventually(lambda: len(claims) > count)


def test_a_database_that_cannot_be_asked_is_asked_again_soon(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[str] = []

    def fail(owner: str, *_: Any, **__: Any) -> Any:
        failed.append(owner)
        raise errors.StoreUnavailable("it starts")

    monkeypatch.setattr(world.store, "claim", fail)
    world.engine(
        FakeBackend(succeed), capacity=2, claim_poll_seconds=SECONDS, idle_poll_seconds=3600.0
    )
    eventually(lambda: len(failed) > 20)
