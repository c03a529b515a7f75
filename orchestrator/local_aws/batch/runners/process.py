"""Jobs as plain processes of this machine (Linux): own session, own directory, clean environment.

What a container would give and a process has not: the image, its user, its entry point, mounts,
devices and ulimits are ignored. A mount whose path in the container is its path on the host needs
nothing; one that moves a path which the job names cannot be given, and the job fails to start.

A job is its session and whatever carries its marker variable. When its first process ends the rest
is killed, as in a container: the process group at once, what had left the group at the latest one
sweep later. Only what starts a session of its own and clears its environment escapes. Memory is
what the job's processes hold for themselves (proportional share of anonymous and shared memory, as
a cgroup counts it, not page cache), measured every 0.1 s: a job that holds more than its limit is
killed as Linux would kill the container.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from orchestrator.local_aws.batch.runners import proc
from orchestrator.local_aws.batch.runners.base import (
    OUT_OF_MEMORY,
    CannotStart,
    Exit,
    Runner,
    RunningTask,
    Sink,
    Task,
)

MARKER = "LOCAL_AWS_BATCH_TASK"
"""Environment variable `<owner>/<task id>` of every process of a job."""

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SWEEP_SECONDS = 0.1
_DRAIN_SECONDS = 0.5
_CHUNK = 1 << 16


class ProcessRunner(Runner):
    """Starts tasks below `state_dir`; knows which of them run."""

    name = "process"

    def __init__(self, state_dir: Path, owner: str, description: str) -> None:
        self.description = description
        self._jobs = state_dir / "jobs"
        self._jobs.mkdir(parents=True, exist_ok=True)
        self._owner = owner
        self._running: dict[str, _Process] = {}
        self._ended: set[_Process] = set()  # not yet swept for
        self._closed = threading.Event()
        self._wake = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep, name="batch-sweeper", daemon=True)
        self._sweeper.start()

    def start(self, task: Task) -> RunningTask:
        if self._closed.is_set():
            raise CannotStart("CannotStartContainerError: the local AWS is being stopped")
        _check_mounts(task)
        if not task.command:
            raise CannotStart(
                "CannotStartContainerError: Error response from daemon: No command specified"
            )
        directory = self._jobs / task.id
        record = self._jobs / f"{task.id}.pid"
        marker = f"{self._owner}/{task.id}"
        try:
            (directory / "tmp").mkdir(parents=True)
            process = _Process(self, task, directory, record, marker)
        except (OSError, ValueError) as error:  # ValueError: no text for a program, such as NUL
            shutil.rmtree(directory, ignore_errors=True)
            raise CannotStart(_start_error(task.command[0], error)) from None
        self._running[task.id] = process
        self._wake.set()
        if self._closed.is_set():
            process.kill()
        return process

    def close(self) -> None:
        self._closed.set()
        self._wake.set()
        for process in tuple(self._running.values()):
            process.kill()
        proc.kill_marked(MARKER, {f"{self._owner}/"}, prefix=True)

    def forget(self, process: _Process) -> None:
        """This one has ended; sweep for what left its process group."""
        self._running.pop(process.task.id, None)
        self._ended.add(process)
        self._wake.set()

    def _sweep(self) -> None:
        """Watch memory while jobs run; kill what outlived its job. Ends when closed and idle."""
        while not (self._closed.is_set() and not self._running and not self._ended):
            if not self._running and not self._ended:
                self._wake.wait()
            self._wake.clear()
            ended, started = set(self._ended), time.monotonic()
            with contextlib.suppress(OSError):
                self._watch_memory()
                if ended:
                    self.kill_rest(ended)
            self._ended -= ended
            # A look at /proc costs what the machine has processes: never more than a tenth of a
            # core.
            pause = max(_SWEEP_SECONDS, 9 * (time.monotonic() - started))
            if not self._closed.is_set():
                self._closed.wait(pause)

    @staticmethod
    def kill_rest(ended: Collection[_Process]) -> None:
        """Kill what these left in their sessions, and what left those."""
        proc.kill_sessions({process.pid: process.started for process in ended})
        proc.kill_marked(MARKER, {process.marker for process in ended})

    def _watch_memory(self) -> None:
        running = {process.pid: process for process in tuple(self._running.values())}
        if not running:
            return
        for session, members in proc.trees(running).items():
            process = running[session]
            limit = process.task.memory_mib << 20
            # The resident size counts shared pages once a process: cheap, and never too small.
            if sum(member.resident_bytes for member in members) <= limit:
                continue
            if sum(proc.own_bytes(member.pid) for member in members) > limit:
                process.out_of_memory = True
                process.kill()


class _Process(RunningTask):
    """One running task."""

    def __init__(
        self, runner: ProcessRunner, task: Task, directory: Path, record: Path, marker: str
    ) -> None:
        self.task = task
        self.marker = marker
        self.out_of_memory = False
        self._runner = runner
        self._directory = directory
        self._record = record
        self._reaped = False
        self._guard = threading.RLock()  # between a signal and the reaping of the pid
        environment = {
            "PATH": os.environ.get("PATH", _DEFAULT_PATH),
            "HOME": str(directory),
            "TMPDIR": str(directory / "tmp"),
            **task.environment,
            MARKER: marker,
        }
        self._popen = subprocess.Popen(
            _with_path(task.command, environment["PATH"], directory),
            env=environment,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            bufsize=0,
        )
        self.pid = self._popen.pid
        self.started = proc.start_time(self.pid)
        with contextlib.suppress(OSError):  # without it the marker still finds the processes
            record.write_text(f"{self.pid} {self.started}\n")

    def wait(self, sink: Sink) -> Exit:
        assert self._popen.stdout is not None
        pipe = self._popen.stdout.fileno()
        ended = os.pidfd_open(self.pid)
        try:
            os.set_blocking(pipe, False)
            self._pass_on(pipe, ended, sink)
            self.kill_group()
            if not _drain(pipe, sink, _DRAIN_SECONDS):
                # Somebody outside the group holds the pipe.
                self._runner.kill_rest((self,))
                _drain(pipe, sink, _DRAIN_SECONDS)
        finally:
            # The pid stays ours until it is reaped, so the group cannot be another's.
            self.kill_group()
            os.close(ended)
            self._popen.stdout.close()
            with self._guard:
                code = self._popen.wait()
                self._reaped = True
            self._runner.forget(self)
        if code != 0:
            # A job that was stopped must be gone when it is reported.
            self._runner.kill_rest((self,))
        _remove(self._directory)
        self._record.unlink(missing_ok=True)
        if self.out_of_memory:
            return Exit(137, OUT_OF_MEMORY)
        return Exit(code if code >= 0 else 128 - code)

    def terminate(self) -> None:
        """SIGTERM to the first process, as Docker sends it to a container's."""
        self._signal(os.kill, signal.SIGTERM)

    def kill(self) -> None:
        self.kill_group()

    def kill_group(self) -> None:
        self._signal(os.killpg, signal.SIGKILL)

    def _signal(self, send: Callable[[int, int], None], number: signal.Signals) -> None:
        with self._guard, contextlib.suppress(ProcessLookupError, PermissionError):
            if not self._reaped:
                send(self.pid, number)

    @staticmethod
    def _pass_on(pipe: int, ended: int, sink: Sink) -> None:
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        poll.register(ended, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if pipe in ready:
                with contextlib.suppress(BlockingIOError):
                    data = os.read(pipe, _CHUNK)
                    if data:
                        sink(data, _now_ms())
                    else:
                        poll.unregister(pipe)
            if ended in ready:
                return


def _drain(pipe: int, sink: Sink, seconds: float) -> bool:
    """Read what is left; False when it had not ended after `seconds`."""
    deadline = time.monotonic() + seconds
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    while (left := deadline - time.monotonic()) > 0:
        if not poll.poll(left * 1000):
            break
        try:
            data = os.read(pipe, _CHUNK)
        except BlockingIOError:
            continue
        if not data:
            return True
        sink(data, _now_ms())
    return False


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _with_path(command: Iterable[str], path: str, directory: Path) -> list[str]:
    """The command with its program looked up in the job's own PATH, as a container's would be."""
    program, *arguments = command
    if "/" not in program:
        found = shutil.which(program, path=path)
        if found is None:
            raise FileNotFoundError(f"{program} is not in the PATH")
        program = found
    elif not os.access(directory / program, os.F_OK):
        raise FileNotFoundError(program)
    return [program, *arguments]


def _start_error(program: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        what = (
            f"stat {program}: no such file or directory"
            if "/" in program
            else "executable file not found in $PATH"
        )
    else:
        what = (getattr(error, "strerror", None) or str(error)).lower()
    return (
        "CannotStartContainerError: Error response from daemon: OCI runtime create failed: "
        f'container_linux.go: starting container process caused: exec: "{program}": {what}: unknown'
    )


def _check_mounts(task: Task) -> None:
    volumes: Mapping[str, str] = {
        volume["name"]: (volume.get("host") or {}).get("sourcePath") or ""
        for volume in task.properties.get("volumes") or []
    }
    for mount in task.properties.get("mountPoints") or []:
        path = mount.get("containerPath") or ""
        source = volumes.get(mount.get("sourceVolume", ""), "")
        if os.path.normpath(path) == os.path.normpath(source or "?"):
            continue
        if any(path in text for text in (*task.command, *task.environment.values())):
            raise CannotStart(
                f"CannotStartContainerError: jobs run as plain processes here, which cannot see "
                f"{source or 'a volume of Docker'} at {path}: use the same path on host and "
                "container, or run a Docker engine"
            )


def _remove(directory: Path) -> None:
    """The job's directory, also what it made unreadable."""

    def let_me_in(_: object, path: str, __: object) -> None:
        with contextlib.suppress(OSError):
            Path(path).parent.chmod(0o700)
            if Path(path).is_dir() and not Path(path).is_symlink():
                Path(path).chmod(0o700)
                shutil.rmtree(path, ignore_errors=True)
            else:
                Path(path).unlink()

    shutil.rmtree(directory, onerror=let_me_in)
    if directory.exists():
        shutil.rmtree(directory, ignore_errors=True)


def clean(state_dir: Path, owner: str) -> None:
    """Kill what an engine that was itself killed left running; remove its files.

    Finds processes by the marker in their environment, and by the sessions on record for those
    that cleared it.
    """
    jobs = state_dir / "jobs"
    sessions: dict[int, str] = {}
    for record in jobs.glob("*.pid") if jobs.is_dir() else ():
        with contextlib.suppress(OSError, ValueError):
            pid, started = record.read_text().split()
            sessions[int(pid)] = started
    proc.kill_sessions(sessions)
    proc.kill_marked(MARKER, {f"{owner}/"}, prefix=True)
    if jobs.is_dir():
        for directory in jobs.iterdir():
            if directory.is_dir() and not directory.is_symlink():
                _remove(directory)
            else:
                directory.unlink(missing_ok=True)
