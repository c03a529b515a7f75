"""`orchestrator run`: one workflow, in this process, to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli import options


def run(
    workflow: options.Workflow,
    assignments: options.Assignments = None,
    inputs: options.Inputs = None,
    workflow_options: options.WorkflowOptions = None,
    labels: options.Labels = None,
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
    from orchestrator import assembly
    from orchestrator.cli import following, submit
    from orchestrator.engine.tenure import this_process

    settings = options.load(config, environment)
    loaded = options.load_workflow(workflow, imports, strict, settings)
    made = assembly.assemble(settings, containers=not no_containers)
    try:
        root = submit.create(
            made,
            loaded,
            assignments,
            inputs,
            workflow_options,
            labels,
            quiet=quiet,
            owner=this_process(),
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
