"""One line of JSON about an environment, for its alarms; runs every minute on the host.

    healthy                        1 where the server answers, else 0
    disk_used_percent              of the host's own disk
    invalid_compute_environments   that Batch cannot start hosts in
    runnable_minutes               how long the first of a queue has waited, at the most

What cannot be found out is left out: an alarm that misses its number is an alarm too. It runs
beside the server, not in it: a server that hangs does not say so itself.
"""

from __future__ import annotations

import http.client
import json
import shutil
import sys
import time
from collections.abc import Callable
from typing import Any

import boto3
from botocore.config import Config

from orchestrator import deployment

_CALLS = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard"})
_PAGE = 100


def report(environment: str, clients: Callable[[str], Any], port: int) -> dict[str, int]:
    """Everything that can be found out now."""
    found = {"healthy": int(is_healthy(port)), "disk_used_percent": disk_used_percent("/")}
    try:
        contract = deployment.read(clients("ssm"), environment)
        batch = clients("batch")
        queues = [queue.arn for queue in contract.queues]
        found["invalid_compute_environments"] = invalid_compute_environments(batch, queues)
        found["runnable_minutes"] = runnable_minutes(batch, queues, time.time())
    except Exception as error:  # whatever it is: the rest of the line is still worth saying
        sys.stderr.write(f"orchestrator: {type(error).__name__}: {error}\n")
    return found


def is_healthy(port: int) -> bool:
    """Whether the server on this host answers /health with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def disk_used_percent(path: str) -> int:
    """Used of what there is."""
    usage = shutil.disk_usage(path)
    return round(100 * usage.used / usage.total)


def invalid_compute_environments(batch: Any, queues: list[str]) -> int:
    """How many of those behind the queues Batch calls INVALID."""
    described = batch.describe_job_queues(jobQueues=queues)["jobQueues"]
    names = sorted(
        {
            order["computeEnvironment"]
            for queue in described
            for order in queue["computeEnvironmentOrder"]
        }
    )
    environments = []
    for start in range(0, len(names), _PAGE):
        environments += batch.describe_compute_environments(
            computeEnvironments=names[start : start + _PAGE]
        )["computeEnvironments"]
    return sum(environment["status"] == "INVALID" for environment in environments)


def runnable_minutes(batch: Any, queues: list[str], now: float) -> int:
    """How long the job at the front of a queue has been there, in the queue where it is longest."""
    longest = 0.0
    for queue in queues:
        front = batch.get_job_queue_snapshot(jobQueue=queue).get("frontOfQueue", {})
        for job in front.get("jobs", [])[:1]:
            # Milliseconds, though the field does not say so.
            longest = max(longest, now - job["earliestTimeAtPosition"] / 1000)
    return int(longest // 60)


def main() -> None:
    """The program: its argument is the environment."""
    sys.stdout.write(json.dumps(report(sys.argv[1], _client, 8000)) + "\n")


def _client(service: str) -> Any:
    return boto3.client(service, config=_CALLS)  # type: ignore[call-overload]


if __name__ == "__main__":
    main()
