"""`orchestrator logs`: what a call writes while it runs, and what it wrote."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator import errors
from orchestrator.cli import calls, options
from orchestrator.cli.logs_following import Follower
from orchestrator.cli.logs_sources import STREAMS, Sources
from orchestrator.model import states

if TYPE_CHECKING:
    from orchestrator.model.records import AttemptRecord

_IN_JSON_BYTES = 64 * 1024**2


def logs(
    workflow_id: Annotated[str, typer.Argument(help="Its id, or the beginning of it.")],
    call: Annotated[
        str,
        typer.Argument(
            help="The call, with or without the workflow's name; `call:3` for shard 3, "
            "`sub:3.call` for one in a sub-workflow."
        ),
    ],
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Until the call is over, attempt after attempt."),
    ] = False,
    attempt: Annotated[
        int | None,
        typer.Option("--attempt", min=1, help="This attempt, not the last.", show_default=False),
    ] = None,
    stdout_only: Annotated[bool, typer.Option("--stdout", help="Only stdout.")] = False,
    stderr_only: Annotated[bool, typer.Option("--stderr", help="Only stderr.")] = False,
    config: options.Config = None,
    environment: options.Environment = None,
    as_json: options.Json = False,
) -> None:
    """Print what the last attempt of a call has written by now, or left when it ended."""
    from orchestrator import assembly

    if follow and (stdout_only or stderr_only):
        raise errors.Invalid(
            "stdout and stderr come together while a job runs",
            hint="without --follow they can be told apart, once an attempt has ended",
        )
    wanted = {"stdout"} if stdout_only else set()
    wanted |= {"stderr"} if stderr_only else set()
    made = assembly.assemble(options.load(config, environment))
    try:
        root = made.find(workflow_id)

        def planned() -> Collection[str]:
            return assembly.load_bundle(made.store.bundle(root.bundle)).task_calls

        def find() -> Sequence[calls.Found]:
            return calls.find(made.store, made.store.workflow(root.id), call, planned)

        sources = Sources(made.store, made.backends, made.filesystems, root.id)
        if follow:
            show = _JsonLines() if as_json else _Lines(labelled=":" not in call)
            Follower(made.store, root.id, sources, find, show, attempt).run()
            return
        found = find()
        tried = calls.attempts(made.store, (one.workflow.id for one in found))
        last = {one.key: _chosen(tried.get(one.key, []), attempt) for one in found}
        if all(record is None for record in last.values()):
            raise _none(found[0], tried.get(found[0].key, []), attempt)
        now = _Now(sources, [stream for stream in STREAMS if stream in (wanted or STREAMS)])
        if as_json:
            now.as_json(found, last)
        else:
            now.as_text(found, last)
    finally:
        made.close()


def _chosen(tried: Sequence[AttemptRecord], number: int | None) -> AttemptRecord | None:
    if number is None:
        return tried[-1] if tried else None
    return next((record for record in tried if record.attempt == number), None)


def _none(
    one: calls.Found, tried: Sequence[AttemptRecord], number: int | None
) -> errors.OrchestratorError:
    if number is not None and tried:
        return errors.NotFound(
            f"{one.label} has no attempt {number}", hint=f"its last one is {tried[-1].attempt}"
        )
    if states.is_terminal(one.call.state):
        why = one.call.failure_message or "it was not needed any more"
        return errors.NotFound(f"no job was started for {one.label}: {why}")
    return errors.TryLater(
        f"{one.label} has not been started yet", hint="--follow waits until it writes"
    )


class _Now:
    """Prints what there is now."""

    def __init__(self, sources: Sources, streams: Sequence[str]) -> None:
        self._sources = sources
        self._streams = streams

    def as_text(
        self, found: Sequence[calls.Found], last: Mapping[tuple[str, str], AttemptRecord | None]
    ) -> None:
        """The content on stdout, what it is on stderr."""
        silent: list[tuple[calls.Found, AttemptRecord]] = []
        printed = False
        for one in found:
            record = last[one.key]
            if record is None:
                continue
            if states.is_terminal(record.state) and self._copy(one, record):
                printed = True
                continue
            lines = iter(self._sources.live(one, record) or ())
            first = next(lines, None)
            if first is None:
                silent.append((one, record))
                continue
            printed = True
            typer.echo(f"== {one.label} log", err=True)
            typer.echo(first)
            for line in lines:
                typer.echo(line)
        for one, record in silent if not printed else ():
            raise self._silence(one, record)

    def _copy(self, one: calls.Found, record: AttemptRecord) -> bool:
        """What was kept; False where nothing was."""
        kept = False
        for stream in self._streams:
            with self._sources.kept(record, stream) as file:
                if file is None:
                    continue
                kept = True
                first = file.read(1)
                if first:
                    typer.echo(f"== {one.label} {stream}", err=True)
                    sys.stdout.flush()
                    sys.stdout.buffer.write(first)
                    shutil.copyfileobj(file, sys.stdout.buffer)
                    sys.stdout.buffer.flush()
        return kept

    def _silence(self, one: calls.Found, record: AttemptRecord) -> errors.OrchestratorError:
        """Why there is nothing to print."""
        if states.is_terminal(record.state):
            return errors.NotFound(
                f"attempt {record.attempt} of {one.label} left neither stdout nor stderr, and its "
                f"log is not there",
                hint=record.failure_message or "",
            )
        explanation = self._sources.explain(one, record)
        if explanation is None:
            return errors.TryLater(
                f"attempt {record.attempt} of {one.label} is being submitted",
                hint="--follow waits until it writes",
            )
        return errors.TryLater(
            f"attempt {record.attempt} of {one.label} has not written anything yet; its job is "
            f"{explanation.state}: {explanation.cause}",
            hint=explanation.next_step or "--follow waits until it writes",
        )

    def as_json(
        self, found: Sequence[calls.Found], last: Mapping[tuple[str, str], AttemptRecord | None]
    ) -> None:
        """One document: a list with an object an attempt."""
        document = []
        for one in found:
            record = last[one.key]
            if record is None:
                continue
            entry: dict[str, Any] = _about(one, record)
            kept = False
            if states.is_terminal(record.state):
                for stream in self._streams:
                    with self._sources.kept(record, stream) as file:
                        text = file.read(_IN_JSON_BYTES + 1) if file is not None else None
                    if text is not None and len(text) > _IN_JSON_BYTES:
                        raise errors.Invalid(
                            f"{stream} of {one.label} is larger than {_IN_JSON_BYTES} bytes",
                            hint="without --json it is printed whole",
                        )
                    entry[stream] = text.decode(errors="replace") if text is not None else None
                    kept = kept or text is not None
            if not kept:
                entry["log"] = list(self._sources.live(one, record) or ())
            document.append(entry)
        print(json.dumps(document, indent=2))


def _about(one: calls.Found, record: AttemptRecord) -> dict[str, Any]:
    return {
        "call": one.name,
        "shards": list(one.call.shards),
        "attempt": record.attempt,
        "status": record.state,
    }


class _Lines:
    """Followed lines as they are, or with the shard that each is of before it."""

    def __init__(self, *, labelled: bool) -> None:
        self._labelled = labelled

    def began(self, found: calls.Found, record: AttemptRecord) -> None:
        """Say whose lines come."""
        typer.echo(f"== {found.label} attempt {record.attempt}", err=True)

    def line(self, found: calls.Found, record: AttemptRecord, stream: str, text: str) -> None:
        """Print it at once."""
        sharded = found.label != found.call.name
        prefix = f"{found.label} | " if self._labelled and sharded else ""
        print(prefix + text, flush=True)

    def ended(self, found: calls.Found, record: AttemptRecord) -> None:
        """Say how."""
        why = f": {record.failure_code}: {record.failure_message}" if record.failure_code else ""
        typer.echo(f"== {found.label} attempt {record.attempt}: {record.state}{why}", err=True)

    def say(self, text: str) -> None:
        """To stderr."""
        typer.echo(text, err=True)


class _JsonLines:
    """An object a line, as it comes."""

    def began(self, found: calls.Found, record: AttemptRecord) -> None:
        """The lines say it."""

    def line(self, found: calls.Found, record: AttemptRecord, stream: str, text: str) -> None:
        """`{call, shards, attempt, status, stream, line}`."""
        print(json.dumps(_about(found, record) | {"stream": stream, "line": text}), flush=True)

    def ended(self, found: calls.Found, record: AttemptRecord) -> None:
        """`{call, shards, attempt, status, failure}`."""
        failure = None
        if record.failure_code:
            failure = {"code": record.failure_code, "message": record.failure_message}
        print(json.dumps(_about(found, record) | {"failure": failure}), flush=True)

    def say(self, text: str) -> None:
        """To stderr."""
        typer.echo(text, err=True)
