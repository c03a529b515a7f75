"""The queues of an environment: which one a job is for, and what each can ever hold.

From the contract alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from orchestrator.deployment import Deployment, Queue
from orchestrator.model.job import Shape


@dataclass(frozen=True, slots=True)
class Need:
    """What a job asks of its host."""

    vcpus: int
    memory_mib: int
    gpus: int = 0
    disk_gib: int = 0

    @staticmethod
    def of(shape: Shape) -> Need:
        """AWS Batch on EC2 takes whole vCPUs."""
        vcpus = max(1, math.ceil(shape.cpu))
        return Need(vcpus, shape.memory_mib, shape.gpu_count, shape.disk_gib)

    def fits(self, queue: Queue) -> bool:
        """Whether any host of the queue can hold it."""
        return (
            self.vcpus <= queue.max_vcpus
            and self.memory_mib <= queue.max_memory_mib
            and self.gpus <= queue.max_gpus
            and (queue.max_disk_gib is None or self.disk_gib <= queue.max_disk_gib)
        )


class Queues:
    """Of one environment."""

    def __init__(self, deployment: Deployment) -> None:
        self._all = deployment.queues
        self._default_arn = deployment.default_queue_arn

    def arn(self, given: str | None) -> str:
        """The queue that is named, or the default one."""
        return given or self._default_arn

    def get(self, given: str | None) -> Queue | None:
        """What the contract says of it; None for a queue that is not of this environment."""
        arn = self.arn(given)
        return next((queue for queue in self._all if queue.arn == arn), None)

    def is_spot(self, given: str | None) -> bool:
        """Whether its hosts may be taken away."""
        queue = self.get(given)
        return queue is not None and queue.kind == "spot"

    def lasting(self, shape: Shape) -> Shape | None:
        """The same job on-demand in place of spot, of the same architecture."""
        queue = self.get(shape.queue)
        if queue is None or queue.kind != "spot":
            return None
        for other in self._all:
            same = other.architecture == queue.architecture and other.kind == "on-demand"
            if same and Need.of(shape).fits(other):
                return replace(shape, queue=other.arn)
        return None

    def unknown(self, shape: Shape) -> str | None:
        """That the job's queue is not of this environment; None where it is."""
        if self.get(shape.queue) is not None:
            return None
        known = ", ".join(queue.arn for queue in self._all)
        return (
            f"queueArn {self.arn(shape.queue)} is no queue of this environment; there are: {known}"
        )

    def too_small(self, shape: Shape) -> str | None:
        """Why the job's queue can never hold it, and which could; None where it can."""
        need, queue = Need.of(shape), self.get(shape.queue)
        if queue is None or need.fits(queue):
            return None
        others = [other.name for other in self._all if need.fits(other)]
        largest = max(self._all, key=lambda q: (need.gpus and q.max_gpus, q.max_vcpus))
        if others:
            advice = f"it would fit {', '.join(others)}"
        elif largest is queue:
            advice = "no other queue is larger"
        else:
            advice = f"nor does it fit the largest, {largest.name}, with {_most(largest)}"
        wanted = _amounts(need.vcpus, need.memory_mib, need.gpus, need.disk_gib)
        return (
            f"the task asks for {wanted}, but a job on queue {queue.name} can have at most "
            f"{_most(queue)}; {advice}"
        )


def _amounts(vcpus: int, memory_mib: int, gpus: int, disk_gib: int | None) -> str:
    texts = [f"{vcpus} vCPUs", f"{memory_mib} MiB of memory", f"{gpus} GPUs"]
    return ", ".join(texts if disk_gib is None else [*texts, f"{disk_gib} GiB of disk"])


def _most(queue: Queue) -> str:
    return _amounts(queue.max_vcpus, queue.max_memory_mib, queue.max_gpus, queue.max_disk_gib)
