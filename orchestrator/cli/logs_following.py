"""Follows calls as they write, attempt after attempt, and stops when they are over.

Every turn reads the store, then the log of each attempt that lives. One reader an attempt: no line
comes twice. When an attempt has ended its log is read on for as long as lines may still be on their
way; one of which nothing could be read live is shown from what it kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from orchestrator import errors
from orchestrator.backends.base import Log
from orchestrator.cli import calls
from orchestrator.cli.logs_sources import STREAMS, Sources
from orchestrator.model import states
from orchestrator.model.records import AttemptRecord
from orchestrator.store.base import Store

MOST_SHARDS = 50
_SHORTEST_WAIT_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 10.0
_UNREADABLE = (errors.NotAllowed, errors.NotFound, errors.Invalid)
_SECONDS_PER_LOG = 0.2  # CloudWatch takes 25 GetLogEvents a second in an account; others read too


class Show(Protocol):
    """What becomes of what was read. `stream` is `log` for what came live."""

    def began(self, found: calls.Found, record: AttemptRecord) -> None:
        """An attempt has lines now."""

    def line(self, found: calls.Found, record: AttemptRecord, stream: str, text: str) -> None:
        """One line, without its end."""

    def ended(self, found: calls.Found, record: AttemptRecord) -> None:
        """No more of this attempt comes."""

    def say(self, text: str) -> None:
        """Something about the following itself."""


@dataclass(slots=True, eq=False)
class _Reading:
    """How far a call has been read."""

    attempt: int
    submission_id: str | None = None
    log: Log | None = None
    lines: int = 0  # of this attempt
    ended_at: float | None = None  # when its end was seen, or its last line after that came
    unreadable: bool = False
    over: bool = False


@dataclass(slots=True)
class Follower:
    """Raises what `find` raises, but for TryLater: what has not come up yet is waited for."""

    store: Store
    root_id: str
    sources: Sources
    find: Callable[[], Sequence[calls.Found]]
    show: Show
    attempt: int | None = None  # this one alone
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _readings: dict[tuple[str, str], _Reading] = field(default_factory=dict)
    _said: set[str] = field(default_factory=set)

    def run(self) -> None:
        """Until every call that has come up is over."""
        wait = _SHORTEST_WAIT_SECONDS
        while True:
            trouble = None
            lines = read = 0
            try:
                ended = states.is_terminal(self.store.workflow(self.root_id).state)
                found = self.find()
                if len(found) > MOST_SHARDS:
                    raise errors.Invalid(
                        f"{len(found)} shards are too many to follow: {MOST_SHARDS} at the most",
                        hint=f"choose one, as in {found[0].call.name}:0",
                    )
                tried = calls.attempts(self.store, (one.workflow.id for one in found))
                for one in found:
                    reading = self._reading(one, tried.get(one.key, []))
                    if not reading.over:
                        lines += self._turn(one, reading, tried.get(one.key, []), ended)
                        read += reading.log is not None
                if all(reading.over for reading in self._readings.values()):
                    return
            except errors.TryLater as error:
                trouble = error
                self._say_once(f"waiting: {error.sentence}")
            wait = _SHORTEST_WAIT_SECONDS if lines else min(wait * 1.5, _LONGEST_WAIT_SECONDS)
            if trouble is not None:
                wait = max(wait, _LONGEST_WAIT_SECONDS / 2)
            self.sleep(max(wait, read * _SECONDS_PER_LOG))

    def _reading(self, one: calls.Found, tried: Sequence[AttemptRecord]) -> _Reading:
        reading = self._readings.get(one.key)
        if reading is None:
            last = tried[-1].attempt if tried else 1
            reading = self._readings[one.key] = _Reading(self.attempt or last)
        return reading

    def _turn(
        self, one: calls.Found, reading: _Reading, tried: Sequence[AttemptRecord], ended: bool
    ) -> int:
        """Read on in one call of a workflow that has ended or not; how many lines came."""
        lines = 0
        by_number: Mapping[int, AttemptRecord] = {record.attempt: record for record in tried}
        while (record := by_number.get(reading.attempt)) is not None:
            over = ended or states.is_terminal(record.state)
            lines += self._read(one, reading, record, over)
            if not (over and self._is_read(reading)):
                return lines
            if not reading.lines:
                lines += self._read_kept(one, reading, record)
            self.show.ended(one, record)
            if self.attempt is not None:
                reading.over = True
                return lines
            self._readings[one.key] = reading = _Reading(reading.attempt + 1)
        if ended or states.is_terminal(one.call.state):
            reading.over = True
            if self.attempt is not None:
                raise errors.NotFound(
                    f"{one.label} has no attempt {self.attempt}",
                    hint=f"it is over after {len(tried)}",
                )
        return lines

    def _read(self, one: calls.Found, reading: _Reading, record: AttemptRecord, over: bool) -> int:
        """What is new in the attempt's log."""
        if reading.submission_id != record.submission_id:
            # Also when the attempt was submitted anew: nothing of the first submission has run.
            reading.submission_id, reading.log = record.submission_id, None
        lines = 0
        try:
            if reading.log is None and not reading.unreadable and not over:
                reading.log = self.sources.live(one, record)
            for text in reading.log or ():
                self._line(one, reading, record, "log", text)
                lines += 1
        except _UNREADABLE as error:
            self._say_once(f"{error.sentence}; all of it can be read when the attempt has ended")
            reading.log, reading.unreadable = None, True
        if over and (lines or reading.ended_at is None):
            reading.ended_at = self.clock()
        return lines

    def _line(
        self, one: calls.Found, reading: _Reading, record: AttemptRecord, stream: str, text: str
    ) -> None:
        if not reading.lines:
            self.show.began(one, record)
        reading.lines += 1
        self.show.line(one, record, stream, text)

    def _is_read(self, reading: _Reading) -> bool:
        """Whether no line can be on its way any more, of an attempt that has ended."""
        if reading.log is None or reading.ended_at is None:
            return True
        return self.clock() - reading.ended_at >= reading.log.late_seconds

    def _read_kept(self, one: calls.Found, reading: _Reading, record: AttemptRecord) -> int:
        """What an attempt left of which nothing came live; its log, where it left nothing."""
        kept = False
        for stream in STREAMS:
            with self.sources.kept(record, stream) as file:
                kept = kept or file is not None
                for line in file or ():
                    text = line.decode(errors="replace").removesuffix("\n")
                    self._line(one, reading, record, stream, text)
        if not kept and not reading.unreadable:
            try:
                for text in self.sources.live(one, record) or ():
                    self._line(one, reading, record, "log", text)
            except _UNREADABLE as error:
                self._say_once(error.sentence)
        return reading.lines

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self.show.say(text)
