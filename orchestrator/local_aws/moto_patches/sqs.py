"""SQS: what a message costs does not grow with the queue.

moto counts all messages of a queue for each one it hands out, and looks at all for each one that is
deleted: the events of an array of 10,000 took it minutes.
"""

from __future__ import annotations

import time
from typing import Any

from moto.sqs.exceptions import ReceiptHandleIsInvalid

from orchestrator.local_aws.moto_patches import replace


def apply() -> None:
    """Patch moto.sqs. Raises MotoChanged."""
    from moto.sqs.models import Queue, SQSBackend

    replace(SQSBackend, "is_message_valid_based_on_retention_period", lambda _: _is_retained)
    replace(Queue, "messages", lambda _: property(_receivable))
    replace(Queue, "delete_message", lambda _: _delete_message)


def _is_retained(backend: Any, queue_name: str, message: Any) -> bool:
    period = float(backend.get_queue(queue_name).message_retention_period)
    return bool(period + message.sent_timestamp / 1000 > time.time())


def _receivable(queue: Any) -> list[Any]:
    """The clock is read once."""
    now = time.time() * 1000
    return [one for one in queue._messages if one.visible_at < now and one.delayed_until <= now]


def _delete_message(queue: Any, receipt_handle: str) -> None:
    if receipt_handle in queue.deleted_messages:
        return
    with queue._messages_lock:  # what is deleted was handed out: it stands near the front
        for place, message in enumerate(queue._messages):
            if message.had_receipt_handle(receipt_handle):
                del queue._messages[place]
                break
        else:
            raise ReceiptHandleIsInvalid()
    queue.pending_messages.discard(message)
    queue.deleted_messages.update(message.all_receipt_handles)
