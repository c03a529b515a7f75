"""What a run asks for while it is still evaluating."""

from __future__ import annotations

from typing import Any, cast

from orchestrator.engine.active import Active


class Evaluating:
    """A run that is never done, and has one ready attempt more each time."""

    class root:
        id = "w"

    hog_group = "w"
    inflight = waiting = 0

    def tell_time(self, now: float) -> None:
        pass

    def wake_at(self) -> None:
        return None

    def work(self, deadline: object) -> bool:
        self.waiting += 1
        return True

    def dispatch(self, limit: int) -> None:
        self.waiting -= limit
        self.inflight += limit


def test_what_is_ready_waits_for_the_rest_of_its_array_but_not_longer_than_two_seconds() -> None:
    run = Evaluating()
    active = Active(cast(Any, run), cast(Any, None), "b")
    granted: list[tuple[float, int]] = []
    for eighth in range(80):
        now = eighth / 8
        active.work(now, 0.0)
        active.places = active.demand(10_000).waiting
        if active.places:
            granted.append((now, active.places))
    assert [places for _, places in granted] == [17] * len(granted)
    assert len(granted) == 4
    assert granted[0][0] == 2.0


def test_a_full_array_waits_for_nothing() -> None:
    run = Evaluating()
    active = Active(cast(Any, run), cast(Any, None), "b")
    active.work(0.0, 0.0)
    assert active.demand(2).waiting == 0
    active.work(0.1, 0.0)
    assert active.demand(2).waiting == 2


def test_places_that_it_fills_are_never_counted_as_free_while_it_evaluates() -> None:
    seen: list[int] = []

    class Slow(Evaluating):
        waiting = 5

        def dispatch(self, limit: int) -> None:
            seen.append(active.demand(1).inflight)
            super().dispatch(limit)

        def work(self, deadline: object) -> bool:
            seen.append(active.demand(1).inflight)
            return False

    active = Active(cast(Any, Slow()), cast(Any, None), "b")
    active.places = 3
    active.work(0.0, 0.0)
    assert seen == [3, 3]
    assert active.demand(1).inflight == 3


def test_one_that_is_away_or_waits_for_the_store_is_not_looked_after_all_the_time() -> None:
    active = Active(cast(Any, Evaluating()), cast(Any, None), "b")
    assert active.due_at is None
    active.wake_at = 1.0
    assert active.due_at == 1.0
    assert active.is_due(1.0)
    active.records, active.commit_at = [cast(Any, "not committed")], 3.0
    assert active.due_at == 3.0
    assert not active.is_due(2.0)
    active.away = True
    assert active.due_at is None
    assert not active.is_due(5.0)
