"""A job's output as CloudWatch log events, as Docker's awslogs driver writes them.

One stream an attempt (`<prefix>/default/<task id>`), stdout and stderr together, an event a line
stamped when the line was read; empty lines give no event, long ones are cut. Written while the job
runs, at most half a second late.

The group must exist, as on AWS: Batch itself makes only /aws/batch/job, awslogs-create-group makes
any; without it the container does not start.
"""

from __future__ import annotations

import logging
import threading
import time

from moto.core.exceptions import JsonRESTError
from moto.logs.models import logs_backends

from orchestrator.local_aws.batch.jobs import Submission
from orchestrator.local_aws.batch.runners.base import CannotStart

DEFAULT_GROUP = "/aws/batch/job"
OPTIONS = frozenset(
    {
        "awslogs-group",
        "awslogs-region",
        "awslogs-stream-prefix",
        "awslogs-create-group",
        "mode",
        "max-buffer-size",
    }
)

_log = logging.getLogger(__name__)
_LONGEST_EVENT = 262_144 - 26
_FLUSH_SECONDS = 0.25
_FLUSH_BYTES = 1 << 20
_MOST_BYTES = 256 << 20  # events live in the server's memory; AWS has no such bound
_CUT = "[output beyond 256 MiB is not kept by the local AWS]"


class Writer:
    """The open streams, and a thread that writes what waits in them."""

    def __init__(self) -> None:
        self._open: set[Stream] = set()
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._flush, name="batch-logs", daemon=True)
        self._thread.start()

    def open(self, submission: Submission, name: str) -> Stream:
        """A new stream. Raises CannotStart when its group does not exist."""
        stream = Stream(submission, name)
        self._open.add(stream)
        self._wake.set()
        return stream

    def close(self, stream: Stream) -> None:
        """Write the rest of it."""
        self._open.discard(stream)
        stream.close()

    def stop(self) -> None:
        """End the thread; streams that are open are written once more."""
        self._closed.set()
        self._wake.set()
        self._thread.join()

    def _flush(self) -> None:
        while not self._closed.is_set():
            self._wake.wait()
            self._closed.wait(_FLUSH_SECONDS)
            if not self._open:
                self._wake.clear()
            for stream in tuple(self._open):
                stream.flush()
            if self._open:
                self._wake.set()
        for stream in tuple(self._open):
            stream.flush()


class Stream:
    """The log stream of one attempt. `write` is called by one thread; `flush` by any."""

    def __init__(self, submission: Submission, name: str) -> None:
        """Raises CannotStart when its group does not exist."""
        container = submission.container
        self.name = name
        self._group = container.log_group
        self._backend = logs_backends[submission.account][container.log_region]
        self._lock = threading.Lock()
        self._rest = b""
        self._rest_at = 0
        self._events: list[dict[str, object]] = []
        self._size = 0
        self._written = 0
        self._flushed_at = time.monotonic()
        try:
            if container.log_group_created or self._group == DEFAULT_GROUP:
                self._backend.ensure_log_group(self._group)
            self._backend.ensure_log_stream(self._group, name)
        except JsonRESTError as error:
            raise CannotStart(
                "CannotStartContainerError: Error response from daemon: failed to initialize "
                "logging driver: failed to create Cloudwatch log stream: "
                "ResourceNotFoundException: The specified log group does not exist."
            ) from error

    def write(self, data: bytes, at: int) -> None:
        """Output as it was read, at a time in milliseconds since the epoch."""
        with self._lock:
            if self._written > _MOST_BYTES:
                return
            self._written += len(data)
            *lines, rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._event(line, at)
            while len(rest) > _LONGEST_EVENT:
                self._event(rest[:_LONGEST_EVENT], at)
                rest = rest[_LONGEST_EVENT:]
            self._rest, self._rest_at = rest, at
            if self._written > _MOST_BYTES:
                self._event(_CUT.encode(), at)
            due = time.monotonic() - self._flushed_at >= _FLUSH_SECONDS
            if due or self._size >= _FLUSH_BYTES:
                self._put()

    def flush(self) -> None:
        """Write the whole lines that wait."""
        with self._lock:
            self._put()

    def close(self) -> None:
        """Write all that waits; a last line without its end as well."""
        with self._lock:
            if self._rest:
                self._event(self._rest, self._rest_at)
                self._rest = b""
            self._put()

    def _event(self, line: bytes, at: int) -> None:
        line = line.removesuffix(b"\r")
        for start in range(0, len(line), _LONGEST_EVENT):
            part = line[start : start + _LONGEST_EVENT]
            self._events.append(
                {"timestamp": at, "message": part.decode("utf-8", errors="replace")}
            )
            self._size += len(part)

    def _put(self) -> None:
        self._flushed_at = time.monotonic()
        if not self._events:
            return
        events, self._events, self._size = self._events, [], 0
        try:
            self._backend.put_log_events(self._group, self.name, events)
        except JsonRESTError as error:
            # Somebody deleted the group or the stream: the driver drops the events, as on AWS.
            _log.warning("log events of %s %s dropped: %s", self._group, self.name, error)
