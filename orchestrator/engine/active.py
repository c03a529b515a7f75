"""A run that is under way here: what came for it, what it may do, what of it is not committed.

Everything that happens to a run happens in `work`, which is taken by one thread at a time and may
take long; the engine's thread meanwhile only adds to `inbox`, and looks at what `work` left.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from orchestrator.backends.base import Change
from orchestrator.engine import events
from orchestrator.engine.actions import Effect
from orchestrator.engine.admission import Demand
from orchestrator.engine.run import Run
from orchestrator.engine.tenure import Tenure
from orchestrator.model.records import Record

_log = structlog.get_logger(__name__)

_GATHER_SECONDS = 2.0

Told = events.OfRun | Change | Sequence[tuple[int, str, str]]  # the last are commands


@dataclass(slots=True, eq=False)
class Active:
    """See the module. What follows `away` is as the last `work` left it."""

    run: Run
    tenure: Tenure
    backend: str
    inbox: deque[Told] = field(default_factory=deque)
    places: int = 0  # attempts that it may submit, and has not
    records: list[Record] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    submissions: list[str] = field(default_factory=list)  # ids of all that it ever had here
    commit_at: float = 0.0  # not before: the store was unavailable
    away: bool = False  # `work` is under way, and nobody waits for it
    more: bool = False  # it has something to do right now
    inflight: int = 0
    waiting: int = 0
    wake_at: float | None = None
    gathering_since: float | None = None  # attempts wait for more of their array
    gathered: bool = False  # ... and have waited long enough

    @property
    def root_id(self) -> str:
        """The workflow's."""
        return self.run.root.id

    def work(self, now: float, seconds: float) -> None:
        """Dispatch, hear what came and evaluate, for about so long."""
        run = self.run
        run.tell_time(now)
        end = time.monotonic() + seconds
        if self.places:
            run.dispatch(self.places)
            # In this order: who asks for its `demand` meanwhile counts none of them as free.
            self.inflight = run.inflight
            self.places = 0
            self.gathering_since = None
        while self.inbox and time.monotonic() < end:
            self._hear(self.inbox.popleft())
        self.more = run.work(lambda: time.monotonic() >= end) or bool(self.inbox)
        self.inflight = run.inflight
        self.waiting = run.waiting
        self.wake_at = run.wake_at()
        if not self.waiting:
            self.gathering_since = None
        elif self.gathering_since is None:
            self.gathering_since = now
        since = self.gathering_since
        self.gathered = since is not None and now - since >= _GATHER_SECONDS

    @property
    def due_at(self) -> float | None:
        """When it wants a turn although nothing came for it, if it does."""
        if self.away:
            return None  # it is told of when it is back
        return self.commit_at if self.records else self.wake_at

    def is_due(self, now: float) -> bool:
        """Whether that time has come."""
        return self.due_at is not None and self.due_at <= now

    def demand(self, array_size: int) -> Demand:
        """How many attempts it would submit.

        One that is still evaluating waits until an array is full, or until it has come to its end:
        what becomes ready together starts together. But nobody waits longer than two seconds.
        """
        waiting = max(0, self.waiting - self.places)
        if self.away or (self.more and waiting < array_size and not self.gathered):
            waiting = 0
        return Demand(
            self.root_id, self.backend, self.run.hog_group, self.inflight + self.places, waiting
        )

    def _hear(self, told: Told) -> None:
        run = self.run
        match told:
            case Change():
                run.changed(told)
            case events.FactsFetched(_, records, failed):
                run.facts_fetched(records, failed)
            case events.ObjectsWritten(_, error):
                run.objects_written(error)
            case events.Submitted(_, submission_id, job_id):
                run.submissions.submitted(submission_id, job_id)
            case events.SubmitFailed(_, submission_id, failure):
                run.submissions.submit_failed(submission_id, failure)
            case events.Found(_, submission_id, found):
                run.submissions.found(submission_id, found)
            case events.FindFailed(_, submission_id):
                run.submissions.find_failed(submission_id)
            case events.CancelFailed(_, submission_id):
                run.submissions.cancel_failed(submission_id)
            case events.EndPlanned(_, number, plan, reason):
                run.finalizer.planned(number, plan, reason)
            case events.FileCopied(_, number, target, missing, error):
                run.finalizer.copied(number, target, missing, error)
            case events.FilesDeleted(_, number, error):
                run.finalizer.deleted(number, error)
            case events.LogWritten(_, number, error):
                run.finalizer.logged(number, error)
            case events.Searched(_, token, word):
                run.jobs.searched(token, word)
            case events.Revoked(_, submission_id):
                run.submissions.revoked(submission_id)
            case _:
                for _, kind, _ in told:
                    if kind == "abort":
                        run.abort()
                    else:
                        _log.warning("a command that this release does not know", kind=kind)
