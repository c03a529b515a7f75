"""Removes the job definitions of an environment that nothing needs any more.

AWS Batch keeps no time with a definition, so `JobDefinitions` tags each with when it was
registered; when it was last used the jobs tell that Batch remembers (7 days). One that somebody
still wants after it was removed is registered again: removing costs a call and never a job.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

import structlog

from orchestrator import errors
from orchestrator.backends.aws_batch import refusals
from orchestrator.backends.aws_batch.job_definitions import ENVIRONMENT_TAG, REGISTERED_TAG
from orchestrator.deployment import Deployment

if TYPE_CHECKING:
    from types_boto3_batch import BatchClient

_log = structlog.get_logger(__name__)
# In the order of a job's life: one that moves on while it is looked for cannot slip through.
_LIVE = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")
_LISTED = 1000  # ListJobs: the largest page with a status, without filters
_DAY_SECONDS = 86_400.0
_SECONDS_BETWEEN_CALLS = 0.1  # AWS allows 50 Batch calls a second; running workflows need theirs
_TRIES = 8
_LONGEST_PAUSE_SECONDS = 60.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Definition:
    """One revision. `registered_at` None: it says not when."""

    arn: str
    name: str
    revision: int
    registered_at: float | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a definition: `kept` says why it stays, and is empty where it does not."""

    definition: Definition
    kept: str


class Cleaning:
    """Of one environment's definitions. Raises NotAllowed, TryLater after many tries."""

    def __init__(
        self,
        batch: BatchClient,
        deployment: Deployment,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._batch = batch
        self._deployment = deployment
        self._clock = clock
        self._sleep = sleep

    def run(self, unused_days: float, *, dry_run: bool) -> Iterator[Verdict]:
        """A verdict on each definition, by name and revision; it is carried out when it is given.

        Whatever was registered or used within `unused_days`, or is used by a job that is not over,
        stays.
        """
        definitions = sorted(self._definitions(), key=lambda one: (one.name, one.revision))
        queues = self._queues()
        live = set(self._used_by_live_jobs(queues)) if definitions else set()
        since = self._clock() - unused_days * _DAY_SECONDS
        for definition in definitions:
            kept = self._why_kept(definition, live, queues, since)
            if not kept and not dry_run:
                kept = self._remove(definition)
            yield Verdict(definition, kept)

    def _why_kept(
        self, definition: Definition, live: set[str], queues: Iterable[str], since: float
    ) -> str:
        if definition.arn in live:
            return "a job that is not over uses it"
        if definition.registered_at is None:
            return f"it has no tag {REGISTERED_TAG}, so its age is not known"
        if definition.registered_at >= since:
            return "it was registered lately"
        used_at = max((self._last_use(definition, queue) for queue in queues), default=0.0)
        return "it was used lately" if used_at >= since else ""

    def _remove(self, definition: Definition) -> str:
        try:
            self._ask(
                f"DeregisterJobDefinition {definition.name}",
                lambda: self._batch.deregister_job_definition(jobDefinition=definition.arn),
            )
        except (errors.Invalid, errors.NotFound) as error:
            _log.info("not removed", definition=definition.arn, reason=error.message)
            return f"AWS Batch did not remove it: {error.message}"
        return ""

    # --- what there is

    def _definitions(self) -> Iterator[Definition]:
        """Active ones with this environment's prefix, as `JobDefinitions` names them, and tag."""
        prefix = re.escape(self._deployment.job_definition_prefix)
        ours = re.compile(rf"{prefix}-[0-9a-f]{{32}}")
        for found in self._pages(
            "DescribeJobDefinitions",
            "jobDefinitions",
            lambda place: self._batch.describe_job_definitions(status="ACTIVE", **place),
        ):
            tags = found.get("tags", {})
            if (
                ours.fullmatch(found["jobDefinitionName"])
                and tags.get(ENVIRONMENT_TAG) == self._deployment.environment
            ):
                yield Definition(
                    found["jobDefinitionArn"],
                    found["jobDefinitionName"],
                    found["revision"],
                    _seconds(tags.get(REGISTERED_TAG, "")),
                )

    def _queues(self) -> list[str]:
        """All of the account: also those that the environment had once."""
        return [
            queue["jobQueueArn"]
            for queue in self._pages(
                "DescribeJobQueues",
                "jobQueues",
                lambda place: self._batch.describe_job_queues(**place),
            )
        ]

    def _used_by_live_jobs(self, queues: Iterable[str]) -> Iterator[str]:
        for queue in queues:
            for status in _LIVE:

                def page(place: Any, queue: str = queue, status: Any = status) -> Any:
                    return self._batch.list_jobs(
                        jobQueue=queue, jobStatus=status, maxResults=_LISTED, **place
                    )

                for job in self._pages(f"ListJobs of {queue}", "jobSummaryList", page):
                    yield job.get("jobDefinition", "")

    def _last_use(self, definition: Definition, queue: str) -> float:
        """When its newest job on a queue was submitted, of those that Batch remembers; else 0."""
        answer = self._ask(
            f"ListJobs of {queue}",
            lambda: self._batch.list_jobs(
                jobQueue=queue,
                filters=[{"name": "JOB_DEFINITION", "values": [definition.arn]}],
            ),
        )
        # Newest first, says the reference of ListJobs; the page is as good either way.
        return max((job.get("createdAt", 0) / 1000 for job in answer["jobSummaryList"]), default=0)

    # --- calls, patiently

    def _pages(
        self, what: str, field: str, page: Callable[[Any], Any]
    ) -> Iterator[Mapping[str, Any]]:
        token: str | None = None
        while True:
            place = cast(Any, {"nextToken": token} if token else {})
            answer = self._ask(what, lambda place=place: page(place))  # type: ignore[misc]
            yield from answer[field]
            token = answer.get("nextToken")
            if not token:
                return

    def _ask(self, what: str, call: Callable[[], T]) -> T:
        for tries in range(1, _TRIES + 1):
            self._sleep(_SECONDS_BETWEEN_CALLS)
            try:
                with refusals.translated(what):
                    return call()
            except errors.TryLater as error:
                if tries == _TRIES:
                    raise
                pause = min(_LONGEST_PAUSE_SECONDS, 2.0**tries)
                _log.info("asked again later", seconds=pause, reason=error.message)
                self._sleep(pause)
        raise AssertionError("unreachable")


def _seconds(stamp: str) -> float | None:
    """A time in ISO 8601 with its zone; None for anything else."""
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo is not None else None
