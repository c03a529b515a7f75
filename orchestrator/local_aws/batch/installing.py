"""Putting the engine into moto and taking it out again; what a killed server left behind.

State lies in `<state dir>/batch`: `owner`, the mark of all that engines of this directory start;
`lock`, held by the one that lives; `jobs/`, a directory and a record of the pid for each running
process. A server that was killed with SIGKILL leaves its jobs running: the next start, or
`end_orphans`, finds them by mark and record and kills them.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import json
import os
import signal
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from moto.batch import urls
from moto.batch.models import BatchBackend, JobQueue, batch_backends
from moto.batch.responses import BatchResponse

from orchestrator.local_aws.batch import definitions, queues, refusals, submitting, verbs
from orchestrator.local_aws.batch.engine import Engine, Limits
from orchestrator.local_aws.batch.runners import choose, docker, process

_JOBS_PER_CORE = 4
_STOP_GRACE_SECONDS = 30.0  # ECS_CONTAINER_STOP_TIMEOUT
_SNAPSHOT = "{0}/v1/getjobqueuesnapshot$"

_guard = threading.RLock()
_installed: Installation | None = None


class StateDirInUse(Exception):
    """Another engine that lives holds this state directory."""


def install(
    runner: str,
    state_dir: Path,
    endpoint: str,
    *,
    list_jobs_lag_seconds: float = 0.0,
    max_running_jobs: int | None = None,
    memory_mib: float | None = None,
    stop_grace_seconds: float = _STOP_GRACE_SECONDS,
) -> Installation:
    """Replace moto's Batch jobs in this process by real ones; kill what a killed engine left.

    `runner` is one of `runners.KINDS`; `endpoint` is where jobs find this AWS. At most
    `max_running_jobs` run at once (default: four a core) and, unless one runs alone, with no more
    than `memory_mib` MiB promised to them (default: the machine's memory). TerminateJob's SIGKILL
    follows its SIGTERM after `stop_grace_seconds`. The engine's `description` says how jobs run, in
    one line.

    Raises StateDirInUse, runners.docker.EngineUnavailable (for "docker"), RuntimeError when an
    engine is installed in this process already.
    """
    global _installed
    with _guard:
        if _installed is not None:
            raise RuntimeError("an AWS Batch engine is installed already; call shutdown() first")
        directory = state_dir / "batch"
        directory.mkdir(parents=True, exist_ok=True)
        lock = _lock(directory)
        try:
            owner = _owner(directory)
            _clean(directory, owner)
            limits = Limits(
                max_jobs=max_running_jobs or _JOBS_PER_CORE * (os.cpu_count() or 1),
                memory_mib=memory_mib or _machine_memory_mib(),
                stop_grace_seconds=stop_grace_seconds,
                list_jobs_lag_seconds=list_jobs_lag_seconds,
            )
            engine = Engine(choose(runner, directory, owner), limits, endpoint)
        except BaseException:
            lock.close()
            raise
        _installed = Installation(engine, lock)
        return _installed


def shutdown() -> None:
    """Kill every job, wait until all is gone, and give moto its own verbs back. Idempotent."""
    global _installed
    with _guard:
        installed, _installed = _installed, None
        if installed is not None:
            installed.remove()


def end_orphans(state_dir: Path) -> None:
    """Kill the jobs that an engine of this directory left; none if an engine of it lives."""
    directory = state_dir / "batch"
    if not (directory / "owner").is_file():
        return
    with contextlib.suppress(StateDirInUse), _lock(directory):
        _clean(directory, _owner(directory))


class Installation:
    """The engine in place. `description` says in one line how jobs run: show it."""

    def __init__(self, engine: Engine, lock: IO[str]) -> None:
        self.description = engine.description
        self.runner = engine.runner_name
        self._engine = engine
        self._lock = lock
        self._undo: list[Callable[[], None]] = []
        for name, verb in _verbs(engine).items():
            self._replace(BatchResponse, name, verb)
        self._replace(BatchBackend, "reset", _before(BatchBackend.reset, engine.discard))
        self._replace(BatchBackend, "delete_job_queue", _delete_job_queue(engine))
        self._replace(JobQueue, "describe", _describe_queue(JobQueue.describe))
        urls.url_paths.setdefault(_SNAPSHOT, BatchResponse.dispatch)
        for backend in list(batch_backends.iter_backends()):
            backend[2].__dict__.pop("urls", None)
        atexit.register(shutdown)
        self._handler = self._take_sigterm()

    def stop(self) -> None:
        """The same as `shutdown()`, for whoever holds this."""
        shutdown()

    def remove(self) -> None:
        self._engine.close()
        for undo in reversed(self._undo):
            undo()
        atexit.unregister(shutdown)
        if (
            self._handler is not None
            and threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGTERM) is self._handler
        ):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._lock.close()

    def _replace(self, owner: type, name: str, new: Any) -> None:
        old = owner.__dict__.get(name)

        def undo() -> None:
            if old is None:
                delattr(owner, name)
            else:
                setattr(owner, name, old)

        setattr(owner, name, new)
        self._undo.append(undo)

    def _take_sigterm(self) -> Callable[[int, Any], None] | None:
        """Where nobody else answers SIGTERM, kill the jobs before it ends this process."""
        if (
            threading.current_thread() is not threading.main_thread()
            or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        ):
            return None

        def handler(number: int, _: Any) -> None:
            self._engine.abandon()
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

        signal.signal(signal.SIGTERM, handler)
        return handler


def _verbs(engine: Engine) -> dict[str, Callable[[BatchResponse], str]]:
    def verb(
        operation: str, act: Callable[[BatchBackend, dict[str, Any], int], Any]
    ) -> Callable[[BatchResponse], str]:
        def respond(response: BatchResponse) -> str:
            body = response.body or "{}"
            size = len(body if isinstance(body, bytes) else body.encode())
            request = refusals.parse(operation, body)
            backend = batch_backends[response.current_account][response.region]
            return json.dumps(act(backend, request, size))

        return respond

    def register(backend: BatchBackend, request: dict[str, Any], size: int) -> dict[str, Any]:
        definition = definitions.register(backend, request, size)
        return {
            "jobDefinitionName": definition.name,
            "jobDefinitionArn": definition.arn,
            "revision": definition.revision,
        }

    def deregister(backend: BatchBackend, request: dict[str, Any], _: int) -> dict[str, Any]:
        definitions.deregister(backend, request["jobDefinition"])
        return {}

    return {
        "registerjobdefinition": verb("RegisterJobDefinition", register),
        "deregisterjobdefinition": verb("DeregisterJobDefinition", deregister),
        "describejobdefinitions": verb(
            "DescribeJobDefinitions",
            lambda backend, request, _: definitions.describe(backend, request),
        ),
        "submitjob": verb(
            "SubmitJob",
            lambda backend, request, size: submitting.submit(engine, backend, request, size),
        ),
        "describejobs": verb(
            "DescribeJobs", lambda backend, request, _: verbs.describe(engine, backend, request)
        ),
        "listjobs": verb(
            "ListJobs", lambda backend, request, _: verbs.list_jobs(engine, backend, request)
        ),
        "terminatejob": verb(
            "TerminateJob",
            lambda backend, request, _: verbs.stop(engine, backend, request, terminate=True),
        ),
        "canceljob": verb(
            "CancelJob",
            lambda backend, request, _: verbs.stop(engine, backend, request, terminate=False),
        ),
        "getjobqueuesnapshot": verb(
            "GetJobQueueSnapshot",
            lambda backend, request, _: verbs.snapshot(engine, backend, request),
        ),
        "createjobqueue": _queue_verb(
            BatchResponse.createjobqueue, "CreateJobQueue", "jobQueueName"
        ),
        "updatejobqueue": _queue_verb(BatchResponse.updatejobqueue, "UpdateJobQueue", "jobQueue"),
        "createschedulingpolicy": _policy_verb(
            BatchResponse.createschedulingpolicy, "CreateSchedulingPolicy"
        ),
        "updateschedulingpolicy": _policy_verb(
            BatchResponse.updateschedulingpolicy, "UpdateSchedulingPolicy"
        ),
        "updatecomputeenvironment": _updating_resources(BatchResponse.updatecomputeenvironment),
    }


def _queue_verb(
    original: Callable[[BatchResponse], str], operation: str, member: str
) -> Callable[[BatchResponse], str]:
    """moto's own, after what it does not check; it does not keep jobStateTimeLimitActions."""

    @functools.wraps(original)
    def respond(response: BatchResponse) -> str:
        request = refusals.parse(operation, response.body)
        backend = batch_backends[response.current_account][response.region]
        existing = backend.get_job_queue(request[member]) if operation.startswith("Up") else None
        queues.check_queue(backend, request, existing)
        answer = original(response)
        queue: Any = backend.get_job_queue(request[member])
        if queue is not None and "jobStateTimeLimitActions" in request:
            queue.job_state_time_limit_actions = request["jobStateTimeLimitActions"]
        return answer

    return respond


def _policy_verb(
    original: Callable[[BatchResponse], str], operation: str
) -> Callable[[BatchResponse], str]:
    @functools.wraps(original)
    def respond(response: BatchResponse) -> str:
        queues.check_policy(refusals.parse(operation, response.body))
        return original(response)

    return respond


def _updating_resources(original: Callable[[BatchResponse], str]) -> Callable[[BatchResponse], str]:
    @functools.wraps(original)
    def respond(response: BatchResponse) -> str:
        answer = original(response)
        request = json.loads(response.body or "{}")
        backend = batch_backends[response.current_account][response.region]
        environment = backend.get_compute_environment(request["computeEnvironment"])
        if environment is not None and request.get("computeResources"):
            environment.compute_resources = {
                **(environment.compute_resources or {}),
                **request["computeResources"],
            }
        return answer

    return respond


def _describe_queue(original: Callable[[JobQueue], dict[str, Any]]) -> Any:
    def describe(queue: JobQueue) -> dict[str, Any]:
        actions = getattr(queue, "job_state_time_limit_actions", None)
        answer = {**original(queue), "jobStateTimeLimitActions": actions or []}
        return {name: value for name, value in answer.items() if value is not None}

    return describe


def _before(original: Callable[..., None], act: Callable[[BatchBackend], None]) -> Any:
    @functools.wraps(original)
    def method(backend: BatchBackend) -> None:
        act(backend)
        original(backend)

    return method


def _delete_job_queue(engine: Engine) -> Any:
    original = BatchBackend.delete_job_queue

    @functools.wraps(original)
    def method(backend: BatchBackend, queue_name: str) -> None:
        queue = backend.get_job_queue(queue_name)
        original(backend, queue_name)
        if queue is not None:
            engine.queue_deleted(backend, queue.arn)

    return method


def _lock(directory: Path) -> IO[str]:
    lock = (directory / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise StateDirInUse(
            f"{directory} is held by another local AWS that runs; stop it or use another directory"
        ) from None
    return lock


def _owner(directory: Path) -> str:
    file = directory / "owner"
    try:
        owner = file.read_text().strip()
    except FileNotFoundError:
        owner = ""
    if not owner:
        owner = uuid.uuid4().hex
        file.write_text(owner + "\n")
    return owner


def _clean(directory: Path, owner: str) -> None:
    process.clean(directory, owner)
    docker.clean(owner)


def _machine_memory_mib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 20)
