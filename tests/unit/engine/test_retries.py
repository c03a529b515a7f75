"""Retries as the journal shows them: who pays, what changes; a restart decides the same."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.backends.fake import manifest
from orchestrator.engine.actions import Search, Submit
from orchestrator.engine.retry import RetryPolicy
from orchestrator.model.failures import Failure, FailureCode
from orchestrator.model.job import Submission
from orchestrator.model.manifest import Manifest
from orchestrator.model.records import AttemptRecord
from orchestrator.model.states import CallState, WorkflowState

from .stepping import Stepped, of

SPOT = Failure(FailureCode.SPOT_LOSS, "the host was taken away")
PULL = Failure(FailureCode.IMAGE_PULL_FAILED, "no such image")
OOM = Failure(FailureCode.OUT_OF_MEMORY, "killed")


def task(attributes: str) -> str:
    return f"""version 1.1
workflow w {{ call t }}
task t {{ command <<< x >>> runtime {{ docker: "d" {attributes} }} }}
"""


def next_job(world: Stepped) -> Submission:
    """The submission that comes next, after as long as it takes."""
    for _ in range(10):
        found = world.submitted(world.turn())
        if found:
            return found[0]
        world.now = (world.run.wake_at() or world.now) + 1
    raise AssertionError("nothing was submitted")


def bad(submission: Submission, code: int = 1, stderr: str = "") -> Manifest:
    return manifest(submission.handle.id, submission.jobs[0], return_code=code, stderr=stderr)


def attempts(world: Stepped) -> list[AttemptRecord]:
    return sorted(world.journal.attempts, key=lambda a: a.attempt)


def test_spot_losses_do_not_use_up_the_users_retries() -> None:
    world = Stepped(task("maxRetries: 1"))
    for _ in range(3):
        world.finish(next_job(world), 0, SPOT)
    broken = next_job(world)
    world.finish(broken, 0, bad(broken))
    world.finish(next_job(world), 0, SPOT)
    broken = next_job(world)
    world.finish(broken, 0, bad(broken))
    world.turn()
    assert world.state() is WorkflowState.FAILED
    codes = [attempt.failure_code for attempt in attempts(world)]
    assert codes == [*["SPOT_LOSS"] * 3, "WRONG_RETURN_CODE", "SPOT_LOSS", "WRONG_RETURN_CODE"]


def test_the_engines_own_budgets_are_apart_and_end() -> None:
    world = Stepped(task("maxRetries: 9"))
    world.settings = dataclasses.replace(world.settings, retry=RetryPolicy(lost=1, transient=1))
    world.open()
    for end in (SPOT, PULL, SPOT):
        world.finish(next_job(world), 0, end)
        world.turn()
    assert world.state() is WorkflowState.FAILED
    (call,) = world.journal.calls
    assert (call.state, call.failure_code) == (CallState.FAILED, "SPOT_LOSS")


def test_each_retry_is_told_with_its_reason_and_who_pays() -> None:
    world = Stepped(task("maxRetries: 1"))
    broken = next_job(world)
    world.finish(broken, 0, bad(broken, 7))
    world.finish(next_job(world), 0, SPOT)
    world.turn()
    told = [json.loads(e.detail) for _, e in world.store.events(world.run.root.id)
            if e.kind == "Retrying"]  # fmt: skip
    assert [(d["code"], d["class"], d["used"], d["budget"]) for d in told] == [
        ("WRONG_RETURN_CODE", "user", 1, 1),
        ("SPOT_LOSS", "lost", 1, 5),
    ]
    assert "return code 7" in told[0]["message"]


RULES = '[{"action": "RETRY", "onExitCode": "7*"}, {"action": "EXIT", "onReason": "*"}]'


def test_what_batch_would_retry_is_retried_on_top_of_max_retries() -> None:
    world = Stepped(task(f"maxRetries: 1 awsBatchRetryAttempts: 3 awsBatchEvaluateOnExit: {RULES}"))
    for code in (7, 71, 75, 7):
        broken = next_job(world)
        world.finish(broken, 0, bad(broken, code))
        world.turn()
    assert world.state() is WorkflowState.FAILED
    assert len(attempts(world)) == 4


def test_a_rule_that_says_exit_leaves_what_max_retries_grants() -> None:
    world = Stepped(task(f"maxRetries: 1 awsBatchRetryAttempts: 3 awsBatchEvaluateOnExit: {RULES}"))
    for code in (1, 2):
        broken = next_job(world)
        world.finish(broken, 0, bad(broken, code))
        world.turn()
    assert world.state() is WorkflowState.FAILED
    assert len(attempts(world)) == 2


def test_batch_attempts_come_after_the_engines_own_for_a_lost_host() -> None:
    world = Stepped(task("awsBatchRetryAttempts: 2"))
    world.settings = dataclasses.replace(world.settings, retry=RetryPolicy(lost=1))
    world.open()
    for _ in range(3):
        world.finish(next_job(world), 0, SPOT)
        world.turn()
        world.open()  # a restart decides the same
    assert world.state() is WorkflowState.FAILED
    assert len(attempts(world)) == 3


def test_children_that_fail_within_a_moment_are_retried_as_one_array() -> None:
    world = Stepped(
        """version 1.1
workflow w { scatter (i in range(40)) { call t } }
task t { command <<< x >>> runtime { docker: "d" } }
"""
    )
    [array] = world.submitted(world.turn())
    for index in range(30):
        world.run.tell_time(world.now + (index + 1) / 100)  # they are told of in several turns
        world.finish(array, index, SPOT)
        world.run.work(lambda: False)
    found: list[Submission] = []
    while not found:
        world.now = (world.run.wake_at() or world.now) - 1  # a turn takes a second
        found = world.submitted(world.turn())
    assert [len(again.jobs) for again in found] == [30]
    assert {job.attempt.attempt for job in found[0].jobs} == {2}


def test_the_workflows_labels_reach_its_submissions() -> None:
    world = Stepped(task(""))
    root = dataclasses.replace(world.run.root, labels='{"team": "blue"}')
    world.store.write(world.lease, [root])
    world.open()
    labels = dict(next_job(world).labels)
    assert labels["cromwell-workflow-name"] == "w"
    assert labels["cromwell-workflow-id"] == world.run.root.id
    assert labels["team"] == "blue"


@pytest.mark.parametrize("memory", ['"1 GB"', "1073741824", '"~{1} GiB"'])
def test_memory_grows_after_each_attempt_that_lacked_it_and_only_then(memory: str) -> None:
    world = Stepped(
        task(f"maxRetries: 5 memory: {memory}"), options={"memory_retry_multiplier": 2.0}
    )
    asked = []
    for end in (OOM, SPOT, OOM, None):
        submission = next_job(world)
        asked.append(submission.shape.memory_mib)
        world.finish(submission, 0, end or bad(submission, 0))
        world.open()  # a restart decides the same
        if end is not None:  # the crash came before the verdict: the job is found again
            found = world.turn()
            assert not of(Submit, found)
            world.run.submissions.found(submission.handle.id, f"job-{submission.handle.id}")
            world.finish(submission, 0, end)
            world.turn()
            world.open()
    assert asked == [1024, 2048, 2048, 4096]
    told = [json.loads(attempt.runtime)["memory"] for attempt in attempts(world)]
    assert told[1:] == ["2048 MB", "2048 MB", "4096 MB"]


def test_memory_stays_without_the_option() -> None:
    world = Stepped(task("maxRetries: 1"))
    world.finish(next_job(world), 0, OOM)
    assert next_job(world).shape.memory_mib == 2048


def with_keys(options: dict[str, Any]) -> Stepped:
    world = Stepped(task("maxRetries: 1"), options=options)
    world.settings = dataclasses.replace(world.settings, memory_keys=("OutOfMemory", "Killed"))
    world.open()
    return world


def test_a_word_at_the_end_of_stderr_makes_memory_grow() -> None:
    world = with_keys({"memory_retry_multiplier": 1.5})
    broken = next_job(world)
    world.finish(broken, 0, bad(broken, 1, "OutOfMemoryError"))
    assert next_job(world).shape.memory_mib == 3072
    assert attempts(world)[0].failure_code == "OUT_OF_MEMORY"


@pytest.mark.parametrize(("word", "mib"), [("Killed", 3072), (None, 2048)])
def test_all_of_stderr_is_searched_where_its_end_does_not_tell(word: str | None, mib: int) -> None:
    world = with_keys({"memory_retry_multiplier": 1.5})
    broken = next_job(world)
    end = bad(broken, 1, "the end")
    longer = dataclasses.replace(end.stderr, size=10_000)
    world.finish(broken, 0, dataclasses.replace(end, stderr=longer))
    (search,) = of(Search, world.turn())
    assert search.words == ("OutOfMemory", "Killed")
    assert search.uri == longer.uri
    assert world.state() is WorkflowState.RUNNING
    world.run.jobs.searched(search.token, word)
    world.run.jobs.searched(search.token, word)  # an answer that comes twice
    assert next_job(world).shape.memory_mib == mib


def test_stderr_is_not_searched_where_memory_does_not_grow() -> None:
    world = with_keys({})
    broken = next_job(world)
    end = bad(broken, 1, "the end")
    longer = dataclasses.replace(end.stderr, size=10_000)
    world.finish(broken, 0, dataclasses.replace(end, stderr=longer))
    assert not of(Search, world.turn())


def test_attributes_come_from_the_options_and_the_backends_defaults() -> None:
    world = Stepped(
        task("cpu: 3"),
        options={"default_runtime_attributes": {"cpu": 2, "memory": "3 GB"}},
    )
    world.settings = dataclasses.replace(
        world.settings, default_runtime_attributes={"memory": "9 GB", "maxRetries": 4}
    )
    world.open()
    submission = next_job(world)
    assert (submission.shape.cpu, submission.shape.memory_mib) == (3, 3072)
    told = json.loads(attempts(world)[0].runtime)
    assert told == {
        "docker": "d",
        "cpu": 3,
        "memory": "3 GB",
        "maxRetries": 4,
        "continueOnReturnCode": 0,
        "failOnStderr": False,
    }


def test_the_job_role_of_the_options_is_the_jobs() -> None:
    role = "arn:aws:iam::123456789012:role/jobs"
    world = Stepped(task(""), options={"aws_batch_job_role_arn": role})
    assert next_job(world).shape.job_role_arn == role


FAILS_AND_GOES_ON = """version 1.1
workflow w { call t as bad  call t as good  call t as after_good { input: i = good.o }
  call t as after_bad { input: i = bad.o } }
task t { input { Int i = 0 } command <<< x >>> output { Int o = read_int(stdout()) }
  runtime { docker: "d" } }
"""


@pytest.mark.parametrize(
    ("mode", "ran"),
    [("NoNewCalls", {"bad", "good"}), ("ContinueWhilePossible", {"bad", "good", "after_good"})],
)
def test_the_failure_mode_says_what_goes_on(mode: str, ran: set[str]) -> None:
    world = Stepped(FAILS_AND_GOES_ON, options={"workflow_failure_mode": mode})
    first = {s.jobs[0].attempt.call_name: s for s in world.submitted(world.turn())}
    world.finish(first["bad"], 0, bad(first["bad"]))
    world.turn()
    assert world.run.failing
    good = first["good"]
    world.finish(good, 0, manifest(good.handle.id, good.jobs[0], stdout=b"1"))
    later = {s.jobs[0].attempt.call_name: s for s in world.submitted(world.turn())}
    for submission in later.values():
        world.finish(submission, 0, manifest(submission.handle.id, submission.jobs[0], stdout=b"1"))
        world.turn()
    assert world.state() is WorkflowState.FAILED
    assert {*first, *later} == ran


def test_a_workflow_that_aws_s3_root_places_elsewhere_works_and_leaves_all_there(
    tmp_path: Path,
) -> None:
    world = Stepped(task(""))
    (record,) = world.journal.workflows
    elsewhere = dataclasses.replace(record, directory="s3://other/root/w/id")
    world.store.write(world.lease, [elsewhere])
    world.open()
    submission = next_job(world)
    assert submission.jobs[0].work_dir.uri == "s3://other/root/w/id/call-t"
