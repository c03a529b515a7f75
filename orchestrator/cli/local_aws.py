"""`orchestrator local-aws`: AWS on this machine by itself, without any environment on it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Annotated

import typer

from orchestrator import errors
from orchestrator.cli import options

app = typer.Typer(help="AWS on this machine (the local-aws extra).", no_args_is_help=True)

State = Annotated[Path, typer.Option("--state", help="Its directory; all it keeps lies there.")]
_STATE = Path(".local-aws")


@app.command()
def start(
    state: State = _STATE,
    jobs: Annotated[str, typer.Option(help="auto, docker or process")] = "auto",
    as_json: options.Json = False,
) -> None:
    """Start it, empty, or find it running; print the variables that make AWS clients use it."""
    from orchestrator.local_aws import process

    if importlib.util.find_spec("moto") is None:
        raise errors.EnvironmentProblem(
            "AWS on this machine needs packages that are not installed",
            hint="pip install 'wdl-batch-orchestrator[local-aws]'",
        )
    if jobs not in ("auto", "docker", "process"):
        raise errors.Invalid(f"--jobs is {jobs!r}", hint="auto, docker or process")
    _print(process.start(state, jobs=jobs).environment(), as_json)  # type: ignore[arg-type]


@app.command()
def status(state: State = _STATE, as_json: options.Json = False) -> None:
    """Print the variables of the running one. Exit code 5 where none runs."""
    from orchestrator.local_aws import process

    running = process.status(state)
    if running is None:
        raise errors.NotFound(f"no AWS runs in {state}", hint="orchestrator local-aws start")
    _print(running.environment(), as_json)


@app.command()
def stop(
    state: State = _STATE,
    destroy: Annotated[bool, typer.Option("--destroy", help="Remove its directory too.")] = False,
    as_json: options.Json = False,
) -> None:
    """Stop it, its jobs and its databases."""
    from orchestrator.local_aws import process

    stopped = process.stop(state, destroy=destroy)
    if as_json:
        print(json.dumps({"stopped": stopped}))
    else:
        typer.echo("stopped" if stopped else "nothing was running", err=True)


def _print(variables: dict[str, str], as_json: bool) -> None:
    if as_json:
        print(json.dumps(variables, indent=2))
    else:
        for name, value in variables.items():
            print(f"export {name}={value}")
