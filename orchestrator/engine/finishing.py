"""What the pool does at the end of a workflow: plans, copies, deletes, writes its log.

Each is one call that ends in one event, and may be made again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import structlog

from orchestrator import errors
from orchestrator.engine import actions, events, final_plan
from orchestrator.filesystems import copying
from orchestrator.filesystems.base import Filesystems
from orchestrator.model.records import EventRecord
from orchestrator.store.base import Store

_log = structlog.get_logger(__name__)

_PAGE = 1000


class Finishing:
    """Reads the store, and reads and writes files."""

    def __init__(self, store: Store, filesystems: Filesystems) -> None:
        self._store = store
        self._filesystems = filesystems

    def plan(self, root_id: str, action: actions.PlanEnd) -> events.Event:
        """Where everything goes."""
        try:
            plan = final_plan.plan(
                action.finished,
                listing=lambda uri: (s.uri for s in self._filesystems.of(uri).list(uri)),
                attempts=self._store.attempts,
                calls=self._store.calls,
            )
        except Exception as error:
            return events.EndPlanned(root_id, action.number, None, _error(error).sentence)
        return events.EndPlanned(root_id, action.number, plan)

    def copy(self, root_id: str, action: actions.CopyFile) -> events.Event:
        """One file."""
        missing = False
        failed: errors.OrchestratorError | None = None
        try:
            copying.copy(self._filesystems, action.source, action.target)
        except errors.NotFound as error:
            missing, failed = action.optional, None if action.optional else error
        except Exception as error:
            failed = _error(error)
        return events.FileCopied(root_id, action.number, action.target, missing, failed)

    def delete(self, root_id: str, action: actions.DeleteFiles) -> events.Event:
        """Files, those of one file system together."""
        failed = None
        by_scheme: dict[str, list[str]] = {}
        for uri in action.uris:
            by_scheme.setdefault(uri.partition("://")[0] if "://" in uri else "", []).append(uri)
        for uris in by_scheme.values():
            try:
                self._filesystems.of(uris[0]).delete(uris)
            except Exception as error:
                failed = _error(error)
        return events.FilesDeleted(root_id, action.number, failed)

    def write_log(self, root_id: str, action: actions.WriteLog) -> events.Event:
        """All that people were told of a workflow, a line an event."""
        failed = None
        try:
            text = "".join(f"{line}\n" for line in (*self._lines(root_id), *action.lines))
            self._filesystems.of(action.target).write(action.target, text.encode())
        except Exception as error:
            failed = _error(error)
        return events.LogWritten(root_id, action.number, failed)

    def _lines(self, root_id: str) -> Iterator[str]:
        after = 0
        while page := self._store.events(root_id, after, _PAGE):
            for number, event in page:
                after = number
                yield _line(event)


def _line(event: EventRecord) -> str:
    at = datetime.fromtimestamp(event.at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    call = f" {event.call_id}" if event.call_id else ""
    attempt = f":{event.attempt}" if event.attempt else ""
    detail = json.loads(event.detail)
    said = f" {json.dumps(detail, ensure_ascii=False)}" if detail else ""
    return f"{at} {event.workflow_id}{call}{attempt} {event.kind}{said}"


def _error(error: Exception) -> errors.OrchestratorError:
    if isinstance(error, errors.OrchestratorError):
        return error
    _log.error("the end of a workflow met a fault", exc_info=error)
    return errors.EnvironmentProblem(f"{type(error).__name__}: {error}")
