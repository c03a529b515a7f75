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
