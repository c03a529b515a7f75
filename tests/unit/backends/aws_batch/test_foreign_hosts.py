"""Jobs on hosts that have the AWS CLI and nothing of ours, in real containers.

The CLI's place is taken by a program with the two things that jobs use of it: the directory in
which Cromwell's launch template installs it, and `s3 cp --recursive`. It is as strict as can be
about how it is called, and runs on the image's shell, as the real one runs on the image's libc.
"""

from __future__ import annotations

import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from orchestrator import errors
from orchestrator.backends.aws_batch import AwsBatchBackend
from orchestrator.backends.aws_batch.foreign_hosts import Tools
from orchestrator.model.failures import FailureCode
from orchestrator.model.job import InputFile, OutputPlan, Shape
from tests import batch_cloud, containers
from tests.batch_cloud import S5CMD, Cloud, backend_on
from tests.containers import BUSYBOX

from .conftest import collect, submission
from .test_in_containers import image

__all__ = ["image"]

CLI = """#!/bin/sh
here=${0%/v2/current/bin/aws}
echo "$*" >>"$here/calls/called"
[ ! -e "$here/calls/fail-$(grep -c . "$here/calls/called")" ] || exit 1
[ "$1 $2 $3 $4 $5" = "s3 cp --recursive --only-show-errors --endpoint-url" ] || exit 252
[ "$#" = 8 ] || exit 252
case $7 in s3://*/) ;; *) exit 252 ;; esac
S3_ENDPOINT_URL=$6 exec "$here/s5cmd" --log error cp "$7*" "$8"
"""


class Host:
    """What a host of Cromwell's launch template has, and where the tools lie on our machine."""

    def __init__(self, cloud: Cloud, directory: Path) -> None:
        self.cloud = cloud
        self.cli = directory / "aws-cli"
        program = self.cli / "v2/current/bin/aws"
        program.parent.mkdir(parents=True)
        program.write_text(CLI)
        program.chmod(0o755)
        shutil.copy(S5CMD, self.cli / "s5cmd")
        (self.cli / "calls").mkdir()
        self.tools = directory / "ours"
        (self.tools / "x86_64").mkdir(parents=True)
        shutil.copy(BUSYBOX, self.tools / "x86_64/busybox")
        shutil.copy(S5CMD, self.tools / "x86_64/s5cmd")

    def calls(self) -> list[str]:
        try:
            return (self.cli / "calls/called").read_text().splitlines()
        except FileNotFoundError:
            return []


@pytest.fixture(scope="module")
def container_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    if reason := containers.why_not():
        pytest.skip(reason)
    base = tmp_path_factory.mktemp("foreign")
    with batch_cloud.running(base, "docker") as cloud:
        shutil.rmtree(cloud.deployment.tools_path)  # nothing of ours is on these hosts
        yield cloud


@pytest.fixture
def host(container_cloud: Cloud) -> Host:
    directory = container_cloud.scratch.parent / uuid.uuid4().hex
    directory.mkdir()
    return Host(container_cloud, directory)


@pytest.fixture
def backend(container_cloud: Cloud, host: Host) -> Iterator[AwsBatchBackend]:
    backend = backend_on(container_cloud, tools_directory=host.tools, cli_path=str(host.cli))
    yield backend
    backend.close()


# Of the image, before our tools are there; the last two are the CLI stand-in's.
APPLETS = ("sh", "mkdir", "chmod", "ln", "rm", "sleep", "cat", "echo", "grep")


@pytest.mark.docker
def test_jobs_bring_their_tools_once_an_attempt_and_leave_nothing(
    container_cloud: Cloud, host: Host, backend: AwsBatchBackend, image: Callable[..., str]
) -> None:
    # The calls of the CLI are counted in a directory that jobs can write.
    calls = host.cli / "calls"
    calls.chmod(0o777)
    etag = container_cloud.put("s3://root-bucket/in/reads", b"ACGT")
    shape = Shape(
        image=image(*APPLETS), cpu=1, memory_mib=128,
        mounts=(str(calls),), shared_mounts=(str(calls),),
    )  # fmt: skip
    job = submission(
        backend,
        "cat {dir}/inputs/reads >out.txt; command -v s5cmd || echo none",
        "cat {dir}/inputs/reads >out.txt; exit 3",
        inputs=[InputFile("s3://root-bucket/in/reads", "{dir}/inputs/reads", size=4, etag=etag)],
        outputs=OutputPlan(files=("out.txt",)),
        shape=shape,
    )
    backend.submit(job)
    changes = {change.index: change for change in collect(backend, 2)}
    for index, code in ((0, 0), (1, 3)):
        manifest = changes[index].manifest
        assert manifest is not None, changes[index].failure
        assert manifest.return_code == code
        assert container_cloud.get(manifest.files["out.txt"].uri) == b"ACGT"
    assert container_cloud.get(job.jobs[0].work_dir.stdout) == b"none\n"
    assert not list(container_cloud.scratch.iterdir())
    assert len(host.calls()) == 2, host.calls()


@pytest.mark.docker
def test_a_failing_cli_is_called_again(
    container_cloud: Cloud, host: Host, backend: AwsBatchBackend, image: Callable[..., str]
) -> None:
    calls = host.cli / "calls"
    calls.chmod(0o777)
    (calls / "fail-1").touch()
    shape = Shape(
        image=image(*APPLETS), memory_mib=64, mounts=(str(calls),), shared_mounts=(str(calls),)
    )
    backend.submit(submission(backend, "true", shape=shape))
    [change] = collect(backend, 1)
    assert change.failure is None
    assert len(host.calls()) == 2


@pytest.mark.docker
@pytest.mark.parametrize("what", ["missing", "foreign program", "disk not open"])
def test_a_host_without_what_is_needed_is_tools_missing_and_says_what_to_do(
    container_cloud: Cloud,
    host: Host,
    backend: AwsBatchBackend,
    image: Callable[..., str],
    what: str,
) -> None:
    program = host.cli / "v2/current/bin/aws"
    made = image(*APPLETS, change="USER 1234")
    if what == "missing":
        shutil.rmtree(host.cli)
    elif what == "foreign program":  # as a glibc program in an image with musl
        program.write_bytes(b"#!/lib64/ld-linux-x86-64.so.2\n")
    else:
        container_cloud.scratch.chmod(0o755)
    backend.submit(submission(backend, "true", shape=Shape(image=made, memory_mib=64)))
    try:
        [change] = collect(backend, 1)
    finally:
        container_cloud.scratch.chmod(0o1777)
    assert change.manifest is None
    assert change.failure is not None
    assert change.failure.code is FailureCode.TOOLS_MISSING
    assert "tools-directory" in change.failure.message
    assert not list(container_cloud.scratch.iterdir())


@pytest.mark.docker
def test_tools_that_somebody_replaced_do_not_run(
    container_cloud: Cloud, host: Host, backend: AwsBatchBackend, image: Callable[..., str]
) -> None:
    shape = Shape(image=image(*APPLETS, "sha256sum"), memory_mib=64)
    backend.submit(submission(backend, "true", shape=shape))
    [change] = collect(backend, 1)
    assert change.failure is None
    for key in container_cloud.keys("s3://root-bucket/scratch/tools"):
        if key.endswith("busybox"):
            container_cloud.put(f"s3://root-bucket/{key}", b"#!/bin/sh\nexit 0\n")
    backend.submit(submission(backend, "true", shape=shape))
    [change] = collect(backend, 1)
    assert change.failure is not None
    assert change.manifest is None
    assert "the wrapper that it was submitted with" in change.failure.message
    assert not list(container_cloud.scratch.iterdir())


@pytest.mark.docker
def test_a_job_that_is_cancelled_while_its_tools_come_leaves_at_once(
    container_cloud: Cloud, host: Host, backend: AwsBatchBackend, image: Callable[..., str]
) -> None:
    program = host.cli / "v2/current/bin/aws"
    program.write_text("#!/bin/sh\nsleep 600\n")
    shape = Shape(image=image(*APPLETS), memory_mib=64)
    job = submission(backend, "true", shape=shape)
    backend.submit(job)
    collect(backend, 1, until=lambda change: change.state.name == "RUNNING")
    deadline = time.monotonic() + 30
    while not list(container_cloud.scratch.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    backend.cancel([(job.handle, [0])])
    [change] = collect(backend, 1, seconds=20)
    assert change.failure is not None
    assert change.failure.code is FailureCode.ABORTED
    assert not list(container_cloud.scratch.iterdir())


# --- without containers


class S3:
    def __init__(self) -> None:
        self.puts: dict[str, bytes] = {}
        self.count = 0

    def put_object(self, Bucket: str, Key: str, Body: bytes) -> None:
        self.count += 1
        self.puts[f"{Bucket}/{Key}"] = Body


def test_tools_are_put_once_for_each_architecture_and_again_before_they_expire(
    tmp_path: Path,
) -> None:
    for architecture in ("x86_64", "arm64"):
        (tmp_path / architecture).mkdir()
        for name in ("busybox", "s5cmd"):
            (tmp_path / architecture / name).write_text(f"{name} of {architecture}")
    s3, now = S3(), [0.0]
    tools = Tools(lambda: cast(Any, s3), "s3://b/scratch/", tmp_path, clock=lambda: now[0])
    x86 = tools.environment("x86_64")
    assert tools.environment("x86_64") == x86
    arm = tools.environment("arm64")
    assert s3.count == 4
    assert arm["ORCHESTRATOR_TOOLS"] != x86["ORCHESTRATOR_TOOLS"]
    uri = x86["ORCHESTRATOR_TOOLS"].removeprefix("s3://")
    assert s3.puts[f"{uri}/busybox"] == b"busybox of x86_64"
    now[0] = 7 * 3600.0
    assert tools.environment("x86_64") == x86
    assert s3.count == 6


def test_tools_that_are_not_there_are_named_with_where_to_get_them(tmp_path: Path) -> None:
    tools = Tools(lambda: cast(Any, S3()), "s3://b/scratch", tmp_path)
    with pytest.raises(errors.BackendUnavailable) as raised:
        tools.environment("arm64")
    assert str(tmp_path / "arm64") in raised.value.message
    assert "stacks.assets.fetch" in raised.value.hint


def test_the_scripts_are_posix_shell() -> None:
    from orchestrator.backends.aws_batch import foreign_hosts

    text = foreign_hosts._FETCH.encode()
    for shell in (["dash", "-n"], ["bash", "-n"], [str(BUSYBOX), "sh", "-n"]):
        if shutil.which(shell[0]):
            subprocess.run(shell, input=text, check=True)
