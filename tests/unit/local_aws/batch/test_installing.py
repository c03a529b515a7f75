"""Into moto and out of it; what a server that ends, or is killed, leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto.batch.models import BatchBackend
from moto.batch.responses import BatchResponse
from moto.server import ThreadedMotoServer

from orchestrator.local_aws import batch
from orchestrator.local_aws.batch.runners import proc
from tests.unit.local_aws.batch.conftest import REGION, Cloud, until

SERVER = """
import faulthandler, os, signal, sys, time
from pathlib import Path
from typing import Any
from moto import mock_aws
from orchestrator.local_aws import batch
from tests.unit.local_aws.batch.conftest import Cloud
os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
faulthandler.register(signal.SIGUSR1)  # where it is when it does not end
state, pids = Path(sys.argv[1]), Path(sys.argv[2])
with mock_aws():
    cloud = Cloud(batch.install(sys.argv[3], state, "http://127.0.0.1:1"))
    queue = cloud.queue()
    cloud.submit(queue, cloud.define("/bin/sh", "-c", f"echo $$ >> {pids}; exec sleep 300"))
    cloud.submit(queue, cloud.define("/bin/sh", "-c",
        f"setsid sleep 300 >/dev/null 2>&1 & echo $! >> {pids}; env -i sleep 301"))
    while len(pids.read_text().split() if pids.exists() else []) < 2:
        time.sleep(0.01)
    print("ready", flush=True)
    while True:  # Python hears a signal that comes just before a sleep when that is over
        time.sleep(0.1)
"""


def alive(pid: int) -> bool:
    process = proc.read(pid)
    return process is not None and not process.zombie


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[[], tuple[subprocess.Popen[str], list[int]]]]:
    """A process with an engine and two running jobs; their pids."""
    started: list[subprocess.Popen[str]] = []
    pids = tmp_path / "pids"

    def start() -> tuple[subprocess.Popen[str], list[int]]:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(tmp_path / "state"), str(pids), "process"],
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process, [int(pid) for pid in pids.read_text().split()]

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    batch.end_orphans(tmp_path / "state")


def test_sigterm_kills_all_jobs(
    server: Callable[[], tuple[subprocess.Popen[str], list[int]]],
) -> None:
    process, pids = server()
    assert all(alive(pid) for pid in pids)
    process.terminate()
    try:
        assert process.wait(timeout=60) == -signal.SIGTERM
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGUSR1)  # says where, on stderr
        process.wait(timeout=5)
        raise
    until(lambda: not any(alive(pid) for pid in pids), "they are gone", seconds=5)


def test_jobs_of_a_killed_server_are_killed_at_the_next_start(
    server: Callable[[], tuple[subprocess.Popen[str], list[int]]], tmp_path: Path
) -> None:
    process, pids = server()
    process.kill()
    process.wait()
    assert all(alive(pid) for pid in pids)
    batch.install("process", tmp_path / "state", "http://127.0.0.1:1")
    try:
        until(lambda: not any(alive(pid) for pid in pids), "they are gone", seconds=5)
        assert list((tmp_path / "state" / "batch" / "jobs").iterdir()) == []
    finally:
        batch.shutdown()


def test_orphans_are_ended_only_when_nobody_owns_them(
    server: Callable[[], tuple[subprocess.Popen[str], list[int]]], tmp_path: Path
) -> None:
    process, pids = server()
    batch.end_orphans(tmp_path / "state")
    assert all(alive(pid) for pid in pids)
    process.kill()
    process.wait()
    batch.end_orphans(tmp_path / "state")
    until(lambda: not any(alive(pid) for pid in pids), "they are gone", seconds=5)


def test_orphans_of_a_directory_that_never_was_are_none(tmp_path: Path) -> None:
    batch.end_orphans(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_a_record_of_another_boot_or_a_reused_pid_harms_nobody(tmp_path: Path) -> None:
    bystander = subprocess.Popen(["sleep", "300"], start_new_session=True)
    try:
        jobs = tmp_path / "batch" / "jobs"
        jobs.mkdir(parents=True)
        ticks, _, boot = proc.start_time(bystander.pid).partition("@")
        (jobs / "a.pid").write_text(f"{bystander.pid} {int(ticks) - 1}@{boot}\n")
        (jobs / "b.pid").write_text(f"{bystander.pid} {ticks}@other-boot\n")
        (jobs / "c.pid").write_text("rubbish")
        (tmp_path / "batch" / "owner").write_text("x\n")
        batch.end_orphans(tmp_path)
        assert alive(bystander.pid)
        assert list(jobs.iterdir()) == []
    finally:
        bystander.kill()
        bystander.wait()


def test_shutdown_kills_and_leaves_no_thread(
    make_cloud: Callable[..., Cloud], tmp_path: Path
) -> None:
    before = set(threading.enumerate())
    cloud = make_cloud()
    pid_file = tmp_path / "pid"
    cloud.submit(cloud.queue(), cloud.define("/bin/sh", "-c", f"echo $$ > {pid_file}; sleep 300"))
    until(lambda: pid_file.exists() and pid_file.read_text().strip(), "the job runs")
    batch.shutdown()
    assert not alive(int(pid_file.read_text()))
    until(lambda: set(threading.enumerate()) <= before, "threads have ended", seconds=5)
    batch.shutdown()


def test_moto_has_its_own_verbs_back_after_shutdown(tmp_path: Path) -> None:
    before = {**BatchResponse.__dict__}, {**BatchBackend.__dict__}
    installation = batch.install("process", tmp_path, "http://127.0.0.1:1")
    assert BatchResponse.submitjob is not before[0]["submitjob"]
    assert installation.runner == "process"
    assert "plain processes" in installation.description
    installation.stop()
    assert ({**BatchResponse.__dict__}, {**BatchBackend.__dict__}) == before
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_one_engine_a_process_and_one_a_directory(
    server: Callable[[], tuple[subprocess.Popen[str], list[int]]], tmp_path: Path
) -> None:
    server()
    with pytest.raises(batch.StateDirInUse, match="another local AWS"):
        batch.install("process", tmp_path / "state", "http://127.0.0.1:1")
    batch.install("process", tmp_path / "other", "http://127.0.0.1:1")
    try:
        with pytest.raises(RuntimeError, match="installed already"):
            batch.install("process", tmp_path / "third", "http://127.0.0.1:1")
    finally:
        batch.shutdown()


def test_without_a_docker_engine_jobs_are_processes_and_it_is_said(
    make_cloud: Callable[..., Cloud], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing.sock")
    with pytest.raises(batch.EngineUnavailable):
        make_cloud("docker")
    cloud = make_cloud("auto")
    assert cloud.engine.runner == "process"
    assert "no Docker engine answers" in cloud.engine.description
    assert "\n" not in cloud.engine.description
    assert cloud.run("true")["status"] == "SUCCEEDED"


def test_an_unknown_runner_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="podman"):
        batch.install("podman", tmp_path, "http://127.0.0.1:1")
    batch.install("process", tmp_path, "http://127.0.0.1:1")  # the directory is free again
    batch.shutdown()


def test_a_reset_of_moto_kills_and_forgets(cloud: Cloud, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    job_id = cloud.submit(
        cloud.queue(), cloud.define("/bin/sh", "-c", f"echo $$ > {pid_file}; sleep 300")
    )
    until(lambda: pid_file.exists() and pid_file.read_text().strip(), "the job runs")
    cloud.backend.reset()
    until(lambda: not alive(int(pid_file.read_text())), "the job is gone", seconds=5)
    assert cloud.batch.describe_jobs(jobs=[job_id])["jobs"] == []
    assert cloud.run("true")["status"] == "SUCCEEDED"


def test_regions_are_apart(cloud: Cloud) -> None:
    job = cloud.run("true")
    other = boto3.client("batch", "eu-west-1")
    assert other.describe_jobs(jobs=[job["jobId"]])["jobs"] == []


def test_in_motos_server_a_job_reaches_the_aws_it_belongs_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        installation = batch.install("process", tmp_path, endpoint)
        cloud = _ServerCloud(installation)
        cloud.store.create_bucket(Bucket="results")
        script = (
            "import boto3, os; boto3.client('s3').put_object(Bucket='results', "
            "Key=os.environ['AWS_BATCH_JOB_ID'], Body=b'done')"
        )
        queue = cloud.queue()
        job = cloud.finished(cloud.submit(queue, cloud.define(sys.executable, "-c", script)))
        assert job["status"] == "SUCCEEDED", cloud.output(job)
        body = cloud.store.get_object(Bucket="results", Key=job["jobId"])["Body"]
        assert body.read() == b"done"
        snapshot = cloud.batch.get_job_queue_snapshot(jobQueue=queue)
        assert snapshot["frontOfQueue"]["jobs"] == []
    finally:
        batch.shutdown()
        server.stop()


class _ServerCloud(Cloud):
    """The same over HTTP."""

    def _client(self, service: str) -> Any:
        return boto3.client(service, REGION, config=Config(retries={"total_max_attempts": 1}))

    @property
    def batch(self) -> Any:
        return self._client("batch")

    @property
    def logs(self) -> Any:
        return self._client("logs")

    @property
    def store(self) -> Any:
        return self._client("s3")
