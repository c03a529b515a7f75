"""The port of the store. Every write of the engine is made under a lease and carries its epoch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from orchestrator.model.records import (
    AttemptRecord,
    CallRecord,
    EventRecord,
    FactRecord,
    Record,
    SubmissionRecord,
    WorkflowRecord,
)
from orchestrator.model.states import WorkflowState

POISON_DEATHS = 3  # a workflow that so many servers in a row died with is not run again
PROBATION_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write to one root workflow, until it is lost. Every claim raises the epoch.

    `deaths`: how many holders in a row, up to this claim, let the lease run out, were known to be
    dead, or broke on it. A lease that was given back is no death. The count begins anew when the
    workflow gets on (a call of it ends), when a holder lives with it for `PROBATION_SECONDS`, and
    when somebody asks for it by its id.
    """

    root_id: str
    owner: str
    epoch: int
    deaths: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Journal:
    """All that is known of one root workflow: what a restart replays from."""

    workflows: tuple[WorkflowRecord, ...]  # the root first
    calls: tuple[CallRecord, ...]
    attempts: tuple[AttemptRecord, ...]
    submissions: tuple[SubmissionRecord, ...]
    facts: tuple[FactRecord, ...]


class Store(Protocol):
    """Raises `errors.StoreUnavailable`, `errors.NotFound`, `errors.LeaseLost`."""

    def migrate(self) -> None:
        """Bring the schema up to date; safe when several processes do so at once."""

    def put_bundle(self, digest: str, files: Mapping[str, str]) -> None:
        """Keep a source bundle by its sha256; the same bundle twice is kept once."""

    def bundle(self, digest: str) -> Mapping[str, str]:
        """File name -> text. The entry whose name is `""` names the main file."""

    def create(
        self, workflow: WorkflowRecord, owner: str | None = None, lease_seconds: float = 0.0
    ) -> None:
        """A new root workflow, state Submitted or On Hold. With an owner it has the lease from the
        first moment: no server that looks for work comes first."""

    def workflow(self, workflow_id: str) -> WorkflowRecord:
        """One workflow by its whole id."""

    def matching(self, id_prefix: str) -> Sequence[WorkflowRecord]:
        """Root workflows whose id starts so, newest first; `""` is all. At most 100."""

    def claim(
        self,
        owner: str,
        lease_seconds: float,
        limit: int,
        root_id: str | None = None,
        dead_owners: Collection[str] = (),
    ) -> Sequence[Lease]:
        """Take leases of unfinished root workflows (not On Hold) that nobody holds, oldest first.
        What `dead_owners` hold is free: the caller knows that they are dead.

        With `root_id`, of that one only, its deaths forgotten: somebody wants it to be run. A lease
        not renewed for its seconds is free to take.

        Those that died with a server need not have killed it. So of workflows for which the next
        death would be the last, an owner is given one at a time, and no other before that one's
        count has begun anew.
        """

    def steal(
        self, owner: str, lease_seconds: float, root_id: str, dead_owner: str
    ) -> Lease | None:
        """Take the lease although it has not run out: the caller knows that `dead_owner` is dead.

        Its deaths are forgotten, as `claim` with an id does. None when somebody else holds it by
        now.
        """

    def holder(self, root_id: str) -> str | None:
        """The owner of the lease, if it is held."""

    def holders(self) -> Collection[str]:
        """The owners of all leases of unfinished workflows."""

    def renew(self, leases: Iterable[Lease], lease_seconds: float) -> Sequence[Lease]:
        """Extend leases; the answer lists those that are lost."""

    def release(self, lease: Lease, *, broken: bool = False) -> None:
        """Give a lease back. `broken`: its holder broke on it, which counts as a death."""

    def journal(self, lease: Lease) -> Journal:
        """Everything of the lease's root workflow."""

    def write(self, lease: Lease, records: Iterable[Record]) -> None:
        """Insert or replace all records in one transaction; events are appended.

        Raises `errors.LeaseLost`, writing nothing, when the lease's epoch is not the current one.
        A later record of the same key in one call wins. The end of a call begins the count of the
        lease's deaths anew.
        """

    def events(
        self, root_id: str, after: int = 0, limit: int = 1000
    ) -> Sequence[tuple[int, EventRecord]]:
        """Events by growing number, those after `after`."""

    def calls(self, workflow_id: str) -> Sequence[CallRecord]:
        """The calls of one workflow, by id."""

    def shared_inputs(self, root_id: str) -> Mapping[str, str]:
        """The large inputs of a root workflow's calls as JSON, by what `shared_inputs` of their
        records names them."""

    def attempts(self, workflow_id: str) -> Sequence[AttemptRecord]:
        """The attempts of one workflow, by call and attempt."""

    def submissions(self, root_id: str) -> Sequence[SubmissionRecord]:
        """The submissions of a root workflow, by id."""

    def leave_hold(self, root_id: str, state: WorkflowState) -> bool:
        """A workflow that is On Hold becomes Submitted, or Aborted. False: it is not On Hold."""

    def put_command(self, root_id: str, kind: str, detail: str = "{}") -> int:
        """Ask the lease holder for something (abort ...), from any door. The answer numbers it."""

    def commanded(self, owner: str) -> Collection[str]:
        """The root workflows leased by `owner` for which `take_commands` has something to give."""

    def take_commands(self, lease: Lease) -> Sequence[tuple[int, str, str]]:
        """Commands for this workflow: (number, kind, detail), each once in the lease's epoch.

        The next holder gets all of them again: one that died may have taken a command and not
        carried it out. So commands are made to be harmless when they are repeated.
        """

    def close(self) -> None:
        """Close connections."""
