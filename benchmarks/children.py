"""Children of an array a second, with the real wrapper as plain processes on the local AWS.

    .venv/bin/python benchmarks/children.py [--children 1000] [--json]

Each child fetches its bundle, runs `echo`, uploads stdout, stderr, rc, script and manifest; the
orchestrator reads the manifest. Everything is on this machine, S3 included: so besides the rate
that was seen, by Batch's own times, it says what a child costs of processor, all in, and so how
many two cores can do that have nothing else to do.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import boto3
import scatter

from orchestrator.local_aws import process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--children", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        scatter.deploy(home, "process")
        try:
            scatter.report(measure(home, options.children), options.json)
        finally:
            scatter.bootstrap(home, "--destroy")


def measure(home: Path, children: int) -> dict[str, Any]:
    """Run a scatter so wide. CPU of a child: its own and the wrapper's, and the local AWS's."""
    aws = process.status(home / ".local-aws")
    if aws is None:
        sys.exit(f"no AWS runs in {home}")
    began = time.time()
    before = _cpu(aws.process.pid)
    run = scatter.measure(home, children)
    server, jobs = (
        after - earlier for after, earlier in zip(_cpu(aws.process.pid), before, strict=True)
    )
    first, last = _times(aws, began)
    orchestrator = run["orchestrator_cpu_ms_a_call"]
    cpu = 1000 * (server + jobs) / children + orchestrator
    return {
        "children": children,
        "children_a_second": round(children / (last - first), 1),
        "cpu_ms_a_child_wrapper_and_command": round(1000 * jobs / children, 1),
        "cpu_ms_a_child_local_aws": round(1000 * server / children, 1),
        "cpu_ms_a_child_orchestrator": orchestrator,
        "children_a_second_that_2_cores_allow": round(2000 / cpu, 1),
        "load_average": os.getloadavg()[0],
    }


def _cpu(pid: int) -> tuple[float, float]:
    """Seconds of a process, and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    user, system, children_user, children_system = map(int, fields[11:15])
    ticks = os.sysconf("SC_CLK_TCK")
    return (user + system) / ticks, (children_user + children_system) / ticks


def _times(aws: process.LocalAws, since: float) -> tuple[float, float]:
    """When the first child of an array began and the last one ended: seconds since the epoch."""
    batch = boto3.Session(aws_access_key_id="b", aws_secret_access_key="b").client(
        "batch", region_name=process.REGION, endpoint_url=aws.endpoint
    )
    arrays = [
        job["jobId"]
        for queue in batch.describe_job_queues()["jobQueues"]
        for page in batch.get_paginator("list_jobs").paginate(
            jobQueue=queue["jobQueueName"],
            filters=[{"name": "AFTER_CREATED_AT", "values": [str(int(since * 1000))]}],
        )
        for job in page["jobSummaryList"]
        if job.get("arrayProperties", {}).get("size", 0) > scatter._FEW
    ]
    children = [
        job
        for array in arrays
        for page in batch.get_paginator("list_jobs").paginate(
            arrayJobId=array, jobStatus="SUCCEEDED"
        )
        for job in page["jobSummaryList"]
    ]
    return (
        min(child["startedAt"] for child in children) / 1000,
        max(child["stoppedAt"] for child in children) / 1000,
    )


if __name__ == "__main__":
    main()
