"""Evaluation in pieces: each runs in a slice of time, and waits for the facts that it lacks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from orchestrator import errors
from orchestrator.engine.actions import Fetch
from orchestrator.engine.outbox import Outbox
from orchestrator.model.records import FactRecord
from orchestrator.wdl.facts import Facts, NeedFacts, Want

OnError = Callable[[errors.OrchestratorError], None]

_END = object()


def _unexpected(error: errors.OrchestratorError) -> None:
    raise error


def is_local(uri: str) -> bool:
    """Whether it is a path of this machine's."""
    return "://" not in uri or uri.startswith("file://")


@dataclass(slots=True, eq=False)
class _Step:
    """One piece of evaluation. `on_error` gets an error of the user's making."""

    do: Callable[[], None]
    on_error: OnError
    missing: set[Want] = field(default_factory=set)
    given_up: bool = False  # a fact that it needs cannot be had


class Steps:
    """The pieces that are due, and those that are parked until facts arrive.

    A step that raises NeedFacts is taken again from its beginning once they are pinned.
    """

    def __init__(self, facts: Facts, outbox: Outbox, *, on_this_host: bool) -> None:
        """`on_this_host`: jobs run where this process does, and see its files."""
        self._facts = facts
        self._on_this_host = on_this_host
        self._outbox = outbox
        self._due: deque[_Step] = deque()
        self._parked: dict[Want, list[_Step]] = {}
        self._wanted: set[Want] = set()  # to be fetched with the next batch
        self._failed: dict[Want, errors.OrchestratorError] = {}

    @property
    def due(self) -> bool:
        """Whether something can be done right now."""
        return bool(self._due)

    @property
    def parked(self) -> bool:
        """Whether something waits for facts."""
        return bool(self._parked)

    def add(self, do: Callable[[], None], on_error: OnError) -> None:
        """Do this in a turn to come."""
        self._due.append(_Step(do, on_error))

    def begin(self, pieces: Iterator[None]) -> None:
        """The first piece now, the others before anything else that is due, each in its turn."""

        def go_on() -> None:
            if next(pieces, _END) is not _END:
                self._due.appendleft(_Step(go_on, _unexpected))

        go_on()
        self._outbox.seal()

    def once_known(self, want: Want, do: Callable[[], None], on_error: OnError) -> None:
        """Do this once that fact is pinned."""
        self._park(_Step(do, on_error), [want])

    def work(self, stop: Callable[[], bool]) -> bool:
        """Take steps until none is due or `stop()` says so. True: there is more to do.

        What they lack is asked for at the end, all at once: what becomes known together goes on
        together, as one array.
        """
        while self._due:
            step = self._due.popleft()
            try:
                step.do()
            except NeedFacts as need:
                self._park(step, need.wants)
            except errors.OrchestratorError as error:
                step.on_error(error)
            self._outbox.seal()
            if stop():
                break
        if self._due:
            return True
        if self._wanted:
            self._outbox.perform(Fetch(frozenset(self._wanted)))
            self._wanted.clear()
        return False

    def pin(self, record: FactRecord) -> None:
        """A fact is known, and is so for ever."""
        if self._facts.add(record):
            self._outbox.record(record)

    def facts_fetched(
        self, records: Iterable[FactRecord], failed: Mapping[Want, errors.OrchestratorError]
    ) -> None:
        """Pin them and go on with what waited for them."""
        arrived: list[Want] = []
        for record in records:
            self.pin(record)
            self._outbox.seal()
            arrived.append(Want(record.kind, record.uri))  # type: ignore[arg-type]
        self._failed.update(failed)
        for want in (*arrived, *failed):
            for step in self._parked.pop(want, ()):
                step.missing.discard(want)
                if step.given_up:
                    continue
                if want in failed:
                    step.given_up = True
                    step.on_error(failed[want])
                elif not step.missing:
                    self._due.append(step)

    def _park(self, step: _Step, wants: Iterable[Want]) -> None:
        wants = list(wants)
        for want in wants:
            if error := self._failed.get(want) or self._refused(want):
                step.on_error(error)
                return
        step.missing = set(wants)
        for want in step.missing:
            waiting = self._parked.setdefault(want, [])
            if not waiting:
                self._wanted.add(want)
            waiting.append(step)

    def _refused(self, want: Want) -> errors.OrchestratorError | None:
        """Where jobs run elsewhere, a path is one of theirs: what lies here is the server's own."""
        if self._on_this_host or not is_local(want.uri):
            return None
        return errors.NotAllowed(
            f"{want.uri} is a file of the orchestrator's host, which workflows do not see",
            hint="give the file as an input, or as an s3:// or https:// URI",
        )
