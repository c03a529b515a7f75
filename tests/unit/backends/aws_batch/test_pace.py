"""SubmitJob is called at a rate that AWS bears."""

from __future__ import annotations

import pytest

from orchestrator.backends.aws_batch.pace import Pace


class Time:
    """Sleeping moves the clock."""

    def __init__(self) -> None:
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_calls_are_spread_evenly_and_rest_is_not_saved_up() -> None:
    time = Time()
    pace = Pace(10, clock=time.clock, sleep=time.sleep)
    for _ in range(21):
        pace.wait()
    assert time.now == pytest.approx(102.0)
    time.now += 3600
    for _ in range(11):
        pace.wait()
    assert time.now == pytest.approx(102 + 3600 + 1.0)


def test_a_refusal_halves_the_rate_and_jobs_that_are_taken_bring_it_back() -> None:
    time = Time()
    pace = Pace(40, clock=time.clock, sleep=time.sleep)
    pace.refused()
    pace.refused()
    assert pace.rate == 10
    for _ in range(100):
        pace.taken()
    assert pace.rate == 40


def test_it_never_stops_altogether() -> None:
    pace = Pace(40, clock=Time().clock)
    for _ in range(50):
        pace.refused()
    assert pace.rate == 1
    slow = Pace(0.5, clock=Time().clock)
    slow.refused()
    assert slow.rate == 0.5
