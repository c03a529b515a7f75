from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator import errors
from orchestrator.backends.fake import Behaviour, FakeBackend, manifest
from orchestrator.engine.admission import Admission, JobLimit
from orchestrator.engine.tenure import Tenure
from orchestrator.model.failures import Failure, FailureCode
from orchestrator.model.job import Submission
from orchestrator.model.manifest import Manifest
from orchestrator.model.states import AttemptState, CallState, WorkflowState

from .conftest import World, eventually

SCATTER = """version 1.1
workflow w {
  input { Int n = 5 }
  scatter (i in range(n)) { call double { input: i = i } }
  call total { input: numbers = double.o }
  output { Array[Int] doubles = double.o  Int sum = total.o }
}
task double {
  input { Int i }
  command <<< echo ~{i} >>>
  output { Int o = read_int(stdout()) }
  runtime { docker: "debian:12" maxRetries: 1 }
}
task total {
  input { Array[Int] numbers }
  command <<< echo ~{sep="+" numbers} >>>
  output { Int o = read_int(stdout()) }
  runtime { docker: "debian:12" }
}
"""


def calculate(submission: Submission, index: int) -> Manifest:
    """What the commands of SCATTER print."""
    spec = submission.jobs[index]
    words = spec.script.split()
    numbers = [int(word) for word in words[-1].split("+")]
    result = numbers[0] * 2 if spec.attempt.call_name == "double" else sum(numbers)
    return manifest(submission.handle.id, spec, stdout=f"{result}\n".encode())


def failing(call: str, *, times: int = 10**6, failure: Failure | None = None) -> Behaviour:
    """Like `calculate`, but this call fails so often."""
    left = [times]

    def behave(submission: Submission, index: int) -> Manifest | Failure:
        spec = submission.jobs[index]
        if spec.attempt.call_name == call and left[0] > 0:
            left[0] -= 1
            return failure or manifest(
                submission.handle.id, spec, return_code=3, stderr="it broke\nbadly\n"
            )
        return calculate(submission, index)

    return behave


def test_a_scatter_is_one_array_and_its_outputs_come_in_order(world: World) -> None:
    backend = FakeBackend(calculate)
    record = world.run(backend, SCATTER)
    assert record.state is WorkflowState.SUCCEEDED
    assert json.loads(record.outputs or "") == {"w.doubles": [0, 2, 4, 6, 8], "w.sum": 20}
    assert [len(s.jobs) for s in backend.submissions] == [5, 1]
    calls = world.store.calls(record.id)
    assert {c.state for c in calls} == {CallState.DONE}
    assert {a.state for a in world.store.attempts(record.id)} == {AttemptState.SUCCEEDED}


def test_an_array_is_never_larger_than_the_backend_takes(world: World) -> None:
    backend = FakeBackend(calculate, max_array_size=2)
    world.run(backend, SCATTER)
    assert [len(s.jobs) for s in backend.submissions] == [2, 2, 1, 1]


def test_a_failed_call_fails_the_workflow_naming_call_shard_and_stderr(world: World) -> None:
    backend = FakeBackend(failing("double"))
    record = world.run(backend, SCATTER, {"w.n": 2})
    assert record.state is WorkflowState.FAILED
    messages = [f["message"] for f in json.loads(record.failures or "[]")]
    assert any("w.double[0]" in m and "return code 3" in m and "badly" in m for m in messages)
    assert all(s.jobs[0].attempt.call_name == "double" for s in backend.submissions)


def test_a_users_error_is_tried_again_as_often_as_max_retries_says(world: World) -> None:
    backend = FakeBackend(failing("double", times=1))
    record = world.run(backend, SCATTER, {"w.n": 1})
    assert record.state is WorkflowState.SUCCEEDED
    attempts = world.store.attempts(record.id)
    first, second = [a for a in attempts if "double" in a.call_id]
    assert (first.state, first.failure_code) == (AttemptState.FAILED, "WRONG_RETURN_CODE")
    assert (second.attempt, second.state) == (2, AttemptState.SUCCEEDED)
    assert second.uri.endswith("/call-double/shard-0/attempt-2")


def test_a_lost_host_has_a_budget_of_its_own(world: World) -> None:
    lost = Failure(FailureCode.SPOT_LOSS, "the host is gone")
    record = world.run(FakeBackend(failing("total", times=2, failure=lost)), SCATTER)
    assert record.state is WorkflowState.SUCCEEDED
    record = world.run(FakeBackend(failing("total", times=3, failure=lost)), SCATTER)
    assert record.state is WorkflowState.FAILED
    assert "SPOT_LOSS" in (record.failures or "")


TWO_BRANCHES = """version 1.1
workflow w {
  call bad
  call good
  call after_good { input: i = good.o }
  output { Int o = after_good.o }
}
task bad { command <<< x >>> output { Int o = read_int(stdout()) } runtime { docker: "d" } }
task good { command <<< x >>> output { Int o = read_int(stdout()) } runtime { docker: "d" } }
task after_good {
  input { Int i }
  command <<< x >>>
  output { Int o = read_int(stdout()) }
  runtime { docker: "d" }
}
"""


@pytest.mark.parametrize(
    ("mode", "ran"),
    [("NoNewCalls", {"bad", "good"}), ("ContinueWhilePossible", {"bad", "good", "after_good"})],
)
def test_after_a_failure_new_calls_start_or_not_as_the_mode_says(
    world: World, mode: str, ran: set[str]
) -> None:
    held: list[Submission] = []

    def behave(submission: Submission, index: int) -> Manifest | Failure | None:
        spec = submission.jobs[index]
        if spec.attempt.call_name == "good":
            held.append(submission)
            return None
        if spec.attempt.call_name == "bad":
            return Failure(FailureCode.WRONG_RETURN_CODE, "bad")
        return manifest(submission.handle.id, spec, stdout=b"1")

    backend = FakeBackend(behave)
    root_id = world.submit(TWO_BRANCHES, options={"workflow_failure_mode": mode})
    engine = world.engine(backend)
    world.adopt(engine, root_id)
    eventually(lambda: held and (p := engine.progress(root_id)) and p.failing)
    good = held[0]
    backend.finish(good.handle.id, 0, manifest(good.handle.id, good.jobs[0], stdout=b"1"))
    record = engine.wait(root_id, timeout=20)
    assert record is not None
    assert record.state is WorkflowState.FAILED
    assert {s.jobs[0].attempt.call_name for s in backend.submissions} == ran


def test_a_lost_answer_to_submit_is_looked_up_and_nothing_is_submitted_twice(world: World) -> None:
    backend = FakeBackend(calculate, lose_answers=2)
    record = world.run(backend, SCATTER)
    assert record.state is WorkflowState.SUCCEEDED
    assert len(backend.submissions) == 2


def test_what_was_certainly_not_submitted_is_revoked_and_goes_under_a_new_id(world: World) -> None:
    refused: list[str] = []

    def refuse_once(submission: Submission) -> None:
        if not refused:
            refused.append(submission.handle.id)
            raise errors.TryLater("throttled")

    backend = FakeBackend(calculate, before_submit=refuse_once)
    record = world.run(backend, SCATTER)
    assert record.state is WorkflowState.SUCCEEDED
    assert backend.revoked == set(refused)
    assert refused[0] not in {s.handle.id for s in backend.submissions}


def test_an_answer_lost_before_the_effect_leads_to_one_new_submission(world: World) -> None:
    lost: list[str] = []

    def lose_once(submission: Submission) -> None:
        if not lost:
            lost.append(submission.handle.id)
            raise errors.Ambiguous("no answer")

    backend = FakeBackend(calculate, before_submit=lose_once)
    record = world.run(backend, SCATTER)
    assert record.state is WorkflowState.SUCCEEDED
    assert backend.revoked == set(lost)
    assert [len(s.jobs) for s in backend.submissions] == [5, 1]


def test_a_refused_submission_fails_its_calls(world: World) -> None:
    def refuse(submission: Submission) -> None:
        raise errors.NotAllowed("the queue is disabled")

    record = world.run(FakeBackend(calculate, before_submit=refuse), SCATTER)
    assert record.state is WorkflowState.FAILED
    assert "the queue is disabled" in (record.failures or "")


def test_a_killed_engines_workflow_goes_on_without_running_anything_twice(world: World) -> None:
    """The first engine is left as it is, as a killed one would be: it never writes again."""

    def only_even(submission: Submission, index: int) -> Manifest | None:
        return calculate(submission, index) if index % 2 == 0 else None

    backend = FakeBackend(only_even)
    root_id = world.submit(SCATTER)
    first = world.engine(backend)
    world.adopt(first, root_id)
    eventually(
        lambda: (
            (p := first.progress(root_id)) and p.calls.get("double", {}).get(CallState.DONE) == 3
        )
    )
    held = backend.submissions[0]
    first._stopping.set()  # dies here: no lease given back, nothing finished
    first.poke()
    first._thread.join()
    first._effects.close()
    first._heartbeat.stop()
    backend._behave = calculate
    at = Tenure.now()
    lease = world.store.steal("second", 60, root_id, first._settings.owner)
    assert lease is not None
    second = world.engine(backend)
    second.adopt(lease, at)
    record = second.wait(root_id, timeout=20)
    assert record is not None
    assert json.loads(record.outputs or "")["w.sum"] == 20
    assert backend.submissions[0] is held
    assert [len(s.jobs) for s in backend.submissions] == [5, 1]


def test_abort_ends_what_runs_and_starts_nothing_new(world: World) -> None:
    backend = FakeBackend(lambda submission, index: None)
    root_id = world.submit(SCATTER)
    engine = world.engine(backend)
    world.adopt(engine, root_id)
    eventually(lambda: backend.submissions)
    world.store.put_command(root_id, "abort")
    engine.poke()
    record = engine.wait(root_id, timeout=20)
    assert record is not None
    assert record.state is WorkflowState.ABORTED
    assert backend.cancelled == [(backend.submissions[0].handle.id, (0, 1, 2, 3, 4))]
    assert len(backend.submissions) == 1
    assert {c.state for c in world.store.calls(root_id)} == {CallState.ABORTED}


def test_a_job_that_somebody_else_ends_fails_its_call(world: World) -> None:
    ended = Failure(FailureCode.ABORTED, "terminated by somebody in the console")
    record = world.run(FakeBackend(failing("total", failure=ended)), SCATTER)
    assert record.state is WorkflowState.FAILED
    assert "somebody in the console" in (record.failures or "")


def test_whoever_lost_the_lease_writes_nothing(world: World) -> None:
    backend = FakeBackend(lambda submission, index: None)
    root_id = world.submit(SCATTER)
    engine = world.engine(backend)
    world.adopt(engine, root_id)
    eventually(lambda: backend.submissions)
    stolen = world.store.steal("thief", 60, root_id, engine._settings.owner)
    assert stolen is not None
    submission = backend.submissions[0]
    backend.finish(submission.handle.id, 0, calculate(submission, 0))
    with pytest.raises(errors.LeaseLost):
        engine.wait(root_id, timeout=20)
    assert CallState.DONE not in {c.state for c in world.store.calls(root_id)}


SUB = {
    "main.wdl": """version 1.1
import "inner.wdl" as lib
workflow outer {
  scatter (i in [1, 2]) { call lib.inner { input: i = i } }
  output { Array[Int] o = inner.o }
}
""",
    "inner.wdl": """version 1.1
workflow inner { input { Int i } call t { input: i = i } output { Int o = t.o + 1 } }
task t {
  input { Int i }
  command <<< echo ~{i} >>>
  output { Int o = read_int(stdout()) }
  runtime { docker: "d" }
}
""",
}


def test_a_sub_workflow_has_an_id_and_a_place_of_its_own(world: World) -> None:
    def behave(submission: Submission, index: int) -> Manifest:
        spec = submission.jobs[index]
        return manifest(submission.handle.id, spec, stdout=spec.script.split()[1].encode())

    backend = FakeBackend(behave)
    record = world.run(backend, SUB)
    assert json.loads(record.outputs or "") == {"outer.o": [2, 3]}
    shards = world.store.calls(record.id)
    assert [c.shards for c in shards] == [(0,), (1,)]
    for shard in shards:
        assert shard.sub_workflow_id
        inner = world.store.workflow(shard.sub_workflow_id)
        assert (inner.state, inner.parent_id) == (WorkflowState.SUCCEEDED, record.id)
        (attempt,) = world.store.attempts(inner.id)
        assert attempt.uri.endswith(
            f"outer/{record.id}/call-inner/shard-{shard.shards[0]}/inner/{inner.id}/call-t"
        )


def test_facts_of_files_are_looked_up_once_and_pinned(world: World, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("ada\ngrace\n")
    source = """version 1.1
workflow w {
  input { File names }
  scatter (name in read_lines(names)) { call greet { input: name = name, names = names } }
  output { Array[String] o = greet.o  Float s = size(names) }
}
task greet {
  input { String name  File names }
  command <<< echo ~{name} ~{names} >>>
  output { String o = read_string(stdout()) }
  runtime { docker: "d" }
}
"""

    def behave(submission: Submission, index: int) -> Manifest:
        spec = submission.jobs[index]
        return manifest(submission.handle.id, spec, stdout=spec.script.split()[1].encode())

    backend = FakeBackend(behave)
    record = world.run(backend, source, {"w.names": str(tmp_path / "names.txt")})
    assert json.loads(record.outputs or "") == {"w.o": ["ada", "grace"], "w.s": 10.0}
    (submission,) = backend.submissions
    assert {f.size for job in submission.jobs for f in job.inputs} == {10}


def test_a_missing_file_fails_with_its_name(world: World, tmp_path: Path) -> None:
    source = """version 1.1
workflow w { input { File f } output { String s = read_string(f) } }
"""
    record = world.run(FakeBackend(calculate), source, {"w.f": str(tmp_path / "nothing")})
    assert record.state is WorkflowState.FAILED
    assert "nothing" in (record.failures or "")


def test_a_wrong_runtime_attribute_fails_before_anything_is_submitted(world: World) -> None:
    source = """version 1.1
workflow w { call t }
task t { command <<< x >>> runtime { docker: "d" memory: "much" cpu: -1 } }
"""
    backend = FakeBackend(calculate)
    record = world.run(backend, source)
    assert record.state is WorkflowState.FAILED
    assert "memory" in (record.failures or "")
    assert "cpu" in (record.failures or "")
    assert not backend.submissions


def test_an_empty_command_needs_no_job(world: World) -> None:
    source = """version 1.1
workflow w { call t output { Int o = t.o } }
task t { input { Int i = 20 } command <<<  >>> output { Int o = i + 1 } runtime { docker: "d" } }
"""
    backend = FakeBackend(calculate)
    record = world.run(backend, source)
    assert json.loads(record.outputs or "") == {"w.o": 21}
    assert not backend.submissions


def test_the_job_limit_is_kept(world: World) -> None:
    backend = FakeBackend(calculate)
    record = world.run(backend, SCATTER, admission=Admission({"fake": JobLimit(2)}))
    assert record.state is WorkflowState.SUCCEEDED
    assert max(len(s.jobs) for s in backend.submissions) == 2
