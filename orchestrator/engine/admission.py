"""Who may submit how much: a backend's jobs at once, shared fairly.

Every place that is free goes to the hog group with the fewest jobs, in it to the workflow with the
fewest: one workflow of ten thousand shards never keeps the others waiting. With a hog factor of n
no group ever has more than an n-th of the places, also when the others stay empty
(Cromwell: engine/.../tokens, system.hog-safety).
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class JobLimit:
    """Of one backend. `jobs` None: any number at once. `hog_factor` 1: no limit for a group.

    `step`: what is full is refilled when so many places are free, not with every job that ends:
    arrays would shrink to single jobs.
    """

    jobs: int | None = None
    hog_factor: int = 1
    step: int = 1

    def in_turns(self, most: int) -> JobLimit:
        """The same on a backend that serves jobs in the order they came, whosever they are: no
        more than `most` at once, so that who comes next waits for few."""
        if self.jobs is not None and self.jobs <= most:
            return self  # its users' own limit: every place that is free is used
        return replace(self, jobs=most, step=max(1, most // 10))

    @property
    def of_a_group(self) -> int | None:
        """Jobs that one hog group may have at once."""
        return None if self.jobs is None else max(1, self.jobs // self.hog_factor)


@dataclass(frozen=True, slots=True)
class Demand:
    """One workflow: how many jobs it has, and how many more it wants."""

    root_id: str
    backend: str
    group: str
    inflight: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Admission:
    """The limits, by backend."""

    limits: Mapping[str, JobLimit] = field(default_factory=dict)

    def share(self, demands: Iterable[Demand]) -> dict[str, int]:
        """Root id -> how many jobs it may submit now; those that may submit none are left out."""
        by_backend: dict[str, list[Demand]] = {}
        for demand in demands:
            by_backend.setdefault(demand.backend, []).append(demand)
        granted: dict[str, int] = {}
        for backend, wanting in by_backend.items():
            if not any(demand.waiting for demand in wanting):
                continue
            limit = self.limits.get(backend, JobLimit())
            if limit.jobs is None:
                granted |= {d.root_id: d.waiting for d in wanting if d.waiting}
            else:
                shares = _fairly(wanting, limit.jobs, limit.of_a_group or limit.jobs)
                if limit.jobs - sum(demand.inflight for demand in wanting) < limit.step:
                    wanted = {demand.root_id: demand.waiting for demand in wanting}
                    shares = {r: n for r, n in shares.items() if n == wanted[r]}
                granted |= shares
        return granted


def _fairly(demands: list[Demand], limit: int, of_a_group: int) -> dict[str, int]:
    room = limit - sum(demand.inflight for demand in demands)
    used: Counter[str] = Counter()
    for demand in demands:
        used[demand.group] += demand.inflight
    groups: dict[str, list[tuple[int, int]]] = {}  # heaps of (jobs, position in `demands`)
    for position, demand in enumerate(demands):
        if demand.waiting:
            groups.setdefault(demand.group, []).append((demand.inflight, position))
    for members in groups.values():
        heapq.heapify(members)
    queue = [(used[group], position, group) for position, group in enumerate(groups)]
    heapq.heapify(queue)
    granted: Counter[str] = Counter()
    while room > 0 and queue:
        jobs, order, group = heapq.heappop(queue)
        if jobs >= of_a_group:
            continue  # full: it does not come back in this round
        members = groups[group]
        of_member, position = heapq.heappop(members)
        demand = demands[position]
        granted[demand.root_id] += 1
        room -= 1
        if granted[demand.root_id] < demand.waiting:
            heapq.heappush(members, (of_member + 1, position))
        if members:
            heapq.heappush(queue, (jobs + 1, order, group))
    return dict(granted)
