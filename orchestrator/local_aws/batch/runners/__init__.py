"""What runs an attempt, behind the port in `base.py`: one of `KINDS`; `choose` picks it."""

from __future__ import annotations

from pathlib import Path

from orchestrator.local_aws.batch.runners.base import Runner
from orchestrator.local_aws.batch.runners.docker import DockerRunner, EngineUnavailable
from orchestrator.local_aws.batch.runners.instant import InstantRunner
from orchestrator.local_aws.batch.runners.process import ProcessRunner

KINDS = ("auto", "docker", "process", "instant")


def choose(kind: str, state_dir: Path, owner: str) -> Runner:
    """The runner of a kind; `auto` takes containers where a Docker engine answers.

    `owner` marks what this engine starts, so that a later one finds what was left over.
    Raises EngineUnavailable for `docker` without an engine, ValueError for an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"runner is {kind!r}; expected one of {', '.join(KINDS)}")
    if kind == "instant":
        return InstantRunner()
    if kind == "process":
        return ProcessRunner(state_dir, owner, "jobs run as plain processes, as asked")
    try:
        return DockerRunner(owner)
    except EngineUnavailable as error:
        if kind == "docker":
            raise
        return ProcessRunner(
            state_dir, owner, f"jobs run as plain processes: no Docker engine answers ({error})"
        )
