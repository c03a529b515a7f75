"""The engine alone, over a backend whose jobs end at once: what a call costs, and what it holds up.

    .venv/bin/python benchmarks/engine.py cost [--calls 1000 100000]
    .venv/bin/python benchmarks/engine.py broadcast [--shards 2000]
    .venv/bin/python benchmarks/engine.py pauses [--shards 50000] [--others 50]
    .venv/bin/python benchmarks/engine.py huge
    .venv/bin/python benchmarks/engine.py restart [--calls 10000] [--done 0.6] [--url URL]

Each measurement has a process of its own. `cost` and `broadcast`: a scatter of two chained calls;
CPU is user and system of the whole process from the claim to the end: evaluate, plan, store,
finish. `pauses`: how long the engine's thread is at one workflow without looking at another, and
how long small workflows take beside one of many shards; `huge`: beside one whose single expressions
make a million elements. `restart`: from the start of a process to the first submission of a
workflow that was cut off.
Without `--url` on SQLite in a temporary directory; with it in that database.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

CHAIN = """version 1.1
workflow chain {
  input { Int n  Array[String] shared = [] }
  scatter (i in range(n)) {
    call step as first { input: i = i, shared = shared }
    call step as second { input: i = first.o, shared = shared }
  }
  output { Array[Int] all = second.o }
}
task step {
  input { Int i  Array[String] shared }
  command <<< echo ~{i} ~{length(shared)} >>>
  output { Int o = read_int(stdout()) }
  runtime { docker: "debian:12" memory: "2 GB" cpu: 1 }
}
"""


HUGE = """version 1.1
workflow huge {
  input { Int n }
  Array[Int] numbers = range(n)
  Array[Pair[Int, Int]] pairs = cross(range(1000), range(n / 1000))
  Array[Array[Int]] columns = transpose([numbers, numbers])
  File written = write_json(numbers)
  scatter (part in [numbers]) {
    Int length = length(part)
  }
  output { Int last = numbers[n - 1]  Int many = length(pairs)  Array[Int] lengths = length }
}
"""


def echo(submission: Any, index: int) -> Any:
    """What a job leaves: the first word that its command would write."""
    from orchestrator.backends import fake

    spec = submission.jobs[index]
    return fake.manifest(submission.handle.id, spec, stdout=spec.script.split()[1].encode())


class Bench:
    """An engine with a backend that answers at once, in this process."""

    def __init__(
        self, folder: Path, url: str | None, behave: Callable[[Any, int], Any] | None = None
    ) -> None:
        from orchestrator.assembly import Assembly
        from orchestrator.backends import fake
        from orchestrator.engine.coordinator import EngineSettings
        from orchestrator.engine.jobs import RunSettings
        from orchestrator.filesystems.base import Filesystems
        from orchestrator.filesystems.local import LocalFilesystem
        from orchestrator.store.sql import SqlStore

        self.store = SqlStore(url or f"sqlite:///{folder}/store.db")
        self.store.migrate()
        runs = {"fake": RunSettings(root=f"{folder}/root")}
        self._parts = Assembly(
            self.store,
            {"fake": fake.FakeBackend(behave or echo, remember=False)},
            Filesystems(LocalFilesystem()),
            "fake",
            {},
            EngineSettings("fake", runs),
        )
        self.engine = self._parts.engine()

    def submit(self, source: str, values: Mapping[str, Any]) -> str:
        """A new workflow; its id."""
        from orchestrator import submission
        from orchestrator.wdl import document
        from orchestrator.wdl.bundle import Bundle
        from orchestrator.wdl.input_files import Given

        loaded = document.load(Bundle("main.wdl", {"main.wdl": source}))
        inputs = [(Path("inputs.json"), Given(dict(values)))]
        return submission.submit(self._parts, loaded, input_files=inputs)

    def adopt(self, root_id: str) -> None:
        """Claim the workflow."""
        from orchestrator.engine.tenure import Tenure

        at = Tenure.now()
        self.engine.adopt(self._parts.claim(root_id), at)

    def end(self, root_id: str) -> Any:
        """Wait for it to succeed."""
        record = self.engine.wait(root_id, timeout=3600)
        assert record is not None
        assert record.state == "Succeeded", (record.state, record.failures)
        return record

    def close(self) -> None:
        """Stop the engine."""
        self.engine.stop()
        self.store.close()


def cost(calls: int, shared: int, url: str | None) -> dict[str, Any]:
    """CPU and memory of one workflow of so many calls."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), url)
        bench.engine.start()
        values = {"n": calls // 2, "shared": [f"s3://bucket/reference/{i}" for i in range(shared)]}
        root_id = bench.submit(CHAIN, {f"chain.{name}": value for name, value in values.items()})
        before, resident, began = cpu_seconds(), peak_mib(), time.monotonic()
        bench.adopt(root_id)
        record = bench.end(root_id)
        wall, spent = time.monotonic() - began, cpu_seconds() - before
        assert json.loads(record.outputs)["chain.all"] == list(range(calls // 2))
        bench.close()
        size = Path(folder, "store.db").stat().st_size if url is None else 0
    return {
        "calls": calls,
        "cpu_ms_a_call": round(1000 * spent / calls, 3),
        "wall_seconds": round(wall, 1),
        "peak_mib_before": resident,
        "peak_mib": peak_mib(),
        "database_bytes_a_call": size // calls,
    }


def pauses(source: str, values: dict[str, Any], others: int, url: str | None) -> dict[str, Any]:
    """What small workflows suffer from a large one, and how long it has the engine's thread."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), url)
        turns, collections = watch_turns(bench.engine), watch_collector()
        bench.engine.start()
        alone = [small(bench) for _ in range(10)]
        root_id = bench.submit(source, values)
        turns.clear()
        collections.clear()
        began = time.monotonic()
        bench.adopt(root_id)
        beside: list[float] = []
        done = threading.Event()

        def wait_for_the_large_one() -> None:
            bench.end(root_id)
            done.set()

        threading.Thread(target=wait_for_the_large_one, daemon=True).start()
        while len(beside) < others or not done.is_set():
            beside.append(small(bench))
            done.wait(0.2)
            if done.is_set() and not others:
                break
        took = time.monotonic() - began
        bench.close()
    worst = sorted(turns, reverse=True)
    return {
        "seconds": round(took, 1),
        "turns": len(turns),
        "longest_ms": [round(1000 * turn) for turn, _ in worst[:10]],
        "where": [where for _, where in worst[:10]],
        "above_50_ms": sum(turn > 0.05 for turn, _ in worst),
        "longest_collections_ms": [round(1000 * c) for c in sorted(collections)[-3:]],
        "small_alone_ms": round(1000 * statistics.median(alone)),
        "small_beside_median_ms": round(1000 * statistics.median(beside)),
        "small_beside_longest_ms": round(1000 * max(beside)),
        "small_beside": len(beside),
    }


def small(bench: Bench) -> float:
    """Seconds from the claim of a small workflow to its end."""
    root_id = bench.submit(CHAIN, {"chain.n": 1})
    began = time.monotonic()
    bench.adopt(root_id)
    bench.end(root_id)
    return time.monotonic() - began


def watch_turns(engine: Any) -> list[tuple[float, str]]:
    """(seconds, part) of everything that the engine's thread does in one go for one workflow.

    By the CPU time of the whole process, so that waiting for a thread that evaluates and for
    Python's lock is part of it; not by the wall: other processes of this machine would be, too.
    """
    turns: list[tuple[float, str]] = []

    def watched(name: str) -> None:
        inner: Callable[..., Any] = getattr(engine, name)

        def outer(*arguments: Any) -> Any:
            began = time.process_time()
            try:
                return inner(*arguments)
            finally:
                what = type(arguments[0]).__name__ if name == "_on" else ""
                turns.append((time.process_time() - began, f"{name} {what}".strip()))

        setattr(engine, name, outer)

    for name in ("_on", "_slice", "_commit", "_admit", "_watch", "_look_around"):
        watched(name)
    return turns


def watch_collector() -> list[float]:
    """Seconds of each garbage collection of all generations."""
    took: list[float] = []
    began = 0.0

    def on(phase: str, info: Mapping[str, int]) -> None:
        nonlocal began
        if info["generation"] == 2:
            if phase == "start":
                began = time.thread_time()
            else:
                took.append(time.thread_time() - began)

    gc.callbacks.append(on)
    return took


def cut_off(calls: int, done: float, url: str | None, folder: str) -> dict[str, Any]:
    """Run a workflow until this part of its calls is done, and stop there."""
    limit, given = int(calls * done), 0

    def behave(submission: Any, index: int) -> Any:
        nonlocal given
        if given >= limit:
            return None
        given += 1
        return echo(submission, index)

    bench = Bench(Path(folder), url, behave=behave)
    bench.engine.start()
    root_id = bench.submit(CHAIN, {"chain.n": calls // 2})
    bench.adopt(root_id)
    while sum(c.state == "Done" for c in bench.store.calls(root_id)) < limit:
        time.sleep(0.5)
    time.sleep(1)
    bench.close()
    return {"root_id": root_id}


def restart(root_id: str, url: str | None, folder: str, began: float) -> dict[str, Any]:
    """A new process: until it submits anew, and until the workflow is over."""
    submitted: list[tuple[float, float]] = []  # by the wall, by this process's CPU

    def behave(submission: Any, index: int) -> Any:
        submitted.append((time.time(), cpu_seconds()))
        return echo(submission, index)

    bench = Bench(Path(folder), url, behave=behave)
    calls = bench.store.calls(root_id)
    ready = time.time()
    bench.engine.start()
    bench.adopt(root_id)
    bench.end(root_id)
    bench.close()
    return {
        "calls": len(calls),
        "done_before": sum(call.state == "Done" for call in calls),
        "process_up_seconds": round(ready - began, 2),
        "first_submission_seconds": round(submitted[0][0] - began, 2),
        "first_submission_cpu_seconds": round(submitted[0][1], 2),
        "cpu_seconds_in_all": round(cpu_seconds(), 2),
        "peak_mib": peak_mib(),
    }


def cpu_seconds() -> float:
    """User and system time of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_mib() -> int:
    """The most memory that was resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def apart(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Do it in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=["cost", "pauses", "huge", "restart", "broadcast"])
    parser.add_argument("--calls", type=int, nargs="+")
    parser.add_argument("--shards", type=int)
    parser.add_argument("--others", type=int, default=50)
    parser.add_argument("--done", type=float, default=0.6)
    parser.add_argument("--url", help="SQLAlchemy URL of an empty database")
    options = parser.parse_args()
    match options.what:
        case "cost":
            for calls in options.calls or [1_000, 10_000, 100_000]:
                report(apart(cost, calls, 0, options.url))
        case "broadcast":
            shards = options.shards or 2_000
            report(apart(cost, 2 * shards, shards, options.url))
        case "pauses":
            values = {"chain.n": options.shards or 50_000}
            report(apart(pauses, CHAIN, values, options.others, options.url))
        case "huge":
            report(apart(pauses, HUGE, {"huge.n": 1_000_000}, 0, options.url))
        case "restart":
            for calls in options.calls or [10_000]:
                with tempfile.TemporaryDirectory() as folder:
                    left = apart(cut_off, calls, options.done, options.url, folder)
                    report(apart(restart, left["root_id"], options.url, folder, time.time()))


def report(numbers: dict[str, Any]) -> None:
    """One line."""
    print(json.dumps(numbers))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
