"""`orchestrator resume`: go on with a workflow whose `run` was killed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli import options
from orchestrator.model import states


def resume(
    workflow_id: Annotated[str, typer.Argument(help="Its id, or the beginning of it.")],
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
    """Go on with a workflow where it stands: jobs in flight are adopted, nothing runs twice.

    Of one that is over, print what its run would have printed.
    """
    from orchestrator import assembly
    from orchestrator.cli import following

    settings = options.load(config, environment)
    made = assembly.assemble(settings, containers=not no_containers)
    try:
        root = made.find(workflow_id)
        if states.is_terminal(root.state):
            following.report(made, root, as_json=as_json, copy_to=copy_outputs, quiet=quiet)
            return
        following.follow(
            made,
            made.claim(root.id),
            as_json=as_json,
            copy_to=copy_outputs,
            quiet=quiet,
            resume_with=options.resume_command(root.id, config, environment, no_containers),
        )
    finally:
        made.close()
