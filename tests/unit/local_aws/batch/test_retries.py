"""retryStrategy and evaluateOnExit."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from orchestrator.local_aws.batch.retry import parse
from tests.unit.local_aws.batch.conftest import Cloud

EXITED = "Essential container in task exited"


def test_a_failed_attempt_is_followed_by_another_and_all_are_on_record(cloud: Cloud) -> None:
    job = cloud.run(
        "echo try $AWS_BATCH_JOB_ATTEMPT; exit $((3 - AWS_BATCH_JOB_ATTEMPT))",
        retryStrategy={"attempts": 5},
    )
    assert job["status"] == "SUCCEEDED"
    assert [attempt["container"]["exitCode"] for attempt in job["attempts"]] == [2, 1, 0]
    streams = [attempt["container"]["logStreamName"] for attempt in job["attempts"]]
    assert len(set(streams)) == 3
    assert job["container"]["logStreamName"] == streams[-1]
    assert cloud.output(job) == ["try 3"]
    assert job["retryStrategy"] == {"attempts": 5, "evaluateOnExit": []}


def test_the_last_attempt_decides(cloud: Cloud) -> None:
    job = cloud.run("exit 7", retryStrategy={"attempts": 2})
    assert job["status"] == "FAILED"
    assert job["container"]["exitCode"] == 7
    assert len(job["attempts"]) == 2


def test_there_is_one_attempt_without_a_strategy(cloud: Cloud) -> None:
    assert len(cloud.run("exit 1")["attempts"]) == 1


def test_a_submission_overrides_the_definitions_strategy(cloud: Cloud) -> None:
    definition = cloud.define("false", retryStrategy={"attempts": 3})
    queue = cloud.queue()
    assert len(cloud.finished(cloud.submit(queue, definition))["attempts"]) == 3
    job = cloud.finished(cloud.submit(queue, definition, retryStrategy={"attempts": 2}))
    assert len(job["attempts"]) == 2


def test_a_job_that_cannot_start_is_retried_by_its_reason(cloud: Cloud) -> None:
    rules = [
        {"onReason": "CannotStartContainerError*", "action": "RETRY"},
        {"onReason": "*", "action": "EXIT"},
    ]
    job = cloud.finished(
        cloud.submit(
            cloud.queue(),
            cloud.define("no-such-program"),
            retryStrategy={"attempts": 3, "evaluateOnExit": rules},
        )
    )
    assert len(job["attempts"]) == 3


@pytest.mark.parametrize(
    ("rules", "exit_code", "reason", "retried"),
    [
        pytest.param([], 1, "", True, id="no rules"),
        pytest.param([{"onExitCode": "1", "action": "exit"}], 1, "", False, id="match"),
        pytest.param([{"onExitCode": "1", "action": "exit"}], 12, "", True, id="no match: retry"),
        pytest.param([{"onExitCode": "1*", "action": "exit"}], 12, "", False, id="star at the end"),
        pytest.param([{"onExitCode": "*", "action": "exit"}], None, "", True, id="no exit code"),
        pytest.param([{"onReason": "*", "action": "exit"}], 1, "", False, id="empty reason"),
        pytest.param(
            [{"onReason": "Out*", "onExitCode": "137", "action": "exit"}],
            137,
            "OutOfMemoryError: x",
            False,
            id="all conditions",
        ),
        pytest.param(
            [{"onReason": "Out*", "onExitCode": "1", "action": "exit"}],
            137,
            "OutOfMemoryError: x",
            True,
            id="conditions are ANDed",
        ),
        pytest.param(
            [{"onExitCode": "1", "action": "retry"}, {"onReason": "*", "action": "exit"}],
            1,
            "",
            True,
            id="first match wins",
        ),
        pytest.param(
            [
                {"onStatusReason": "Host EC2*", "action": "retry"},
                {"onReason": "*", "action": "exit"},
            ],
            1,
            "",
            False,
            id="other status reason",
        ),
        pytest.param(
            [{"onStatusReason": "essential*", "action": "exit"}], 1, "", True, id="case counts"
        ),
    ],
)
def test_evaluate_on_exit(
    rules: list[dict[str, str]], exit_code: int | None, reason: str, retried: bool
) -> None:
    strategy = parse({"attempts": 2, "evaluateOnExit": rules})
    assert strategy.retries(1, exit_code, reason, EXITED) is retried
    assert strategy.retries(2, exit_code, reason, EXITED) is False


def test_actions_are_taken_in_any_case_and_given_back_in_lower(cloud: Cloud) -> None:
    rules = [{"onExitCode": "1", "action": "EXIT"}]
    job = cloud.run("exit 1", retryStrategy={"attempts": 3, "evaluateOnExit": rules})
    assert len(job["attempts"]) == 1
    assert job["retryStrategy"]["evaluateOnExit"] == [{"onExitCode": "1", "action": "exit"}]


@pytest.mark.parametrize(
    "strategy",
    [
        {"attempts": 0},
        {"attempts": 11},
        {"evaluateOnExit": [{"onExitCode": "1", "action": "EXIT"}]},
        {"attempts": 2, "evaluateOnExit": [{"onExitCode": "1", "action": "EXIT"}] * 6},
        {"attempts": 2, "evaluateOnExit": [{"onExitCode": "1*2", "action": "EXIT"}]},
        {"attempts": 2, "evaluateOnExit": [{"onReason": "*x", "action": "EXIT"}]},
        {"attempts": 2, "evaluateOnExit": [{"onReason": "x", "action": "MAYBE"}]},
        {"attempts": 2, "evaluateOnExit": [{"onReason": "x" * 513, "action": "EXIT"}]},
    ],
)
def test_strategies_that_batch_does_not_take_are_refused(
    cloud: Cloud, strategy: dict[str, object]
) -> None:
    with pytest.raises(ClientError, match="ClientException"):
        cloud.submit(cloud.queue(), cloud.define("true"), retryStrategy=strategy)
    with pytest.raises(ClientError, match="ClientException"):
        cloud.define("true", retryStrategy=strategy)
