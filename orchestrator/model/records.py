"""What the store keeps: one frozen record a row. Times are seconds since the epoch, UTC.

JSON-valued fields hold JSON text, so that a record is hashable and never shares mutable state.
`epoch` is not a field: the store stamps it from the lease a write is made under.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.model.states import AttemptState, CallState, SubmissionState, WorkflowState


@dataclass(frozen=True, slots=True)
class WorkflowRecord:
    """A workflow or a sub-workflow. The root is its own root; `parent_*` name the calling call."""

    id: str
    root_id: str
    name: str
    state: WorkflowState
    bundle: str  # sha256 of the source bundle
    inputs: str = "{}"
    options: str = "{}"
    labels: str = "{}"
    outputs: str | None = None
    failures: str | None = None  # JSON: [{message, causedBy: []}]
    parent_id: str | None = None
    parent_call_id: str | None = None
    directory: str = ""  # below the backend's root, or a URI: see AttemptRef.directory
    backend: str = ""
    submitted_at: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class CallRecord:
    """The journal: a call by its deterministic id, and its result.

    Large inputs are not in `inputs` but in `shared_inputs`, name -> sha256 of a SharedInput: what a
    scatter hands to each of its shards is kept once.
    """

    workflow_id: str
    root_id: str
    id: str
    name: str
    shards: tuple[int, ...]
    state: CallState
    inputs_digest: str
    inputs: str = "{}"
    outputs: str | None = None
    sub_workflow_id: str | None = None
    attempts: int = 0
    failure_code: str | None = None
    failure_message: str | None = None
    started_at: float | None = None
    ended_at: float | None = None
    shared_inputs: str = "{}"


@dataclass(frozen=True, slots=True)
class SharedInput:
    """A large input of calls, by the sha256 of its canonical JSON."""

    root_id: str
    digest: str
    json: str


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One try. `(submission_id, array_index)` is how the backend knows it."""

    workflow_id: str
    root_id: str
    call_id: str
    attempt: int
    state: AttemptState
    submission_id: str | None
    array_index: int
    uri: str = ""
    runtime: str = "{}"
    job_id: str | None = None
    return_code: int | None = None
    failure_code: str | None = None
    failure_message: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    log_stream: str | None = None
    phases: str = "[]"
    peak_memory_bytes: int | None = None
    peak_disk_bytes: int | None = None
    started_at: float | None = None
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class SubmissionRecord:
    """One SubmitJob; committed as INTENDED before the backend is called."""

    id: str
    root_id: str
    name: str
    backend: str
    queue: str
    size: int
    state: SubmissionState
    created_at: float
    job_id: str | None = None


@dataclass(frozen=True, slots=True)
class FactRecord:
    """Something observed once and pinned, so that a replay sees the same.

    `kind`: `stat` (size, etag; `exists` false where there is nothing), `content` (small file),
    `listing` (`content` is JSON: [[relative path, size, etag or null], ...]).
    """

    root_id: str
    kind: str
    uri: str
    exists: bool
    size: int | None = None
    etag: str | None = None
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class EventRecord:
    """Append-only: what happened, for people and for metadata."""

    root_id: str
    workflow_id: str
    at: float
    kind: str
    call_id: str | None = None
    attempt: int | None = None
    detail: str = "{}"


Record = (
    WorkflowRecord
    | CallRecord
    | SharedInput
    | AttemptRecord
    | SubmissionRecord
    | FactRecord
    | EventRecord
)
