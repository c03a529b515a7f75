"""A job's log in CloudWatch Logs, read forwards: what was read once does not come again.

Traps of GetLogEvents (Amazon CloudWatch Logs API reference): a page may be empty although more
follow; the end is where the answer has the token that it was asked with; and a token is good for 24
hours, which a quiet job outlives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator import errors
from orchestrator.backends.aws_batch import refusals, reports

if TYPE_CHECKING:
    from types_boto3_batch import BatchClient
    from types_boto3_logs import CloudWatchLogsClient
    from types_boto3_logs.type_defs import GetLogEventsResponseTypeDef


@dataclass(frozen=True, slots=True)
class Stream:
    """Where a job's output goes."""

    group: str
    name: str


def stream_of(batch: BatchClient, job_id: str | None, default_group: str) -> Stream | None:
    """The stream of a job's last attempt; None while it has none, or where it was forgotten."""
    if job_id is None:
        return None
    with refusals.translated("DescribeJobs"):
        jobs = batch.describe_jobs(jobs=[job_id])["jobs"]
    name = reports.log_stream(jobs[0]) if jobs else None
    if name is None:
        return None
    container: Mapping[str, Any] = jobs[0].get("container", {})
    chosen = container.get("logConfiguration", {}).get("options", {}).get("awslogs-group")
    return Stream(chosen or default_group, name)


class JobLog:
    """`base.Log`; stdout and stderr come together."""

    late_seconds = 10.0  # the driver sends every 5 s, and what it sent is not to be seen at once

    def __init__(self, client: CloudWatchLogsClient, find: Callable[[], Stream | None]) -> None:
        """`find` is asked until it knows the stream."""
        self._client = client
        self._find = find
        self._stream: Stream | None = None
        self._token: str | None = None
        self._lines: deque[str] = deque()
        # The place as times tell it, for when the token has become too old.
        self._last_time = 0
        self._at_last_time = 0  # events of that time that were read
        self._again = 0  # of these, to be left out: they come again

    def __iter__(self) -> Iterator[str]:
        if self._stream is None:
            self._stream = self._find()
        if self._stream is None:
            return
        while self._lines or self._read(self._stream):
            while self._lines:
                yield self._lines.popleft()

    def _read(self, stream: Stream) -> bool:
        """One page more; False at the end of what there is."""
        page = self._page(stream)
        if page is None:
            return False
        for event in page["events"]:
            self._take(event)
        over = page["nextForwardToken"] == self._token and not page["events"]
        self._token = page["nextForwardToken"]
        return not over

    def _page(self, stream: Stream) -> GetLogEventsResponseTypeDef | None:
        place: dict[str, Any] = {}
        if self._token is not None:
            place["nextToken"] = self._token
        elif self._last_time:
            place["startTime"] = self._last_time
        try:
            with refusals.translated(f"log stream {stream.name} of log group {stream.group}"):
                return self._client.get_log_events(
                    logGroupName=stream.group,
                    logStreamName=stream.name,
                    startFromHead=True,
                    **place,
                )
        except errors.NotFound as error:
            if "log stream" in str(error.__cause__):
                return None  # no line yet
            raise errors.NotFound(
                f"there is no log group {stream.group}",
                hint="without it no job can start; what ended before is kept beside its outputs",
            ) from error
        except errors.NotAllowed as error:
            raise errors.NotAllowed(
                error.message,
                hint=f"these credentials need logs:GetLogEvents on log group {stream.group}",
            ) from error
        except errors.Invalid:
            if self._token is None:
                raise
            self._token, self._again = None, self._at_last_time
            return self._page(stream)

    def _take(self, event: Mapping[str, Any]) -> None:
        time = event.get("timestamp", 0)
        if self._again and time == self._last_time:
            self._again -= 1
            return
        if time > self._last_time:
            self._last_time, self._at_last_time, self._again = time, 0, 0
        if time == self._last_time:
            self._at_last_time += 1
        self._lines.append(event.get("message", ""))
