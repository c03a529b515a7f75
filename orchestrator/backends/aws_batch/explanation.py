"""Why a job stands where it stands, from what AWS Batch says of it and of its queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.backends.aws_batch import refusals
from orchestrator.backends.base import Explanation

if TYPE_CHECKING:
    from types_boto3_batch import BatchClient

_CAUSES = {
    "SUBMITTED": ("AWS Batch has it and will look at it next", "wait a little"),
    "PENDING": ("AWS Batch is making the array's jobs, or they are on their way", "wait a little"),
    "STARTING": ("a host was found; it pulls the image and starts the container", ""),
    "RUNNING": ("the container runs", "follow its log"),
    "SUCCEEDED": ("the container ended with exit code 0", ""),
}


def explain(batch: BatchClient, job_id: str | None) -> Explanation:
    """The facts of one job. Raises NotAllowed, TryLater."""
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
    job = jobs[0]
    status, said = job["status"], job.get("statusReason") or ""
    if status == "RUNNABLE":
        return _runnable(batch, job, said)
    if status == "FAILED":
        reason = job.get("container", {}).get("reason") or ""
        return Explanation(status, "; ".join(filter(None, (said, reason))), "look at its log")
    cause, next_step = _CAUSES.get(status, (said, ""))
    return Explanation(status, f"{cause}: {said}" if said and said != cause else cause, next_step)


def _runnable(batch: BatchClient, job: Mapping[str, Any], said: str) -> Explanation:
    """It waits for room: is the queue open, are its compute environments well, is there room?"""
    with refusals.translated("DescribeJobQueues"):
        queues = batch.describe_job_queues(jobQueues=[job["jobQueue"]])["jobQueues"]
    if not queues:
        return Explanation(
            "RUNNABLE", f"its queue {job['jobQueue']} is gone", "submit it elsewhere"
        )
    queue = queues[0]
    if queue["state"] != "ENABLED" or queue["status"] != "VALID":
        return Explanation(
            "RUNNABLE",
            f"queue {queue['jobQueueName']} is {queue['state']}, {queue['status']}: "
            f"{queue.get('statusReason', '')}".rstrip(": "),
            "enable the queue",
        )
    names = [entry["computeEnvironment"] for entry in queue["computeEnvironmentOrder"]]
    with refusals.translated("DescribeComputeEnvironments"):
        found = batch.describe_compute_environments(computeEnvironments=names)
    environments = found["computeEnvironments"]
    for environment in environments:
        if environment.get("status") == "INVALID" or environment.get("state") == "DISABLED":
            return Explanation(
                "RUNNABLE",
                f"compute environment {environment['computeEnvironmentName']} is "
                f"{environment.get('state')}, {environment.get('status')}: "
                f"{environment.get('statusReason', '')}".rstrip(": "),
                "repair or enable the compute environment",
            )
    most = sum(e.get("computeResources", {}).get("maxvCpus", 0) for e in environments)
    cause = said or f"it waits for room: the queue may use at most {most} vCPUs at the same time"
    return Explanation(
        "RUNNABLE", cause, "wait for other jobs to end, or raise maxvCpus of the environment"
    )
