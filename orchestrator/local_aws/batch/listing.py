"""What ListJobs sees: jobs by queue or array and status, as late as the setting says.

On AWS ListJobs is eventually consistent: a job that DescribeJobs knows may be missing from it or
stand there in an older status. With a lag, each change appears here so many seconds after it
happened.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.local_aws.batch.jobs import Job


@dataclass(frozen=True, slots=True)
class Row:
    """A job as it stood at some moment."""

    job: Job
    status: str
    status_reason: str
    started_at: int | None
    stopped_at: int | None
    exit_code: int | None
    reason: str


class Listing:
    """Rows by scope (queue ARN or array job id), status and sequence."""

    def __init__(self, lag_seconds: float = 0.0) -> None:
        self._lag = lag_seconds
        self._rows: dict[str, dict[str, dict[int, Row]]] = {}
        self._late: deque[tuple[float, Row]] = deque()

    def note(self, job: Job) -> None:
        """A job is new or has changed."""
        last = job.last_attempt
        row = Row(
            job,
            job.status,
            job.status_reason,
            job.started_at,
            job.stopped_at,
            last.exit_code if last else None,
            last.reason if last else "",
        )
        if self._lag <= 0:
            self._show(row)
            return
        now = time.monotonic()
        self._late.append((now + self._lag, row))
        self._catch_up(now)

    def page(
        self,
        scope: str,
        status: str | None,
        limit: int,
        token: str | None,
        *,
        accepts: Callable[[Row], bool] = lambda row: True,
        newest_first: bool,
    ) -> tuple[list[Row], str | None]:
        """Up to `limit` rows and the token of the next page. A status of None takes all.

        The token names a place in the order of submission, so that jobs which change their status
        between two pages neither shift the rest nor hide it. Raises ValueError for a bad token.
        """
        self._catch_up(time.monotonic())
        start = _decode(token)
        by_status = self._rows.get(scope, {})
        buckets: Iterable[dict[int, Row]] = (
            by_status.values() if status is None else (by_status.get(status, {}),)
        )
        rows = [
            row
            for bucket in buckets
            for sequence, row in bucket.items()
            if (start is None or (sequence < start if newest_first else sequence > start))
            and accepts(row)
        ]
        rows.sort(key=lambda row: row.job.sequence, reverse=newest_first)
        page = rows[:limit]
        more = len(rows) > limit
        return page, _encode(page[-1].job.sequence) if more else None

    def _catch_up(self, now: float) -> None:
        while self._late and self._late[0][0] <= now:
            self._show(self._late.popleft()[1])

    def _show(self, row: Row) -> None:
        job = row.job
        by_status = self._rows.setdefault(job.scope, {})
        if job.listed is not None and job.listed != row.status:
            by_status[job.listed].pop(job.sequence, None)
        by_status.setdefault(row.status, {})[job.sequence] = row
        job.listed = row.status


def _encode(sequence: int) -> str:
    return base64.urlsafe_b64encode(f"after {sequence}".encode()).decode()


def _decode(token: str | None) -> int | None:
    if not token:
        return None
    try:
        word, number = base64.urlsafe_b64decode(token.encode()).decode().split()
        if word != "after":
            raise ValueError(token)
        return int(number)
    except (binascii.Error, UnicodeError) as error:
        raise ValueError(token) from error
