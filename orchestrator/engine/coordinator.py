"""The engine's loop: one thread that owns all state, fed by a queue.

A turn: take the events that came, let every run they touch hear its own and evaluate for a slice
of time, commit its records in one transaction and hand its effects to the pool, then share the
places for jobs. Nothing here waits for I/O but the commit, and nothing for an evaluation that takes
longer than a slice.

Longer than others because it is one loop over one state: who reads it sees the order of it all.

An engine runs the workflows that it is told to `adopt`; with a capacity it also looks for work: new
workflows, and those whose server has died.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from orchestrator import errors
from orchestrator.backends.base import Backend, Change
from orchestrator.engine import events, faultpoints, garbage
from orchestrator.engine.actions import Find, Submit
from orchestrator.engine.active import Active, Told
from orchestrator.engine.admission import Admission
from orchestrator.engine.effects import Effects
from orchestrator.engine.evaluation import Evaluators
from orchestrator.engine.faultpoints import Step
from orchestrator.engine.finishing import Finishing
from orchestrator.engine.jobs import RunSettings
from orchestrator.engine.opening import Opening
from orchestrator.engine.run import Progress, Run
from orchestrator.engine.tenure import Heartbeat, Tenure, is_dead, this_process
from orchestrator.filesystems.base import Filesystems
from orchestrator.model.job import Submission
from orchestrator.model.records import WorkflowRecord
from orchestrator.store.base import Lease, Store
from orchestrator.wdl.document import Document

_log = structlog.get_logger(__name__)

_OPEN_AGAIN_SECONDS = 60.0
_ENDS_KEPT = 1_000  # of workflows that are over, for who waits for one

# What a commit is made of, so that none takes long (12 ms on SQLite), and how much may wait for one
# before a run is given no more time.
_RECORDS_A_COMMIT = 250
_MOST_UNSAID = 4_000


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How the engine works. `runs`: backend name -> what its runs need to know."""

    default_backend: str
    runs: Mapping[str, RunSettings]
    owner: str = field(default_factory=this_process)
    lease_seconds: float = 60.0
    slice_seconds: float = 0.01
    command_poll_seconds: float = 2.0
    capacity: int = 0  # workflows at once that it claims by itself
    claim_poll_seconds: float = 2.0
    idle_poll_seconds: float = 2.0  # it looks for work less and less often, down to this
    admission: Admission = field(default_factory=Admission)
    workers: int = 16
    read_limit_bytes: int = 128 * 1024**2


@dataclass(frozen=True, slots=True)
class Health:
    """`problem` None: it works. `workflows`: how many are running here."""

    problem: str | None
    workflows: int


class Engine:
    """Start it, `adopt` leases, `wait` for workflows. Methods may be called from any thread."""

    def __init__(
        self,
        store: Store,
        backends: Mapping[str, Backend],
        filesystems: Filesystems,
        load: Callable[[Mapping[str, str]], Document],
        settings: EngineSettings,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`load` parses a bundle as `Store.bundle` gives it; it runs in the pool."""
        self._store = store
        self._backends = backends
        self._opening = Opening(
            store, backends, settings.runs, settings.default_backend, load, clock
        )
        self._settings = settings
        self._clock = clock
        self._queue: queue.SimpleQueue[events.Event] = queue.SimpleQueue()
        self._active: dict[str, Active] = {}
        self._tenures: dict[str, Tenure] = {}  # adopted, not opened yet
        self._root_of: dict[str, str] = {}  # submission id -> root workflow id
        self._dirty: dict[str, None] = {}
        self._over: dict[str, WorkflowRecord | errors.OrchestratorError] = {}
        self._progress: dict[str, Progress] = {}
        self._changed = threading.Condition()
        self._broken: errors.OrchestratorError | None = None  # why its thread has ended
        self._stopping = threading.Event()
        self._stopped = False
        self._leaving: set[str] = set()  # over, and being taken apart
        self._turned_at = time.monotonic()
        self._commands_at = 0.0
        self._commanding = False
        self._claims_at = 0.0
        self._claim_every = settings.claim_poll_seconds
        self._claiming = False
        self._unopened: dict[str, float] = {}  # what cannot be opened here -> when to try again
        self._store_problem: str | None = None
        self._heartbeat = Heartbeat(
            store,
            settings.lease_seconds,
            engine_stalled=lambda: time.monotonic() - self._turned_at > settings.lease_seconds / 2,
            on_lost=lambda root_id: self._queue.put(events.Lost(root_id)),
        )
        self._effects = Effects(
            backends,
            filesystems,
            self._queue.put,
            self._heartbeat.confirm,
            Finishing(store, filesystems),
            workers=settings.workers,
            read_limit_bytes=settings.read_limit_bytes,
        )
        self._evaluators = Evaluators(2 * settings.slice_seconds)
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    # --- what others ask

    def start(self) -> None:
        """Start the threads."""
        garbage.watch()
        self._evaluators.start()
        self._effects.start()
        self._heartbeat.start()
        self._thread.start()

    def stop(self) -> None:
        """Stop where it stands; jobs run on, and the next holder of the leases goes on."""
        self._stopping.set()
        self._queue.put(events.Poke())
        self._thread.join(timeout=60)
        self._evaluators.close()
        self._effects.close()
        self._heartbeat.stop()
        for tenure in (*(a.tenure for a in self._active.values()), *self._tenures.values()):
            self._release(tenure.lease)
        if not self._stopped:
            self._stopped = True
            garbage.unwatch()

    def adopt(self, lease: Lease, claimed_at: float) -> None:
        """Run the workflow of this lease. `claimed_at`: Tenure.now() before the claim was made."""
        faultpoints.reach(Step.CLAIMED)
        tenure = Tenure(lease, self._settings.lease_seconds, claimed_at)
        with self._changed:
            self._over.pop(lease.root_id, None)  # of an earlier tenure
        self._tenures[lease.root_id] = tenure
        self._heartbeat.add(tenure)
        self._effects.call(lambda: self._opening.open(lease))

    def poke(self) -> None:
        """Look for commands and for work now."""
        self._claim_every = self._settings.claim_poll_seconds
        self._commands_at = self._claims_at = 0.0
        self._queue.put(events.Poke())

    def progress(self, root_id: str) -> Progress | None:
        """How a workflow stands; None before it is opened."""
        return self._progress.get(root_id)

    @property
    def workflows(self) -> list[str]:
        """The root ids of those that run here."""
        return list(self._active)

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def health(self) -> Health:
        """How the engine itself is. Asks nobody: a database that sleeps is left alone."""
        stalled = time.monotonic() - self._turned_at
        problem = self._store_problem
        if not self.is_alive:
            problem = "the engine's thread has ended"
        elif stalled > self._settings.lease_seconds / 2:
            problem = f"the engine has been at one turn for {stalled:.0f} s"
        return Health(problem, len(self._active))

    def wait(self, root_id: str, timeout: float | None = None) -> WorkflowRecord | None:
        """The workflow once it is over and committed; None when the time is up first.

        Raises the error for which the engine let go of it: `LeaseLost`, a document that cannot be
        loaded, a fault of the engine's own; and what ended the engine itself.
        """
        with self._changed:
            self._changed.wait_for(lambda: root_id in self._over or self._broken, timeout)
            end = self._over.get(root_id, self._broken)
        if isinstance(end, errors.OrchestratorError):
            raise end
        return end

    # --- the loop

    def _run(self) -> None:
        try:
            self._loop()
        except BaseException as error:
            _log.exception("the engine broke")
            with self._changed:
                self._broken = errors.OrchestratorError(
                    f"the engine broke: {type(error).__name__}: {error}",
                    hint="its workflows stand where they were committed and their jobs run on; "
                    "start it again, or `orchestrator resume` a workflow",
                )
                self._changed.notify_all()

    def _loop(self) -> None:
        busy = False
        while not self._stopping.is_set():
            taken = self._take_events(0.0 if busy else self._rest())
            if not (taken or self._active or self._tenures or self._leaving):
                garbage.thaw()  # takes long, and nobody waits
            for event in taken:
                self._guarded(_root_of(event), lambda event=event: self._on(event))  # type: ignore[misc]
            busy = self._turn()
            garbage.pace()
            self._turned_at = time.monotonic()

    def _take_events(self, timeout: float) -> list[events.Event]:
        taken: list[events.Event] = []
        try:
            taken.append(self._queue.get(timeout=timeout) if timeout else self._queue.get_nowait())
            while len(taken) < 10_000:
                taken.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return taken

    def _rest(self) -> float:
        """Seconds until something is due by itself."""
        now = self._clock()
        due: list[float] = []
        if self._active and not self._commanding:
            due.append(self._commands_at + self._settings.command_poll_seconds - now)
        if self._settings.capacity > len(self._active) + len(self._tenures):
            due.append(self._claims_at + self._claim_every - now)
        due += [a.due_at - now for a in self._active.values() if a.due_at is not None]
        return max(0.001, min([*due, self._settings.lease_seconds / 10, 5.0]))

    def _turn(self) -> bool:
        """One slice for every run that was touched. True: there is more to do right away."""
        now = self._clock()
        self._dirty |= {root: None for root, a in self._active.items() if a.is_due(now)}
        dirty, self._dirty = self._dirty, {}
        for part in (self._slice, self._commit):
            for root_id in dirty:
                active = self._active.get(root_id)
                if active is not None and not active.away:
                    self._guarded(root_id, lambda do=part, a=active: do(a, now))  # type: ignore[misc]
        self._admit()
        self._watch()
        self._look_around(now)
        return bool(self._dirty)

    def _slice(self, active: Active, now: float) -> None:
        if active.run.unsaid >= _MOST_UNSAID:
            return  # the commit sees to it that there is a next slice
        active.away = not self._evaluators.work(
            lambda: active.work(now, self._settings.slice_seconds),
            lambda error: self._queue.put(events.Evaluated(active.root_id, active.run, error)),
        )

    def _admit(self) -> None:
        """Places for attempts; each run fills its own in its next slice."""
        if not any(active.waiting for active in self._active.values()):
            return
        granted = self._settings.admission.share(
            active.demand(self._backends[active.backend].max_array_size)
            for active in self._active.values()
        )
        for root_id, places in granted.items():
            self._active[root_id].places += places
            self._dirty[root_id] = None

    def _look_around(self, now: float) -> None:
        """Commands for the runs, and more work, each once in a while."""
        settings = self._settings
        due = now - self._commands_at >= settings.command_poll_seconds
        if self._active and due and not self._commanding:
            self._commands_at, self._commanding = now, True
            held = {root_id: active.tenure.lease for root_id, active in self._active.items()}
            self._effects.call(lambda: self._take_commands(held))
        room = settings.capacity - len(self._active) - len(self._tenures)
        if room > 0 and not self._claiming and now - self._claims_at >= self._claim_every:
            self._claims_at, self._claiming = now, True
            self._effects.call(lambda: self._claim(room))

    def _pace_claims(self, found: bool) -> None:
        """Who has nothing to do asks less and less often, so that a database may pause."""
        shortest = self._settings.claim_poll_seconds
        if found or self._active or self._tenures or self._store_problem:
            self._claim_every = shortest
        else:
            longest = max(shortest, self._settings.idle_poll_seconds)
            self._claim_every = min(2 * self._claim_every, longest)

    def _watch(self) -> None:
        watched = {a.backend for a in self._active.values() if a.inflight or a.places or a.away}
        for backend in self._backends:
            self._effects.watch(backend, backend in watched)

    def _commit(self, active: Active, now: float, *, gather: bool = True) -> None:
        root_id = active.root_id
        if not active.records:
            if gather and active.more and active.run.unsaid < _RECORDS_A_COMMIT:
                self._dirty[root_id] = None
                return  # the next slice comes at once, and has more to say
            active.records, active.effects = active.run.take(_RECORDS_A_COMMIT)
        if active.records:
            if active.commit_at > now:
                return
            try:
                faultpoints.committing(active.records)
                self._store.write(active.tenure.lease, active.records)
                faultpoints.committed(active.records)
            except errors.LeaseLost as error:
                self._drop(root_id, error)
                return
            except (errors.StoreUnavailable, errors.TryLater) as error:
                _log.warning("not committed; trying again", reason=error.message)
                self._store_problem = error.message
                active.commit_at = now + 2.0
                return
            active.records = []
            self._store_problem = None
        effects, active.effects = active.effects, []
        for effect in effects:
            match effect:
                case Submit(Submission(handle)) | Find(handle):
                    self._root_of[handle.id] = root_id
                    active.submissions.append(handle.id)
            self._effects.perform(active.tenure, active.backend, effect)
        self._progress[root_id] = active.run.progress()
        if active.more or active.run.unsaid:
            self._dirty[root_id] = None
        elif active.run.is_over:
            self._finish(root_id, active)

    def _finish(self, root_id: str, active: Active) -> None:
        del self._active[root_id]
        self._claim_every = self._settings.claim_poll_seconds
        self._heartbeat.remove(root_id)
        self._release(active.tenure.lease)
        self._forget(active)
        self._leaving.add(root_id)
        self._effects.call(lambda: self._clean_up(active.run))
        self._tell_end(root_id, active.run.root)

    def _forget(self, active: Active) -> None:
        for submission_id in active.submissions:
            self._root_of.pop(submission_id, None)

    def _drop(self, root_id: str, error: errors.OrchestratorError) -> None:
        """Let go of a run without writing anything."""
        active = self._active.pop(root_id, None)
        if active is not None:
            active.tenure.lose()
            self._forget(active)
        self._tenures.pop(root_id, None)
        self._heartbeat.remove(root_id)
        self._tell_end(root_id, error)

    def _tell_end(self, root_id: str, end: WorkflowRecord | errors.OrchestratorError) -> None:
        """To whoever waits for it, or asks a little later: a server must not keep them all."""
        with self._changed:
            self._over[root_id] = end
            while len(self._over) > _ENDS_KEPT:
                oldest = next(iter(self._over))
                del self._over[oldest]
                if oldest not in self._active:
                    self._progress.pop(oldest, None)
            self._changed.notify_all()

    def _release(self, lease: Lease, *, broken: bool = False) -> None:
        try:
            self._store.release(lease, broken=broken)
            faultpoints.reach(Step.RELEASED)
        except errors.OrchestratorError as error:
            _log.warning("a lease was not given back; it runs out", reason=error.message)

    def _guarded(self, root_id: str | None, do: Callable[[], None]) -> None:
        """What goes wrong ends one workflow, never the engine: the others go on."""
        try:
            do()
        except errors.LeaseLost as error:
            if root_id is not None:
                self._drop(root_id, error)
        except errors.OrchestratorError as error:
            if root_id is not None:
                self._let_go(root_id, error)
        except Exception as error:
            _log.exception("a fault in the engine", workflow=root_id)
            if root_id is not None:
                self._let_go(
                    root_id,
                    errors.OrchestratorError(
                        f"a fault in the orchestrator: {type(error).__name__}: {error}",
                        hint=f"its jobs run on; `orchestrator resume {root_id}` tries again",
                    ),
                    broken=True,
                )

    def _let_go(
        self, root_id: str, error: errors.OrchestratorError, *, broken: bool = False
    ) -> None:
        """Drop a run, and give its lease back."""
        active = self._active.get(root_id)
        tenure = active.tenure if active else self._tenures.get(root_id)
        self._drop(root_id, error)
        if tenure is not None:
            self._release(tenure.lease, broken=broken)

    # --- events

    def _on(self, event: events.Event) -> None:
        match event:
            case events.Opened():
                self._opened(event)
            case events.Ended(lease, root) if root.id in self._tenures:
                del self._tenures[root.id]
                self._heartbeat.remove(root.id)
                self._release(lease)
                self._tell_end(root.id, root)
            case events.OpenFailed(lease, _, error):
                self._unopened[lease.root_id] = self._clock() + _OPEN_AGAIN_SECONDS
                self._let_go(lease.root_id, error)
            case events.Changed(backend, changes):
                self._on_changes(backend, changes)
            case events.Lost(root_id) if root_id in self._active or root_id in self._tenures:
                self._drop(root_id, errors.LeaseLost("another server has taken this workflow over"))
            case events.Claimed(leases, at):
                self._claiming = False
                self._pace_claims(bool(leases))
                now = self._clock()
                self._unopened = {root: at for root, at in self._unopened.items() if at > now}
                for lease in leases:
                    if lease.root_id in self._unopened:
                        self._effects.call(lambda lease=lease: self._release(lease))  # type: ignore[misc]
                        continue
                    with self._changed:  # whoever waits for it does not notice
                        if lease.root_id in self._active or lease.root_id in self._tenures:
                            # Its time had run out while the store was away: nobody else has taken
                            # it, but what is held here is of an epoch that is over.
                            self._drop(lease.root_id, errors.LeaseLost("taken anew"))
                        self.adopt(lease, at)
            case events.Commanded(commands):
                self._commanding = False
                for root_id, given in commands.items():
                    self._tell(root_id, given)
            case events.Evaluated(root_id, run, error):
                active = self._active.get(root_id)
                if active is not None and active.run is run:
                    active.away = False
                    self._dirty[root_id] = None
                    if error is not None:
                        raise error
                    # Before the next slice, which may take as long.
                    self._commit(active, self._clock(), gather=False)
            case events.Poke() | events.Lost() | events.Ended():  # of what was given back already
                pass
            case _:
                self._tell(event.root_id, event)

    def _tell(self, root_id: str, told: Told) -> None:
        active = self._active.get(root_id)
        if active is not None:
            active.inbox.append(told)
            self._dirty[root_id] = None

    def _on_changes(self, backend: str, changes: Sequence[Change]) -> None:
        for change in changes:
            self._tell(self._root_of.get(change.submission_id, ""), change)

    def _opened(self, event: events.Opened) -> None:
        root_id = event.lease.root_id
        tenure = self._tenures.get(root_id)
        if tenure is None or tenure.lease != event.lease:
            return
        del self._tenures[root_id]
        self._active[root_id] = Active(event.run, tenure, event.backend)
        faultpoints.reach(Step.OPENED)
        self._dirty[root_id] = None

    # --- in the pool

    def _claim(self, limit: int) -> events.Event:
        """New workflows, and those whose server is gone: of a server that has certainly died (it
        was on this host) at once, of any other when its time has run out."""
        owner, seconds = self._settings.owner, self._settings.lease_seconds
        at = Tenure.now()
        leases: Sequence[Lease] = ()
        try:
            dead = [holder for holder in self._store.holders() if is_dead(holder)]
            leases = self._store.claim(owner, seconds, limit, dead_owners=dead)
            self._store_problem = None
        except errors.OrchestratorError as error:
            self._store_problem = error.message
            _log.warning("no work could be claimed", reason=error.message)
        return events.Claimed(leases, at)

    def _clean_up(self, run: Run) -> None:
        run.dismantle()
        self._leaving.discard(run.root.id)

    def _take_commands(self, held: Mapping[str, Lease]) -> events.Event:
        """One question for all workflows; only those that were told something are asked more."""
        taken: dict[str, Sequence[tuple[int, str, str]]] = {}
        try:
            for owner in {lease.owner for lease in held.values()}:
                for root_id in self._store.commanded(owner):
                    if root_id not in held:
                        continue
                    try:
                        taken[root_id] = self._store.take_commands(held[root_id])
                    except errors.LeaseLost:
                        self._queue.put(events.Lost(root_id))
        except errors.OrchestratorError as error:
            _log.warning("commands could not be read", reason=error.message)
        except Exception:
            _log.exception("reading commands broke")
        return events.Commanded(taken)


def _root_of(event: events.Event) -> str | None:
    match event:
        case events.Opened(lease) | events.Ended(lease) | events.OpenFailed(lease):
            return lease.root_id
        case events.Changed() | events.Claimed() | events.Commanded() | events.Poke():
            return None
        case _:
            return event.root_id
