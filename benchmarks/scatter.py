"""A scatter of trivial calls on the local AWS: API calls, orchestrator CPU a call, wall time.

    .venv/bin/python benchmarks/scatter.py [--calls 1000] [--instant] [--home DIR] [--json]

Deploys the stacks into an AWS of its own (or uses the one of --home) and reads that AWS's own count
of what was called. Jobs run as plain processes; with --instant they are over at once, and the local
AWS writes their manifests: what is left is what the orchestrator and AWS's API take.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from orchestrator.local_aws import process

_FEW = 2
ROOT = Path(__file__).resolve().parents[1]
_PROGRAM = Path(sys.executable).with_name("orchestrator")

WDL = """version 1.1
workflow scatter_benchmark {
  input { Int n }
  scatter (i in range(n)) { call trivial { input: i = i } }
  output { Int calls = length(trivial.o) }
}
task trivial {
  input { Int i }
  command <<< echo ~{i} >>>
  output { Int o = read_int(stdout()) }
  runtime { docker: "debian:12" memory: "256 MB" }
}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--instant", action="store_true", help="jobs that are over at once")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.home:
        report(measure(options.home.resolve(), options.calls), options.json)
        return
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        deploy(home, "instant" if options.instant else "process")
        try:
            report(measure(home, options.calls), options.json)
        finally:
            bootstrap(home, "--destroy")


def deploy(home: Path, jobs: process.JobRunner) -> None:
    """An AWS below `home` that runs jobs in this way, with the stacks on it."""
    process.start(home / ".local-aws", jobs=jobs)
    bootstrap(home, "--no-prove")


def bootstrap(home: Path, *arguments: str) -> None:
    subprocess.run(
        [str(ROOT / "bootstrap"), "--local", "--home", str(home), *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def measure(home: Path, calls: int, source: str = WDL) -> dict[str, Any]:
    """Run the workflow once; what it cost. Start-up: what a workflow of two calls costs."""
    aws = process.status(home / ".local-aws")
    if aws is None:
        sys.exit(f"no AWS runs in {home}")
    wdl = home / "scatter.wdl"
    wdl.write_text(source)
    counts_url = f"{aws.endpoint}/_local-aws/calls"
    urllib.request.urlopen(urllib.request.Request(counts_url, method="DELETE")).close()
    began = time.monotonic()
    child = subprocess.Popen(
        [
            str(_PROGRAM),
            *("run", str(wdl), f"n={calls}", "--environment", "local", "--quiet"),
        ],
        cwd=home,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    outputs = json.loads(child.stdout.read())
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - began
    assert os.waitstatus_to_exitcode(status) == 0
    assert outputs == {"scatter_benchmark.calls": calls}, outputs
    with urllib.request.urlopen(counts_url) as answer:
        counts = json.load(answer)
    cpu = usage.ru_utime + usage.ru_stime
    batch, s3 = (sum(counts.get(service, {}).values()) for service in ("batch", "s3"))
    result: dict[str, Any] = {
        "calls": calls,
        "batch_api_calls": batch,
        "batch_api_calls_a_call": round(batch / calls, 4),
        "batch_api": counts.get("batch", {}),
        "s3_requests": s3,
        "s3_requests_a_call": round(s3 / calls, 4),
        "s3_api": counts.get("s3", {}),
        "orchestrator_cpu_seconds": round(cpu, 2),
        "with_start_up_ms_a_call": round(1000 * cpu / calls, 2),
        "peak_memory_mib": usage.ru_maxrss // 1024,
        "wall_seconds": round(seconds, 1),
        "calls_a_second": round(calls / seconds, 1),
        "over_after_last_job_seconds": round(_lag(home), 1),
    }
    if calls > _FEW:
        beginning = measure(home, _FEW, source)["orchestrator_cpu_seconds"]
        result["start_up_cpu_seconds"] = beginning
        result["orchestrator_cpu_ms_a_call"] = round(1000 * (cpu - beginning) / calls, 2)
    return result


def _lag(home: Path) -> float:
    """Seconds from the end of the last job, as Batch saw it, to that of the workflow."""
    newest = _status(home).split()[0].decode()
    told = json.loads(_status(home, newest, "--json"))
    last = max(attempt["end"] for attempt in told["attempts"])
    over: timedelta = datetime.fromisoformat(told["end"]) - datetime.fromisoformat(last)
    return over.total_seconds()


def _status(home: Path, *arguments: str) -> bytes:
    command = [str(_PROGRAM), "status", "--environment", "local", *arguments]
    return subprocess.run(command, cwd=home, check=True, capture_output=True).stdout


def report(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(result, indent=2))
    else:
        for name, value in result.items():
            print(f"{name:<28} {value}")


if __name__ == "__main__":
    main()
