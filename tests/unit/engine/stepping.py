"""One run without threads: each turn is asked for, and what is committed is known exactly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from orchestrator.backends.base import Change, JobState
from orchestrator.backends.fake import FakeBackend
from orchestrator.engine.actions import Effect, Submit
from orchestrator.engine.jobs import RunSettings
from orchestrator.engine.retry import RetryPolicy
from orchestrator.engine.run import Run
from orchestrator.model.failures import Failure
from orchestrator.model.job import Submission, SubmissionHandle
from orchestrator.model.manifest import Manifest
from orchestrator.model.states import WorkflowState
from orchestrator.store.base import Journal, Store
from orchestrator.store.memory import MemoryStore
from tests import submitting
from tests.submitting import Source

ROOT = "11111111-2222-3333-4444-555555555555"

E = TypeVar("E")


class Stepped:
    """`open` again is a crash: the next run knows only what was committed."""

    def __init__(
        self,
        source: Source,
        values: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        root: str = "/nowhere",
        **settings: Any,
    ) -> None:
        self.document = submitting.loaded(source)
        self.backend = FakeBackend(lambda submission, index: None)
        self.settings = RunSettings(
            root=root, retry=RetryPolicy(first_delay_seconds=100.0), **settings
        )
        self.store: Store = MemoryStore()
        submitting.submit(self.store, self.document, values, options, ROOT)
        (self.lease,) = self.store.claim("test", 1e6, 1)
        self.now = 1000.0
        self.open()

    @property
    def journal(self) -> Journal:
        """What is committed."""
        return self.store.journal(self.lease)

    def state(self) -> WorkflowState:
        """The workflow's, as committed."""
        return self.store.workflow(ROOT).state

    @property
    def failures(self) -> str:
        """As committed."""
        return self.store.workflow(ROOT).failures or ""

    def open(self) -> None:
        """A new run from the journal."""
        self.run = Run(self.journal, self.document, self.backend, self.settings, self.now)

    def turn(self) -> list[Effect]:
        """Evaluate, dispatch, commit: the effects that would be started now."""
        self.now += 1
        self.run.tell_time(self.now)
        self.run.work(lambda: False)
        self.run.dispatch(None)
        records, effects = self.run.take()
        self.store.write(self.lease, records)
        return effects

    def submitted(self, effects: list[Effect]) -> list[Submission]:
        """The submissions among the effects; the backend has taken them."""
        found = [effect.submission for effect in of(Submit, effects)]
        for submission in found:
            self.run.submissions.submitted(submission.handle.id, f"job-{submission.handle.id}")
        return found

    def finish(
        self, submission: Submission | SubmissionHandle, index: int, end: Manifest | Failure
    ) -> None:
        """The poller tells that a job has ended."""
        handle = submission if isinstance(submission, SubmissionHandle) else submission.handle
        self.run.changed(
            Change(
                handle.id,
                index,
                JobState.FINISHED,
                f"job-{handle.id}:{index}",
                manifest=end if isinstance(end, Manifest) else None,
                failure=end if isinstance(end, Failure) else None,
            )
        )


def of(kind: type[E], effects: list[Any]) -> list[E]:
    """Those of one kind."""
    return [effect for effect in effects if isinstance(effect, kind)]
