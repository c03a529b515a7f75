"""A claimed workflow is made ready to run: its journal and document are read.

In the pool: a journal may have 100,000 rows. A workflow that can never begin is ended here.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping

import structlog

from orchestrator import errors
from orchestrator.backends.base import Backend
from orchestrator.engine import events, poison
from orchestrator.engine.jobs import RunSettings
from orchestrator.engine.run import Run
from orchestrator.model import states
from orchestrator.model.records import EventRecord, WorkflowRecord
from orchestrator.model.states import WorkflowState
from orchestrator.store.base import Lease, Store
from orchestrator.wdl.document import Document

_log = structlog.get_logger(__name__)


class Opening:
    """Opens workflows; any number at the same time."""

    def __init__(
        self,
        store: Store,
        backends: Mapping[str, Backend],
        runs: Mapping[str, RunSettings],
        default_backend: str,
        load: Callable[[Mapping[str, str]], Document],
        clock: Callable[[], float],
    ) -> None:
        """`runs`: by backend. `load` parses a bundle as `Store.bundle` gives it."""
        self._store = store
        self._backends = backends
        self._runs = runs
        self._default_backend = default_backend
        self._load = load
        self._clock = clock

    def open(self, lease: Lease) -> events.Event:
        """Opened, Ended or OpenFailed."""
        journal = None
        try:
            journal = self._store.journal(lease)
            if poison.is_poisoned(lease):
                self._store.write(lease, poison.end(journal, self._backends, self._clock()))
                return events.Ended(lease, self._store.workflow(lease.root_id))
            root = journal.workflows[0]
            if states.is_terminal(root.state) or root.state is WorkflowState.ON_HOLD:
                return events.Ended(lease, root)
            document = self._load(self._store.bundle(root.bundle))
            backend = root.backend or self._default_backend
            if backend not in self._backends:
                raise errors.BackendUnavailable(
                    f"workflow {root.id} works on backend {backend!r}, which is not configured "
                    "here",
                    hint="give the configuration that it was started with",
                )
            run = Run(
                journal,
                document,
                self._backends[backend],
                self._runs[backend],
                self._clock(),
            )
        except (errors.Invalid, errors.WorkflowFailed) as error:
            if journal is None or journal.workflows[0].state is not WorkflowState.SUBMITTED:
                return events.OpenFailed(lease, journal, error)
            return self._refuse(lease, journal.workflows[0], error)
        except errors.OrchestratorError as error:
            return events.OpenFailed(lease, journal, error)
        except Exception as error:
            _log.exception("a workflow could not be opened", workflow=lease.root_id)
            wrapped = errors.OrchestratorError(f"the workflow could not be opened: {error}")
            return events.OpenFailed(lease, journal, wrapped)
        return events.Opened(lease, run, backend)

    def _refuse(
        self, lease: Lease, root: WorkflowRecord, error: errors.OrchestratorError
    ) -> events.Event:
        """A workflow that can never begin has failed: doors may take one in unchecked."""
        now = self._clock()
        failed = dataclasses.replace(
            root,
            state=WorkflowState.FAILED,
            failures=json.dumps([{"message": error.sentence, "causedBy": []}]),
            started_at=now,
            ended_at=now,
        )
        try:
            self._store.write(lease, [failed, EventRecord(root.id, root.id, now, "Finished")])
        except errors.OrchestratorError as not_written:
            return events.OpenFailed(lease, None, not_written)
        return events.Ended(lease, failed)
