"""From a finished job to its change: the manifest is fetched on the pool, again where S3 fails."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from orchestrator import errors
from orchestrator.backends.aws_batch.manifests import Manifests, judged, says_all
from orchestrator.backends.aws_batch.reasons import Ended, classify
from orchestrator.backends.aws_batch.reports import Report
from orchestrator.backends.aws_batch.settings import LONGEST_BACKOFF_SECONDS, Settings
from orchestrator.backends.base import Change, JobState
from orchestrator.model.failures import Failure
from orchestrator.model.job import InputFile, SubmissionHandle
from orchestrator.model.manifest import Manifest, Phase

_log = structlog.get_logger(__name__)

InputsOf = Callable[[int], Iterable[InputFile]]


@dataclass(eq=False, slots=True)
class Finished:
    """A job that Batch says has ended, on its way to its manifest."""

    handle: SubmissionHandle
    index: int
    report: Report
    inputs: InputsOf
    due: float = 0.0
    tries: int = 0
    looked: bool = False  # there was no manifest at the first look
    heard: bool = False  # only by an event, not of Batch itself: its manifest has to say so too


class Settler:
    """Holds each finished job until it has become exactly one change."""

    def __init__(
        self,
        manifests: Manifests,
        settings: Settings,
        pool: ThreadPoolExecutor,
        clock: Callable[[], float],
        changed: threading.Condition,
        hand_on: Callable[[Change], None],
        give_back: Callable[[Finished], None],
        on_spot: Callable[[str], bool],
    ) -> None:
        """`changed` guards what is shared with the poller; the others are called without it.
        `give_back` gets what was heard of only, and has no manifest that says all.
        `on_spot`: whether the hosts of a queue may be taken away."""
        self._manifests = manifests
        self._settings = settings
        self._pool = pool
        self._clock = clock
        self._changed = changed
        self._hand_on = hand_on
        self._give_back = give_back
        self._on_spot = on_spot
        self._waiting: list[Finished] = []

    def add(self, item: Finished) -> None:
        """Take a job in; `changed` is held."""
        self._waiting.append(item)

    @property
    def next_at(self) -> float:
        """When something is due; `changed` is held."""
        return min((item.due for item in self._waiting), default=float("inf"))

    def start_due(self) -> None:
        """Give the pool what is due."""
        with self._changed:
            now = self._clock()
            due = [item for item in self._waiting if item.due <= now]
            self._waiting = [item for item in self._waiting if item.due > now]
        for item in due:
            try:
                self._pool.submit(self._settle, item)
            except RuntimeError:  # closing: the next process finds it again
                return

    def _settle(self, item: Finished) -> None:
        handle = item.handle
        try:
            found = self._manifests.read(
                handle.id, handle.attempts[item.index], lambda: item.inputs(item.index)
            )
        except errors.OrchestratorError as error:
            if item.heard:
                self._give_back(item)
                return
            item.tries += 1
            pause = min(LONGEST_BACKOFF_SECONDS, 2.0 ** (item.tries - 1))
            _log.warning("a manifest cannot be read; trying again", reason=str(error))
            self._again(item, pause)
            return
        except Exception:
            _log.exception("settling a job broke; trying again", job_id=item.report.job_id)
            self._again(item, LONGEST_BACKOFF_SECONDS)
            return
        if item.heard and not (isinstance(found, Manifest) and says_all(found)):
            self._give_back(item)
            return
        if found is None and not item.looked:
            item.looked = True
            self._again(item, self._settings.second_look_seconds)
            return
        ended = dataclasses.replace(item.report.ended, on_spot=self._on_spot(item.handle.queue))
        self._hand_on(_change(item, ended, found))

    def _again(self, item: Finished, pause: float) -> None:
        with self._changed:
            item.due = self._clock() + pause
            self._waiting.append(item)
            self._changed.notify_all()


def _change(item: Finished, ended: Ended, found: Manifest | Failure | None) -> Change:
    manifest = judged(found, ended) if isinstance(found, Manifest) else None
    if manifest is not None:
        failure = manifest.failure
    else:
        failure = found if isinstance(found, Failure) else classify(ended)
    report = item.report
    return Change(
        submission_id=item.handle.id,
        index=item.index,
        state=JobState.FINISHED,
        job_id=report.job_id,
        manifest=manifest,
        failure=failure,
        log_stream=report.log_stream,
        started_at=report.started_at,
        ended_at=report.ended_at,
        phases=_queueing(report, manifest),
        status_reason=ended.status_reason,
        container_reason=ended.container_reason,
        exit_code=ended.exit_code,
    )


def _queueing(report: Report, manifest: Manifest | None) -> tuple[Phase, ...]:
    """From SubmitJob until the image was pulled, or where nobody knows when, until it ran.

    Batch gives no time for STARTING, and RUNNING comes after the pull; it comes to know of it later
    than the wrapper, too.
    """
    if report.created_at is None:
        return ()
    ends = [phase.started_at for phase in manifest.phases] if manifest else []
    ends += [moment for moment in (report.started_at, report.ended_at) if moment is not None]
    return (Phase("queue", report.created_at, max(report.created_at, min(ends))),) if ends else ()
