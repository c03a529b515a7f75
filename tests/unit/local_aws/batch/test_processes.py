"""Jobs as plain processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.local_aws.batch.runners import proc
from tests.unit.local_aws.batch.conftest import Cloud, until

OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"


def alive(pid: int) -> bool:
    process = proc.read(pid)
    return process is not None and not process.zombie


def pid_in(file: Path) -> int:
    until(lambda: file.exists() and file.read_text().strip(), f"{file} is written")
    return int(file.read_text())


def test_the_environment_is_clean_and_the_directory_its_own(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "x")
    job = cloud.run("env; pwd; touch here; test -d $TMPDIR && echo tmp")
    lines = cloud.output(job)
    variables = dict(line.split("=", 1) for line in lines if "=" in line)
    assert not {name for name in variables if name.startswith(("SECRET", "PYTEST", "VIRTUAL_ENV"))}
    directory = next(line for line in lines if line.startswith("/"))
    assert variables["HOME"] == directory
    assert variables["TMPDIR"].startswith(directory)
    assert Path(directory).is_relative_to(tmp_path / "batch" / "jobs")
    assert "tmp" in lines
    assert list((tmp_path / "batch" / "jobs").iterdir()) == []  # nothing is left


def test_a_directory_that_was_made_unreadable_is_removed(cloud: Cloud, tmp_path: Path) -> None:
    cloud.run("mkdir -p a/b && touch a/b/c && chmod 0 a/b a .")
    assert list((tmp_path / "batch" / "jobs").iterdir()) == []


def test_removing_the_directory_follows_no_link(cloud: Cloud, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    cloud.run(f"ln -s {precious} link; ln -s {precious}/file link2")
    assert (precious / "file").exists()


def test_the_program_is_looked_up_in_the_jobs_own_path(cloud: Cloud, tmp_path: Path) -> None:
    program = tmp_path / "my-program"
    program.write_text("#!/bin/sh\necho mine\n")
    program.chmod(0o755)
    definition = cloud.define(
        "my-program", container={"environment": [{"name": "PATH", "value": str(tmp_path)}]}
    )
    assert cloud.output(cloud.finished(cloud.submit(cloud.queue(), definition))) == ["mine"]


def test_text_that_no_program_can_take_fails_to_start(cloud: Cloud, tmp_path: Path) -> None:
    job = cloud.finished(cloud.submit(cloud.queue(), cloud.define("echo", "a\0b")))
    assert job["statusReason"] == "Task failed to start"
    assert "null byte" in job["container"]["reason"]
    assert list((tmp_path / "batch" / "jobs").iterdir()) == []


def test_a_program_that_may_not_be_run_fails_to_start(cloud: Cloud, tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    job = cloud.finished(cloud.submit(cloud.queue(), cloud.define(str(tmp_path / "data"))))
    assert job["statusReason"] == "Task failed to start"
    assert "permission denied" in job["container"]["reason"]


@pytest.mark.parametrize(
    "leave",
    [
        pytest.param("sleep 300", id="in the group"),
        pytest.param("setsid sleep 300", id="in a session of its own"),
        pytest.param("setsid sleep 300 > /dev/null 2>&1", id="holding no pipe"),
        pytest.param("setsid sh -c 'sleep 300 & sleep 300' > /dev/null 2>&1", id="with children"),
        pytest.param(
            "env -i timeout 300 sleep 300 > /dev/null 2>&1", id="in another group, no marker"
        ),
    ],
)
@pytest.mark.parametrize("end", ["exit 0", "exit 1"])
def test_nothing_of_a_job_outlives_it(cloud: Cloud, tmp_path: Path, leave: str, end: str) -> None:
    """As in a container, which ends with its first process."""
    file = tmp_path / "pid"
    script = f"{leave} & echo $! > {file}; until pidof sleep > /dev/null; do :; done; {end}"
    began = time.monotonic()
    job = cloud.run(script)
    assert job["container"]["exitCode"] == int(end.split()[1])
    until(lambda: not alive(pid_in(file)), "what it left is gone", seconds=10)
    assert time.monotonic() - began < 30


def test_terminate_ends_what_changed_its_session_before_it_reports(
    make_cloud: Callable[..., Cloud], tmp_path: Path
) -> None:
    cloud = make_cloud(stop_grace_seconds=0.2)
    file = tmp_path / "pid"
    definition = cloud.define(
        "/bin/sh", "-c", f"setsid sleep 300 >/dev/null 2>&1 & echo $! > {file}; sleep 300"
    )
    job_id = cloud.submit(cloud.queue(), definition)
    pid = pid_in(file)
    cloud.batch.terminate_job(jobId=job_id, reason="enough")
    cloud.finished(job_id)
    assert not alive(pid)


PYTHON_HOG = "x = b'x' * (200 << 20); import time; time.sleep(60)"


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(f'exec python3 -c "{PYTHON_HOG}"', id="the first process"),
        pytest.param(f'python3 -c "{PYTHON_HOG}"; exit 5', id="a child"),
        pytest.param(f'setsid python3 -c "{PYTHON_HOG}" & wait', id="a session of its own"),
    ],
)
def test_a_job_that_takes_more_memory_than_it_has_is_killed(cloud: Cloud, script: str) -> None:
    definition = cloud.define("/bin/sh", "-c", script, memory=100)
    job = cloud.finished(cloud.submit(cloud.queue(), definition))
    assert job["status"] == "FAILED"
    assert job["container"]["exitCode"] == 137
    assert job["container"]["reason"] == OUT_OF_MEMORY
    assert job["statusReason"] == "Essential container in task exited"
    assert job["attempts"][0]["container"]["reason"] == OUT_OF_MEMORY


def test_memory_can_be_raised_by_a_retry_that_matches_the_reason(cloud: Cloud) -> None:
    rules = [
        {"onReason": "OutOfMemoryError*", "action": "RETRY"},
        {"onReason": "*", "action": "EXIT"},
    ]
    definition = cloud.define(
        "/bin/sh",
        "-c",
        f'[ "$AWS_BATCH_JOB_ATTEMPT" = 2 ] || exec python3 -c "{PYTHON_HOG}"',
        memory=100,
        retryStrategy={"attempts": 3, "evaluateOnExit": rules},
    )
    job = cloud.finished(cloud.submit(cloud.queue(), definition))
    assert job["status"] == "SUCCEEDED"
    assert len(job["attempts"]) == 2


def test_memory_that_is_shared_or_only_cached_is_not_held_against_a_job(
    cloud: Cloud, tmp_path: Path
) -> None:
    """Eight forks of 60 MiB share their pages; a mapped file can be dropped by the kernel."""
    big = tmp_path / "big"
    with big.open("wb") as file:
        for _ in range(150):
            file.write(os.urandom(1 << 20))
    script = f"""
import mmap, os, time
x = b'x' * (60 << 20)
with open({str(big)!r}) as f:
    m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    sum(m[i] for i in range(0, len(m), 4096))
for _ in range(8):
    if os.fork() == 0:
        time.sleep(1)
        os._exit(0)
time.sleep(1)
"""
    file_ = tmp_path / "script.py"
    file_.write_text(script)
    definition = cloud.define("python3", str(file_), memory=120)
    job = cloud.finished(cloud.submit(cloud.queue(), definition))
    assert job["status"] == "SUCCEEDED", job["container"]


def mounting(source: str | None, path: str) -> dict[str, Any]:
    volume: dict[str, Any] = {"name": "v"}
    if source is not None:
        volume["host"] = {"sourcePath": source}
    return {
        "volumes": [volume],
        "mountPoints": [{"sourceVolume": "v", "containerPath": path}],
    }


def test_a_mount_at_the_same_path_needs_nothing(cloud: Cloud, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("there\n")
    definition = cloud.define(
        "cat", f"{tmp_path}/data", container=mounting(str(tmp_path), f"{tmp_path}/")
    )
    assert cloud.output(cloud.finished(cloud.submit(cloud.queue(), definition))) == ["there"]


@pytest.mark.parametrize("source", ["/opt/tools", None])
def test_a_mount_elsewhere_that_the_command_names_is_refused(
    cloud: Cloud, source: str | None
) -> None:
    definition = cloud.define("ls", "/elsewhere/bin", container=mounting(source, "/elsewhere"))
    job = cloud.finished(cloud.submit(cloud.queue(), definition))
    assert job["statusReason"] == "Task failed to start"
    assert job["container"]["reason"].startswith("CannotStartContainerError: ")
    assert "/elsewhere" in job["container"]["reason"]


def test_trivial_jobs_cost_little(cloud: Cloud) -> None:
    """The bound is loose (10 ms of this process a job), so that it holds on a busy machine."""
    job_id = cloud.submit(cloud.queue(), cloud.define("true"), arrayProperties={"size": 300})
    began = time.process_time()
    while cloud.job(job_id)["status"] not in ("SUCCEEDED", "FAILED"):
        time.sleep(0.1)
    assert cloud.job(job_id)["status"] == "SUCCEEDED"
    assert time.process_time() - began < 3.0
