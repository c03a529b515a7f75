"""How many cores and how much memory jobs may take together, as the kernel lets this process."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Machine:
    """`memory_mib` in MiB."""

    cores: float
    memory_mib: int


def this_machine() -> Machine:
    """This machine, or the part of it that a CPU set or a cgroup (version 2) leaves us."""
    cores = float(len(os.sched_getaffinity(0)))
    quota, _, period = _read(_CGROUP / "cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit() and int(period):
        cores = min(cores, int(quota) / int(period))
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _read(_CGROUP / "memory.max")
    if limit.isdigit():
        total = min(total, int(limit))
    # A core at least: less would start no job at all.
    return Machine(max(1.0, cores), max(1, math.floor(total / _MIB)))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
