"""`orchestrator abort`: end a workflow and its jobs."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from orchestrator import errors
from orchestrator.cli import options, waking
from orchestrator.model import states
from orchestrator.model.states import WorkflowState


def abort(
    workflow_id: Annotated[str, typer.Argument(help="Its id, or the beginning of it.")],
    config: options.Config = None,
    environment: options.Environment = None,
    as_json: options.Json = False,
) -> None:
    """Ask whoever runs the workflow to end it. Takes effect within seconds."""
    from orchestrator import assembly

    settings = options.load(config, environment)
    made = assembly.assemble(settings)
    try:
        record = made.find(workflow_id)
        if states.is_terminal(record.state):
            raise errors.NotAllowed(f"workflow {record.id} is {record.state} already")
        if made.store.leave_hold(record.id, WorkflowState.ABORTED):
            if as_json:
                print(json.dumps({"id": record.id, "status": "Aborted"}))
            typer.echo(f"workflow {record.id} was on hold; it is aborted", err=True)
            return
        made.store.put_command(record.id, "abort")
        waking.wake(settings)
        held = made.store.holder(record.id) is not None
        if as_json:
            print(json.dumps({"id": record.id, "status": "Aborting"}))
        typer.echo(f"workflow {record.id}: asked to abort", err=True)
        if not held:
            typer.echo(
                f"  nobody runs it now; `orchestrator resume {record.id}` carries it out", err=True
            )
    finally:
        made.close()
