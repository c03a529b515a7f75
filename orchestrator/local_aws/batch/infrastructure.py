"""What moto knows of queues, compute environments and policies, as the scheduler needs it.

Read anew for every pass, so that UpdateJobQueue, UpdateComputeEnvironment and CloudFormation count
at once.

Memory. AWS Batch limits an environment by vCPUs (maxvCpus); memory comes with the instances it may
start. A job fits an environment when one of its instance types holds it, and it takes as many vCPUs
as its memory takes on the roomiest of them: 16 GiB on types with 4 GiB a vCPU takes 4 vCPUs. An
instance gives its containers a little less than its nominal memory (ECS: 7,985 of an m4.large's
8,192 MiB, of which 32 are kept back).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moto.batch.models import BatchBackend
from moto.ec2.models.instance_types import INSTANCE_TYPES

_X86_64 = ("c5", "m5", "r5", "c6i", "m6i", "r6i")
_ARM64 = ("c6g", "m6g", "r6g")
_GROUPS = {"optimal": _X86_64, "default_x86_64": _X86_64, "default_arm64": _ARM64}
_USABLE = 0.975
_KEPT_BACK_MIB = 32

TOO_LARGE = (
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - All compute environments have a maxVcpu "
    "setting that is smaller than the job requirements."
)
NO_INSTANCE = (
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - All compute environments have no connected "
    "instances that meet the job requirements."
)


@dataclass(frozen=True, slots=True)
class Environment:
    """A compute environment. `instance_types` is empty where any job fits."""

    arn: str
    name: str
    enabled: bool
    max_vcpus: float
    instance_types: tuple[str, ...]

    def vcpus_for(self, vcpus: float, memory_mib: int, gpus: int) -> float | None:
        """The vCPUs such a job takes up here, or None when no instance type holds it."""
        if not self.instance_types:
            return vcpus
        return _vcpus_for(self.instance_types, vcpus, memory_mib, gpus)


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """One of a queue's jobStateTimeLimitActions (state RUNNABLE, action CANCEL)."""

    reason: str
    seconds: int


@dataclass(frozen=True, slots=True)
class FairShare:
    """A scheduling policy."""

    decay_seconds: float
    compute_reservation: float
    weights: tuple[tuple[str, float], ...]

    def weight(self, share: str) -> float:
        """Lower is more; 1 for a share the policy does not name."""
        for name, weight in self.weights:
            if share == name or (name.endswith("*") and share.startswith(name[:-1])):
                return weight
        return 1.0


@dataclass(frozen=True, slots=True)
class Queue:
    """A job queue, its environments in their order."""

    arn: str
    name: str
    priority: int
    environments: tuple[Environment, ...]
    policy: FairShare | None
    time_limits: tuple[TimeLimit, ...]

    @property
    def max_vcpus(self) -> float:
        return sum(environment.max_vcpus for environment in self.environments)


def queue(backend: BatchBackend, arn: str) -> Queue | None:
    """The queue as it is now, or None when it was deleted."""
    found = backend.get_job_queue_by_arn(arn)
    if found is None:
        return None
    return Queue(
        arn=found.arn,
        name=found.name,
        priority=int(found.priority),
        environments=tuple(_environment(environment) for environment in found.environments),
        policy=_policy(backend, found.schedule_policy) if found.schedule_policy else None,
        time_limits=tuple(
            TimeLimit(str(action.get("reason", "")), int(action["maxTimeSeconds"]))
            for action in getattr(found, "job_state_time_limit_actions", None) or ()
        ),
    )


def _environment(environment: Any) -> Environment:
    resources: Mapping[str, Any] = environment.compute_resources or {}
    return Environment(
        arn=environment.arn,
        name=environment.name,
        enabled=environment.state != "DISABLED",
        # An unmanaged environment has the hosts it has; this machine is the bound.
        max_vcpus=float(resources.get("maxvCpus", math.inf)),
        instance_types=_expand(tuple(resources.get("instanceTypes") or ())),
    )


def _policy(backend: BatchBackend, arn: str) -> FairShare:
    found = backend._scheduling_policies.get(arn)
    policy: Mapping[str, Any] = found.fairshare_policy if found else {}
    return FairShare(
        decay_seconds=float(policy.get("shareDecaySeconds") or 600),
        compute_reservation=float(policy.get("computeReservation") or 0),
        weights=tuple(
            (share["shareIdentifier"], float(share.get("weightFactor") or 1.0))
            for share in policy.get("shareDistribution") or ()
        ),
    )


@functools.lru_cache(maxsize=256)
def _expand(names: tuple[str, ...]) -> tuple[str, ...]:
    """Types of families and groups; none at all when a name is not known here."""
    types: dict[str, None] = {}
    for name in names:
        families = _GROUPS.get(name, (name,))
        found = [
            known
            for known in INSTANCE_TYPES
            if known in families or known.partition(".")[0] in families
        ]
        if not found:
            return ()
        types.update(dict.fromkeys(found))
    return tuple(types)


@functools.lru_cache(maxsize=4096)
def _vcpus_for(types: tuple[str, ...], vcpus: float, memory_mib: int, gpus: int) -> float | None:
    least: float | None = None
    for name in types:
        facts = INSTANCE_TYPES[name]
        cpus = facts["VCpuInfo"]["DefaultVCpus"]
        memory = facts["MemoryInfo"]["SizeInMiB"] * _USABLE - _KEPT_BACK_MIB
        boards = sum(gpu["Count"] for gpu in (facts.get("GpuInfo") or {}).get("Gpus", []))
        if cpus < vcpus or memory < memory_mib or boards < gpus:
            continue
        taken = max(vcpus, float(math.ceil(memory_mib / memory * cpus - 1e-9)))
        least = taken if least is None else min(least, taken)
    return least
