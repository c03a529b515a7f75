"""Databases that older versions left in the middle of a workflow: `older/<version>.sql`.

`python -m tests.unit.engine.older_versions <new file>` writes one, with the version of today. Once
a version is released its file is never written again: it stands for workflows that run somewhere.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
from pathlib import Path

from orchestrator.assembly import load_bundle
from orchestrator.backends.fake import manifest
from orchestrator.engine.actions import Cancel, Effect, Fetch, Find, Put, Submit
from orchestrator.model import states
from orchestrator.model.job import JobSpec, SubmissionHandle
from orchestrator.model.records import FactRecord
from orchestrator.store.sql import SqlStore
from orchestrator.wdl import inputs

from .stepping import ROOT, Stepped

FOLDER = Path(__file__).parent / "older"

SOURCE = {
    "main.wdl": """version 1.1
import "inner.wdl" as lib
workflow outer {
  input { File table  Array[String] words = ["a b", "c'd", "é"]  Float ratio = 0.1  Int? none }
  File names = write_lines(words)
  Map[String, Int] counts = {"x": 1, "y": length(words)}
  Array[Int] many = range(2000)
  scatter (row in read_tsv(table)) {
    if (row[0] != "skip") {
      call lib.t as one { input: x = row[0], f = table, big = many, n = none }
    }
  }
  scatter (word in words) {
    call lib.inner { input: word = word, names = names, pair = (ratio * 3, counts) }
  }
  call lib.t as last after one { input: x = sep("-", inner.o), size = size(table, "KB") }
  output { String o = last.o  Array[String?] ones = one.o  Array[Array[Int]] all = inner.lengths }
}
""",
    "inner.wdl": """version 1.1
struct Sample { String name  Map[String, Int] counts  File? f }
workflow inner {
  input { String word  File names  Pair[Float, Map[String, Int]] pair }
  Sample sample = Sample { name: sub(word, "[^a-z]", "_"), counts: pair.right, f: names }
  scatter (line in read_lines(names)) {
    call t { input: x = "~{sample.name}~{line}~{pair.left}", f = sample.f }
  }
  call t as joined { input: x = select_first([sample.counts["x"], 0]) + basename(names), f = names }
  output { String o = joined.o  Array[Int] lengths = t.length }
}
task t {
  input { String x  File? f  Array[Int] big = []  Int? n  Float size = 1.0 }
  command <<< echo ~{x} ~{length(big)} ~{size} ~{f} >>>
  output { String o = read_string(stdout())  Int length = read_int("length") }
  runtime { docker: "d" maxRetries: 1 }
}
""",
}
TABLE = b"p\t1\nskip\t2\nq\t3\n"


def begin() -> Stepped:
    """A workflow that nothing has been done for yet."""
    return Stepped(SOURCE, {"outer.table": "/data/table.tsv"})


class World:
    """Whatever a run wants comes to pass, and jobs end in the order they were submitted."""

    def __init__(self, world: Stepped) -> None:
        self.world = world
        self.submitted: list[SubmissionHandle] = []
        self.found: list[SubmissionHandle] = []
        self.fetched: set[str] = set()
        self.cancelled: list[tuple[str, int]] = []

    def turn(self) -> bool:
        """One more; False: it is over."""
        for effect in self.world.turn():
            self._act(effect)
        return not states.is_terminal(self.world.state())

    def end_jobs(self, handle: SubmissionHandle, *, but: int | None = None) -> None:
        """All of them, but that one."""
        for index, attempt in enumerate(handle.attempts):
            if index == but:
                continue
            where = self.world.backend.work_dir(attempt)
            spec = JobSpec(attempt, where, "")
            text = f"{attempt.call_name}{index}".encode()
            end = manifest(handle.id, spec, stdout=text, files={"length": str(index).encode()})
            self.world.finish(handle, index, end)

    def _act(self, effect: Effect) -> None:
        run = self.world.run
        match effect:
            case Put():
                run.objects_written(None)
            case Fetch(wants):
                self.fetched |= {want.uri for want in wants}
                run.facts_fetched(
                    [FactRecord(ROOT, w.kind, w.uri, True, len(TABLE), "e", TABLE) for w in wants],
                    {},
                )
            case Submit(submission):
                self.submitted.append(submission.handle)
                run.submissions.submitted(submission.handle.id, f"job-{submission.handle.id}")
            case Find(handle):
                self.found.append(handle)
                run.submissions.found(handle.id, f"job-{handle.id}")
            case Cancel(handle, indices):
                self.cancelled += [(handle.id, index) for index in indices]
            case _:
                raise AssertionError(f"nobody expects {effect}")


def restored(path: Path, folder: Path) -> tuple[Stepped, SqlStore]:
    """The workflow in a database of an older version, taken up again by the version of today."""
    with sqlite3.connect(folder / "store.db") as connection:
        connection.executescript(path.read_text(encoding="utf-8"))
    connection.close()
    store = SqlStore(f"sqlite:///{folder}/store.db")
    store.migrate()
    world = begin()
    world.store = store
    (world.lease,) = store.claim("test", 1e6, 1)
    world.document = load_bundle(store.bundle(store.workflow(ROOT).bundle))
    assert inputs.bind(world.document, json.loads(store.workflow(ROOT).inputs))
    world.open()
    return world, store


def write(target: Path) -> None:
    """Two arrays have ended but for one job each, and what follows from that is under way."""
    with tempfile.TemporaryDirectory() as folder:
        store = SqlStore(f"sqlite:///{folder}/store.db")
        store.migrate()
        stepped = begin()
        record = stepped.store.workflow(ROOT)
        bundle = stepped.document.bundle
        store.put_bundle(bundle.digest, {"": bundle.main, **bundle.files})
        store.create(record)
        stepped.store = store
        (stepped.lease,) = store.claim("test", 1e6, 1)
        stepped.open()
        world = World(stepped)
        while len(world.submitted) < 3:
            world.turn()
        for handle in list(world.submitted):
            world.end_jobs(handle, but=len(handle.attempts) - 1)
        for _ in range(10):
            world.turn()
        store.release(stepped.lease)
        store.close()
        with sqlite3.connect(f"{folder}/store.db") as connection:
            target.write_text("\n".join(connection.iterdump()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
