"""What to run: the shape of a job, its files, its script. Built by the engine, run by a backend."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.model.attempt import AttemptRef


@dataclass(frozen=True, slots=True)
class WorkDir:
    """Where an attempt works and where what it leaves is kept.

    `path` is absolute and as the command sees it; commands embed it. The others are URIs
    (`s3://...`) or absolute local paths. Outputs are kept at `<uri>/<relative path>`.
    """

    path: str
    uri: str
    script: str
    return_code: str
    stdout: str
    stderr: str
    manifest: str


@dataclass(frozen=True, slots=True)
class Shape:
    """All that must be equal for attempts to share one array. Hashable.

    Units: `cpu` in vCPUs, `memory_mib` and `shared_memory_mib` in MiB, `disk_gib` in GiB,
    `timeout_seconds` 0 = none. `queue` is a queue's ARN, or empty for the backend's default.
    `image` is empty where a task names none. `mounts` are absolute paths that `disks` names besides
    the work dir's disk, `shared_mounts` those of them that hosts have mounted already; `ulimits`
    are (name, soft, hard). `log_group` and `job_role_arn` are empty for the backend's own.
    """

    image: str = ""
    cpu: float = 1.0
    memory_mib: int = 2048
    gpu_count: int = 0
    disk_gib: int = 0
    queue: str = ""
    timeout_seconds: int = 0
    shared_memory_mib: int = 0
    shell: str = "/bin/bash"
    mounts: tuple[str, ...] = ()
    shared_mounts: tuple[str, ...] = ()
    ulimits: tuple[tuple[str, int, int], ...] = ()
    fuse: bool = False
    log_group: str = ""
    job_role_arn: str = ""
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file or directory to bring in before the command runs.

    `size` (bytes) and `etag` are the pinned identity: a transfer that brings something else fails
    the attempt (INPUT_CHANGED). None = not known. A directory brings everything below `uri`.
    """

    uri: str
    path: str
    directory: bool = False
    size: int | None = None
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class InlineFile:
    """A small file the engine wrote (write_lines() and the like), delivered with the script."""

    path: str
    content: bytes


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """What the wrapper looks for when the command has ended.

    Paths are relative to the work dir, or absolute; a directory ends with `/`. `globs` are bash
    patterns, expanded by bash's rules in the work dir, order kept. `reads` are files whose contents
    (at most 64 KiB each) the manifest carries inline. `everything` keeps the whole work dir: for
    outputs that cannot be planned before the command has run.
    """

    files: tuple[str, ...] = ()
    globs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    everything: bool = False


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One attempt, ready to run."""

    attempt: AttemptRef
    work_dir: WorkDir
    script: str  # the task's command, as evaluated
    inputs: tuple[InputFile, ...] = ()
    inline_files: tuple[InlineFile, ...] = ()
    outputs: OutputPlan = field(default_factory=OutputPlan)


@dataclass(frozen=True, slots=True)
class SubmissionHandle:
    """What is known of a submission without evaluating anything again: enough to find it.

    `attempts[i]` is the attempt of array index `i`; a single job has one. `job_id` is None until
    the backend has answered.
    """

    id: str  # 32 hex digits
    name: str  # the job's name; unique, ends with the id
    backend: str
    queue: str
    created_at: float  # seconds since the epoch, UTC
    attempts: tuple[AttemptRef, ...]
    job_id: str | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """One SubmitJob: jobs of one shape. `jobs[i]` belongs to `handle.attempts[i]`.

    `share`: what the submission belongs to where a backend divides its room between several: the
    hog group, or else the root workflow.
    """

    handle: SubmissionHandle
    shape: Shape
    jobs: tuple[JobSpec, ...]
    labels: tuple[tuple[str, str], ...] = ()  # become tags
    share: str = ""
