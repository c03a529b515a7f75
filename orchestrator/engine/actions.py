"""What a run wants done once its records are committed: the effects, as values.

`run` makes them, `coordinator` commits first, `effects` does them.
"""

from __future__ import annotations

from dataclasses import dataclass

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


Effect = Fetch | Put | Submit | Find | Revoke | Cancel | Search
