"""`./bootstrap --local`, and what it leaves: a deployed environment that runs workflows."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from orchestrator.local_aws import process
from orchestrator.local_aws.pids import KnownProcess

from .conftest import ORCHESTRATOR, ROOT, Environment, Program, bootstrap, run

pytestmark = [pytest.mark.xdist_group("acceptance"), pytest.mark.timeout(300)]


def test_bootstrap_prints_the_outputs_last_and_copies_them(environment: Environment) -> None:
    outputs = environment.bootstrap.json
    assert set(outputs)
    assert all(name.startswith("read_qc.") for name in outputs)
    copied = json.loads((environment.home / "outputs" / "outputs.json").read_text())
    assert set(copied) == set(outputs)
    files = [value for value in copied.values() if isinstance(value, str) and "/" in value]
    assert files
    assert all(Path(file).is_file() for file in files)
    assert "--environment local" in environment.bootstrap.stderr
    assert "--destroy" in environment.bootstrap.stderr


def test_a_second_bootstrap_changes_nothing_and_works_also_when_the_database_has_died(
    environment: Environment,
) -> None:
    (pid_file,) = environment.aws.state_dir.glob("postgres/*/data/postmaster.pid")
    database = KnownProcess.of(int(pid_file.read_text().split()[0]))
    assert database is not None
    database.send(signal.SIGKILL)
    assert database.wait(30)
    again = bootstrap(environment.home)
    assert again.code == 0, again.stderr
    assert again.json.keys() == environment.bootstrap.json.keys()
    assert "(no changes)" in again.stderr
    after = process.status(environment.home / ".local-aws")
    assert after is not None
    assert after.pid == environment.aws.pid
    workflow = re.search(r"workflow read_qc ([0-9a-f-]{36})", environment.bootstrap.stderr)
    assert workflow
    before = run(
        [str(ORCHESTRATOR), "status", workflow[1], "--environment", "local", "--json"],
        cwd=environment.home,
    )
    assert before.json["status"] == "Succeeded"  # what was in it is in it still


def test_a_scatter_over_three_files_is_one_array_job_with_logs(environment: Environment) -> None:
    match = re.search(r"workflow read_qc ([0-9a-f-]{36})", environment.bootstrap.stderr)
    assert match, environment.bootstrap.stderr
    jobs = environment.jobs(match[1])
    sizes = sorted(job.get("arrayProperties", {}).get("size", 1) for job in jobs)
    assert max(sizes) == 3
    assert all(job["status"] == "SUCCEEDED" for job in jobs)
    batch, logs = environment.client("batch"), environment.client("logs")
    array = next(job for job in jobs if job.get("arrayProperties", {}).get("size") == 3)
    children = batch.describe_jobs(jobs=[f"{array['jobId']}:{i}" for i in range(3)])["jobs"]
    streams = {child["container"]["logStreamName"] for child in children}
    assert len(streams) == 3
    for stream in streams:
        logs.get_log_events(logGroupName=environment.contract.log_group, logStreamName=stream)


HELLO = """version 1.1
workflow hello {
  input { String name }
  call greet { input: name = name }
  output { File o = greet.o }
}
task greet {
  input { String name }
  command <<< echo "said ~{name}"; echo "to stderr" >&2; echo "Hello, ~{name}" > greeting.txt >>>
  output { File o = "greeting.txt" }
  runtime { docker: "IMAGE" }
}
"""


def test_the_bucket_holds_everything_in_cromwells_layout(
    environment: Environment, on_aws: Program
) -> None:
    wdl = on_aws.write("hello.wdl", HELLO.replace("IMAGE", on_aws.image))
    done = on_aws("run", wdl, "name=Ada", "--json")
    assert done.code == 0, done.stderr
    keys = set(environment.keys(f"hello/{done.json['id']}/call-greet"))
    assert {
        "script",
        "greet-rc.txt",
        "greet-stdout.log",
        "greet-stderr.log",
        "manifest.json",
        "greeting.txt",
    } <= keys
    (job,) = environment.jobs(done.json["id"])
    events = environment.client("logs").get_log_events(
        logGroupName=environment.contract.log_group,
        logStreamName=job["container"]["logStreamName"],
        startFromHead=True,
    )["events"]
    assert "said Ada" in [event["message"] for event in events]


def test_logs_and_status_tell_what_ran(on_aws: Program) -> None:
    wdl = on_aws.write("hello.wdl", HELLO.replace("IMAGE", on_aws.image))
    root_id = on_aws("run", wdl, "name=Ada", "--json").json["id"]
    assert "said Ada" in on_aws("logs", root_id, "greet").stdout
    status = on_aws("status", root_id[:8], "--json")
    assert status.json["status"] == "Succeeded"
    assert status.json["calls"] == {"greet": {"Done": 1}}


def test_the_deployed_database_holds_the_workflows(
    environment: Environment, on_aws: Program
) -> None:
    secret = environment.client("secretsmanager").get_secret_value(
        SecretId=environment.contract.database.secret_arn
    )
    assert json.loads(secret["SecretString"])["password"]
    assert not (on_aws.folder / ".orchestrator").exists()
    assert on_aws("status", "--json").json


def test_destroy_stops_everything_and_removes_its_files(tmp_path: Path) -> None:
    assert bootstrap(tmp_path, "--no-prove").code == 0
    running = process.status(tmp_path / ".local-aws")
    assert running is not None
    done = bootstrap(tmp_path, "--destroy")
    assert done.code == 0, done.stderr
    assert not (tmp_path / ".local-aws").exists()
    assert not list(tmp_path.rglob("*.conf"))
    here = run(["ps", "-eo", "args"], cwd=ROOT).stdout
    assert str(tmp_path) not in here
