"""This orchestrator and miniwdl-aws on the same local AWS, jobs over at once: calls a second.

    .venv/bin/python benchmarks/versus_miniwdl_aws.py [--shards 200] [--calls 10000] [--json]

miniwdl-aws comes from PyPI into a virtual environment that is thrown away. It runs the same
workflow on the same queue, first at its defaults, then at each of `BEST`: the fastest counts. What
makes that fair:

- Its queue has the compute environments of ours, but no shares, for it cannot name one.
- It is given its backend for hosts that have the shared file system mounted
  (`aws_batch_job_no_efs`): a directory of this machine, which is faster than any EFS. AWS's
  endpoint is AWS_ENDPOINT_URL, as for every SDK.
- No job runs anything, for either side. The output of the task is its stdout, a file that
  miniwdl-aws makes itself, so that it misses nothing of a job that did not run.
- Its threads are those of its published image, 80, where it has no default of its own that is fit
  for Batch (miniwdl's is the number of cores).
- Each time is all in, from the start of the process to its end.

`--shards` is what both run; `--calls` is what this orchestrator runs besides, as wide as an array
may be: miniwdl-aws would need hours for that.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import boto3
import scatter

from orchestrator.local_aws import process

MINIWDL_AWS = "miniwdl-aws==0.12.2"

WDL = scatter.WDL.replace("trivial.o", "trivial.log").replace(
    "Int o = read_int(stdout())", "File log = stdout()"
)

DEFAULTS = {"MINIWDL__SCHEDULER__TASK_CONCURRENCY": "80"}
BEST = [
    {
        "MINIWDL__AWS__SUBMIT_PERIOD": "0",
        "MINIWDL__AWS__DESCRIBE_PERIOD": describe,
        "MINIWDL__SCHEDULER__TASK_CONCURRENCY": threads,
    }
    for describe, threads in (("0.05", "8"), ("0.1", "20"), ("0.2", "50"), ("0.5", "200"))
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--shards", type=int, default=200)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--skip-defaults", action="store_true", help="they take a second a shard")
    parser.add_argument("--home", type=Path, help="of an AWS that runs, with its jobs instant")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = options.home or Path(folder) / "home"
        miniwdl = install(Path(folder) / "venv")
        if options.home is None:
            home.mkdir()
            scatter.deploy(home, "instant")
        try:
            result = compare(home.resolve(), miniwdl, options)
        finally:
            if options.home is None:
                scatter.bootstrap(home, "--destroy")
    report(result, options.json)


def install(venv: Path) -> Path:
    """miniwdl with the plug-in, in an environment of its own; its program."""
    uv = str(Path(sys.executable).with_name("uv"))
    for arguments in (
        ("venv", "--python", sys.executable, str(venv)),
        ("pip", "install", "--python", str(venv / "bin" / "python"), MINIWDL_AWS),
    ):
        subprocess.run([uv, "--quiet", *arguments], check=True)
    return venv / "bin" / "miniwdl"


def compare(home: Path, miniwdl: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All runs, one after the other."""
    theirs = [] if options.skip_defaults else [run(home, miniwdl, options.shards, DEFAULTS)]
    theirs += [run(home, miniwdl, options.shards, settings) for settings in BEST]
    ours = [scatter.measure(home, calls, WDL) for calls in (options.shards, options.calls)]
    best = max(one["calls_a_second"] for one in theirs)
    return {
        "miniwdl_aws": theirs,
        "orchestrator": ours,
        "times_as_fast": [round(one["calls_a_second"] / best, 1) for one in ours],
    }


def run(home: Path, miniwdl: Path, shards: int, settings: dict[str, str]) -> dict[str, Any]:
    """miniwdl-aws once."""
    aws = process.status(home / ".local-aws")
    if aws is None:
        sys.exit(f"no AWS runs in {home}")
    wdl = home / "scatter.wdl"
    wdl.write_text(WDL)
    with tempfile.TemporaryDirectory(dir=home) as shared:
        environment = {
            **os.environ,
            **aws.environment(),
            "MINIWDL__SCHEDULER__CONTAINER_BACKEND": "aws_batch_job_no_efs",
            "MINIWDL__AWS__TASK_QUEUE": _queue(aws),
            "MINIWDL__FILE_IO__ROOT": shared,
            **settings,
        }
        began = time.monotonic()
        child = subprocess.Popen(
            [str(miniwdl), "run", str(wdl), f"n={shards}", "--dir", shared, "--error-json"],
            env=environment,
            cwd=shared,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert child.stdout is not None
        answer = json.loads(child.stdout.read())
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - began
    assert os.waitstatus_to_exitcode(status) == 0, answer
    assert answer["outputs"] == {"scatter_benchmark.calls": shards}, answer
    cpu = usage.ru_utime + usage.ru_stime
    return {
        "settings": {name.removeprefix("MINIWDL__"): value for name, value in settings.items()},
        "calls": shards,
        "wall_seconds": round(seconds, 1),
        "calls_a_second": round(shards / seconds, 2),
        "cpu_ms_a_call": round(1000 * cpu / shards, 1),
        "peak_memory_mib": usage.ru_maxrss // 1024,
    }


def _queue(aws: process.LocalAws) -> str:
    """A queue like the environment's first, without shares: miniwdl-aws cannot name one."""
    batch = boto3.Session(aws_access_key_id="b", aws_secret_access_key="b").client(
        "batch", region_name=process.REGION, endpoint_url=aws.endpoint
    )
    name = "miniwdl-aws"
    queues = {queue["jobQueueName"]: queue for queue in batch.describe_job_queues()["jobQueues"]}
    if name in queues:
        return str(queues[name]["jobQueueArn"])
    like = next(iter(queues.values()))
    made = batch.create_job_queue(
        jobQueueName=name,
        state="ENABLED",
        priority=1,
        computeEnvironmentOrder=like["computeEnvironmentOrder"],
    )
    return str(made["jobQueueArn"])


def report(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(result, indent=2))
        return
    print(f"{'':<58} {'calls':>6} {'wall s':>8} {'calls/s':>8} {'peak MiB':>8}")
    for one in result["miniwdl_aws"]:
        _line("miniwdl-aws " + " ".join(f"{k}={v}" for k, v in one["settings"].items()), one)
    for one in result["orchestrator"]:
        _line("orchestrator", one)
    print("times as fast as the best of miniwdl-aws:", *result["times_as_fast"])


def _line(name: str, one: dict[str, Any]) -> None:
    numbers = one["calls"], one["wall_seconds"], one["calls_a_second"], one["peak_memory_mib"]
    print(f"{name:<58} {numbers[0]:>6} {numbers[1]:>8} {numbers[2]:>8} {numbers[3]:>8}")


if __name__ == "__main__":
    main()
