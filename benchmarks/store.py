"""How fast the store writes, commits, claims and loads a journal.

    python benchmarks/store.py [--url URL] [--calls N] [--json]

Without `--url` on SQLite in a temporary directory. With it, on an empty database that is yours to
fill. Times are milliseconds, the best of several rounds; `journal_mib` is the peak of Python's
memory while a journal loads, `journal_kept_mib` what it keeps.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

from orchestrator.model.records import (
    AttemptRecord,
    CallRecord,
    EventRecord,
    Record,
    WorkflowRecord,
)
from orchestrator.model.states import AttemptState, CallState, WorkflowState
from orchestrator.store.base import Lease
from orchestrator.store.sql import SqlStore


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--url", help="SQLAlchemy URL of an empty database")
    parser.add_argument("--calls", type=int, default=100_000, help="calls in the journal")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        url = arguments.url or f"sqlite:///{directory}/workflows.db"
        numbers = {"database": url.partition(":")[0], **measure(url, arguments.calls)}
    if arguments.json:
        print(json.dumps(numbers))
    else:
        for name, value in numbers.items():
            print(f"{name:28} {value}")


def measure(url: str, calls: int) -> dict[str, float]:
    """All numbers of one database."""
    numbers: dict[str, float] = {}
    store = SqlStore(url)
    numbers["migrate_ms"] = took(store.migrate)
    numbers["migrate_again_ms"] = took(store.migrate)
    lease = new_lease(store)
    for start in range(0, 5_000, 1_000):
        records = [*pairs(lease, start, 1_000)]
        best(numbers, "insert_1000_pairs_ms", took(lambda: store.write(lease, records)))  # noqa: B023
    for start in range(0, 5_000, 1_000):
        records = [*pairs(lease, start, 1_000, done=True)]
        best(numbers, "update_1000_pairs_ms", took(lambda: store.write(lease, records)))  # noqa: B023
    for index in range(50):
        record = next(pairs(lease, index, 1, done=True))
        event = EventRecord(lease.root_id, lease.root_id, 1.0, "ended")
        best(numbers, "write_1_ms", took(lambda: store.write(lease, [record, event])))  # noqa: B023
    for _ in range(20):
        best(numbers, "renew_ms", took(lambda: store.renew([lease], 60)))

    big = new_lease(store)
    for start in range(0, calls, 5_000):
        store.write(big, pairs(big, start, min(5_000, calls - start), done=True))
    for _ in range(3):
        best(numbers, f"journal_{calls}_pairs_ms", took(lambda: store.journal(big)))
    tracemalloc.start()
    journal = store.journal(big)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(journal.calls) == len(journal.attempts) == calls
    numbers["journal_kept_mib"] = round(kept / 2**20, 1)
    numbers["journal_peak_mib"] = round(peak / 2**20, 1)

    for index in range(1_000):
        store.create(replace(new_workflow(), submitted_at=float(index)))
    for _ in range(5):
        best(numbers, "claim_10_of_1000_ms", took(lambda: store.claim("benchmark", 600, 10)))
        best(numbers, "matching_ms", took(lambda: store.matching("")))
    store.close()
    return numbers


def new_workflow() -> WorkflowRecord:
    """A root nobody has heard of."""
    name = str(uuid.uuid4())
    return WorkflowRecord(name, name, "benchmark", WorkflowState.SUBMITTED, "b" * 64)


def new_lease(store: SqlStore) -> Lease:
    """The lease of a new workflow."""
    workflow = new_workflow()
    store.create(workflow)
    [lease] = store.claim("benchmark", 600, 1, workflow.id)
    return lease


def pairs(lease: Lease, start: int, count: int, *, done: bool = False) -> Iterator[Record]:
    """Calls of one scatter, each with its attempt, as large as real ones are."""
    root = lease.root_id
    for n in range(start, start + count):
        directory = f"s3://bucket/root/benchmark/{root}/call-align/shard-{n}"
        yield CallRecord(
            workflow_id=root,
            root_id=root,
            id=f"call-align-{n}",
            name="align",
            shards=(n,),
            state=CallState.DONE if done else CallState.RUNNING,
            inputs_digest=f"{n:064x}",
            inputs=json.dumps({"reads": f"s3://bucket/reads/{n}.fastq.gz", "threads": 4}),
            outputs=json.dumps({"bam": f"{directory}/out.bam"}) if done else None,
            attempts=1,
            started_at=1_764_000_000.25,
            ended_at=1_764_000_100.75 if done else None,
        )
        yield AttemptRecord(
            workflow_id=root,
            root_id=root,
            call_id=f"call-align-{n}",
            attempt=1,
            state=AttemptState.SUCCEEDED if done else AttemptState.SUBMITTING,
            submission_id="0" * 32,
            array_index=n,
            uri=directory,
            runtime='{"cpu": 4, "memory": "8 GB", "docker": "image@sha256:0"}',
            job_id=f"{root}:{n}" if done else None,
            return_code=0 if done else None,
            stdout=f"{directory}/align-{n}-stdout.log",
            stderr=f"{directory}/align-{n}-stderr.log",
        )


def took(work: Callable[[], object]) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    work()
    return round((time.perf_counter() - start) * 1000, 2)


def best(numbers: dict[str, float], name: str, value: float) -> None:
    """Keep the least: what is above it is the rest of the machine."""
    numbers[name] = min(value, numbers.get(name, value))


if __name__ == "__main__":
    main()
