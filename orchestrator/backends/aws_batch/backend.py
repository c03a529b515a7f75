"""The port, on AWS Batch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import structlog
from botocore.exceptions import BotoCoreError, ClientError

from orchestrator import errors
from orchestrator.backends.aws_batch import (
    explanation,
    logs,
    names,
    reasons,
    refusals,
    stage,
)
from orchestrator.backends.aws_batch.bundles import Bundles
from orchestrator.backends.aws_batch.definitions_cleaning import Cleaning, Verdict
from orchestrator.backends.aws_batch.event_queue import EventQueue
from orchestrator.backends.aws_batch.foreign_hosts import Tools
from orchestrator.backends.aws_batch.job_definitions import JobDefinitions
from orchestrator.backends.aws_batch.manifests import Manifests
from orchestrator.backends.aws_batch.pace import Pace
from orchestrator.backends.aws_batch.poller import Poller
from orchestrator.backends.aws_batch.queues import Need, Queues
from orchestrator.backends.aws_batch.registries import Registries
from orchestrator.backends.aws_batch.settings import Settings
from orchestrator.backends.aws_batch.small_objects import SmallObjects
from orchestrator.backends.aws_batch.submitting import submit_job
from orchestrator.backends.base import Change, Explanation
from orchestrator.deployment import Deployment
from orchestrator.model.attempt import AttemptRef, below
from orchestrator.model.failures import Failure, FailureCode
from orchestrator.model.job import (
    InputFile,
    Shape,
    Submission,
    SubmissionHandle,
    WorkDir,
)
from orchestrator.model.manifest import Manifest

if TYPE_CHECKING:
    from orchestrator.backends.aws_batch.clients import Clients

_log = structlog.get_logger(__name__)
_LARGEST_ARRAY = 10_000  # AWS Batch service quotas
_LOOK_AGAIN_SECONDS = 2.0
_MAY_BE_FORGOTTEN_SECONDS = 24 * 3600.0  # by AWS Batch; it promises 7 days, and once promised one


class AwsBatchBackend:
    """Runs submissions as jobs and arrays on the queues of one deployment."""

    name: str
    max_array_size: int = _LARGEST_ARRAY

    def __init__(
        self,
        deployment: Deployment,
        clients: Clients,
        settings: Settings | None = None,
        *,
        name: str = "AWSBatch",
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Makes no call. `clock` gives seconds since the epoch."""
        self.name = name
        self._deployment = deployment
        self._clients = clients
        self._settings = settings or Settings()
        self._clock = clock
        self._sleep = sleep
        self._root = (self._settings.root or deployment.root).rstrip("/")
        self._pool = ThreadPoolExecutor(self._settings.connections // 2, "aws-batch")
        self._queues = Queues(deployment)
        self._bundles = Bundles(clients.s3, deployment.scratch_root, self._settings.upload_flags)
        self._registries = Registries(
            deployment,
            mirror=self._settings.docker_mirror,
            login=self._settings.docker_hub,
            secrets=lambda: clients.secrets,
        )
        self._definitions = JobDefinitions(
            clients.batch,
            deployment,
            self._registries,
            self._settings.job_environment,
            registering=clients.submitting,
            cli_path=self._settings.cli_path if self._settings.tools_directory else "",
        )
        self._manifests = Manifests(SmallObjects(clients), self.work_dir)
        self._poller = Poller(
            clients.batch,
            self._manifests,
            self._settings,
            self._pool,
            inputs_of=self._inputs_from_bundle,
            settled=self._delete_bundles,
            on_spot=self._queues.is_spot,
        )
        self._events = (
            EventQueue(
                lambda: clients.sqs,
                deployment.event_queue_url,
                self._settings,
                hint=self._poller.hint,
                busy=self._poller.busy,
            )
            if deployment.event_queue_url
            else None
        )
        self._pace = Pace(self._settings.submissions_per_second, sleep=sleep)
        self._shares = names.Shares()
        self._lock = threading.Lock()
        self._tools: Tools | None = None
        if self._settings.tools_directory is not None:
            self._tools = Tools(
                lambda: clients.s3, deployment.scratch_root, self._settings.tools_directory
            )
        self._submitted_at: dict[str, float] = {}
        self._revoked: set[str] = set()

    # --- before anything is submitted

    def work_dir(self, attempt: AttemptRef) -> WorkDir:
        """On the worker's data disk; kept in Cromwell's layout under its AWS names."""
        uri = below(self._root, attempt.call_directory)
        return WorkDir(
            path=f"{self._deployment.scratch_path}/{attempt.token}/execution",
            uri=uri,
            script=f"{uri}/script",
            return_code=f"{uri}/{attempt.basename}-rc.txt",
            stdout=f"{uri}/{attempt.basename}-stdout.log",
            stderr=f"{uri}/{attempt.basename}-stderr.log",
            manifest=f"{uri}/manifest.json",
        )

    def fits(self, shape: Shape) -> Failure | None:
        """From the contract: what each queue can ever hold. Makes no call."""
        if not shape.image:
            raise errors.InvalidRuntimeAttribute(
                "the task names no image, and every job on AWS Batch is a container",
                hint="add `docker` (or `container`) to the task's runtime section, or to "
                "default-runtime-attributes",
            )
        reason = (
            self._queues.unknown(shape)
            or self._registries.unreachable(shape.image)
            or self._forbidden(shape)
            or self._queues.too_small(shape)
        )
        return Failure(FailureCode.SUBMIT_REFUSED, reason) if reason else None

    def lasting(self, shape: Shape) -> Shape | None:
        """On-demand in place of spot, of the same architecture."""
        return self._queues.lasting(shape)

    def _forbidden(self, shape: Shape) -> str | None:
        """What the environment does not allow a job, for it would get at the host by it."""
        deployment = self._deployment
        roles = {deployment.job_role_arn, *deployment.job_role_arns}
        if shape.job_role_arn and shape.job_role_arn not in roles:
            return (
                f"the role {shape.job_role_arn} is not one that jobs may have; there are: "
                f"{', '.join(sorted(roles))}"
            )
        if shape.fuse and not deployment.fuse_mount:
            return (
                "fuseMount asks for a privileged container, which this environment does not allow; "
                "fuse_mount in the settings of its stacks does"
            )
        strangers = sorted(set(shape.shared_mounts) - set(self._settings.shared_mounts))
        if strangers:
            return (
                f"disks names {', '.join(strangers)} of the hosts; shared-mounts in the backend's "
                "config says what jobs may mount of them"
            )
        return None

    # --- submissions

    def submit(self, submission: Submission) -> str:
        """Bundles, then SubmitJob, once."""
        handle, shape = submission.handle, submission.shape
        # Consumed here, so that an error of any of them comes before SubmitJob.
        list(
            self._pool.map(
                lambda bundle: self._bundles.put(*bundle), self._bundles.pack(submission)
            )
        )
        definition = self._definitions.arn(shape)
        request = self._request(submission, definition)
        try:
            job_id = submit_job(
                self._clients.submitting,
                request,
                self._pace,
                before=lambda: self._about_to_submit(handle),
                sleep=self._sleep,
            )
        except errors.Invalid as error:
            if not self._definitions.is_gone(definition):
                raise
            raise errors.TryLater(f"its job definition was removed: {error.message}") from error
        inputs = [job.inputs for job in submission.jobs]
        self._poller.watch(handle, job_id, lambda index: inputs[index])
        return job_id

    def _about_to_submit(self, handle: SubmissionHandle) -> None:
        with self._lock:
            revoked = handle.id in self._revoked
            self._submitted_at[handle.id] = self._clock()
        if revoked:
            self._bundles.revoke(handle.id, len(handle.attempts))
            raise errors.NotAllowed(f"submission {handle.name} was revoked; nothing was started")

    def find(self, handle: SubmissionHandle) -> str | None:
        """By id, or by name until ListJobs, which lags behind, has had its time; what is so old
        that AWS Batch may have forgotten it, by its manifests."""
        job_id = handle.job_id or self._poller.job_id(handle.id)
        if job_id is None:
            job_id = self._look_up(handle)
        if job_id is None and self._clock() - handle.created_at > _MAY_BE_FORGOTTEN_SECONDS:
            job_id = self._remembered(handle)
        if job_id is not None:
            self._poller.watch(handle, job_id)
        return job_id

    def revoke(self, handle: SubmissionHandle) -> None:
        """Empty its bundles: a wrapper that finds its bundle empty runs nothing."""
        with self._lock:
            self._revoked.add(handle.id)
        self._bundles.revoke(handle.id, len(handle.attempts))

    def _request(self, submission: Submission, definition: str) -> dict[str, Any]:
        handle, shape = submission.handle, submission.shape
        need, queue = Need.of(shape), self._queues.get(shape.queue)
        resources = {"VCPU": need.vcpus, "MEMORY": need.memory_mib}
        if need.gpus:
            resources["GPU"] = need.gpus
        environment = stage.environment(self._bundles.prefix(handle.id))
        if self._tools is not None:
            environment |= self._tools.environment(queue.architecture if queue else "x86_64")
        request: dict[str, Any] = {
            "jobName": names.job_name(handle),
            "jobQueue": self._queues.arn(shape.queue),
            "jobDefinition": definition,
            "containerOverrides": {
                "environment": [{"name": k, "value": v} for k, v in environment.items()],
                "resourceRequirements": [
                    {"type": kind, "value": str(value)} for kind, value in resources.items()
                ],
            },
            "tags": names.tags(submission, self._deployment.environment),
            "propagateTags": True,
        }
        if len(submission.jobs) > 1:
            request["arrayProperties"] = {"size": len(submission.jobs)}
        if queue is not None and queue.fair_share:
            request["shareIdentifier"] = self._shares.of(submission)
        if shape.timeout_seconds:
            request["timeout"] = {"attemptDurationSeconds": shape.timeout_seconds}
        return request

    def _look_up(self, handle: SubmissionHandle) -> str | None:
        with self._lock:
            since = max(handle.created_at, self._submitted_at.get(handle.id, 0.0))
        while True:
            begun = self._clock()
            found = self._named(handle)
            if found is not None:
                return found
            if begun - since >= self._settings.settle_seconds:
                return None
            self._sleep(_LOOK_AGAIN_SECONDS)

    def _remembered(self, handle: SubmissionHandle) -> str | None:
        """The job's id as a manifest of the submission has it."""

        def look(attempt: AttemptRef) -> str | None:
            found = self._manifests.read(handle.id, attempt, tuple)
            return found.job_id if isinstance(found, Manifest) else None

        found = self._pool.map(look, handle.attempts)
        job_id = next(filter(None, found), None)
        return job_id and job_id.partition(":")[0]

    def _named(self, handle: SubmissionHandle) -> str | None:
        """The job with exactly this name and the submission's tag."""
        name = names.job_name(handle)
        batch = self._clients.batch
        queue = self._queues.arn(handle.queue)
        with refusals.translated("ListJobs"):
            pages = batch.get_paginator("list_jobs").paginate(
                jobQueue=queue, filters=[{"name": "JOB_NAME", "values": [name]}]
            )
            found = [
                job for page in pages for job in page["jobSummaryList"] if job["jobName"] == name
            ]
        if not found:
            return None
        ids = [job["jobId"] for job in sorted(found, key=lambda job: job.get("createdAt", 0))]
        with refusals.translated("DescribeJobs"):
            described = batch.describe_jobs(jobs=ids[:100])["jobs"]
        tagged = {
            job["jobId"]
            for job in described
            if job.get("tags", {}).get(names.SUBMISSION_TAG) == handle.id
        }
        return next((job_id for job_id in ids if job_id in tagged), None)

    # --- reports

    def changes(self, wait_seconds: float) -> Sequence[Change]:
        """See `poller`."""
        if self._events is not None:
            self._events.start()
        return self._poller.changes(wait_seconds)

    def cancel(self, jobs: Iterable[tuple[SubmissionHandle, Sequence[int]]]) -> None:
        """TerminateJob, never CancelJob: that is a silent success on a running job."""
        targets: list[str] = []
        for handle, indices in jobs:
            job_id = handle.job_id or self._poller.job_id(handle.id)
            if job_id is None:
                _log.warning("not cancelled: AWS Batch has not answered yet", job=handle.name)
                continue
            if len(set(indices)) >= len(handle.attempts):
                targets.append(job_id)
            else:
                targets += [f"{job_id}:{index}" for index in indices]
            self._poller.hurry(handle.id)
        failures = [error for error in self._pool.map(self._terminate, targets) if error]
        if failures:
            raise failures[0]

    def _terminate(self, job_id: str) -> errors.OrchestratorError | None:
        try:
            self._clients.batch.terminate_job(jobId=job_id, reason=reasons.CANCELLED)
        except (BotoCoreError, ClientError) as error:
            meaning = refusals.of_call(error, f"TerminateJob {job_id}")
            if isinstance(meaning, errors.Invalid | errors.NotFound):
                # It is over and forgotten: nothing to end.
                _log.info("nothing to cancel", job_id=job_id, reason=meaning.message)
                return None
            return meaning
        return None

    def logs(self, handle: SubmissionHandle, index: int) -> logs.JobLog:
        """From CloudWatch Logs."""
        job_id = self._child(handle, index)
        return logs.JobLog(
            self._clients.logs,
            lambda: logs.stream_of(self._clients.batch, job_id, self._deployment.log_group),
        )

    def explain(self, handle: SubmissionHandle, index: int) -> Explanation:
        """See `explanation`."""
        return explanation.explain(
            self._clients.batch, self._deployment, self._child(handle, index), self._clock()
        )

    def clean_definitions(self, unused_days: float, *, dry_run: bool) -> Iterator[Verdict]:
        """Removes the environment's job definitions that nothing needs: see the module."""
        cleaning = Cleaning(
            self._clients.batch, self._deployment, clock=self._clock, sleep=self._sleep
        )
        return cleaning.run(unused_days, dry_run=dry_run)

    def close(self) -> None:
        """Running jobs go on; the next process finds them."""
        if self._events is not None:
            self._events.close()
        self._poller.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    # --- the poller's questions

    def _child(self, handle: SubmissionHandle, index: int) -> str | None:
        job_id = handle.job_id or self._poller.job_id(handle.id)
        if job_id is None or len(handle.attempts) == 1:
            return job_id
        return f"{job_id}:{index}"

    def _inputs_from_bundle(self, handle: SubmissionHandle, index: int) -> Iterable[InputFile]:
        try:
            return self._bundles.inputs(handle.id, index)
        except errors.NotFound:
            return []

    def _delete_bundles(self, handle: SubmissionHandle) -> None:
        """Every job has ended, and none starts again. What stays here expires with the prefix."""
        with self._lock:
            self._submitted_at.pop(handle.id, None)
        try:
            self._bundles.delete(handle.id, len(handle.attempts))
        except errors.OrchestratorError as error:
            _log.info("bundles were not deleted", job=handle.name, reason=error.message)
