"""What the pool does for the engine. Every effect ends as one event on the engine's queue.

Effects block on I/O; the engine's thread never does. An effect that would act on the world asks the
tenure first: a server that was paused past its lease does nothing any more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import structlog

from orchestrator import errors
from orchestrator.backends.base import Backend
from orchestrator.engine import actions, events, faultpoints
from orchestrator.engine.faultpoints import Step
from orchestrator.engine.finishing import Finishing
from orchestrator.engine.tenure import Tenure
from orchestrator.filesystems.base import Filesystems
from orchestrator.filesystems.lookups import Lookups
from orchestrator.model.job import SubmissionHandle
from orchestrator.model.records import FactRecord
from orchestrator.wdl.facts import Want
from orchestrator.wdl.graph import Write

_log = structlog.get_logger(__name__)

T = TypeVar("T")

_TRIES = 8  # of a look-up or a write, over about 45 s: a storage's hiccup fails no workflow
_SEARCHED_BYTES = 64 * 1024**2  # a larger stderr is judged by its end
_COPIES_AT_ONCE = 4  # from web servers
_UNSURE_SECONDS = 2.0  # until a lease is asked for again
_GATHER_SECONDS = 0.2  # between two sweeps: what ends together is committed together


class Effects:
    """A bounded pool, and one poller thread a backend."""

    def __init__(
        self,
        backends: Mapping[str, Backend],
        filesystems: Filesystems,
        post: Callable[[events.Event], None],
        may_act: Callable[[Tenure], bool],
        finishing: Finishing,
        *,
        workers: int = 16,
        read_limit_bytes: int = 128 * 1024**2,
    ) -> None:
        """`post` puts an event on the engine's queue; it never blocks. `may_act` may ask the store
        whether a lease still is ours."""
        self._may_act = may_act
        self._backends = backends
        self._filesystems = filesystems
        self._post = post
        self._lookups = Lookups(filesystems, read_limit_bytes)
        # Storage that does not answer holds up what waits for files, never what ends jobs.
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="effects")
        # These take long: a backend has its pace, and a look-up waits until it is certain.
        self._submissions = ThreadPoolExecutor(2 * workers, thread_name_prefix="submissions")
        self._queued: set[str] = set()  # submissions that have not begun
        self._files = ThreadPoolExecutor(workers, thread_name_prefix="files")
        self._copies = ThreadPoolExecutor(_COPIES_AT_ONCE, thread_name_prefix="copies")
        self._ends = ThreadPoolExecutor(workers, thread_name_prefix="ends")
        self._finishing = finishing
        self._closing = threading.Event()
        self._watching = {name: threading.Event() for name in backends}
        self._pollers = [
            threading.Thread(target=self._poll, args=(name,), name=f"poll-{name}", daemon=True)
            for name in backends
        ]

    def start(self) -> None:
        """Start the pollers; they rest until something is in flight."""
        for poller in self._pollers:
            poller.start()

    def close(self) -> None:
        """Stop polling, finish what the pool has begun."""
        self._closing.set()
        for watching in self._watching.values():
            watching.set()
        for pool in (self._pool, self._submissions, self._files, self._copies, self._ends):
            pool.shutdown(wait=True, cancel_futures=True)
        for poller in self._pollers:
            poller.join(timeout=30)

    def watch(self, backend: str, anything: bool) -> None:
        """Whether this backend has anything of ours; without, it is not asked."""
        if anything:
            self._watching[backend].set()
        else:
            self._watching[backend].clear()

    def call(self, work: Callable[[], events.Event | None]) -> None:
        """Any other work of the pool; its event goes to the engine."""

        def run_and_post() -> None:
            event = work()
            if event is not None:
                self._post(event)

        self._submit(run_and_post)

    def perform(self, tenure: Tenure, backend: str, effect: actions.Effect) -> None:
        """Start one effect of a run."""
        root_id = tenure.lease.root_id
        port = self._backends[backend]
        match effect:
            case actions.Fetch(wants):
                self._fetch(root_id, wants)
            case actions.Put(writes):
                self._submit(lambda: self._put(root_id, writes), self._files)
            case actions.Submit(submission):
                self._queued.add(submission.handle.id)
                self._submit(lambda: self._submit_job(tenure, port, effect), self._submissions)
            case actions.Withdraw(submission_id):
                self._queued.discard(submission_id)
            case actions.Find(handle):
                self._submit(lambda: self._find(root_id, port, handle), self._submissions)
            case actions.Revoke(handle):
                self._submit(lambda: self._revoke(tenure, port, handle))
            case (
                actions.PlanEnd() | actions.CopyFile() | actions.DeleteFiles() | actions.WriteLog()
            ):
                self._submit(lambda: self._finish(tenure, effect), self._ends)
            case actions.Search():
                self._submit(lambda: self._search(root_id, effect), self._files)
            case actions.Cancel(handle, indices):
                self._submit(lambda: self._cancel(root_id, port, handle, indices))

    # --- the effects

    def _submit_job(self, tenure: Tenure, port: Backend, effect: actions.Submit) -> None:
        root_id, submission_id = tenure.lease.root_id, effect.submission.handle.id
        try:
            self._queued.remove(submission_id)
        except KeyError:
            withdrawn = errors.TryLater("withdrawn before it began")
            self._post(events.SubmitFailed(root_id, submission_id, withdrawn))
            return
        if not self._may_act(tenure):
            _log.warning("not submitted: the lease may be lost", submission=submission_id)
            self._post(
                events.Lost(root_id)
                if tenure.lost
                else events.SubmitFailed(root_id, submission_id, _unsure())
            )
            return
        faultpoints.reach(Step.SUBMITTING)
        try:
            job_id = port.submit(effect.submission)
            faultpoints.reach(Step.SUBMITTED)
        except errors.OrchestratorError as error:
            self._post(events.SubmitFailed(root_id, submission_id, error))
        except Exception as error:
            # Whatever broke here, the job may have started: look it up.
            _log.exception("submit broke", submission=submission_id)
            ambiguous = errors.Ambiguous(f"submit broke: {error}")
            self._post(events.SubmitFailed(root_id, submission_id, ambiguous))
        else:
            self._post(events.Submitted(root_id, submission_id, job_id))

    def _find(self, root_id: str, port: Backend, handle: SubmissionHandle) -> None:
        faultpoints.reach(Step.FINDING)
        try:
            job_id = port.find(handle)
            faultpoints.reach(Step.FOUND)
        except Exception as error:
            _log.warning("look-up failed", submission=handle.name, reason=str(error))
            self._post(events.FindFailed(root_id, handle.id))
        else:
            self._post(events.Found(root_id, handle.id, job_id))

    def _revoke(self, tenure: Tenure, port: Backend, handle: SubmissionHandle) -> None:
        root_id = tenure.lease.root_id
        if not self._may_act(tenure):
            self._post(
                events.Lost(root_id) if tenure.lost else events.FindFailed(root_id, handle.id)
            )
            return
        faultpoints.reach(Step.REVOKING)
        try:
            port.revoke(handle)
            faultpoints.reach(Step.REVOKED)
        except Exception as error:
            _log.warning("revoking failed", submission=handle.name, reason=str(error))
            self._post(events.FindFailed(root_id, handle.id))
        else:
            self._post(events.Revoked(root_id, handle.id))

    def _cancel(
        self, root_id: str, port: Backend, handle: SubmissionHandle, indices: tuple[int, ...]
    ) -> None:
        try:
            port.cancel([(handle, indices)])
        except Exception as error:
            _log.warning("a job was not ended", submission=handle.name, reason=str(error))
            self._post(events.CancelFailed(root_id, handle.id))

    def _finish(self, tenure: Tenure, effect: actions.Ending) -> None:
        root_id = tenure.lease.root_id
        while not self._may_act(tenure):
            if tenure.lost:
                self._post(events.Lost(root_id))
                return
            if self._closing.wait(_UNSURE_SECONDS):
                return
        match effect:
            case actions.PlanEnd():
                self._post(self._finishing.plan(root_id, effect))
            case actions.CopyFile():
                self._post(self._finishing.copy(root_id, effect))
            case actions.DeleteFiles():
                self._post(self._finishing.delete(root_id, effect))
            case actions.WriteLog():
                self._post(self._finishing.write_log(root_id, effect))

    def _search(self, root_id: str, search: actions.Search) -> None:
        word = None
        try:
            filesystem = self._filesystems.of(search.uri)
            content = self._patiently(lambda: filesystem.read(search.uri, _SEARCHED_BYTES))
            places = {content.find(word.encode()): word for word in search.words}
            word = min(((at, word) for at, word in places.items() if at >= 0), default=(0, None))[1]
        except Exception as error:
            _log.warning("a file was not searched", uri=search.uri, reason=str(error))
        self._post(events.Searched(root_id, search.token, word))

    def _put(self, root_id: str, writes: Iterable[Write]) -> None:
        try:
            for write in writes:
                filesystem = self._filesystems.of(write.uri)
                self._patiently(lambda to=filesystem, w=write: to.write(w.uri, w.content))  # type: ignore[misc]
                faultpoints.reach(Step.FILE_WRITTEN)
        except errors.OrchestratorError as error:
            self._post(events.ObjectsWritten(root_id, error))
        except Exception as error:
            _log.exception("writing broke")
            self._post(events.ObjectsWritten(root_id, errors.TryLater(str(error))))
        else:
            self._post(events.ObjectsWritten(root_id))

    def _fetch(self, root_id: str, wants: frozenset[Want]) -> None:
        """Many look-ups, one event: what became known together goes on together, as one array.
        Copies from web servers may take hours: each is told by itself, and has a pool of its own.
        """
        copies = frozenset(want for want in wants if want.kind == "stage")
        groups = [(wants - copies, self._files), *((frozenset({w}), self._copies) for w in copies)]
        for group, pool in groups:
            if group:
                _FetchBatch(
                    root_id,
                    group,
                    self._fetch_one,
                    self._post,
                    lambda work, pool=pool: self._submit(work, pool),  # type: ignore[misc]
                )

    def _fetch_one(self, root_id: str, want: Want) -> FactRecord:
        return self._patiently(
            lambda: self._lookups.fact(
                root_id, want.kind, want.uri, want.place, self._closing.is_set
            )
        )

    def _patiently(self, do: Callable[[], T]) -> T:
        """Again and again where the same may succeed later."""
        for attempt in range(_TRIES - 1):
            try:
                return do()
            except errors.TryLater:
                self._closing.wait(min(0.5 * 2**attempt, 15.0))
        return do()

    # --- threads

    def _submit(
        self, work: Callable[[], None], pool: ThreadPoolExecutor | None = None
    ) -> Future[None] | None:
        try:
            future = (pool or self._pool).submit(work)
        except RuntimeError:  # closing: the journal knows what is to be done at the next start
            return None
        future.add_done_callback(_report)
        return future

    def _poll(self, name: str) -> None:
        backend, watching = self._backends[name], self._watching[name]
        while not self._closing.is_set():
            watching.wait()
            if self._closing.is_set():
                return
            try:
                changes = backend.changes(0.25)
            except Exception:
                _log.exception("the poller of a backend broke; it goes on", backend=name)
                self._closing.wait(5.0)
                continue
            if changes:
                self._post(events.Changed(name, changes))
                self._closing.wait(_GATHER_SECONDS)


class _FetchBatch:
    """Counts down; the last look-up posts the event."""

    def __init__(
        self,
        root_id: str,
        wants: frozenset[Want],
        fetch: Callable[[str, Want], FactRecord],
        post: Callable[[events.Event], None],
        submit: Callable[[Callable[[], None]], Future[None] | None],
    ) -> None:
        self._root_id, self._fetch, self._post = root_id, fetch, post
        self._records: list[FactRecord] = []
        self._failed: dict[Want, errors.OrchestratorError] = {}
        self._left = len(wants)
        self._lock = threading.Lock()
        for want in sorted(wants, key=lambda w: (w.kind, w.uri)):
            submit(lambda want=want: self._one(want))  # type: ignore[misc]

    def _one(self, want: Want) -> None:
        record, failed = None, None
        try:
            record = self._fetch(self._root_id, want)
        except errors.OrchestratorError as error:
            failed = error
        except Exception as error:
            _log.exception("a look-up broke", uri=want.uri)
            failed = errors.EnvironmentProblem(f"{want.uri} could not be looked up: {error}")
        with self._lock:
            if record is not None:
                self._records.append(record)
            if failed is not None:
                self._failed[want] = failed
            self._left -= 1
            last = self._left == 0
        if last:
            self._post(events.FactsFetched(self._root_id, self._records, self._failed))


def _unsure() -> errors.TryLater:
    return errors.TryLater("the lease could not be renewed: the store gave no answer")


def _report(future: Future[None]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        _log.error("an effect broke", exc_info=error)
