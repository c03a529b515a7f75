"""`orchestrator jobs`: what the orchestrator leaves in AWS Batch."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator import errors
from orchestrator.cli import options

if TYPE_CHECKING:
    from orchestrator.backends.aws_batch.definitions_cleaning import Verdict

app = typer.Typer(no_args_is_help=True, help="What the orchestrator leaves in AWS Batch.")


@app.callback()
def _group() -> None:
    """What the orchestrator leaves in AWS Batch."""


@app.command()
def clean(
    unused_days: Annotated[
        int,
        typer.Option(
            "--unused-days", min=1, help="Keep what was registered or used within so many days."
        ),
    ] = 7,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be removed; remove nothing.")
    ] = False,
    config: options.Config = None,
    environment: options.Environment = None,
    as_json: options.Json = False,
) -> None:
    """Remove job definitions of the environment that no job uses any more."""
    from orchestrator import assembly
    from orchestrator.backends.aws_batch import AwsBatchBackend, SeveralEnvironments

    made = assembly.assemble(options.load(config, environment))
    verdicts: dict[str, Verdict] = {}
    try:
        backends = [
            one
            for backend in made.backends.values()
            for one in (
                backend.backends if isinstance(backend, SeveralEnvironments) else (backend,)
            )
            if isinstance(one, AwsBatchBackend)
        ]
        if not backends:
            raise errors.Invalid(
                "no backend here is AWS Batch: there are no job definitions",
                hint="choose an environment or a file with --environment or --config",
            )
        for backend in backends:  # several may share an environment
            for verdict in backend.clean_definitions(unused_days, dry_run=dry_run):
                before = verdicts.get(verdict.definition.arn)
                if before is not None and before.kept == verdict.kept:
                    continue
                verdicts[verdict.definition.arn] = verdict
                if not verdict.kept and not as_json:
                    verb = "would remove" if dry_run else "removed"
                    print(f"{verb} {verdict.definition.name}:{verdict.definition.revision}")
    finally:
        made.close()
    removed = [_as_json(verdict) for verdict in verdicts.values() if not verdict.kept]
    kept = [
        _as_json(verdict) | {"reason": verdict.kept}
        for verdict in verdicts.values()
        if verdict.kept
    ]
    if as_json:
        print(json.dumps({"dry_run": dry_run, "removed": removed, "kept": kept}, indent=2))
    would = "to remove" if dry_run else "removed"
    typer.echo(f"{len(removed)} job definitions {would}, {len(kept)} kept", err=True)


def _as_json(verdict: Verdict) -> dict[str, Any]:
    one = verdict.definition
    registered = None
    if one.registered_at is not None:
        registered = datetime.fromtimestamp(one.registered_at, UTC).isoformat(timespec="seconds")
    return {
        "name": one.name,
        "revision": one.revision,
        "arn": one.arn,
        "registered": registered,
    }
