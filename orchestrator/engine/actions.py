"""What a run wants done once its records are committed: the effects, as values.

`run` makes them, `coordinator` commits first, `effects` does them.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.engine.final_plan import Finished
from orchestrator.model.job import Submission, SubmissionHandle
from orchestrator.wdl.facts import Want
from orchestrator.wdl.graph import Write


@dataclass(frozen=True, slots=True)
class Fetch:
    """Look these facts up."""

    wants: frozenset[Want]


@dataclass(frozen=True, slots=True)
class Put:
    """Write the engine's own files."""

    writes: tuple[Write, ...]


@dataclass(frozen=True, slots=True)
class Submit:
    """Call the backend; the intent is committed."""

    submission: Submission


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Do not make this submission if that has not begun."""

    submission_id: str


@dataclass(frozen=True, slots=True)
class Find:
    """Does the backend have this submission?"""

    handle: SubmissionHandle


@dataclass(frozen=True, slots=True)
class Revoke:
    """Make sure that it never runs."""

    handle: SubmissionHandle


@dataclass(frozen=True, slots=True)
class Cancel:
    """End these jobs."""

    handle: SubmissionHandle
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Search:
    """Which of these words comes first in a file? `token`: the attempt that it is asked for."""

    token: str
    uri: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlanEnd:
    """What is to be copied and deleted now that all calls are over? `number`: it comes back."""

    number: int
    finished: Finished


@dataclass(frozen=True, slots=True)
class CopyFile:
    """Copy a final output or a log; an `optional` one need not be there."""

    number: int
    source: str
    target: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class DeleteFiles:
    """Delete what nobody needs any more."""

    number: int
    uris: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WriteLog:
    """Write the workflow's log: its events, then these lines."""

    number: int
    target: str
    lines: tuple[str, ...]


Ending = PlanEnd | CopyFile | DeleteFiles | WriteLog
Effect = Fetch | Put | Submit | Withdraw | Find | Revoke | Cancel | Search | Ending
