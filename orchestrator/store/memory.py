"""A store in memory, for tests of what stands above the port. It passes the port's own suite."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator import errors
from orchestrator.model.records import (
    AttemptRecord,
    CallRecord,
    EventRecord,
    FactRecord,
    Record,
    SharedInput,
    SubmissionRecord,
    WorkflowRecord,
)
from orchestrator.model.states import WorkflowState, is_terminal
from orchestrator.store.base import POISON_DEATHS, PROBATION_SECONDS, Journal, Lease, Store


@dataclass
class _Root:
    """One root workflow: its lease, and what was written under it."""

    owner: str | None = None
    epoch: int = 0
    expires_at: float = 0.0
    deaths: int = 0
    taken_at: float = 0.0
    workflows: dict[str, WorkflowRecord] = field(default_factory=dict)
    calls: dict[tuple[str, str], CallRecord] = field(default_factory=dict)
    attempts: dict[tuple[str, str, int], AttemptRecord] = field(default_factory=dict)
    submissions: dict[str, SubmissionRecord] = field(default_factory=dict)
    facts: dict[tuple[str, str], FactRecord] = field(default_factory=dict)
    shared_inputs: dict[str, str] = field(default_factory=dict)
    events: list[EventRecord] = field(default_factory=list)
    commands: list[tuple[int, str, str]] = field(default_factory=list)
    taken: dict[int, int] = field(default_factory=dict)  # command number -> epoch

    def keep(self, record: Record) -> None:
        match record:
            case WorkflowRecord():
                self.workflows[record.id] = record
            case CallRecord():
                self.calls[record.workflow_id, record.id] = record
            case AttemptRecord():
                self.attempts[record.workflow_id, record.call_id, record.attempt] = record
            case SubmissionRecord():
                self.submissions[record.id] = record
            case FactRecord():
                self.facts.setdefault((record.kind, record.uri), record)
            case SharedInput():
                self.shared_inputs.setdefault(record.digest, record.json)
            case EventRecord():
                self.events.append(record)


class MemoryStore(Store):
    """Implements `base.Store` for one process; what it holds ends with it."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        """`clock`: seconds; leases run by it."""
        self._clock = clock
        self._lock = threading.RLock()
        self._bundles: dict[str, dict[str, str]] = {}
        self._roots: dict[str, _Root] = {}
        self._commands = 0

    def migrate(self) -> None:
        pass

    def close(self) -> None:
        pass

    def put_bundle(self, digest: str, files: Mapping[str, str]) -> None:
        self._bundles.setdefault(digest, dict(files))

    def bundle(self, digest: str) -> Mapping[str, str]:
        if digest not in self._bundles:
            raise errors.NotFound(f"no source bundle {digest}")
        return dict(self._bundles[digest])

    def create(
        self, workflow: WorkflowRecord, owner: str | None = None, lease_seconds: float = 0.0
    ) -> None:
        if workflow.id != workflow.root_id:
            raise ValueError(f"workflow {workflow.id} is no root")
        with self._lock:
            if self._root_of(workflow.id):
                raise errors.NotAllowed(f"a workflow {workflow.id} exists already")
            self._roots[workflow.id] = _Root(workflows={workflow.id: workflow})
            if owner is not None:
                self.claim(owner, lease_seconds, 1, workflow.id)

    def workflow(self, workflow_id: str) -> WorkflowRecord:
        with self._lock:
            if root := self._root_of(workflow_id):
                return root.workflows[workflow_id]
        raise errors.NotFound(f"no workflow {workflow_id}")

    def matching(self, id_prefix: str) -> Sequence[WorkflowRecord]:
        with self._lock:
            found = [root.workflows[id_] for id_, root in self._roots.items()]
        found = [workflow for workflow in found if workflow.id.startswith(id_prefix)]
        return tuple(sorted(found, key=lambda w: (w.submitted_at, w.id), reverse=True)[:100])

    def claim(
        self,
        owner: str,
        lease_seconds: float,
        limit: int,
        root_id: str | None = None,
        dead_owners: Collection[str] = (),
    ) -> Sequence[Lease]:
        with self._lock:
            free = sorted(
                (root.workflows[id_].submitted_at, id_)
                for id_, root in self._roots.items()
                if root_id in (None, id_)
                and (self._is_free(root) or root.owner in dead_owners)
                and _is_claimable(id_, root)
            )
            if root_id is not None:
                return tuple(self._take(id_, owner, lease_seconds, 0) for _, id_ in free[:limit])
            deaths = {id_: self._deaths(id_, owner) for _, id_ in free}
            last = [item for item in free if deaths[item[1]] == POISON_DEATHS - 1]
            if any(
                root.owner == owner and root.deaths == POISON_DEATHS - 1
                for root in self._roots.values()
            ):
                chosen = []
            else:
                chosen = last[: min(limit, 1)]
            chosen += [item for item in free if item not in last][: max(limit - len(chosen), 0)]
            return tuple(
                self._take(id_, owner, lease_seconds, deaths[id_]) for _, id_ in sorted(chosen)
            )

    def steal(
        self, owner: str, lease_seconds: float, root_id: str, dead_owner: str
    ) -> Lease | None:
        with self._lock:
            root = self._roots.get(root_id)
            if root is None or not _is_claimable(root_id, root):
                return None
            if root.owner != dead_owner and not self._is_free(root):
                return None
            return self._take(root_id, owner, lease_seconds, 0)

    def holder(self, root_id: str) -> str | None:
        with self._lock:
            root = self._roots.get(root_id)
            return None if root is None or self._is_free(root) else root.owner

    def holders(self) -> Collection[str]:
        with self._lock:
            return {
                root.owner or ""
                for id_, root in self._roots.items()
                if not self._is_free(root) and _is_claimable(id_, root)
            }

    def renew(self, leases: Iterable[Lease], lease_seconds: float) -> Sequence[Lease]:
        lost = []
        with self._lock:
            for lease in leases:
                if root := self._held(lease):
                    root.expires_at = self._clock() + lease_seconds
                    if root.taken_at <= self._clock() - PROBATION_SECONDS:
                        root.deaths = 0
                else:
                    lost.append(lease)
        return tuple(lost)

    def release(self, lease: Lease, *, broken: bool = False) -> None:
        with self._lock:
            if root := self._held(lease):
                root.owner = None
                root.deaths += broken

    def journal(self, lease: Lease) -> Journal:
        with self._lock:
            root = self._under(lease)
            others = (w for id_, w in sorted(root.workflows.items()) if id_ != lease.root_id)
            return Journal(
                workflows=(root.workflows[lease.root_id], *others),
                calls=_in_order(root.calls),
                attempts=_in_order(root.attempts),
                submissions=_in_order(root.submissions),
                facts=_in_order(root.facts),
            )

    def write(self, lease: Lease, records: Iterable[Record]) -> None:
        batch = tuple(records)
        for record in batch:
            if record.root_id != lease.root_id:
                raise ValueError(f"{record!r} is not of workflow {lease.root_id}")
        with self._lock:
            root = self._under(lease)
            for record in batch:
                if isinstance(record, WorkflowRecord) and self._is_of_another(record.id, root):
                    raise errors.NotAllowed(f"workflow {record.id} is of another root")
            for record in batch:
                root.keep(record)
                if isinstance(record, CallRecord) and is_terminal(record.state):
                    root.deaths = 0

    def events(
        self, root_id: str, after: int = 0, limit: int = 1000
    ) -> Sequence[tuple[int, EventRecord]]:
        with self._lock:
            root = self._roots.get(root_id)
            numbered = enumerate(root.events if root else (), 1)
            later = [(number, event) for number, event in numbered if number > after]
        return tuple(later[: max(limit, 0)])

    def calls(self, workflow_id: str) -> Sequence[CallRecord]:
        with self._lock:
            root = self._root_of(workflow_id) or _Root()
            return tuple(c for c in _in_order(root.calls) if c.workflow_id == workflow_id)

    def shared_inputs(self, root_id: str) -> Mapping[str, str]:
        with self._lock:
            root = self._roots.get(root_id)
            return dict(root.shared_inputs) if root else {}

    def attempts(self, workflow_id: str) -> Sequence[AttemptRecord]:
        with self._lock:
            root = self._root_of(workflow_id) or _Root()
            return tuple(a for a in _in_order(root.attempts) if a.workflow_id == workflow_id)

    def submissions(self, root_id: str) -> Sequence[SubmissionRecord]:
        with self._lock:
            root = self._roots.get(root_id)
            return tuple(_in_order(root.submissions)) if root else ()

    def leave_hold(self, root_id: str, state: WorkflowState) -> bool:
        with self._lock:
            root = self._roots.get(root_id)
            if root is None or root.workflows[root_id].state is not WorkflowState.ON_HOLD:
                return False
            ended = None if state is WorkflowState.SUBMITTED else time.time()
            root.workflows[root_id] = replace(root.workflows[root_id], state=state, ended_at=ended)
            return True

    def put_command(self, root_id: str, kind: str, detail: str = "{}") -> int:
        with self._lock:
            if root_id not in self._roots:
                raise errors.NotFound(f"no root workflow {root_id}")
            self._commands += 1
            self._roots[root_id].commands.append((self._commands, kind, detail))
            return self._commands

    def commanded(self, owner: str) -> Collection[str]:
        with self._lock:
            return {
                root_id
                for root_id, root in self._roots.items()
                if root.owner == owner
                and any(root.taken.get(number, 0) < root.epoch for number, _, _ in root.commands)
            }

    def take_commands(self, lease: Lease) -> Sequence[tuple[int, str, str]]:
        with self._lock:
            root = self._under(lease)
            taken = tuple(c for c in root.commands if root.taken.get(c[0], 0) < lease.epoch)
            root.taken.update({number: lease.epoch for number, _, _ in taken})
            return taken

    def _root_of(self, workflow_id: str) -> _Root | None:
        if workflow_id in self._roots:
            return self._roots[workflow_id]
        return next((r for r in self._roots.values() if workflow_id in r.workflows), None)

    def _is_of_another(self, workflow_id: str, root: _Root) -> bool:
        owner = self._root_of(workflow_id)
        return owner is not None and owner is not root

    def _held(self, lease: Lease) -> _Root | None:
        root = self._roots.get(lease.root_id)
        held = root is not None and (root.owner, root.epoch) == (lease.owner, lease.epoch)
        return root if held else None

    def _under(self, lease: Lease) -> _Root:
        root = self._held(lease)
        if root is None:
            raise errors.LeaseLost(f"{lease.owner} lost workflow {lease.root_id}")
        return root

    def _is_free(self, root: _Root) -> bool:
        return root.owner is None or root.expires_at <= self._clock()

    def _deaths(self, root_id: str, owner: str) -> int:
        root = self._roots[root_id]
        return root.deaths + (root.owner not in (None, owner))

    def _take(self, root_id: str, owner: str, lease_seconds: float, deaths: int) -> Lease:
        root = self._roots[root_id]
        root.owner, root.epoch, root.deaths = owner, root.epoch + 1, deaths
        root.taken_at = self._clock()
        root.expires_at = root.taken_at + lease_seconds
        return Lease(root_id, owner, root.epoch, deaths)


def _is_claimable(root_id: str, root: _Root) -> bool:
    state = root.workflows[root_id].state
    return not is_terminal(state) and state is not WorkflowState.ON_HOLD


def _in_order(kept: Mapping[Any, Any]) -> tuple[Any, ...]:
    return tuple(record for _, record in sorted(kept.items()))
