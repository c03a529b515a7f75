"""The manifest: the truth about an attempt, written last by the job wrapper.

A manifest that names another submission is not accepted (`Manifest.belongs_to`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.model.failures import Failure


@dataclass(frozen=True, slots=True)
class OutputFile:
    """One file the attempt left. `path` as the command saw it: relative to the work dir, or
    absolute. `uri` is where it is kept: an output that is an input keeps the input's URI."""

    path: str
    uri: str
    size: int
    etag: str | None = None
    content: bytes | None = None  # only for planned reads of at most 64 KiB


@dataclass(frozen=True, slots=True)
class Phase:
    """One stretch of an attempt's life. Seconds since the epoch, UTC."""

    name: str  # queue, pull (the image), localize, command, delocalize
    started_at: float
    ended_at: float


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an attempt did.

    `return_code` is the command's, None where it never ran; `failure` is the wrapper's own (an
    input that is not there, an upload refused). `stderr_tail` holds the last lines of stderr, at
    most 4 KiB. `peak_memory_bytes` and `peak_disk_bytes` are None where they cannot be measured.
    """

    submission_id: str
    attempt: str  # AttemptRef.token
    job_id: str
    return_code: int | None
    stdout: OutputFile
    stderr: OutputFile
    files: Mapping[str, OutputFile] = field(default_factory=dict)  # by path
    directories: tuple[str, ...] = ()  # planned directories that exist, without the last slash
    globs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # pattern -> paths, in order
    phases: tuple[Phase, ...] = ()
    failure: Failure | None = None
    stderr_tail: str = ""
    peak_memory_bytes: int | None = None
    peak_disk_bytes: int | None = None

    def belongs_to(self, submission_id: str, token: str) -> bool:
        """Whether this is the manifest of that attempt of that submission."""
        return self.submission_id == submission_id and self.attempt == token
