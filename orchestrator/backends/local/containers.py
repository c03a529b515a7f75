"""Containers: which engine answers, and what goes before a command so that it runs in one."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orchestrator.model.failures import Failure, FailureCode
from orchestrator.model.job import JobSpec, Shape

Choice = Literal["auto", "docker", "podman", "none"]

_ANSWER_SECONDS = 20
SCRIPT = Path(__file__).with_name("container.sh")


@dataclass(frozen=True, slots=True)
class Engine:
    """`docker` or `podman`. `rootless`: this user is root in its containers."""

    program: str
    rootless: bool

    @property
    def is_podman(self) -> bool:
        """Whether it takes podman's options."""
        return Path(self.program).name == "podman"

    def launcher(
        self,
        job: JobSpec,
        shape: Shape,
        *,
        name: str,
        verdict: Path,
        cores: float,
        memory_mib: int,
        grace_seconds: int,
    ) -> tuple[str, ...]:
        """What the wrapper puts before the command's shell.

        Only the attempt's own directory is there, at its own path; the command runs as the caller,
        with the image's entry point put aside, as Cromwell runs it.
        """
        attempt_dir = str(Path(job.work_dir.path).parent)
        arguments = [
            "--workdir", job.work_dir.path,
            "--entrypoint", "",
            "--env", "HOME", "--env", "TMPDIR",
            "--memory", f"{memory_mib}m",
            "--cpus", f"{cores:g}",
            "--stop-timeout", str(grace_seconds),
            "--mount", _mount(attempt_dir),
            "--log-driver", "none",
        ]  # fmt: skip
        if self.is_podman:
            arguments += ["--userns", "keep-id"] if self.rootless else []
        else:
            # Swap besides would let a job take twice what it was given. (Podman does as it likes.)
            arguments += ["--memory-swap", f"{memory_mib}m", "--init"]
        user = "0:0" if self.rootless and not self.is_podman else f"{os.getuid()}:{os.getgid()}"
        arguments += ["--user", user]
        if shape.shared_memory_mib:
            arguments += ["--shm-size", f"{shape.shared_memory_mib}m"]
        for limit, soft, hard in shape.ulimits:
            arguments += ["--ulimit", f"{limit}={soft}:{hard}"]
        for path in shape.mounts:  # a new directory of Docker's, removed with the container
            arguments += ["--volume", path]
        if shape.gpu_count:
            arguments += ["--gpus", str(shape.gpu_count)]
        script = ("/bin/sh", str(SCRIPT), self.program, name, str(verdict))
        return (*script, *arguments, shape.image)

    def stop(self, name: str, grace_seconds: int) -> tuple[str, ...]:
        """What ends the container early, kindly at first."""
        return (self.program, "stop", "--time", str(grace_seconds), name)


def removal(program: str, name: str) -> tuple[str, ...]:
    """What ends and removes a container whose client was killed, by the engine's program.

    Several times: the engine may still be making it, and goes on although nobody waits.
    """
    script = 'for pause in 0 1 2 4; do sleep "$pause"; "$0" rm --force --volumes "$1"; done'
    return ("/bin/sh", "-c", script, program, name)


def find(choice: Choice) -> Engine | None:
    """The engine that answers: for `auto` docker, else podman. None: none does, or none is wanted.

    Costs a call of the engine's command; ask once.
    """
    for program in ("docker", "podman") if choice == "auto" else (choice,):
        path = shutil.which(program) if program != "none" else None
        engine = _answering(path) if path else None
        if engine is not None:
            return engine
    return None


def _answering(program: str) -> Engine | None:
    try:
        answer = subprocess.run(
            [program, "info", "--format", "{{json .}}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ANSWER_SECONDS,
            check=False,
        )
        info = json.loads(answer.stdout) if answer.returncode == 0 else None
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return None
    if not isinstance(info, dict) or info.get("ServerErrors"):
        return None
    if Path(program).name == "podman":
        security = info.get("host", {}).get("security", {})
        return Engine(program, bool(security.get("rootless")))
    if not info.get("ServerVersion"):
        return None
    return Engine(program, any("rootless" in o for o in info.get("SecurityOptions") or ()))


def verdict_failure(verdict: Path, image: str, memory_mib: int, tail: str) -> Failure | None:
    """The failure that the engine's verdict stands for."""
    try:
        word = verdict.read_text().strip()
    except OSError:
        return None
    lines = [line for line in tail.splitlines() if "run --help" not in line]
    said = f": {' '.join(' '.join(lines).split())[-500:]}" if lines else ""
    if word == "oom":
        return Failure(
            FailureCode.OUT_OF_MEMORY,
            f"the container was killed: it took more than its {memory_mib} MiB of memory",
        )
    if word == "unstarted":
        return Failure(
            FailureCode.CONTAINER_START_FAILED, f"image {image!r} cannot run /bin/sh{said}"
        )
    if word == "absent":
        pulling = any(w in tail for w in ("pull", "manifest", "registry", "Unable to find image"))
        code = FailureCode.IMAGE_PULL_FAILED if pulling else FailureCode.CONTAINER_START_FAILED
        return Failure(
            code,
            f"no container of image {image!r} could be made{said} "
            "(--no-containers runs commands here instead)",
        )
    return None


def _mount(path: str) -> str:
    """`--mount` takes one line of CSV; `--volume` could not carry a colon."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(["type=bind", f"source={path}", f"target={path}"])
    return line.getvalue()
