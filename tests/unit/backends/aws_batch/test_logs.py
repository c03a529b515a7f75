"""A job's log, read from a CloudWatch Logs that answers as AWS's reference says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from orchestrator import errors
from orchestrator.backends.aws_batch.logs import JobLog, Stream, stream_of

STREAM = Stream("/jobs", "job/default/1")


def refused(code: str, message: str = "", status: int = 400) -> ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, "GetLogEvents")


class CloudWatch:
    """One stream. Pages hold two events; before each page with some comes an empty one."""

    def __init__(self) -> None:
        self.events: list[tuple[int, str]] = []
        self.valid = True  # tokens
        self.failures: list[Exception] = []
        self.asked: list[dict[str, Any]] = []

    def get_log_events(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        assert (request["logGroupName"], request["logStreamName"]) == (STREAM.group, STREAM.name)
        assert request["startFromHead"]
        if self.failures:
            raise self.failures.pop(0)
        token = request.get("nextToken")
        if token is None:
            start = request.get("startTime", 0)
            begin = sum(1 for time, _ in self.events if time < start)
            return {"events": [], "nextForwardToken": f"f/{begin}"}  # empty, and not the end
        if not self.valid:
            self.valid = True
            raise refused("InvalidParameterException", "The specified nextToken is invalid.")
        begin = int(token.removeprefix("f/"))
        page = self.events[begin : begin + 2]
        found = [{"timestamp": time, "message": text, "ingestionTime": 0} for time, text in page]
        return {"events": found, "nextForwardToken": f"f/{begin + len(page)}"}


def log(cloud: CloudWatch) -> JobLog:
    return JobLog(cast(Any, cloud), lambda: STREAM)


def test_lines_come_in_order_through_empty_pages() -> None:
    cloud = CloudWatch()
    cloud.events = [(number, f"line {number}") for number in range(5)]
    assert list(log(cloud)) == [f"line {number}" for number in range(5)]


def test_reading_again_brings_only_what_is_new_and_costs_one_call_when_nothing_is() -> None:
    cloud = CloudWatch()
    cloud.events = [(1, "a"), (1, "b"), (2, "c")]
    reading = log(cloud)
    assert list(reading) == ["a", "b", "c"]
    asked = len(cloud.asked)
    assert list(reading) == []
    assert len(cloud.asked) == asked + 1
    cloud.events += [(2, "d"), (3, "e")]
    assert list(reading) == ["d", "e"]


def test_what_a_reader_left_unread_comes_next_time() -> None:
    cloud = CloudWatch()
    cloud.events = [(1, "a"), (1, "b")]
    reading = log(cloud)
    assert next(iter(reading)) == "a"
    assert list(reading) == ["b"]


def test_a_token_that_is_too_old_neither_repeats_nor_loses_a_line() -> None:
    cloud = CloudWatch()
    cloud.events = [(1, "a"), (2, "b"), (2, "c")]
    reading = log(cloud)
    assert list(reading) == ["a", "b", "c"]
    cloud.valid = False
    cloud.events += [(2, "b"), (3, "d"), (3, "d")]
    assert list(reading) == ["b", "d", "d"]
    cloud.valid = False
    assert list(reading) == []
    cloud.events += [(3, "d"), (4, "e")]
    assert list(reading) == ["d", "e"]


def test_a_refusal_without_a_token_is_no_matter_of_tokens() -> None:
    cloud = CloudWatch()
    cloud.failures = [refused("InvalidParameterException", "wrong")]
    with pytest.raises(errors.Invalid, match="/jobs"):
        list(log(cloud))


def test_throttling_is_said_and_gone_on_from() -> None:
    cloud = CloudWatch()
    cloud.events = [(1, "a"), (2, "b"), (3, "c")]
    reading = log(cloud)
    found = [line for _, line in zip(range(2), reading, strict=False)]
    cloud.failures = [refused("ThrottlingException", "Rate exceeded")]
    with pytest.raises(errors.TryLater, match="Rate exceeded"):
        found += list(reading)
    found += list(reading)
    assert found == ["a", "b", "c"]


def test_a_stream_without_a_line_is_no_error_but_a_missing_group_is() -> None:
    cloud = CloudWatch()
    none = "The specified log stream does not exist."
    cloud.failures = [refused("ResourceNotFoundException", none)]
    assert list(log(cloud)) == []
    gone = "The specified log group does not exist."
    cloud.failures = [refused("ResourceNotFoundException", gone)]
    with pytest.raises(errors.NotFound, match="/jobs"):
        list(log(cloud))


def test_a_group_that_may_not_be_read_is_named_with_the_permission() -> None:
    cloud = CloudWatch()
    cloud.failures = [refused("AccessDeniedException", "not authorized")]
    with pytest.raises(errors.NotAllowed) as raised:
        list(log(cloud))
    assert "logs:GetLogEvents on log group /jobs" in raised.value.hint


def test_the_stream_is_asked_for_until_there_is_one() -> None:
    cloud = CloudWatch()
    cloud.events = [(1, "a")]
    known: list[Stream | None] = [None, STREAM]
    reading = JobLog(cast(Any, cloud), lambda: known.pop(0))
    assert list(reading) == []
    assert list(reading) == ["a"]
    assert list(reading) == []
    assert known == []


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        ([], None),
        ([{"status": "RUNNABLE", "container": {}}], None),
        ([{"container": {"logStreamName": "s"}}], Stream("/default", "s")),
        (
            [
                {
                    "attempts": [{"container": {"logStreamName": "first"}}, {"container": {}}],
                    "container": {
                        "logStreamName": "s",
                        "logConfiguration": {"options": {"awslogs-group": "/mine"}},
                    },
                }
            ],
            Stream("/mine", "s"),
        ),
    ],
)
def test_a_jobs_stream_is_in_the_group_that_its_definition_names(
    jobs: Sequence[dict[str, Any]], expected: Stream | None
) -> None:
    class Batch:
        def describe_jobs(self, jobs: list[str]) -> dict[str, Any]:
            assert jobs == ["id:3"]
            return {"jobs": answer}

    answer = jobs
    assert stream_of(cast(Any, Batch()), "id:3", "/default") == expected
