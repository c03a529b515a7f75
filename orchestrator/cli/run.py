"""`orchestrator run`: one workflow, in this process, to its end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator import errors
from orchestrator.cli import options


def run(
    workflow: Annotated[Path, typer.Argument(help="The WDL file.", show_default=False)],
    assignments: Annotated[
        list[str] | None,
        typer.Argument(help="Inputs as key=value; again for arrays.", metavar="[KEY=VALUE]..."),
    ] = None,
    inputs: Annotated[
        list[Path] | None,
        typer.Option("--inputs", "-i", help="A JSON file of inputs; a later one wins."),
    ] = None,
    workflow_options: Annotated[
        Path | None,
        typer.Option("--options", "-o", help="A JSON file of workflow options."),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", "-l", help="A JSON file of labels.")
    ] = None,
    config: options.Config = None,
    environment: options.Environment = None,
    copy_outputs: Annotated[
        Path | None,
        typer.Option("--copy-outputs", help="Copy output files and outputs.json here."),
    ] = None,
    no_containers: options.NoContainers = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    as_json: options.Json = False,
) -> None:
    """Run a workflow. Outputs are JSON on stdout; all else goes to stderr.

    Without --config or --environment it runs on this machine and keeps its records in
    .orchestrator/. Inputs on this machine are uploaded where the backend works on S3.
    """
    from orchestrator import assembly, submission
    from orchestrator.cli import following
    from orchestrator.wdl import bundle

    settings = options.load(config, environment)
    loaded = assembly.load(bundle.read(workflow))
    for warning in loaded.warnings:
        typer.echo(f"warning: {warning}", err=True)
    made = assembly.assemble(settings, containers=not no_containers)
    try:
        root = submission.submit(
            made,
            loaded,
            input_files=[(path, read_json(path)) for path in inputs or []],
            assignments=assignments or [],
            options=read_json(workflow_options, errors.InvalidOptions) if workflow_options else {},
            labels=read_json(labels, errors.InvalidOptions) if labels else {},
            say=lambda text: None if quiet else typer.echo(text, err=True),
        )
        if not quiet:
            typer.echo(f"workflow {loaded.workflow_name} {root}", err=True)
        following.follow(
            made,
            made.claim(root),
            as_json=as_json,
            copy_to=copy_outputs,
            quiet=quiet,
            resume_with=options.resume_command(root, config, environment, no_containers),
        )
    finally:
        made.close()


def read_json(path: Path, wrong: type[errors.Invalid] = errors.InvalidInputs) -> dict[str, Any]:
    """A JSON object of a file. Raises `wrong` with the place of what is wrong."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise wrong(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise wrong(f"{path} is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise wrong(
            f"not JSON: {error.msg}", place=errors.Place(str(path), error.lineno, error.colno)
        ) from None
    if not isinstance(value, dict):
        raise wrong("not a JSON object", place=errors.Place(str(path)))
    return value
