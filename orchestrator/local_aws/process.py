"""Start, stop and ask for the process that is AWS on this machine.

Everything lies in one state directory, private to its owner:

    server.json    who runs: pid and start time, port, job runner; written once it answers
    port           the port used last, taken again when it is free
    server.log     what the process said
    lock           held while somebody starts or stops it
    server.lock    held by the process as long as it lives
    tmp/ postgres/ jobs/    scratch of S3, databases, jobs
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from orchestrator import errors
from orchestrator.local_aws import leftovers
from orchestrator.local_aws.pids import KnownProcess

JobRunner = Literal["auto", "docker", "process", "instant"]

ACCOUNT = "123456789012"
REGION = "us-east-1"

_STOP_SECONDS = 30.0
_LOG_LINES_IN_ERRORS = 15


@dataclass(frozen=True, slots=True)
class LocalAws:
    """A running AWS. `endpoint` says "localhost": one name for all services and template URLs."""

    state_dir: Path
    process: KnownProcess
    port: int
    jobs: str

    @property
    def endpoint(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log_file(self) -> Path:
        return self.state_dir / "server.log"

    def environment(self, region: str = REGION) -> dict[str, str]:
        """Variables that make boto3, the CDK command line and s5cmd use this AWS.

        The credentials are no secret: the server listens on the loopback interface and takes any.
        """
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "S3_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def start(
    state_dir: Path,
    *,
    port: int | None = None,
    jobs: JobRunner = "auto",
    listjobs_lag_seconds: float = 0.0,
    deadline_seconds: float = 60.0,
) -> LocalAws:
    """The AWS of `state_dir`: the running one, or a new and empty one.

    `port` None takes the last port again, or any free one. Raises EnvironmentProblem when it does
    not answer within `deadline_seconds`, quoting the end of its log.
    """
    state_dir = _private_directory(state_dir)
    with _lock(state_dir):
        running = status(state_dir)
        if running is not None:
            return running
        leftovers.clean(state_dir)
        (state_dir / "server.json").unlink(missing_ok=True)
        command = [
            *(sys.executable, "-m", "orchestrator.local_aws.server"),
            *("--state", str(state_dir)),
            *("--jobs", jobs),
            *("--listjobs-lag", str(listjobs_lag_seconds)),
            *(("--port", str(port)) if port is not None else ()),
        ]
        pid = _spawn(command, state_dir)
        return _wait_until_ready(state_dir, pid, deadline_seconds)


def status(state_dir: Path) -> LocalAws | None:
    """The running AWS of `state_dir`, or None."""
    state_dir = state_dir.absolute()
    record = _read_record(state_dir)
    if record is None or not record.process.alive():
        return None
    return record


def stop(state_dir: Path, *, destroy: bool = False) -> bool:
    """End it with its jobs and databases; `destroy` removes the directory too.

    True when something ran. Safe to call at any time, and again.
    """
    state_dir = state_dir.absolute()
    if not state_dir.is_dir():
        return False
    with _lock(state_dir):
        running = status(state_dir)
        if running is not None and not running.process.end(gently=_STOP_SECONDS):
            raise errors.EnvironmentProblem(
                f"the local AWS, process {running.pid}, does not end",
                hint=f"see {running.log_file}",
            )
        leftovers.clean(state_dir)
        (state_dir / "server.json").unlink(missing_ok=True)
        if destroy:
            shutil.rmtree(state_dir)
    return running is not None


def write_record(state_dir: Path, port: int, jobs: str) -> None:
    """The running process says that it answers now."""
    process = KnownProcess.of(os.getpid())
    assert process is not None
    _write(state_dir / "port", str(port))
    record = process.as_json() | {"port": port, "jobs": jobs}
    _write(state_dir / "server.json", json.dumps(record))


def remove_record(state_dir: Path) -> None:
    """The running process says that it answers no more; another one's record stays."""
    record = _read_record(state_dir)
    if record is not None and record.pid == os.getpid():
        (state_dir / "server.json").unlink(missing_ok=True)


def last_port(state_dir: Path) -> int:
    """The port used last, 0 when there is none."""
    try:
        port = int((state_dir / "port").read_text())
    except (OSError, ValueError):
        return 0
    return port if 0 < port < 65536 else 0


def hold_server_lock(state_dir: Path) -> int | None:
    """A lock that is held until this process ends; None when another one holds it."""
    handle = os.open(state_dir / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _private_directory(state_dir: Path) -> Path:
    state_dir = state_dir.absolute()
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    if state_dir.stat().st_uid != os.geteuid():
        raise errors.EnvironmentProblem(
            f"{state_dir} belongs to another user", hint="use a state directory of your own"
        )
    state_dir.chmod(0o700)
    return state_dir


@contextlib.contextmanager
def _lock(state_dir: Path) -> Iterator[None]:
    """Only one at a time starts or stops. `destroy` may remove the file that is waited for."""
    path = state_dir / "lock"
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            _private_directory(state_dir)
            continue
        fcntl.flock(handle, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(handle).st_ino:
                break
        os.close(handle)
    try:
        yield
    finally:
        os.close(handle)


def _spawn(command: list[str], state_dir: Path) -> int:
    """A child in a session of its own, which outlives this process."""
    log = state_dir / "server.log"
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawn(
        command[0],
        command,
        _server_environment(os.environ),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def _server_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Without the caller's AWS: the server is an AWS and has none."""
    return {key: value for key, value in environment.items() if not key.startswith("AWS_")}


def _wait_until_ready(state_dir: Path, pid: int, seconds: float) -> LocalAws:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        record = _read_record(state_dir)
        if record is not None and record.pid == pid and _answers(record):
            return record
        if os.waitpid(pid, os.WNOHANG) != (0, 0):
            raise errors.EnvironmentProblem(
                f"the local AWS ended while it started:\n{_log_end(state_dir)}",
                hint=f"see {state_dir / 'server.log'}",
            )
        time.sleep(0.02)
    child = KnownProcess.of(pid)
    if child is not None:
        child.end(gently=2)
    raise errors.EnvironmentProblem(
        f"the local AWS did not answer within {seconds:g} s:\n{_log_end(state_dir)}",
        hint=f"see {state_dir / 'server.log'}",
    )


def _answers(aws: LocalAws) -> bool:
    # Past any proxy of the environment: this is the loopback interface.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{aws.port}/_local-aws/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _read_record(state_dir: Path) -> LocalAws | None:
    try:
        value: Any = json.loads((state_dir / "server.json").read_text())
        process = KnownProcess.from_json(value)
        if process is None:
            return None
        return LocalAws(state_dir, process, int(value["port"]), str(value["jobs"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, text: str) -> None:
    """Whole or not at all: nobody reads half a record."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.chmod(0o600)
    temporary.replace(path)


def _log_end(state_dir: Path) -> str:
    try:
        lines = (state_dir / "server.log").read_text(errors="replace").splitlines()
    except OSError:
        return "(it wrote no log)"
    return "\n".join(f"    {line}" for line in lines[-_LOG_LINES_IN_ERRORS:])
