"""SQS: messages are received once while they are hidden, deleted once, and nobody counts them."""

from __future__ import annotations

from typing import Any

import pytest
from moto.sqs.exceptions import ReceiptHandleIsInvalid
from moto.sqs.models import Queue, SQSBackend

from orchestrator.local_aws.moto_patches import sqs


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Any:
    sqs.apply()
    backend = SQSBackend("us-east-1", "123456789012")
    queue = backend.create_queue("q", {})
    for number in range(5):
        backend.send_message("q", str(number))

    def counted(_: Queue) -> int:
        raise AssertionError("all messages are counted")

    for name in ("", "_delayed", "_not_visible"):
        monkeypatch.setattr(Queue, f"approximate_number_of_messages{name}", property(counted))
    return queue


def received(queue: Any, hidden_seconds: int = 30) -> list[Any]:
    backend = SQSBackend("us-east-1", "123456789012")
    backend.queues["q"] = queue
    return list(backend.receive_message("q", 3, 0, hidden_seconds))


def test_what_was_received_is_hidden_and_what_was_deleted_is_gone(queue: Any) -> None:
    first, second = received(queue), received(queue)
    assert [one.body for one in first + second] == ["0", "1", "2", "3", "4"]
    assert received(queue) == []
    for message in first:
        queue.delete_message(message.receipt_handle)
    assert [one.body for one in queue._messages] == ["3", "4"]


def test_what_was_not_deleted_comes_back(queue: Any) -> None:
    bodies = [one.body for one in received(queue, hidden_seconds=-1)]
    assert [one.body for one in received(queue)] == bodies


def test_deleting_twice_is_no_error_and_a_strange_receipt_is(queue: Any) -> None:
    message, *_ = received(queue)
    queue.delete_message(message.receipt_handle)
    queue.delete_message(message.receipt_handle)
    with pytest.raises(ReceiptHandleIsInvalid):
        queue.delete_message("strange")
    assert len(queue._messages) == 4


def test_a_delayed_message_is_not_there_yet(queue: Any) -> None:
    queue._messages[0].mark_sent(delay_seconds=600)
    assert [one.body for one in received(queue)] == ["1", "2", "3"]


def test_a_message_that_is_too_old_is_not_given(queue: Any) -> None:
    queue._messages[0].sent_timestamp -= 5 * 24 * 3600 * 1000
    assert "0" not in [one.body for one in received(queue)]
