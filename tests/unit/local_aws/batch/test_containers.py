"""Jobs as containers of a Docker engine."""

from __future__ import annotations

import io
import shutil
import tarfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker  # type: ignore[import-untyped]
import pytest

from orchestrator.local_aws import batch
from orchestrator.local_aws.batch.runners import docker as docker_runner
from tests.unit.local_aws.batch.conftest import Cloud, until

pytestmark = pytest.mark.docker

APPLETS = (
    "sh",
    "echo",
    "env",
    "sleep",
    "cat",
    "touch",
    "id",
    "df",
    "dd",
    "ls",
    "mount",
    "head",
    "tail",
)


def _busybox() -> Path:
    for path in (Path("/bin/busybox"), Path("/usr/bin/busybox")):
        if path.exists():
            return path
    pytest.skip("no static busybox here (Debian: busybox-static)")


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    try:
        connection, _ = docker_runner._connect()
    except batch.EngineUnavailable as error:
        pytest.skip(f"no Docker engine answers: {error}")
    client = docker.APIClient(**connection, timeout=60)
    yield client
    client.close()


@pytest.fixture(scope="module")
def image(engine: Any) -> Iterator[str]:
    """A busybox image made from this machine's own busybox; no registry."""
    tag = uuid.uuid4().hex
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(_busybox(), "bin/busybox")
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name, text in (
            ("etc/passwd", "root:x:0:0::/:/bin/sh\nworker:x:1234:1234::/:/bin/sh\n"),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
        for directory in ("tmp", "proc", "sys", "dev"):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(entry)
    engine.import_image_from_data(archive.getvalue(), repository="batch-test", tag=tag)
    yield f"batch-test:{tag}"
    engine.remove_image(f"batch-test:{tag}", force=True)


@pytest.fixture
def containers(make_cloud: Callable[..., Cloud], image: str) -> Cloud:
    cloud = make_cloud("docker", max_running_jobs=4, stop_grace_seconds=0.5)
    assert cloud.engine.runner == "docker"
    assert cloud.engine.description.startswith("jobs run in containers of Docker")
    return cloud


def left(engine: Any, tmp_path: Path) -> list[Any]:
    owner = (tmp_path / "batch" / "owner").read_text().strip()
    return list(engine.containers(all=True, filters={"label": f"{docker_runner.LABEL}={owner}"}))


def run(
    cloud: Cloud, image: str, *command: str, memory: int = 64, **container: Any
) -> dict[str, Any]:
    definition = cloud.define(*command, memory=memory, container={"image": image, **container})
    return cloud.finished(cloud.submit(cloud.queue(), definition))


def test_a_container_runs_and_is_removed(
    containers: Cloud, image: str, engine: Any, tmp_path: Path
) -> None:
    job = run(containers, image, "sh", "-c", "echo out; echo err >&2; exit 3")
    assert job["container"]["exitCode"] == 3
    assert job["statusReason"] == "Essential container in task exited"
    assert sorted(containers.output(job)) == ["err", "out"]
    assert left(engine, tmp_path) == []


def test_an_array_runs_in_containers(containers: Cloud, image: str) -> None:
    definition = containers.define(
        "sh",
        "-c",
        "echo $AWS_BATCH_JOB_ARRAY_INDEX; exit $AWS_BATCH_JOB_ARRAY_INDEX",
        container={"image": image},
    )
    parent = containers.finished(
        containers.submit(containers.queue(), definition, arrayProperties={"size": 3})
    )
    assert parent["arrayProperties"]["statusSummary"]["FAILED"] == 2
    assert containers.output(containers.job(f"{parent['jobId']}:2")) == ["2"]


def test_variables_are_the_jobs_and_never_in_argv(
    containers: Cloud, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "x")
    job = run(
        containers,
        image,
        "env",
        environment=[
            {"name": "DOCKER_HOST", "value": "unix:///nothing"},
            {"name": "M", "value": "a b"},
        ],
    )
    lines = containers.output(job)
    assert {"DOCKER_HOST=unix:///nothing", "M=a b", f"AWS_BATCH_JOB_ID={job['jobId']}"} <= set(
        lines
    )
    assert not [line for line in lines if line.startswith("SECRET")]


def test_a_container_over_its_memory_limit_is_out_of_memory(containers: Cloud, image: str) -> None:
    hog = "x=0123456789; while true; do x=$x$x; done"
    job = run(containers, image, "sh", "-c", hog, memory=16)
    assert job["status"] == "FAILED"
    assert job["container"]["exitCode"] == 137
    assert job["container"]["reason"] == "OutOfMemoryError: Container killed due to memory usage"


def test_an_image_that_cannot_be_pulled_is_said_to_be(containers: Cloud) -> None:
    job = run(containers, "127.0.0.1:1/missing:1", "true")
    assert job["status"] == "FAILED"
    assert job["statusReason"] == "Task failed to start"
    assert job["container"]["reason"].startswith(
        "CannotPullContainerError: Error response from daemon: "
    )
    assert "exitCode" not in job["container"]


def test_a_program_that_is_missing_cannot_start_and_leaves_no_container(
    containers: Cloud, image: str, engine: Any, tmp_path: Path
) -> None:
    job = run(containers, image, "no-such-program")
    assert job["statusReason"] == "Task failed to start"
    assert job["container"]["reason"].startswith("CannotStartContainerError: Error response from")
    assert "executable file not found in $PATH" in job["container"]["reason"]
    assert left(engine, tmp_path) == []


@pytest.mark.parametrize("code", [125, 126, 127])
def test_a_commands_own_125_to_127_are_exit_codes(containers: Cloud, image: str, code: int) -> None:
    job = run(containers, image, "sh", "-c", f"exit {code}")
    assert job["container"]["exitCode"] == code
    assert job["statusReason"] == "Essential container in task exited"
    assert "reason" not in job["container"]


def test_mounts_users_and_limits_are_honoured(
    containers: Cloud, image: str, tmp_path: Path
) -> None:
    shared, tools = tmp_path / "shared", tmp_path / "tools"
    shared.mkdir()
    tools.mkdir()
    shared.chmod(0o777)
    (tools / "tool").write_text("a tool\n")
    job = run(
        containers,
        image,
        "sh",
        "-c",
        "exec 2>/dev/null; id -u; ulimit -n; cat /t/tool; touch /t/x || echo read-only; "
        "echo hello > /s/made; "
        "df -m /dev/shm | tail -n 1; touch /x || echo root; touch /own/x && echo own; echo end",
        volumes=[
            {"name": "s", "host": {"sourcePath": str(shared)}},
            {"name": "t", "host": {"sourcePath": str(tools)}},
            {"name": "own"},
        ],
        mountPoints=[
            {"sourceVolume": "s", "containerPath": "/s"},
            {"sourceVolume": "t", "containerPath": "/t", "readOnly": True},
            {"sourceVolume": "own", "containerPath": "/own"},
        ],
        user="0:0",
        ulimits=[{"name": "nofile", "softLimit": 77, "hardLimit": 88}],
        readonlyRootFilesystem=True,
        linuxParameters={"sharedMemorySize": 17, "initProcessEnabled": True},
    )
    lines = containers.output(job)
    assert lines[:3] == ["0", "77", "a tool"]
    assert "read-only" in lines
    assert "root" in lines
    assert lines[-2:] == ["own", "end"]
    assert any(line.split()[1] == "17" for line in lines if line.startswith("shm"))
    assert (shared / "made").read_text() == "hello\n"


def test_another_user(containers: Cloud, image: str) -> None:
    assert containers.output(run(containers, image, "id", "-u", user="worker")) == ["1234"]


def test_lines_are_there_while_a_container_runs(containers: Cloud, image: str) -> None:
    definition = containers.define("sh", "-c", "echo first; sleep 60", container={"image": image})
    running = containers.in_status(containers.submit(containers.queue(), definition), "RUNNING")
    until(lambda: containers.output(running) == ["first"], "the line is written", seconds=10)


def test_terminate_ends_a_container(
    containers: Cloud, image: str, engine: Any, tmp_path: Path
) -> None:
    definition = containers.define("sleep", "300", container={"image": image})
    job_id = containers.submit(containers.queue(), definition)
    containers.in_status(job_id, "RUNNING")
    containers.batch.terminate_job(jobId=job_id, reason="enough")
    job = containers.finished(job_id)
    assert job["statusReason"] == "enough"
    assert job["container"]["exitCode"] in (137, 143)
    assert left(engine, tmp_path) == []


def test_shutdown_removes_all_containers(
    containers: Cloud, image: str, engine: Any, tmp_path: Path
) -> None:
    definition = containers.define("sleep", "300", container={"image": image})
    ids = [containers.submit(containers.queue(), definition) for _ in range(3)]
    for job_id in ids:
        containers.in_status(job_id, "RUNNING")
    assert len(left(engine, tmp_path)) == 3
    batch.shutdown()
    assert left(engine, tmp_path) == []


def test_containers_of_a_killed_server_are_removed_at_the_next_start(
    make_cloud: Callable[..., Cloud], image: str, engine: Any, tmp_path: Path
) -> None:
    (tmp_path / "batch").mkdir()
    owner = uuid.uuid4().hex
    (tmp_path / "batch" / "owner").write_text(owner)
    labels = {docker_runner.LABEL: owner}
    host = engine.create_host_config(network_mode="host")
    running = engine.create_container(image, ["sleep", "300"], labels=labels, host_config=host)
    engine.start(running)
    engine.create_container(image, ["sleep", "300"], labels=labels, host_config=host)
    assert len(left(engine, tmp_path)) == 2
    make_cloud("process")
    assert left(engine, tmp_path) == []


def test_auto_takes_containers_where_an_engine_answers(
    make_cloud: Callable[..., Cloud], image: str
) -> None:
    cloud = make_cloud("auto")
    assert cloud.engine.runner == "docker"
    assert shutil.which("true")
    assert run(cloud, image, "sh", "-c", "exit 0")["status"] == "SUCCEEDED"
