"""Random orders of answers, faults and crashes: whatever happens, a workflow ends, nothing runs
twice, and its records end with it."""

from __future__ import annotations

import dataclasses
import random

import pytest

from orchestrator import errors
from orchestrator.backends.fake import manifest
from orchestrator.engine.actions import Cancel, Effect, Fetch, Find, Put, Revoke, Submit
from orchestrator.model import states
from orchestrator.model.failures import Failure, FailureCode
from orchestrator.model.job import Submission
from orchestrator.model.records import FactRecord
from orchestrator.model.states import CallState, WorkflowState

from .stepping import Stepped

SOURCE = {
    "main.wdl": """version 1.1
import "inner.wdl" as lib
workflow outer {
  File names = write_lines(["a", "b"])
  scatter (i in range(3)) { call lib.inner { input: i = i, names = names } }
  call lib.t as last { input: i = length(inner.o) }
  output { Array[Int] o = inner.o  Int l = last.o  File f = write_lines(["c"]) }
}
""",
    "inner.wdl": """version 1.1
workflow inner {
  input { Int i  File names }
  scatter (n in read_lines(names)) { call t { input: i = i } }
  call u { input: x = t.o }
  output { Int o = u.o }
}
task t {
  input { Int i }
  command <<< echo ~{i} >>>
  output { Int o = read_int("result") }
  runtime { docker: "d" maxRetries: 1 }
}
task u {
  input { Array[Int] x }
  command <<< echo ~{sep=" " x} >>>
  output { Int o = read_int(stdout()) }
  runtime { docker: "d" }
}
""",
}


class Chaos:
    """Stands for pool, poller and backend."""

    def __init__(self, seed: int, mode: str) -> None:
        self.random = random.Random(seed)
        self.world = Stepped(SOURCE, options={"workflow_failure_mode": mode})
        self.failing = seed % 3 == 0
        self.aborting = seed % 5 == 0
        self.todo: list[Effect] = []
        self.taken: dict[str, Submission] = {}
        self.revoked: set[str] = set()
        self.watched: set[str] = set()
        self.ends: dict[tuple[str, int], object] = {}
        self.ran: list[str] = []

    def run(self) -> None:
        for step in range(3000):
            self.todo += self.world.turn()
            if states.is_terminal(self.world.state()):
                return
            if self.aborting and step == 40:
                self.world.run.abort()
            if self.random.random() < 0.05:
                self.todo, self.watched = [], set()
                self.world.open()  # a crash
            elif self.todo and self.random.random() < 0.6:
                self.act(self.todo.pop(self.random.randrange(len(self.todo))))
            else:
                self.poll()
            self.world.now += self.random.choice((0, 0, 100))
        raise AssertionError(f"it never ends: {self.world.run.progress()}")

    def act(self, effect: Effect) -> None:
        run, lucky = self.world.run, self.random.random()
        match effect:
            case Put():
                refused = errors.NotAllowed("refused") if self.failing and lucky < 0.1 else None
                run.objects_written(refused)
            case Fetch(wants) if self.failing and lucky < 0.2:
                run.facts_fetched([], {w: errors.NotAllowed("refused") for w in wants})
            case Fetch(wants):
                run.facts_fetched(
                    [FactRecord(run.root.id, w.kind, w.uri, True, 1, None, b"7") for w in wants],
                    {},
                )
            case Submit(submission):
                key = submission.handle.id
                assert key not in self.taken
                if lucky < 0.1:
                    run.submissions.submit_failed(key, errors.TryLater("throttled"))
                    return
                if lucky > 0.2:
                    self.taken[key] = submission
                    self.ran += [spec.attempt.token for spec in submission.jobs]
                if 0.1 < lucky < 0.3:
                    run.submissions.submit_failed(key, errors.Ambiguous("no answer"))
                else:
                    self.watched.add(key)
                    run.submissions.submitted(key, f"job-{key}")
            case Find(handle):
                if lucky < 0.1:
                    run.submissions.find_failed(handle.id)
                elif handle.id in self.taken:
                    self.watched.add(handle.id)
                    run.submissions.found(handle.id, f"job-{handle.id}")
                else:
                    run.submissions.found(handle.id, None)
            case Revoke(handle):
                assert handle.id not in self.taken, "it has begun"
                self.revoked.add(handle.id)
                run.submissions.revoked(handle.id)
            case Cancel(handle, indices):
                for index in indices:
                    if handle.id in self.taken:
                        aborted = Failure(FailureCode.ABORTED, "ended")
                        self.ends.setdefault((handle.id, index), aborted)

    def poll(self) -> None:
        jobs = [(key, i) for key in sorted(self.watched) for i in range(len(self.taken[key].jobs))]
        if not jobs:
            return
        key, index = self.random.choice(jobs)
        submission = self.taken[key]
        spec = submission.jobs[index]
        if (key, index) not in self.ends:
            code = int(self.failing and self.random.random() < 0.3)
            end = manifest(key, spec, return_code=code, stdout=b"7", files={"result": b"7"})
            # What the manifest does not carry is fetched: a moment more in which to crash.
            files = {p: dataclasses.replace(f, content=None) for p, f in end.files.items()}
            self.ends[key, index] = dataclasses.replace(end, files=files)
        self.world.finish(submission, index, self.ends[key, index])  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["NoNewCalls", "ContinueWhilePossible"])
@pytest.mark.parametrize("seed", range(30))
def test_whatever_happens_it_ends_and_nothing_runs_twice(seed: int, mode: str) -> None:
    chaos = Chaos(seed, mode)
    chaos.run()
    journal = chaos.world.journal
    assert len(chaos.ran) == len(set(chaos.ran)), "an attempt ran twice"
    assert all(states.is_terminal(w.state) for w in journal.workflows)
    assert all(states.is_terminal(a.state) for a in journal.attempts)
    assert all(states.is_terminal(s.state) for s in journal.submissions)
    assert CallState.RUNNING not in {c.state for c in journal.calls}
    if not chaos.failing and not chaos.aborting:
        assert chaos.world.state() is WorkflowState.SUCCEEDED
        assert len(journal.calls) == 3 * 4 + 1
