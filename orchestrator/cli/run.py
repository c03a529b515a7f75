"""`orchestrator run`: one workflow, in this process, to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator import errors
from orchestrator.cli import options


def run(
    workflow: options.Workflow,
    assignments: Annotated[
        list[str] | None,
        typer.Argument(help="Inputs as key=value; again for arrays.", metavar="[KEY=VALUE]..."),
    ] = None,
    inputs: Annotated[
        list[Path] | None,
        typer.Option("--inputs", "-i", help="A JSON or YAML file of inputs; a later one wins."),
    ] = None,
    workflow_options: Annotated[
        Path | None,
        typer.Option("--options", "-o", help="A JSON or YAML file of workflow options."),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", "-l", help="A JSON or YAML file of labels.")
    ] = None,
    imports: options.Imports = None,
    strict: options.Strict = False,
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
    from orchestrator.wdl import input_files

    settings = options.load(config, environment)
    loaded = options.load_workflow(workflow, imports, strict, settings)
    given = [(path, input_files.read(path)) for path in inputs or []]
    made = assembly.assemble(settings, containers=not no_containers)
    try:
        root = submission.submit(
            made,
            loaded,
            input_files=[(path, content.values) for path, content in given],
            places={key: at for _, content in given for key, at in content.places.items()},
            assignments=assignments or [],
            options=_optional(workflow_options),
            labels=_optional(labels),
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


def _optional(path: Path | None) -> dict[str, Any]:
    from orchestrator.wdl import input_files

    return {} if path is None else input_files.read(path, errors.InvalidOptions).values
