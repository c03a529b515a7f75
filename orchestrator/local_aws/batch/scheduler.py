"""Which waiting job starts next, and where.

Rules, AWS Batch's:
- A queue gives out its jobs first in, first out; with a scheduling policy, by share.
- The head of a queue blocks it, also one that can never fit: AWS leaves it RUNNABLE for ever,
  unless a jobStateTimeLimitAction cancels it. Other queues go on.
- Environments are tried in the queue's order; each is bounded by its maxvCpus.
- Of queues that share an environment the one with the higher priority comes first, and what its
  head waits for is not given to the others. Queues of one priority take turns.
- Shares: the next job is of the share that has used least, in vCPUs decayed over shareDecaySeconds,
  times its weightFactor; within a share by scheduling priority, then first in, first out.
  computeReservation keeps (reservation/100)^(active shares) of the vCPUs free for new shares.

And this machine's: no more jobs at once than it can bear. That bound is no AWS rule; jobs it holds
back are RUNNABLE as if they waited for an instance.

Not thread-safe: the engine's lock guards it. Costs are those of the queues, never of the jobs
waiting.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from orchestrator.local_aws.batch import infrastructure
from orchestrator.local_aws.batch.jobs import Job, Status


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a job runs and what it takes up there."""

    queue_arn: str
    environment_arn: str
    environment_name: str
    vcpus: float
    share: str


@dataclass(frozen=True, slots=True)
class Blocked:
    """The head of a queue that fits none of its environments."""

    job: Job
    reason: str
    queue: infrastructure.Queue


@dataclass(slots=True)
class Machine:
    """What this machine bears at once. A job larger than its memory runs alone."""

    max_jobs: int
    memory_mib: float = math.inf
    jobs: int = 0
    memory_taken_mib: float = 0.0

    def admits(self, job: Job) -> bool:
        if self.jobs == 0:
            return True
        memory = self.memory_taken_mib + job.submission.container.memory_mib
        return self.jobs < self.max_jobs and memory <= self.memory_mib


@dataclass(slots=True)
class _Share:
    """One share identifier of a queue. `account` is a leaky integral of vCPU seconds."""

    waiting: list[tuple[int, int, Job]] = field(default_factory=list)
    running_vcpus: float = 0.0
    account: float = 0.0
    at: float = 0.0

    def settle(self, now: float, decay_seconds: float) -> None:
        elapsed = max(0.0, now - self.at)
        kept = math.exp(-elapsed / decay_seconds)
        self.account = self.account * kept + self.running_vcpus * decay_seconds * (1 - kept)
        self.at = now

    def usage(self, decay_seconds: float) -> float:
        """vCPUs: what it has taken over the window, and what it takes now."""
        return self.account / decay_seconds + self.running_vcpus

    def peek(self) -> Job | None:
        while self.waiting:
            job = self.waiting[0][2]
            if job.status is Status.RUNNABLE:
                return job
            heapq.heappop(self.waiting)  # cancelled meanwhile
        return None


class _Line:
    """The waiting jobs of one queue and what its running ones take; one share without a policy."""

    def __init__(self, arn: str) -> None:
        self.arn = arn
        self.shares: dict[str, _Share] = {}
        self.running_vcpus = 0.0
        self.running_jobs = 0

    def push(self, job: Job, *, fair: bool) -> None:
        share = self.shares.setdefault((job.submission.share or "") if fair else "", _Share())
        priority = job.submission.scheduling_priority if fair else 0
        heapq.heappush(share.waiting, (-priority, job.sequence, job))

    def head(self, policy: infrastructure.FairShare | None, now: float) -> tuple[str, Job] | None:
        best: tuple[float, int, str, Job] | None = None
        for name, share in self.shares.items():
            job = share.peek()
            if job is None:
                continue
            usage = 0.0
            if policy is not None:
                share.settle(now, policy.decay_seconds)
                usage = share.usage(policy.decay_seconds) * policy.weight(name)
            if best is None or (usage, job.sequence) < best[:2]:
                best = (usage, job.sequence, name, job)
        return None if best is None else best[2:]

    def pop(self, share: str) -> None:
        heapq.heappop(self.shares[share].waiting)

    def take(self, share: str, vcpus: float, now: float, decay_seconds: float) -> None:
        """More running vCPUs, or with a negative number fewer."""
        entry = self.shares[share]
        entry.settle(now, decay_seconds)
        entry.running_vcpus = max(0.0, entry.running_vcpus + vcpus)
        self.running_vcpus = max(0.0, self.running_vcpus + vcpus)
        self.running_jobs += 1 if vcpus >= 0 else -1

    @property
    def active_shares(self) -> int:
        return sum(1 for share in self.shares.values() if share.running_vcpus or share.peek())


class Scheduler:
    """The queues of one account and region. `machine` is shared by all of them."""

    def __init__(
        self, queue: Callable[[str], infrastructure.Queue | None], machine: Machine
    ) -> None:
        self._queue = queue
        self._machine = machine
        self._lines: dict[str, _Line] = {}
        self._used: dict[str, float] = {}

    def enqueue(self, job: Job, *, fair: bool) -> None:
        """A job has become RUNNABLE."""
        arn = job.submission.queue_arn
        self._lines.setdefault(arn, _Line(arn)).push(job, fair=fair)

    @property
    def has_waiting(self) -> bool:
        """Whether any job waits for its start."""
        return any(share.waiting for line in self._lines.values() for share in line.shares.values())

    def drop(self, queue_arn: str) -> list[Job]:
        """Forget the waiting jobs of a queue; the answer is those that were still RUNNABLE."""
        dropped = []
        for share in self._lines[queue_arn].shares.values():
            dropped += [job for *_, job in share.waiting if job.status is Status.RUNNABLE]
            share.waiting.clear()
        return dropped

    def active_shares(self, queue_arn: str) -> set[str]:
        """Share identifiers with jobs that wait or run."""
        line = self._lines.get(queue_arn)
        if line is None:
            return set()
        return {name for name, share in line.shares.items() if share.running_vcpus or share.peek()}

    def place(self, now: float) -> tuple[list[tuple[Job, Placement]], list[Blocked], set[str]]:
        """What starts now; heads that fit nowhere; queues with jobs that no longer exist."""
        placed: list[tuple[Job, Placement]] = []
        blocked: list[Blocked] = []
        gone: set[str] = set()
        reserved: set[str] = set()
        lines: list[tuple[_Line, infrastructure.Queue]] = []
        for line in self._lines.values():
            if any(share.waiting for share in line.shares.values()):
                facts = self._queue(line.arn)
                if facts is None:
                    gone.add(line.arn)
                else:
                    lines.append((line, facts))
        while lines:
            heads = [
                (-facts.priority, line.running_jobs, head[1].sequence, line, facts, head)
                for line, facts in lines
                if (head := line.head(facts.policy, now)) is not None
            ]
            if not heads:
                break
            *_, line, facts, (share, job) = min(heads, key=lambda entry: entry[:3])
            if not self._machine.admits(job):
                break
            result = self._place(line, facts, share, job, reserved)
            if isinstance(result, Placement):
                line.pop(share)
                self._take(line, result, job, now, facts)
                placed.append((job, result))
                continue
            if isinstance(result, str):
                blocked.append(Blocked(job, result, facts))
            else:
                reserved |= result
            lines.remove((line, facts))
        return placed, blocked, gone

    def _place(
        self,
        line: _Line,
        facts: infrastructure.Queue,
        share: str,
        job: Job,
        reserved: set[str],
    ) -> Placement | set[str] | str:
        """Where it goes; or the environments it waits for; or why it never goes anywhere."""
        container = job.submission.container
        reason = infrastructure.NO_INSTANCE
        awaited: set[str] = set()
        for environment in facts.environments:
            needed = environment.vcpus_for(container.vcpus, container.memory_mib, container.gpus)
            if needed is None:
                continue
            if needed > environment.max_vcpus:
                reason = infrastructure.TOO_LARGE
                continue
            awaited.add(environment.arn)
            used = self._used.get(environment.arn, 0.0)
            if (
                environment.enabled
                and environment.arn not in reserved
                and used + needed <= environment.max_vcpus
                and self._share_may(line, facts, share, needed)
            ):
                return Placement(facts.arn, environment.arn, environment.name, needed, share)
        return awaited or reason

    def _share_may(
        self, line: _Line, facts: infrastructure.Queue, share: str, needed: float
    ) -> bool:
        """computeReservation: a part stays free for shares that are not in use yet."""
        policy = facts.policy
        if policy is None or not policy.compute_reservation or line.running_vcpus == 0:
            return True
        active = max(1, line.active_shares)
        free = facts.max_vcpus * (policy.compute_reservation / 100) ** active
        newcomer = line.shares[share].running_vcpus == 0
        return newcomer or line.running_vcpus + needed <= facts.max_vcpus - free

    def _take(
        self, line: _Line, placement: Placement, job: Job, now: float, facts: infrastructure.Queue
    ) -> None:
        arn = placement.environment_arn
        self._used[arn] = self._used.get(arn, 0.0) + placement.vcpus
        line.take(placement.share, placement.vcpus, now, _decay(facts))
        self._machine.jobs += 1
        self._machine.memory_taken_mib += job.submission.container.memory_mib

    def release(self, job: Job, placement: Placement, now: float) -> None:
        """A placed job has ended."""
        self._used[placement.environment_arn] -= placement.vcpus
        line = self._lines[placement.queue_arn]
        line.take(placement.share, -placement.vcpus, now, _decay(self._queue(line.arn)))
        self._machine.jobs -= 1
        self._machine.memory_taken_mib -= job.submission.container.memory_mib

    def used_vcpus(self, queue_arn: str) -> dict[str, float]:
        """vCPUs that a queue's running jobs take, by share ("" without a policy)."""
        line = self._lines.get(queue_arn)
        return {name: share.running_vcpus for name, share in line.shares.items()} if line else {}

    def waiting(self, queue_arn: str, now: float, limit: int) -> Iterator[Job]:
        """The first of a queue's RUNNABLE jobs, in the order in which they would start."""
        line, facts = self._lines.get(queue_arn), self._queue(queue_arn)
        if line is None or facts is None:
            return
        policy = facts.policy
        candidates: list[tuple[float, float, float, list[Job]]] = []
        for name, share in line.shares.items():
            jobs = [
                entry[2]
                for entry in heapq.nsmallest(limit * 2, share.waiting)
                if entry[2].status is Status.RUNNABLE
            ][:limit]
            if not jobs:
                continue
            usage, weight = 0.0, 0.0
            if policy is not None:
                share.settle(now, policy.decay_seconds)
                usage, weight = share.usage(policy.decay_seconds), policy.weight(name)
            candidates.append((usage * weight, weight, usage, jobs))
        for _ in range(limit):
            alive = [entry for entry in candidates if entry[3]]
            if not alive:
                return
            chosen = min(alive, key=lambda entry: (entry[0], entry[3][0].sequence))
            _, weight, usage, jobs = chosen
            job = jobs.pop(0)
            candidates.remove(chosen)
            usage += job.submission.container.vcpus
            candidates.append((usage * weight, weight, usage, jobs))
            yield job


def _decay(facts: infrastructure.Queue | None) -> float:
    return facts.policy.decay_seconds if facts and facts.policy else 600.0
