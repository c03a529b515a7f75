"""Events of job state changes and blocked queues, as AWS Batch sends them to EventBridge.

A thread of its own sends them in order; nothing is made while no rule asks for them.

Source: https://docs.aws.amazon.com/batch/latest/userguide/batch_cwe_events.html
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.local_aws.moto_patches import events

STATE_CHANGE = "Batch Job State Change"
QUEUE_BLOCKED = "Batch Job Queue Blocked"

_log = logging.getLogger(__name__)
_SOURCE = "aws.batch"


class Notices:
    """Takes events in under the engine's lock, sends them outside of it."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._send, name="batch-events", daemon=True)
        self._thread.start()

    def note(
        self,
        account: str,
        region: str,
        kind: str,
        arn: str,
        status: str,
        detail: Callable[[], Mapping[str, Any]],
    ) -> None:
        """One event about a job; `detail` is called at once, and only where a rule may match."""
        if events.wanted(account, region, _SOURCE, kind, status):
            self._waiting.put((account, region, _SOURCE, kind, [arn], detail()))

    def stop(self) -> None:
        """Send what waits, then end. Idempotent."""
        self._waiting.put(None)
        self._thread.join()

    def _send(self) -> None:
        while (one := self._waiting.get()) is not None:
            try:
                events.emit(*one)
            except Exception:
                _log.exception("an event of AWS Batch was not sent")
