"""The job queues of an environment, as its settings ask for them."""

from __future__ import annotations

from dataclasses import dataclass

from stacks import naming
from stacks.settings.schema import Pool, Settings


@dataclass(frozen=True, slots=True)
class Plan:
    """One queue, and the compute environment of its own that serves it first.

    `pool` says which hosts: the main ones, Graviton, or ones with GPUs.
    """

    name: str
    kind: naming.QueueKind
    pool_name: naming.PoolName
    pool: Pool
    max_vcpus: int

    @property
    def spot(self) -> bool:
        """Whether its hosts can be taken away at two minutes' notice."""
        return self.kind == "spot"

    @property
    def image(self) -> naming.ImageKind:
        """Which AMI its hosts start from."""
        return "gpu" if self.pool_name == "gpu" else self.pool.architecture


def planned(settings: Settings) -> tuple[Plan, ...]:
    """Every queue that has vCPUs; those of the main pool come first."""
    found = []
    for pool_name, pool in settings.compute.pools().items():
        limits: dict[naming.QueueKind, int] = {
            "spot": pool.spot_max_vcpus,
            "on-demand": pool.on_demand_max_vcpus,
        }
        if pool_name == "main":
            limits["priority"] = settings.compute.priority_max_vcpus
        for kind, max_vcpus in limits.items():
            if max_vcpus:
                name = naming.queue(settings.environment, kind, pool_name)
                found.append(Plan(name, kind, pool_name, pool, max_vcpus))
    return tuple(found)
