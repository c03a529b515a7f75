"""Warns of jobs that take long: Cromwell's `slow-job-warning-time`.

The time counts from when the attempt was handed to its backend, and anew from when it runs: a job
that waits too long is as slow as one that runs too long. Once an attempt and process. All attempts
are looked at from time to time, so that nothing is kept of those that are over.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from orchestrator.engine.calls import Call
from orchestrator.engine.outbox import Outbox
from orchestrator.model.records import AttemptRecord
from orchestrator.model.states import AttemptState

_log = structlog.get_logger(__name__)
_LONGEST_INTERVAL_SECONDS = 60.0

Key = tuple[str, str, int]


class SlowJobs:
    """Of one run."""

    def __init__(
        self, after_seconds: float | None, outbox: Outbox, attached: Mapping[Key, Call]
    ) -> None:
        """`after_seconds` None: nobody is warned. `attached`: the attempts with the backend."""
        self._after = after_seconds
        self._outbox = outbox
        self._attached = attached
        self._warned: set[Key] = set()
        self._look_at = 0.0

    @property
    def wake_at(self) -> float | None:
        """When the attempts are to be looked at."""
        return self._look_at if self._after is not None and self._attached else None

    def wake(self) -> None:
        """Warn of what is slow by now."""
        now = self._outbox.now
        if self._after is None or not self._attached or now < self._look_at:
            return
        self._look_at = now + min(_LONGEST_INTERVAL_SECONDS, self._after / 4)
        self._warned &= self._attached.keys()
        for key, call in self._attached.items():
            record = call.attempt_record
            if record is None or key in self._warned:
                continue
            seconds = now - (record.started_at or now)
            if seconds >= self._after:
                self._warned.add(key)
                self._warn(call, record, round(seconds))

    def _warn(self, call: Call, record: AttemptRecord, seconds: int) -> None:
        runs = record.state is AttemptState.RUNNING
        _log.warning(
            f"a job {'runs' if runs else 'waits'} for long",
            workflow=self._outbox.root_id,
            call=str(call.ref),
            job=record.job_id,
            seconds=seconds,
            next_step=f"orchestrator status {self._outbox.root_id} {call.ref.call_name}",
        )
        self._outbox.event(
            record.workflow_id,
            "SlowJob",
            call_id=record.call_id,
            attempt=record.attempt,
            detail={"seconds": seconds, "running": runs, "job_id": record.job_id},
        )
