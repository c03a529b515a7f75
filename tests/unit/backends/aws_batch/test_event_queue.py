"""Batch's events: hints from a queue that others read and write too, and that may not be there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from botocore.exceptions import ClientError, EndpointConnectionError

from orchestrator.backends.aws_batch import AwsBatchBackend
from orchestrator.backends.aws_batch.event_queue import EventQueue
from orchestrator.backends.aws_batch.poller import Heard
from orchestrator.backends.aws_batch.reports import Report
from orchestrator.backends.aws_batch.settings import Settings
from orchestrator.backends.base import JobState
from tests.batch_cloud import Cloud, backend_on

from .conftest import collect, submission


def event(job_id: str, status: str = "SUCCEEDED", **detail: Any) -> str:
    return json.dumps(
        {
            "detail-type": "Batch Job State Change",
            "source": "aws.batch",
            "detail": {
                "jobId": job_id,
                "status": status,
                "statusReason": "Essential container in task exited",
                "startedAt": 2000,
                "stoppedAt": 3000,
                "container": {"exitCode": 0, "logStreamName": "job/default/1", "vcpus": 1},
                **detail,
            },
        }
    )


class Queue:
    """SQS as far as it is used: what is received and not deleted comes again."""

    def __init__(self, *bodies: str) -> None:
        self.waiting = [{"Body": body, "times": 0, "ReceiptHandle": body} for body in bodies]
        self.receptions = self.deletions = 0

    def receive_message(self, **request: Any) -> Any:
        assert request["MaxNumberOfMessages"] == 10
        self.receptions += 1
        found = []
        for message in self.waiting[:10]:
            message["times"] = int(str(message["times"])) + 1
            attributes = {"ApproximateReceiveCount": str(message["times"])}
            found.append({**message, "MessageId": "m", "Attributes": attributes})
        return {"Messages": found} if found else {}

    def delete_message_batch(self, QueueUrl: str, Entries: list[dict[str, str]]) -> Any:
        assert 0 < len(Entries) <= 10
        assert len({entry["Id"] for entry in Entries}) == len(Entries)
        self.deletions += 1
        gone = {entry["ReceiptHandle"] for entry in Entries}
        self.waiting = [m for m in self.waiting if m["ReceiptHandle"] not in gone]
        return {"Successful": []}


def listener(hint: Callable[[Report], Heard], **settings: Any) -> EventQueue:
    return EventQueue(
        lambda: None, "https://q", Settings(**settings), hint=hint, busy=lambda wait: True
    )


def test_messages_are_received_and_deleted_ten_at_a_time() -> None:
    heard: list[Report] = []

    def hint(one: Report) -> Heard:
        heard.append(one)
        return Heard.HERE

    queue = Queue(*(event(f"job:{index}") for index in range(25)))
    for _ in range(3):
        listener(hint).listen(queue)
    assert (queue.receptions, queue.deletions, queue.waiting) == (3, 3, [])
    assert [one.job_id for one in heard] == [f"job:{index}" for index in range(25)]
    first = heard[0]
    assert (first.started_at, first.ended_at, first.log_stream) == (2.0, 3.0, "job/default/1")
    assert (first.ended.succeeded, first.ended.exit_code) == (True, 0)


@pytest.mark.parametrize(("count", "pauses"), [(0, 0), (1, 1), (9, 1), (10, 0)])
def test_a_few_messages_are_followed_by_a_pause_in_which_others_gather(
    monkeypatch: pytest.MonkeyPatch, count: int, pauses: int
) -> None:
    listening = listener(lambda one: Heard.HERE)
    waited: list[float] = []
    monkeypatch.setattr(listening._closed, "wait", waited.append)
    listening.listen(Queue(*(event(f"job:{index}") for index in range(count))))
    assert waited == [Settings().gather_hints_seconds] * pauses


@pytest.mark.parametrize(
    "body",
    [
        "",
        "not JSON",
        "[]",
        "{}",
        '{"detail": null}',
        '{"detail": {"jobId": 7, "status": "FAILED"}}',
        '{"detail": {"jobId": "a", "status": ["FAILED"]}}',
        event("a", container="none"),
        event("a", stoppedAt="yesterday"),
        event("a:" + "1" * 5000),
        event("a", status="RUNNING"),
        event("a", status="something new"),
        '{"Records": [{"s3": {}}]}',
    ],
)
def test_what_is_malformed_foreign_or_of_no_interest_is_thrown_away(body: str) -> None:
    def hint(one: Report) -> Heard:
        raise AssertionError(one)

    queue = Queue(body)
    listener(hint).listen(queue)
    assert not queue.waiting


def test_of_two_engines_each_hears_its_own_and_nobodys_event_goes_round_for_ever() -> None:
    queue = Queue(event("mine"), event("theirs"), event("nobodys"))
    heard: list[tuple[str, str]] = []

    def engine(name: str) -> EventQueue:
        def hint(one: Report) -> Heard:
            heard.append((name, one.job_id))
            return Heard.HERE if one.job_id == name else Heard.ELSEWHERE

        return listener(hint)

    mine, theirs = engine("mine"), engine("theirs")
    mine.listen(queue)
    assert [m["Body"] for m in queue.waiting] == [event("theirs"), event("nobodys")]
    theirs.listen(queue)
    mine.listen(queue)
    assert ("theirs", "theirs") in heard
    assert not queue.waiting
    assert queue.receptions <= 3 < 5  # the queue's own limit, after which a message is refused


class Broken:
    """Fails, then works."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.receptions = 0

    def receive_message(self, **request: Any) -> Any:
        self.receptions += 1
        if self.failures:
            raise self.failures.pop(0)
        time.sleep(0.01)
        return {}


def refused(code: str, status: int) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "ReceiveMessage",
    )


@pytest.mark.parametrize(
    "failure",
    [
        refused("AWS.SimpleQueueService.NonExistentQueue", 400),
        refused("AccessDenied", 403),
        refused("ThrottlingException", 400),
        EndpointConnectionError(endpoint_url="https://q"),
    ],
)
def test_without_the_queue_there_is_one_warning_and_it_is_tried_again(failure: Exception) -> None:
    queue = Broken(failure, failure, failure)
    heard = EventQueue(
        lambda: queue,
        "https://q",
        Settings(event_retry_seconds=0.01, longest_event_pause_seconds=0.01),
        hint=lambda one: Heard.HERE,
        busy=lambda wait: True,
    )
    with structlog.testing.capture_logs() as logs:
        heard.start()
        heard.start()
        deadline = time.monotonic() + 20
        while queue.receptions < 6:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        heard.close()
    assert [log["log_level"] for log in logs] == ["warning", "info"]


@pytest.fixture
def event_queue(cloud: Cloud) -> Iterator[str]:
    """A queue that EventBridge writes to, as the stacks make it."""
    sqs, events = cloud.client("sqs"), cloud.client("events")
    url = sqs.create_queue(QueueName="batch-events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arn,
            }
        ],
    }
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    pattern = {"source": ["aws.batch"], "detail-type": ["Batch Job State Change"]}
    events.put_rule(Name="jobs", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="jobs", Targets=[{"Id": "queue", "Arn": arn}])
    yield url
    events.remove_targets(Rule="jobs", Ids=["queue"])
    events.delete_rule(Name="jobs")
    sqs.delete_queue(QueueUrl=url)


def listening(cloud: Cloud, url: str) -> AwsBatchBackend:
    """A backend that would notice nothing by polling within the test's time."""
    told = Cloud(
        cloud.endpoint,
        cloud.deployment.model_copy(update={"event_queue_url": url}),
        cloud.session,
        cloud.scratch,
    )
    never = 3600.0
    return backend_on(
        told,
        first_interval_seconds=never,
        array_first_interval_seconds=never,
        longest_interval_seconds=never,
        event_wait_seconds=1,
        event_hidden_seconds=1,
    )


def test_two_engines_on_one_queue_notice_their_jobs_without_asking_batch(
    cloud: Cloud, event_queue: str
) -> None:
    one, other = listening(cloud, event_queue), listening(cloud, event_queue)
    cloud.client("sqs").send_message(QueueUrl=event_queue, MessageBody="not ours")
    try:
        jobs = {
            backend: [submission(backend, "true"), submission(backend, *["true"] * 22)]
            for backend in (one, other)
        }
        cloud.clear_calls()
        for backend, submissions in jobs.items():
            for job in submissions:
                backend.submit(job)
        for backend in (one, other):
            changes = collect(backend, 23)
            assert all(c.manifest and c.log_stream for c in changes)
            assert {c.state for c in changes} == {JobState.FINISHED}
        calls = cloud.calls()
        assert calls["batch"].get("DescribeJobs", 0) + calls["batch"].get("ListJobs", 0) <= 4
    finally:
        one.close()
        other.close()


def test_an_environment_whose_queue_is_gone_works(cloud: Cloud) -> None:
    polled = backend_on(
        Cloud(
            cloud.endpoint,
            cloud.deployment.model_copy(update={"event_queue_url": f"{cloud.endpoint}/1/gone"}),
            cloud.session,
            cloud.scratch,
        )
    )
    try:
        polled.submit(submission(polled, "true"))
        [change] = collect(polled, 1)
        assert change.manifest is not None
    finally:
        polled.close()
