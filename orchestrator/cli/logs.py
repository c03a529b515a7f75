"""`orchestrator logs`: stdout and stderr of a call's attempt."""

from __future__ import annotations

import json
import re
from typing import Annotated

import typer

from orchestrator import errors
from orchestrator.cli import options
from orchestrator.model.records import AttemptRecord

_LIMIT_BYTES = 64 * 1024**2


def logs(
    workflow_id: Annotated[str, typer.Argument(help="Its id, or the beginning of it.")],
    call: Annotated[
        str,
        typer.Argument(help="The call, with or without the workflow's name; `call:3` for shard 3."),
    ],
    stderr_only: Annotated[bool, typer.Option("--stderr", help="Only stderr.")] = False,
    config: options.Config = None,
    environment: options.Environment = None,
    as_json: options.Json = False,
) -> None:
    """Print what the last attempt of a call wrote, once it has ended."""
    from orchestrator import assembly

    made = assembly.assemble(options.load(config, environment))
    try:
        root = made.find(workflow_id)
        name, shards = _named(call)
        known = made.store.calls(root.id)
        wanted = {name, name.removeprefix(f"{root.name}.")}  # messages name both
        calls = [c for c in known if c.name in wanted and (shards is None or c.shards == shards)]
        if not calls:
            raise errors.NotFound(
                f"workflow {root.id} has no call {call}",
                hint=f"it has: {', '.join(sorted({c.name for c in known})) or 'none yet'}",
            )
        attempts: dict[str, AttemptRecord] = {}
        for attempt in made.store.attempts(root.id):
            attempts[attempt.call_id] = attempt
        document = []
        for found in calls:
            last = attempts.get(found.id)
            if last is None:
                continue
            entry = {"call": found.name, "shards": list(found.shards), "attempt": last.attempt}
            for stream, uri in (("stdout", last.stdout), ("stderr", last.stderr)):
                if uri is None or (stderr_only and stream == "stdout"):
                    continue
                try:
                    content = made.filesystems.of(uri).read(uri, _LIMIT_BYTES)
                    entry[stream] = content.decode(errors="replace")
                except errors.NotFound:
                    entry[stream] = None
            document.append(entry)
        if as_json:
            print(json.dumps(document, indent=2))
            return
        for entry in document:
            label = "".join(f"[{shard}]" for shard in entry["shards"])  # type: ignore[attr-defined]
            for stream in ("stdout", "stderr"):
                if entry.get(stream):
                    typer.echo(f"== {entry['call']}{label} {stream}", err=True)
                    typer.echo(entry[stream], nl=False)
    finally:
        made.close()


def _named(call: str) -> tuple[str, tuple[int, ...] | None]:
    """Name and shards of `call` or `call:3`; None for all shards."""
    name, colon, shard = call.partition(":")
    if not colon:
        return name, None
    if not re.fullmatch(r"[0-9]+(:[0-9]+)*", shard, re.ASCII):
        raise errors.Invalid(f"{shard!r} is not the number of a shard", hint=f"as in {name}:3")
    return name, tuple(int(part) for part in shard.split(":"))
