"""What the pool, the poller and the heartbeat tell the engine. Each goes through one queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator import errors
from orchestrator.backends.base import Change
from orchestrator.engine.final_plan import FinalPlan
from orchestrator.engine.run import Run
from orchestrator.model.records import FactRecord, WorkflowRecord
from orchestrator.store.base import Journal, Lease
from orchestrator.wdl.facts import Want


@dataclass(frozen=True, slots=True)
class Claimed:
    """Workflows to be run here; `at`: Tenure.now() before they were asked for."""

    leases: Sequence[Lease]
    at: float


@dataclass(frozen=True, slots=True)
class Opened:
    """A claimed workflow's journal and document are loaded; nothing of it is evaluated yet."""

    lease: Lease
    run: Run
    backend: str


@dataclass(frozen=True, slots=True)
class Ended:
    """It is not run: it is over, or had to be ended."""

    lease: Lease
    workflow: WorkflowRecord


@dataclass(frozen=True, slots=True)
class OpenFailed:
    """They cannot be loaded."""

    lease: Lease
    journal: Journal | None
    error: errors.OrchestratorError


@dataclass(frozen=True, slots=True)
class FactsFetched:
    """One batch of facts, and those that could not be had."""

    root_id: str
    records: Sequence[FactRecord]
    failed: Mapping[Want, errors.OrchestratorError]


@dataclass(frozen=True, slots=True)
class ObjectsWritten:
    """Files of the engine's own are in place, or not."""

    root_id: str
    error: errors.OrchestratorError | None = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """The backend answered SubmitJob."""

    root_id: str
    submission_id: str
    job_id: str


@dataclass(frozen=True, slots=True)
class SubmitFailed:
    """SubmitJob failed. `Ambiguous`: it may have taken effect. Others: certainly not."""

    root_id: str
    submission_id: str
    error: errors.OrchestratorError


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a look-up; None: the backend certainly does not have it."""

    root_id: str
    submission_id: str
    job_id: str | None


@dataclass(frozen=True, slots=True)
class FindFailed:
    """A look-up or a revocation had no answer; the look-up is tried again."""

    root_id: str
    submission_id: str


@dataclass(frozen=True, slots=True)
class CancelFailed:
    """Jobs were not told to end; it is tried again."""

    root_id: str
    submission_id: str


@dataclass(frozen=True, slots=True)
class Revoked:
    """This submission will never run."""

    root_id: str
    submission_id: str


@dataclass(frozen=True, slots=True)
class Searched:
    """The first of the words that is in the file; None: none is, or it cannot be read."""

    root_id: str
    token: str
    word: str | None


@dataclass(frozen=True, slots=True)
class EndPlanned:
    """What is to be copied and deleted at the end; without a plan the reason why there is none."""

    root_id: str
    number: int
    plan: FinalPlan | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FileCopied:
    """A copy is there, or was not made. `missing`: there was nothing to copy."""

    root_id: str
    number: int
    target: str
    missing: bool
    error: errors.OrchestratorError | None


@dataclass(frozen=True, slots=True)
class FilesDeleted:
    """Files are gone, or not all of them."""

    root_id: str
    number: int
    error: errors.OrchestratorError | None


@dataclass(frozen=True, slots=True)
class LogWritten:
    """The workflow's log is there, or not."""

    root_id: str
    number: int
    error: errors.OrchestratorError | None


@dataclass(frozen=True, slots=True)
class Changed:
    """One sweep of a backend's poller."""

    backend: str
    changes: Sequence[Change]


@dataclass(frozen=True, slots=True)
class Lost:
    """The lease is lost: drop the run, write nothing."""

    root_id: str


@dataclass(frozen=True, slots=True)
class Commanded:
    """Command rows taken from the store, by root workflow."""

    commands: Mapping[str, Sequence[tuple[int, str, str]]]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A piece of evaluation that took long is done; `error`: with a fault of the engine's own."""

    root_id: str
    run: Run
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class Poke:
    """Look again: time has passed, or a door wrote a command."""


# What a run is told.
OfRun = (
    FactsFetched
    | ObjectsWritten
    | Submitted
    | SubmitFailed
    | Found
    | FindFailed
    | CancelFailed
    | Revoked
    | Searched
    | EndPlanned
    | FileCopied
    | FilesDeleted
    | LogWritten
)
Event = (
    OfRun | Claimed | Opened | Ended | OpenFailed | Changed | Lost | Commanded | Evaluated | Poke
)
