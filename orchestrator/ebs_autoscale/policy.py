"""Whether the disk must grow, and by how much. Pure."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 1024**3


@dataclass(frozen=True)
class Limits:
    """`max_gib`: of all volumes of the host together. `least_free`: a share of the disk."""

    max_gib: int
    least_free: float = 0.25
    step_min_gib: int = 50
    # What growing takes at worst (a volume that is made, attached and found), and as much again.
    lead_seconds: float = 180.0


class FillRate:
    """Bytes a second that the disk fills with, smoothed: one burst is no trend."""

    _HALF_LIFE_SECONDS = 30.0

    def __init__(self) -> None:
        self._last: tuple[float, int] | None = None
        self.bytes_per_second = 0.0

    def see(self, now: float, used: int) -> None:
        """`used` bytes at `now`, in seconds of a clock that only goes on."""
        if self._last is not None and now > self._last[0]:
            passed = now - self._last[0]
            rate = max(0.0, (used - self._last[1]) / passed)
            kept = 0.5 ** (passed / self._HALF_LIFE_SECONDS)
            self.bytes_per_second = rate * (1 - kept) + self.bytes_per_second * kept
        self._last = (now, used)


def wanted_gib(
    total: int, used: int, inodes_used: float, rate: float, limits: Limits
) -> int | None:
    """How many GiB the disk should have altogether; None: it is large enough.

    `total` and `used` in bytes, `inodes_used` from 0 to 1, `rate` in bytes a second. It doubles, so
    that few steps reach any size: EBS allows four a day for each volume. A disk that is at its
    limit gets None too.
    """
    free = total - used
    enough = max(limits.least_free * total, rate * limits.lead_seconds)
    if free >= enough and 1 - inodes_used >= limits.least_free:
        return None
    now_gib = -(-total // GIB)
    target = max(2 * now_gib, now_gib + limits.step_min_gib)
    target = min(target, limits.max_gib)
    # The file system's own data makes it a little smaller than its volumes.
    return target if target > now_gib + 1 else None
