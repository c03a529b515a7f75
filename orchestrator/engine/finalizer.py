"""The end of a workflow: final outputs and logs are copied, intermediate files deleted.

    plan       what goes where; what would collide is found before anything is copied
    copy       a few files at a time; each that is done is journaled as a fact
    delete     once every copy is known to be there; only after success
    log        the workflow's own, last, with how all of this went

Every step may be taken again: a restart plans anew, leaves out what the journal says is copied, and
goes on. The engine's thread only keeps the books; `actions` are done by the pool.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from orchestrator import errors
from orchestrator.engine.actions import CopyFile, DeleteFiles, PlanEnd, WriteLog
from orchestrator.engine.final_plan import Copy, FinalPlan, Finished
from orchestrator.engine.outbox import Outbox
from orchestrator.model.options import WorkflowOptions
from orchestrator.model.records import FactRecord
from orchestrator.model.states import WorkflowState

COPIED = "copied"  # the kind of the facts: `uri` is where the copy lies

_AT_ONCE = 16
_DELETED_AT_ONCE = 1000
_TRIES = 8
_FAILURES_TOLD = 3  # what was under way already mostly fails for the same reason
_FIRST_DELAY_SECONDS = 5.0
_LONGEST_DELAY_SECONDS = 300.0

# How it went: what failed, and the outputs as they are to be told (None: as they are).
OnEnd = Callable[[list[str], Mapping[str, Any] | None], None]


def is_wanted(options: WorkflowOptions, outcome: WorkflowState) -> bool:
    """Whether there is anything to do after a workflow that ends so."""
    if options.final_call_logs_dir or options.final_workflow_log_dir:
        return True
    return outcome is WorkflowState.SUCCEEDED and bool(
        options.final_workflow_outputs_dir or options.delete_intermediate_output_files
    )


class Finalizer:
    """One workflow's. `begin`, then tell it the answers; `on_end` is called once."""

    def __init__(self, outbox: Outbox, facts: Iterable[FactRecord]) -> None:
        self.working = False
        self._outbox = outbox
        self._done = {fact.uri for fact in facts if fact.kind == COPIED}
        self._round = 0  # answers to an earlier one are not heard
        self._finished: Finished | None = None
        self._outcome = WorkflowState.SUCCEEDED
        self._on_end: OnEnd | None = None
        self._plan = FinalPlan()
        self._copies: deque[Copy] = deque()
        self._delayed: list[tuple[float, int, Copy]] = []  # a heap
        self._under_way: dict[str, Copy] = {}  # by target
        self._tries: dict[str, int] = {}
        self._deleting: deque[tuple[str, ...]] = deque()
        self._reasons: tuple[str, ...] = ()
        self._failures: list[str] = []
        self._order = itertools.count()
        self._told = 0
        self._total = 0

    def begin(
        self, finished: Finished, outcome: WorkflowState, on_end: OnEnd, reasons: Iterable[str] = ()
    ) -> None:
        """All calls are over. `reasons` why it failed are for the log."""
        self._round += 1
        self.working = True
        self._finished, self._outcome, self._on_end = finished, outcome, on_end
        self._reasons = tuple(reasons)
        self._failures.clear()
        self._outbox.perform(PlanEnd(self._round, finished))

    def stop(self) -> None:
        """Nothing more; what is being copied is let be."""
        self._round += 1
        self.working = False
        self._copies.clear()
        self._delayed.clear()
        self._under_way.clear()
        self._deleting.clear()

    def wake_at(self) -> float | None:
        """When a copy is due to be tried again, if one is."""
        return self._delayed[0][0] if self._delayed else None

    def wake(self) -> None:
        """Go on with what was to wait until now."""
        while self._delayed and self._delayed[0][0] <= self._outbox.now:
            self._copies.append(heapq.heappop(self._delayed)[2])
        if self.working:
            self._copy_on()

    # --- answers

    def planned(self, number: int, plan: FinalPlan | None, error: str) -> None:
        """The answer to PlanEnd; without a plan the reason why there is none."""
        if number != self._round or not self.working:
            return
        if plan is None:
            self._failures.append(error)
            self._write_log()
            return
        self._plan = plan
        self._copies.extend(copy for copy in plan.copies if copy.target not in self._done)
        self._total = len(plan.copies)
        if plan.copies or plan.delete:
            self._tell("Finalizing", copies=len(plan.copies), left=len(self._copies))
        self._copy_on()
        self._next()

    def copied(
        self, number: int, target: str, missing: bool, error: errors.OrchestratorError | None
    ) -> None:
        """The answer to CopyFile. `missing`: there was nothing to copy."""
        copy = self._under_way.pop(target, None) if number == self._round else None
        if copy is None:
            return
        if isinstance(error, errors.TryLater) and self._again(copy):
            return
        if error is not None:
            self._failed(copy, error)
        elif not missing:
            self._done.add(target)
            self._outbox.record(FactRecord(self._outbox.root_id, COPIED, target, True))
        self._say_progress()
        self._copy_on()
        self._next()

    def deleted(self, number: int, error: errors.OrchestratorError | None) -> None:
        """The answer to DeleteFiles."""
        if number != self._round or not self.working:
            return
        if error is not None:
            # The results are there: files that are left over are no failure of the workflow.
            self._tell("IntermediateFilesLeft", reason=error.message)
            self._deleting.clear()
        self._delete_on()

    def logged(self, number: int, error: errors.OrchestratorError | None) -> None:
        """The answer to WriteLog."""
        if number != self._round or not self.working:
            return
        if error is not None:
            assert self._finished is not None
            self._failures.append(
                f"the workflow's log was not written to "
                f"{self._finished.options.final_workflow_log_dir}: {error.sentence}"
            )
        self._end()

    # --- from one step to the next

    def _copy_on(self) -> None:
        while self._copies and len(self._under_way) < _AT_ONCE:
            copy = self._copies.popleft()
            self._under_way[copy.target] = copy
            self._outbox.perform(CopyFile(self._round, copy.source, copy.target, copy.optional))

    def _next(self) -> None:
        """Copying is over: delete, or not."""
        if self._copies or self._under_way or self._delayed:
            return
        if not self._failures and self._plan.delete:
            uris = self._plan.delete
            self._deleting.extend(
                uris[start : start + _DELETED_AT_ONCE]
                for start in range(0, len(uris), _DELETED_AT_ONCE)
            )
        self._delete_on()

    def _delete_on(self) -> None:
        if self._deleting:
            self._outbox.perform(DeleteFiles(self._round, self._deleting.popleft()))
        else:
            self._write_log()

    def _write_log(self) -> None:
        assert self._finished is not None
        options, root = self._finished.options, self._finished.root
        if not options.final_workflow_log_dir:
            self._end()
            return
        target = f"{options.final_workflow_log_dir.rstrip('/')}/workflow.{root.id}.log"
        outcome = WorkflowState.FAILED if self._failures else self._outcome
        self._outbox.perform(
            WriteLog(self._round, target, (*self._reasons, *self._failures, outcome))
        )

    def _end(self) -> None:
        if self._total or self._failures:
            self._tell("Finalized", copies=self._total, failures=len(self._failures))
        self.working = False
        assert self._on_end is not None
        self._on_end(self._failures, None if self._failures else self._plan.outputs)

    # --- what goes wrong, and how it goes

    def _again(self, copy: Copy) -> bool:
        """Whether it is tried again, later."""
        tries = self._tries[copy.target] = self._tries.get(copy.target, 0) + 1
        if tries >= _TRIES:
            return False
        delay = min(_FIRST_DELAY_SECONDS * 2.0 ** (tries - 1), _LONGEST_DELAY_SECONDS)
        heapq.heappush(self._delayed, (self._outbox.now + delay, next(self._order), copy))
        return True

    def _failed(self, copy: Copy, error: errors.OrchestratorError) -> None:
        if not self._failures:
            self._copies.clear()  # one is enough: all that was made is still there
            self._delayed.clear()
        if len(self._failures) >= _FAILURES_TOLD:
            return
        hint = (
            f"; {copy.source} is still there: copy it by hand, or put right what is in the way "
            "and run the workflow again"
        )
        self._failures.append(
            f"{copy.what} {copy.source} was not copied to {copy.target}: {error.sentence}{hint}"
        )

    def _say_progress(self) -> None:
        left = len(self._copies) + len(self._under_way) + len(self._delayed)
        tenth = 10 * (self._total - left) // max(1, self._total)
        if tenth > self._told and self._total >= 100:
            self._told = tenth
            self._tell("FinalizingProgress", copies=self._total, left=left)

    def _tell(self, kind: str, **detail: Any) -> None:
        self._outbox.event(self._outbox.root_id, kind, detail=detail)
