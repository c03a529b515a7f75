"""Jobs in containers of images that have next to nothing: the wrapper brings its own tools."""

from __future__ import annotations

import io
import subprocess
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from orchestrator.backends.aws_batch import AwsBatchBackend
from orchestrator.model.failures import FailureCode
from orchestrator.model.job import InputFile, OutputPlan, Shape
from tests import batch_cloud, containers
from tests.batch_cloud import Cloud, backend_on
from tests.containers import BUSYBOX

from .conftest import collect, submission

pytestmark = pytest.mark.docker

APPLETS = ("sh", "cat", "echo", "head", "id", "ls", "sleep", "tail", "touch")


def docker(*arguments: str, data: bytes | None = None) -> bytes:
    run = subprocess.run(["docker", *arguments], input=data, capture_output=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def container_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    if reason := containers.why_not():
        pytest.skip(reason)
    with batch_cloud.running(tmp_path_factory.mktemp("containers"), "docker") as cloud:
        yield cloud


@pytest.fixture
def contained(container_cloud: Cloud) -> Iterator[AwsBatchBackend]:
    backend = backend_on(container_cloud)
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def image(container_cloud: Cloud) -> Iterator[Callable[..., str]]:
    made: list[str] = []

    def make(*applets: str, change: str = "ENV work=/mine") -> str:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            if applets:
                tar.add(BUSYBOX, "bin/busybox")
            for applet in applets:
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
            for directory in ("tmp", "proc", "sys", "dev", "etc"):
                entry = tarfile.TarInfo(directory)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
                tar.addfile(entry)
        name = f"wrapper-test:{uuid.uuid4().hex}"
        docker("import", "--change", change, "-", name, data=archive.getvalue())
        made.append(name)
        return name

    yield make
    for name in made:
        subprocess.run(["docker", "rmi", "-f", name], capture_output=True, timeout=60)


def test_an_image_without_bash_and_tools(
    container_cloud: Cloud, contained: AwsBatchBackend, image: Callable[..., str]
) -> None:
    etag = container_cloud.put("s3://root-bucket/in/a b", b"ACGT")
    job = submission(
        contained,
        "cat '{dir}/inputs/a b'; echo $work $0 >&2; echo x > 'out 1.txt'; echo y > out2.txt",
        inputs=[InputFile("s3://root-bucket/in/a b", "{dir}/inputs/a b", size=4, etag=etag)],
        outputs=OutputPlan(globs=("*.txt",)),
        shape=Shape(image=image(*APPLETS), cpu=1, memory_mib=128),
    )
    job_id = contained.submit(job)
    [change] = collect(contained, 1)
    assert change.failure is None
    assert change.manifest is not None
    assert change.manifest.globs["*.txt"] == ("out 1.txt", "out2.txt")
    assert change.manifest.files["out 1.txt"].etag is not None
    assert change.manifest.peak_memory_bytes is not None
    assert container_cloud.get(job.jobs[0].work_dir.stdout) == b"ACGT"
    assert change.manifest.stderr_tail.startswith("/mine ")
    handle = replace(job.handle, job_id=job_id)
    assert "".join(contained.logs(handle, 0)).startswith(("ACGT", "/mine"))
    assert not list(container_cloud.scratch.iterdir())


def test_an_image_with_nothing_at_all(
    container_cloud: Cloud, contained: AwsBatchBackend, image: Callable[..., str]
) -> None:
    job = submission(
        contained,
        "echo bare; exit 3",
        shape=Shape(image=image(), cpu=1, memory_mib=64),
    )
    contained.submit(job)
    [change] = collect(contained, 1)
    assert change.manifest is not None, change.failure
    assert change.manifest.return_code == 3
    assert container_cloud.get(job.jobs[0].work_dir.stdout) == b"bare\n"


def test_an_image_with_a_user_of_its_own(
    container_cloud: Cloud, contained: AwsBatchBackend, image: Callable[..., str]
) -> None:
    job = submission(
        contained,
        "id -u; mkdir -p locked/in; chmod 500 locked; touch $TMPDIR/t",
        outputs=OutputPlan(reads=()),
        shape=Shape(image=image(*APPLETS, "mkdir", "chmod", change="USER 1234"), memory_mib=64),
    )
    contained.submit(job)
    [change] = collect(contained, 1)
    assert change.manifest is not None, change.failure
    assert container_cloud.get(job.jobs[0].work_dir.stdout) == b"1234\n"
    assert not list(container_cloud.scratch.iterdir())


def test_a_command_over_its_memory_is_out_of_memory(
    contained: AwsBatchBackend, image: Callable[..., str]
) -> None:
    job = submission(
        contained,
        "head -c 300000000 /dev/zero | tail",
        shape=Shape(image=image(*APPLETS), cpu=1, memory_mib=64),
    )
    contained.submit(job)
    [change] = collect(contained, 1)
    assert change.failure is not None
    assert change.failure.code is FailureCode.OUT_OF_MEMORY


def test_cancelling_stops_the_container_and_keeps_its_streams(
    container_cloud: Cloud, contained: AwsBatchBackend, image: Callable[..., str]
) -> None:
    job = submission(
        contained,
        "echo begun; touch {dir}/on; sleep 600",
        "echo begun; touch {dir}/on; sleep 600",
        shape=Shape(image=image(*APPLETS), cpu=1, memory_mib=64),
    )
    contained.submit(job)
    deadline = time.monotonic() + 60
    while len(list(container_cloud.scratch.glob("*/on"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    begun = time.monotonic()
    contained.cancel([(job.handle, [0, 1])])
    changes = collect(contained, 2)
    assert time.monotonic() - begun < 20
    assert all(c.failure and c.failure.code is FailureCode.ABORTED for c in changes)
    assert container_cloud.get(job.jobs[1].work_dir.stdout) == b"begun\n"
    assert not list(container_cloud.scratch.iterdir())


def test_an_image_that_is_not_there(contained: AwsBatchBackend) -> None:
    job = submission(contained, "true", shape=Shape(image="no-such-image:ever", memory_mib=64))
    contained.submit(job)
    [change] = collect(contained, 1)
    assert change.failure is not None
    assert change.failure.code is FailureCode.IMAGE_PULL_FAILED
