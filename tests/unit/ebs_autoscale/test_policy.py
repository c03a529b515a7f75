from __future__ import annotations

import pytest

from orchestrator.ebs_autoscale.policy import GIB, FillRate, Limits, wanted_gib

LIMITS = Limits(max_gib=2000)


@pytest.mark.parametrize(
    ("total", "used", "inodes", "rate", "wanted"),
    [
        (200, 100, 0.1, 0, None),
        (200, 149, 0.1, 0, None),
        (200, 151, 0.1, 0, 400),  # less than a quarter is free
        (20, 16, 0.1, 0, 70),  # a small one grows by a step that is worth it
        (200, 100, 0.8, 0, 400),  # files, not bytes
        (200, 100, 0.1, GIB, 400),  # would be full before it has grown
        (200, 100, 0.1, GIB // 4, None),
        (1500, 1400, 0.1, 0, 2000),  # no further than it may
        (2000, 1999, 0.1, 0, None),
        (1999, 1998, 0.1, 0, None),  # the file system is a little smaller than its volumes
        (3000, 2999, 0.1, 0, None),  # its limit was lowered
    ],
)
def test_it_doubles_before_it_is_full(
    total: int, used: int, inodes: float, rate: float, wanted: int | None
) -> None:
    assert wanted_gib(total * GIB, used * GIB, inodes, rate, LIMITS) == wanted


def test_the_rate_follows_what_lasts_and_forgets_a_burst() -> None:
    rate = FillRate()
    for second in range(0, 120, 2):
        rate.see(second, second * 100_000_000)
    assert rate.bytes_per_second == pytest.approx(100_000_000, rel=0.1)
    for second in range(120, 300, 2):
        rate.see(second, 118 * 100_000_000)
    assert rate.bytes_per_second < 5_000_000
    burst = FillRate()
    burst.see(0, 0)
    burst.see(2, 2_000_000_000)
    assert burst.bytes_per_second < 100_000_000


def test_a_disk_that_empties_has_no_negative_rate() -> None:
    rate = FillRate()
    rate.see(0, 10**12)
    rate.see(2, 0)
    rate.see(2, 10**12)  # a clock that stands
    assert rate.bytes_per_second == 0
