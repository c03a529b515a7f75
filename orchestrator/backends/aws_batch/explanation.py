"""Why a job stands where it stands, from what AWS Batch says of it and of its queue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator import errors
from orchestrator.backends.aws_batch import refusals
from orchestrator.backends.aws_batch.queues import Need
from orchestrator.backends.base import Explanation
from orchestrator.deployment import Deployment, Queue

if TYPE_CHECKING:
    from types_boto3_batch import BatchClient

_CAUSES = {
    "SUBMITTED": ("AWS Batch has it and will look at it next", "wait a little"),
    "PENDING": ("AWS Batch is making the array's jobs, or they are on their way", "wait a little"),
    "STARTING": ("a host was found; it pulls the image and starts the container", ""),
    "RUNNING": ("the container runs", "follow its log"),
    "SUCCEEDED": ("the container ended with exit code 0", ""),
}

# What a job at the head of its queue is told (AWS Batch user guide, Troubleshooting: Jobs stuck in
# a RUNNABLE status): the word in statusReason, what it means, what to do.
_STUCK = (
    (
        "INSUFFICIENT_INSTANCE_CAPACITY",
        "AWS has no host of the queue's instance types to give",
        "wait; or allow more instance types or zones in the settings of the stacks{on_demand}",
    ),
    (
        "COMPUTE_ENVIRONMENT_MAX_RESOURCE",
        "the compute environments may not become as large as the job needs",
        "raise the most vCPUs of the queue in the settings of the stacks, or lower `cpu`",
    ),
    (
        "JOB_RESOURCE_REQUIREMENT",
        "no instance type of the queue has what the job asks for",
        "lower `cpu`, `memory` or `gpuCount`, or allow larger instance types in the settings of "
        "the stacks{fitting}",
    ),
    (
        "SERVICE_ROLE_PERMISSIONS",
        "AWS Batch may not start hosts",
        "give the service role of the compute environment its permissions: deploy the stacks again",
    ),
    (
        "ACTION_REQUIRED",
        "the compute environments of the queue are invalid",
        "look at their status in the console of AWS Batch, or deploy the stacks again",
    ),
    (
        "UNDETERMINED",
        "AWS Batch does not know why",
        "look whether hosts start and join their cluster: subnets, security groups, AMI",
    ),
)
_FRONT = 100  # jobs that GetJobQueueSnapshot shows


def explain(
    batch: BatchClient, deployment: Deployment, job_id: str | None, now: float
) -> Explanation:
    """The facts of one job; `now` in seconds since the epoch. Raises NotAllowed, TryLater."""
    if job_id is None:
        return Explanation("Unknown", "AWS Batch was not asked for this job yet", "wait a little")
    with refusals.translated("DescribeJobs"):
        jobs = batch.describe_jobs(jobs=[job_id])["jobs"]
    if not jobs:
        return Explanation(
            "Unknown",
            f"AWS Batch does not know job {job_id}",
            "it forgets jobs after 7 days; look at the manifest on S3",
        )
    job: Mapping[str, Any] = jobs[0]
    status, said = job["status"], job.get("statusReason") or ""
    if status == "RUNNABLE":
        waited = _duration(now - job.get("createdAt", now * 1000) / 1000)
        known = next((q for q in deployment.queues if q.arn == job["jobQueue"]), None)
        cause, next_step = _Waiting(batch, deployment, job, known).why(said)
        return Explanation(status, f"it has waited for {waited}: {cause}", next_step)
    if status == "FAILED":
        reason = job.get("container", {}).get("reason") or ""
        return Explanation(status, "; ".join(filter(None, (said, reason))), "look at its log")
    cause, next_step = _CAUSES.get(status, (said, ""))
    return Explanation(status, f"{cause}: {said}" if said and said != cause else cause, next_step)


class _Waiting:
    """A RUNNABLE job: is its queue open, are its compute environments well, is there room?"""

    def __init__(
        self,
        batch: BatchClient,
        deployment: Deployment,
        job: Mapping[str, Any],
        known: Queue | None,
    ) -> None:
        self._batch = batch
        self._deployment = deployment
        self._job = job
        self._known = known
        needs = job.get("container", {}).get("resourceRequirements", [])
        amounts = {need["type"]: int(float(need["value"])) for need in needs}
        self._need = Need(*(amounts.get(kind, 0) for kind in ("VCPU", "MEMORY", "GPU")))

    def why(self, said: str) -> tuple[str, str]:
        """Cause and next step."""
        with refusals.translated("DescribeJobQueues"):
            queues = self._batch.describe_job_queues(jobQueues=[self._job["jobQueue"]])["jobQueues"]
        if not queues:
            return f"its queue {self._job['jobQueue']} is gone", "abort it and submit it elsewhere"
        queue: Mapping[str, Any] = queues[0]
        if queue["state"] != "ENABLED" or queue["status"] != "VALID":
            return self._broken("queue", queue["jobQueueName"], queue), "enable the queue"
        environments = self._environments(queue)
        broken = [
            self._broken("compute environment", one["computeEnvironmentName"], one)
            for one in environments
            if one.get("status") == "INVALID" or one.get("state") == "DISABLED"
        ]
        if said:
            return self._stuck(said, broken)
        if broken and len(broken) == len(environments):
            return "; ".join(broken), "repair or enable the compute environment"
        too_large = self._too_large()
        if too_large:
            return too_large, f"abort it and ask for less{self._fitting()}"
        most = sum(e.get("computeResources", {}).get("maxvCpus", 0) for e in environments)
        cause = f"it {self._asks()} and waits for room: queue {queue['jobQueueName']} "
        cause += self._room(most)
        if broken:
            cause = f"{cause}; {'; '.join(broken)}"
        return cause, (
            "wait for other jobs to end or hosts to start, or raise the most vCPUs of the queue in "
            "the settings of the stacks"
        )

    def _environments(self, queue: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        names = [entry["computeEnvironment"] for entry in queue["computeEnvironmentOrder"]]
        with refusals.translated("DescribeComputeEnvironments"):
            found = self._batch.describe_compute_environments(computeEnvironments=names)
        return found["computeEnvironments"]

    def _stuck(self, said: str, broken: Sequence[str]) -> tuple[str, str]:
        """What Batch says itself, in words."""
        for word, meaning, next_step in _STUCK:
            if word in said:
                if word == "JOB_RESOURCE_REQUIREMENT":
                    meaning = f"{meaning}: it {self._asks()}{self._largest()}"
                facts = "; ".join([meaning, *broken])
                step = next_step.format(on_demand=self._on_demand(), fitting=self._fitting())
                return f"{facts} (AWS Batch: {said})", step
        return "; ".join([f"it {self._asks()}. AWS Batch: {said}", *broken]), (
            "look for this reason in AWS's guide on jobs stuck in RUNNABLE"
        )

    def _room(self, most: int) -> str:
        """How full the queue is, and who comes first, where AWS tells."""
        limit = f"may use {most} vCPUs at the same time"
        try:
            with refusals.translated("GetJobQueueSnapshot"):
                snapshot = self._batch.get_job_queue_snapshot(jobQueue=self._job["jobQueue"])
        except errors.OrchestratorError:  # not in every policy; only an addition
            return limit
        ahead = _ahead(snapshot.get("frontOfQueue", {}).get("jobs", []), self._job["jobArn"])
        used = snapshot.get("queueUtilization", {}).get("totalCapacityUsage", [])
        vcpus = [u["quantity"] for u in used if u.get("capacityUnit") == "VCPU"]
        if vcpus:
            limit += f", {vcpus[0]:g} are in use"
        return f"{limit}; {ahead}"

    # --- facts

    def _broken(self, kind: str, name: str, found: Mapping[str, Any]) -> str:
        text = f"{kind} {name} is {found.get('state')}, {found.get('status')}"
        reason = found.get("statusReason")
        return f"{text}: {reason}" if reason else text

    def _asks(self) -> str:
        texts = [f"{self._need.vcpus} vCPUs", f"{self._need.memory_mib} MiB of memory"]
        if self._need.gpus:
            texts.append(f"{self._need.gpus} GPUs")
        return f"asks for {', '.join(texts)}"

    def _largest(self) -> str:
        queue = self._known
        if queue is None:
            return ""
        return (
            f", and the largest job of queue {queue.name} has {queue.max_vcpus} vCPUs, "
            f"{queue.max_memory_mib} MiB, {queue.max_gpus} GPUs"
        )

    def _too_large(self) -> str:
        if self._known is None or self._need.fits(self._known):
            return ""
        return f"it can never be placed: it {self._asks()}{self._largest()}"

    def _others(self) -> Iterator[Queue]:
        """Queues of the same architecture that could hold the job."""
        for queue in self._deployment.queues:
            same = self._known is None or queue.architecture == self._known.architecture
            if queue.arn != self._job["jobQueue"] and same and self._need.fits(queue):
                yield queue

    def _on_demand(self) -> str:
        names = [queue.name for queue in self._others() if queue.kind == "on-demand"]
        spot = self._known is not None and self._known.kind == "spot"
        return f"; queueArn of {names[0]} asks for on-demand hosts" if spot and names else ""

    def _fitting(self) -> str:
        names = [queue.name for queue in self._others()]
        return f"; it would fit {', '.join(names)} (queueArn)" if names else ""


def _ahead(front: Sequence[Mapping[str, Any]], arn: str) -> str:
    parent = arn.rpartition("/")[2].partition(":")[0]
    for place, job in enumerate(front):
        if job["jobArn"] == arn or job["jobArn"].rpartition("/")[2].partition(":")[0] == parent:
            if place == 0:
                return "it is the next one"
            return f"{place} job{'' if place == 1 else 's'} of the queue come first"
    if len(front) >= _FRONT:
        return f"at least {_FRONT} jobs of the queue come first"
    return "other jobs of the queue come first" if front else "no job of the queue is in front"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{max(0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
