"""The whole program, as its users start it: subprocesses, real files, AWS on this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import boto3
import pytest

from orchestrator import deployment
from orchestrator.local_aws import process
from stacks.lifecycle import local

ROOT = Path(__file__).resolve().parents[2]
ORCHESTRATOR_KEY = "local-aws-orchestrator"
ORCHESTRATOR = Path(sys.executable).with_name("orchestrator")


@dataclass(frozen=True)
class Finished:
    """What a command did."""

    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


@dataclass(frozen=True)
class Program:
    """`orchestrator` in a folder of its own; `where` are the options that choose a backend.

    `image` is one that jobs can run in without any registry.
    """

    folder: Path
    where: tuple[str, ...]
    image: str = "debian:12"

    def command(self, *arguments: str) -> list[str]:
        return [str(ORCHESTRATOR), *arguments, *self.where]

    def __call__(self, *arguments: str, timeout: float = 120) -> Finished:
        return run(
            self.command(*arguments), cwd=self.folder, timeout=timeout, variables=self.variables
        )

    @property
    def variables(self) -> dict[str, str]:
        """By its key the AWS of this machine tells it from jobs and from bootstrap."""
        if "--environment" not in self.where:
            return {}
        return {"AWS_ACCESS_KEY_ID": ORCHESTRATOR_KEY, "AWS_SECRET_ACCESS_KEY": "local"}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """In the background, in a session of its own."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env={**os.environ, **self.variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def write(self, name: str, text: str) -> str:
        """A file in the folder; its path."""
        path = self.folder / name
        path.write_text(text)
        return str(path)


@dataclass(frozen=True)
class Environment:
    """AWS on this machine with the stacks deployed."""

    home: Path
    aws: process.LocalAws
    bootstrap: Finished
    contract: deployment.Deployment

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.aws.endpoint,
            region_name=self.contract.region,
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )

    def jobs(self, root_id: str) -> list[dict[str, Any]]:
        """Every Batch job (arrays by their parent) of a workflow, described."""
        batch = self.client("batch")
        found = []
        for queue in self.contract.queues:
            for status in ("RUNNABLE", "STARTING", "RUNNING", "PENDING", "SUCCEEDED", "FAILED"):
                for page in batch.get_paginator("list_jobs").paginate(
                    jobQueue=queue.arn, jobStatus=status
                ):
                    found += [job["jobId"] for job in page["jobSummaryList"]]
        described: list[dict[str, Any]] = []
        for start in range(0, len(found), 100):
            described += batch.describe_jobs(jobs=found[start : start + 100])["jobs"]
        return [job for job in described if root_id in job.get("tags", {}).values()]

    def keys(self, prefix: str) -> list[str]:
        """Keys of the deployed bucket below `<root>/<prefix>`, without that."""
        bucket, _, root = self.contract.root.removeprefix("s3://").partition("/")
        base = f"{root}/{prefix}".strip("/") + "/"
        pages = (
            self.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=base)
        )
        return [
            item["Key"].removeprefix(base) for page in pages for item in page.get("Contents", ())
        ]


def run(
    command: list[str],
    *,
    cwd: Path,
    timeout: float = 300,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Finished:
    """Run a command to its end, without a terminal and without anything on stdin."""
    began = time.monotonic()
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


def bootstrap(home: Path, *arguments: str) -> Finished:
    """`./bootstrap --local` with all its state in `home`."""
    return run(
        [str(ROOT / "bootstrap"), "--local", "--home", str(home), *arguments], cwd=ROOT, timeout=280
    )


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL: no chance to clean up anything."""
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def eventually(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The condition's first true value; fails when the time is up."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)
    return value


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """Deployed once; the tests of this folder run in one process (xdist_group)."""
    home = tmp_path_factory.mktemp("environment")
    done = bootstrap(home)
    try:
        assert done.code == 0, done.stderr[-5000:]
        yield _deployed(home, done)
    finally:
        destroyed = bootstrap(home, "--destroy")
    assert destroyed.code == 0, destroyed.stderr
    shutil.rmtree(home)


def _deployed(home: Path, done: Finished) -> Environment:
    aws = process.status(home / ".local-aws")
    assert aws is not None
    ssm = boto3.client(
        "ssm",
        endpoint_url=aws.endpoint,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
    return Environment(home, aws, done, deployment.read(ssm, "local"))


@pytest.fixture
def on_aws(environment: Environment, tmp_path: Path) -> Program:
    """`orchestrator ... --environment local`."""
    folder = environment.home / "work" / tmp_path.name
    folder.mkdir(parents=True)
    docker = environment.aws.jobs == "docker"
    image = local.image(environment.home) if docker else "debian:12"
    return Program(folder, ("--environment", "local"), image)


@pytest.fixture
def on_laptop(tmp_path: Path) -> Program:
    """`orchestrator` with no configuration at all: this machine, SQLite."""
    return Program(tmp_path, ())


@pytest.fixture(params=["laptop", "aws"])
def program(request: pytest.FixtureRequest) -> Program:
    """Both backends, one after the other."""
    chosen: Program = request.getfixturevalue(f"on_{request.param}")
    return chosen
