"""Which job may start now: first come, first served, small ones may pass a large one for a while.

A submission's jobs are alike, so the queue holds submissions, not jobs. When the first in the queue
does not fit, later ones that do may start in its stead, `PASSES` times; then everything waits until
the first one fits. So the machine is kept busy and nobody waits for ever.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

PASSES = 64
_ENOUGH = 1e-9  # sums of fractions of cores


@dataclass(frozen=True, slots=True)
class Demand:
    """What a job takes. `memory_mib` in MiB."""

    cores: float
    memory_mib: int


@dataclass(slots=True)
class _Waiting:
    demand: Demand
    indices: OrderedDict[int, None]
    passed: int = 0


class Admission:
    """The queue and what is free. Not thread-safe."""

    def __init__(self, cores: float, memory_mib: int) -> None:
        self.cores, self.memory_mib = cores, memory_mib
        self.free_cores, self.free_memory_mib = cores, memory_mib
        self._queue: OrderedDict[str, _Waiting] = OrderedDict()

    def clamped(self, cores: float, memory_mib: int) -> Demand:
        """The demand, cut to the whole machine."""
        return Demand(min(cores, self.cores), min(memory_mib, self.memory_mib))

    def add(self, submission_id: str, demand: Demand, indices: Iterable[int]) -> None:
        """Put jobs at the end of the queue."""
        self._queue[submission_id] = _Waiting(demand, OrderedDict.fromkeys(indices))

    def put_back(self, submission_id: str, demand: Demand, index: int) -> None:
        """A job that was to start waits again."""
        waiting = self._queue.setdefault(submission_id, _Waiting(demand, OrderedDict()))
        waiting.indices[index] = None

    def remove(self, submission_id: str, index: int) -> bool:
        """Take a waiting job out; False when it does not wait."""
        waiting = self._queue.get(submission_id)
        if waiting is None or index not in waiting.indices:
            return False
        del waiting.indices[index]
        return True

    def next(self) -> tuple[str, int] | None:
        """The job to start now, whose demand is taken; None when nothing fits."""
        first: _Waiting | None = None
        for submission_id, waiting in list(self._queue.items()):
            if not waiting.indices:
                del self._queue[submission_id]
                continue
            if self._fits(waiting.demand):
                if first is not None:
                    first.passed += 1
                self.take(waiting.demand)
                return submission_id, waiting.indices.popitem(last=False)[0]
            first = first or waiting
            if first.passed >= PASSES:
                return None
        return None

    def take(self, demand: Demand) -> None:
        """Take from what is free; a job found running may take more than there is."""
        self.free_cores -= demand.cores
        self.free_memory_mib -= demand.memory_mib

    def give_back(self, demand: Demand) -> None:
        """A job has ended."""
        self.free_cores += demand.cores
        self.free_memory_mib += demand.memory_mib

    def ahead_of(self, submission_id: str, index: int) -> int:
        """How many jobs wait before this one."""
        count = 0
        for other, waiting in self._queue.items():
            if other == submission_id:
                return count + sum(1 for other_index in waiting.indices if other_index < index)
            count += len(waiting.indices)
        return count

    def _fits(self, demand: Demand) -> bool:
        return (
            demand.cores <= self.free_cores + _ENOUGH and demand.memory_mib <= self.free_memory_mib
        )
