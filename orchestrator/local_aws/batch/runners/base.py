"""The port between a job's attempt and what runs it: a process of this machine, or a container."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

Sink = Callable[[bytes, int], None]
"""Takes what the task wrote and when (milliseconds since the epoch), as soon as it is read."""

OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"


class CannotStart(Exception):
    """The container could not be started. The text is the reason as the ECS agent words it."""


@dataclass(frozen=True, slots=True)
class Task:
    """One attempt, ready to run.

    `id` names the attempt (an ECS task id: 32 hex digits). `properties` are the job definition's
    containerProperties, for what only a container can honour (mounts, ulimits, devices ...).
    """

    id: str
    job_id: str
    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    vcpus: float
    memory_mib: int
    gpus: int
    properties: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Exit:
    """How a task ended. `reason` is the container's, as the ECS agent words it; mostly empty."""

    code: int
    reason: str = ""


class RunningTask(Protocol):
    """A task that was started. `terminate` and `kill` may be called from any thread, any time."""

    def wait(self, sink: Sink) -> Exit:
        """Pass on the output until the task ends; then nothing of it is left. Called once."""

    def terminate(self) -> None:
        """SIGTERM, as `docker stop` sends it."""

    def kill(self) -> None:
        """SIGKILL to all of it."""


class Runner(Protocol):
    """Runs tasks. One engine, one runner."""

    name: str
    description: str  # which runner and why, in one line

    def start(self, task: Task) -> RunningTask:
        """Raises CannotStart."""

    def close(self) -> None:
        """Kill what runs and start nothing any more. Takes no lock: safe in a signal handler."""
