"""Jobs as containers of a Docker engine, by its API: set up the way the ECS agent sets them up.

Host network, as Batch's single-container jobs on EC2 have it, so that a job reaches the AWS on
127.0.0.1. An image that is here is used as it is; one that is not is pulled. Containers carry a
label and a name with the engine's mark and are removed when they have ended, and by the next start
if this process was killed.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import docker  # type: ignore[import-untyped]
import docker.errors  # type: ignore[import-untyped]
import requests
from docker.utils import parse_repository_tag  # type: ignore[import-untyped]
from docker.utils.socket import frames_iter  # type: ignore[import-untyped]

from orchestrator.local_aws.batch.runners.base import (
    OUT_OF_MEMORY,
    CannotStart,
    Exit,
    Runner,
    RunningTask,
    Sink,
    Task,
)

LABEL = "local-aws-batch"
_DEFAULT_SOCKET = "unix:///var/run/docker.sock"
_ANSWER_SECONDS = 5
_CALL_SECONDS = 180  # ECS_CONTAINER_START_TIMEOUT
_LEAST_MEMORY_MIB = 6  # Docker's own; ECS raises what is below
_UNREACHABLE = (docker.errors.DockerException, requests.RequestException, OSError)


class EngineUnavailable(Exception):
    """No Docker engine answers."""


class DockerRunner(Runner):
    """Starts containers; knows which of them run."""

    name = "docker"

    def __init__(self, owner: str) -> None:
        """Raises EngineUnavailable."""
        self._connection, version = _connect()
        self._owner = owner
        self._running: dict[str, _Container] = {}
        self._closed = False
        self.description = f"jobs run in containers of Docker {version}"

    def start(self, task: Task) -> RunningTask:
        if self._closed:
            raise CannotStart("CannotStartContainerError: the local AWS is being stopped")
        client = self._client()
        container: _Container | None = None
        try:
            container = _Container(self, client, _create(client, task, self._owner))
            self._running[task.id] = container
            container.start()
        except BaseException:
            self._running.pop(task.id, None)
            if container is not None:
                container.remove()
            client.close()
            raise
        if self._closed:
            container.kill()
        return container

    def close(self) -> None:
        self._closed = True
        for container in tuple(self._running.values()):
            container.kill()

    def forget(self, container: _Container) -> None:
        for task_id, running in tuple(self._running.items()):
            if running is container:
                self._running.pop(task_id, None)

    def send(self, container_id: str, signal: str) -> None:
        """A signal to a container, which may have ended meanwhile."""
        with contextlib.suppress(*_UNREACHABLE), contextlib.closing(self._client()) as client:
            client.kill(container_id, signal=signal)

    def _client(self) -> docker.APIClient:
        return docker.APIClient(**self._connection, timeout=_CALL_SECONDS)


class _Container(RunningTask):
    """One container, attached to before it starts so that no output is missed."""

    def __init__(self, runner: DockerRunner, client: docker.APIClient, container_id: str) -> None:
        self._runner = runner
        self._client = client
        self._id = container_id
        self._output: Any = None

    def start(self) -> None:
        with _refusals("CannotStartContainerError", "started"):
            self._output = self._client.attach_socket(
                self._id, params={"stdout": 1, "stderr": 1, "stream": 1}
            )
            self._client.start(self._id)

    def wait(self, sink: Sink) -> Exit:
        try:
            with contextlib.suppress(*_UNREACHABLE):
                for _, data in frames_iter(self._output, tty=False):
                    sink(data, time.time_ns() // 1_000_000)
            self._client.wait(self._id, timeout=None)
            state: Mapping[str, Any] = self._client.inspect_container(self._id)["State"]
        except docker.errors.NotFound:
            return Exit(137, "CannotInspectContainerError: the container was removed by hand")
        finally:
            self.remove()
            self._runner.forget(self)
            self._client.close()
        reason = OUT_OF_MEMORY if state.get("OOMKilled") else str(state.get("Error") or "")
        return Exit(int(state["ExitCode"]), reason)

    def terminate(self) -> None:
        self._runner.send(self._id, "SIGTERM")

    def kill(self) -> None:
        self._runner.send(self._id, "SIGKILL")

    def remove(self) -> None:
        """Also one that was created and never started."""
        if self._output is not None:
            # The response owns the connection; docker's client ties it to the socket it gives out.
            self._output._response.close()
            self._output = None
        with contextlib.suppress(*_UNREACHABLE):
            self._client.remove_container(self._id, force=True, v=True)


def clean(owner: str) -> None:
    """Remove the containers that an engine which was itself killed left, created ones included."""
    try:
        connection, _ = _connect()
    except EngineUnavailable:
        return
    with contextlib.closing(docker.APIClient(**connection, timeout=_CALL_SECONDS)) as client:
        for container in client.containers(all=True, filters={"label": f"{LABEL}={owner}"}):
            with contextlib.suppress(*_UNREACHABLE):
                client.remove_container(container["Id"], force=True, v=True)


def _connect() -> tuple[dict[str, Any], str]:
    """How to reach the engine, and its version."""
    candidates = [docker.utils.kwargs_from_env()]
    if not os.environ.get("DOCKER_HOST"):
        rootless = Path(os.environ.get("XDG_RUNTIME_DIR") or "/nonexistent") / "docker.sock"
        if rootless.exists():
            candidates.append({"base_url": f"unix://{rootless}"})
    problem = ""
    for connection in candidates:
        try:
            _knock(connection.get("base_url") or _DEFAULT_SOCKET)
            client = docker.APIClient(**connection, version="auto", timeout=_ANSWER_SECONDS)
        except _UNREACHABLE as error:
            problem = problem or _first_line(error)
            continue
        with contextlib.closing(client):
            try:
                version = client.version()
            except _UNREACHABLE as error:
                problem = problem or _first_line(error)
                continue
        return {**connection, "version": client.api_version}, str(version.get("Version", ""))
    raise EngineUnavailable(problem or "no connection")


def _knock(address: str) -> None:
    """Raise OSError where nobody listens: docker's client leaks its socket then."""
    if address.startswith("unix://"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
            knock.settimeout(_ANSWER_SECONDS)
            knock.connect("/" + address.removeprefix("unix://").lstrip("/"))


def _first_line(error: Exception) -> str:
    root: BaseException = error
    while isinstance(inner := root.__cause__ or root.__context__, OSError):
        root = inner
    return (getattr(root, "strerror", None) or str(root) or type(root).__name__).splitlines()[0]


@contextlib.contextmanager
def _refusals(kind: str, state: str) -> Iterator[None]:
    """The engine's errors in the ECS agent's words."""
    try:
        yield
    except docker.errors.APIError as error:
        text = error.explanation or str(error)
        raise CannotStart(f"{kind}: Error response from daemon: {text}") from None
    except requests.Timeout:
        raise CannotStart(
            f"DockerTimeoutError: Could not transition to {state}; timed out after waiting "
            f"{_CALL_SECONDS // 60}m0s"
        ) from None
    except _UNREACHABLE as error:
        raise CannotStart(
            f"{kind}: Cannot connect to the Docker daemon: {_first_line(error)}"
        ) from None


def _create(client: docker.APIClient, task: Task, owner: str) -> str:
    name = f"batch-{owner[:8]}-{task.id}"
    config = _config(task, owner)
    with _refusals("CannotCreateContainerError", "created"):
        try:
            return str(client.create_container_from_config(config, name)["Id"])
        except docker.errors.ImageNotFound:
            _pull(client, task.image)
        return str(client.create_container_from_config(config, name)["Id"])


def _pull(client: docker.APIClient, image: str) -> None:
    repository, tag = parse_repository_tag(image)
    with _refusals("CannotPullContainerError", "pulled"):
        for line in client.pull(repository, tag=tag or "latest", stream=True, decode=True):
            if "error" in line:
                raise CannotStart(
                    f"CannotPullContainerError: Error response from daemon: {line['error']}"
                )


def _config(task: Task, owner: str) -> dict[str, Any]:
    """The engine's container configuration, as the ECS agent derives it from a task definition."""
    properties = task.properties
    linux = properties.get("linuxParameters") or {}
    memory = max(task.memory_mib, _LEAST_MEMORY_MIB) << 20
    host: dict[str, Any] = {
        "NetworkMode": "host",
        "LogConfig": {"Type": "none"},
        "CpuShares": int(task.vcpus * 1024),
        "Memory": memory,
        "MemorySwap": memory + (int(linux.get("maxSwap") or 0) << 20),
        "Privileged": bool(properties.get("privileged")),
        "ReadonlyRootfs": bool(properties.get("readonlyRootFilesystem")),
        "Init": bool(linux.get("initProcessEnabled")),
        "Binds": [],
        "Ulimits": [
            {"Name": limit["name"], "Soft": limit["softLimit"], "Hard": limit["hardLimit"]}
            for limit in properties.get("ulimits") or []
        ],
        "Devices": [
            {
                "PathOnHost": device["hostPath"],
                "PathInContainer": device.get("containerPath") or device["hostPath"],
                "CgroupPermissions": "".join(
                    permission[0].lower()
                    for permission in device.get("permissions") or ("READ", "WRITE", "MKNOD")
                ),
            }
            for device in linux.get("devices") or []
        ],
        "Tmpfs": {
            tmpfs["containerPath"]: ",".join(
                [f"size={tmpfs['size']}m", *(tmpfs.get("mountOptions") or [])]
            )
            for tmpfs in linux.get("tmpfs") or []
        },
    }
    if linux.get("sharedMemorySize"):
        host["ShmSize"] = int(linux["sharedMemorySize"]) << 20
    if linux.get("swappiness") is not None and linux.get("maxSwap") is not None:
        host["MemorySwappiness"] = int(linux["swappiness"])
    if task.gpus:
        host["DeviceRequests"] = [
            {"Driver": "nvidia", "Count": task.gpus, "Capabilities": [["gpu"]]}
        ]
    sources = {
        volume["name"]: (volume.get("host") or {}).get("sourcePath")
        for volume in properties.get("volumes") or []
    }
    volumes: dict[str, dict[str, str]] = {}
    for mount in properties.get("mountPoints") or []:
        source, path = sources.get(mount["sourceVolume"]), mount["containerPath"]
        if source:
            host["Binds"].append(f"{source}:{path}" + (":ro" if mount.get("readOnly") else ""))
        else:
            volumes[path] = {}  # the engine's own, gone with the container
    config: dict[str, Any] = {
        "Image": task.image,
        "Env": [f"{name}={value}" for name, value in task.environment.items()],
        "Labels": {LABEL: owner, f"{LABEL}-job": task.job_id},
        "Volumes": volumes,
        "HostConfig": host,
    }
    if task.command:
        config["Cmd"] = list(task.command)
    if properties.get("user"):
        config["User"] = properties["user"]
    return config
