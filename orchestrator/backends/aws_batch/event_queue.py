"""Hears from SQS what EventBridge tells of Batch's jobs, so that an end is noticed at once.

Only a hint: what is heard here makes the poller look, and nothing is taken from it that a manifest
does not say as well. So a message may come twice, late, or never, and be anybody's; and without the
queue everything still ends, some seconds later.

Several engines may share one queue, and each hears what is meant for another. A message about a
job that nobody here watches (another engine's, or one whose SubmitJob has not been answered yet) is
left where it is and comes back to whoever asks next; who gets one for the third time throws it
away. No engine can so keep another's for ever, and none reaches the dead-letter queue.

One thread, for all jobs; it rests while nothing is watched.

Source: https://docs.aws.amazon.com/batch/latest/userguide/batch_cwe_events.html
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import structlog
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, Field, ValidationError

from orchestrator.backends.aws_batch import refusals, reports
from orchestrator.backends.aws_batch.poller import Heard
from orchestrator.backends.aws_batch.reports import Report
from orchestrator.backends.aws_batch.settings import LONGEST_BACKOFF_SECONDS, Settings
from orchestrator.errors import NotAllowed, NotFound

_log = structlog.get_logger(__name__)

_MOST = 10  # ReceiveMessage and DeleteMessageBatch take no more
_RECEIVED_TIMES = "ApproximateReceiveCount"


class _Container(BaseModel):
    exitCode: int | None = None
    reason: str | None = None
    logStreamName: str | None = None


class _Detail(BaseModel):
    jobId: Annotated[str, Field(max_length=128)]
    status: str
    statusReason: str | None = None
    createdAt: int | None = None
    startedAt: int | None = None
    stoppedAt: int | None = None
    container: _Container = _Container()


class _Event(BaseModel):
    detail: _Detail


class EventQueue:
    """Listens while `busy`; tells `hint` what it heard."""

    def __init__(
        self,
        sqs: Callable[[], Any],
        url: str,
        settings: Settings,
        *,
        hint: Callable[[Report], Heard],
        busy: Callable[[float], bool],
    ) -> None:
        """`busy` waits at most so many seconds for something to be watched: is there anything?

        `sqs` makes the client, on the listener's own thread.
        """
        self._make = sqs
        self._url = url
        self._settings = settings
        self._hint = hint
        self._busy = busy
        self._closed = threading.Event()
        self._complained = False
        self._failures = 0
        self._started = False
        # A daemon, and not waited for: a long poll lasts up to 20 s, and what it has received and
        # not deleted comes back.
        self._thread = threading.Thread(target=self._run, name="batch-events", daemon=True)

    def start(self) -> None:
        """Start the thread. Idempotent; called by one thread."""
        if not self._started:
            self._started = True
            self._thread.start()

    def close(self) -> None:
        """Nothing more is heard."""
        self._closed.set()

    def _run(self) -> None:
        sqs: Any = None
        while not self._closed.is_set():
            try:
                if not self._busy(1.0):
                    continue
                sqs = sqs or self._make()
                self.listen(sqs)
            except (ClientError, BotoCoreError) as error:
                if not self._closed.is_set():
                    self._rest(error)
            except Exception:
                _log.exception("listening to Batch's events broke; it goes on")
                self._closed.wait(LONGEST_BACKOFF_SECONDS)

    def listen(self, sqs: Any) -> None:
        """One long poll, and what comes of it."""
        answer = sqs.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=_MOST,
            WaitTimeSeconds=self._settings.event_wait_seconds,
            VisibilityTimeout=self._settings.event_hidden_seconds,
            AttributeNames=[_RECEIVED_TIMES],
        )
        if self._complained:
            _log.info("Batch's events are heard again", queue=self._url)
        self._complained, self._failures = False, 0
        messages = answer.get("Messages", ())
        self._delete(sqs, [m for m in messages if self._is_done_with(m)])
        if 0 < len(messages) < _MOST:
            # More of an array is about to end. A request costs the same for one message as for ten.
            self._closed.wait(self._settings.gather_hints_seconds)

    def _is_done_with(self, message: Mapping[str, Any]) -> bool:
        """Whether nobody needs this message any more."""
        try:
            event = _Event.model_validate_json(message.get("Body") or "")
        except ValidationError:
            _log.debug("a message that is no event of AWS Batch", id=message.get("MessageId"))
            return True
        if event.detail.status not in reports.OVER:
            return True  # its end is all that cannot wait
        if self._hint(reports.of(event.detail.model_dump(exclude_none=True))) is Heard.HERE:
            return True
        times = str(message.get("Attributes", {}).get(_RECEIVED_TIMES, 1))
        return not times.isdecimal() or int(times) >= self._settings.event_receptions

    def _delete(self, sqs: Any, messages: Sequence[Mapping[str, Any]]) -> None:
        if not messages:
            return
        entries = [
            {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
            for number, message in enumerate(messages)
        ]
        answer = sqs.delete_message_batch(QueueUrl=self._url, Entries=entries)
        if failed := answer.get("Failed"):  # they come again, and do no harm
            _log.debug("messages were not deleted", count=len(failed))

    def _rest(self, error: Exception) -> None:
        """Without events the poller is some seconds later, no more: one warning will do."""
        meaning = refusals.of_call(error, f"reading {self._url}")
        lasting = isinstance(meaning, NotAllowed | NotFound) or _no_queue(error)
        if not self._complained:
            self._complained = True
            _log.warning("Batch's events cannot be heard; jobs are polled", reason=meaning.message)
        self._failures += 1
        pause = min(2.0**self._failures, self._settings.longest_event_pause_seconds)
        self._closed.wait(self._settings.event_retry_seconds if lasting else pause)


def _no_queue(error: Exception) -> bool:
    code = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
    return "NonExistentQueue" in code or "QueueDoesNotExist" in code
