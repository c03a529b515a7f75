"""`orchestrator release`: a workflow that is on hold may run."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from orchestrator import errors
from orchestrator.cli import options, waking
from orchestrator.model.states import WorkflowState


def release(
    workflow_id: Annotated[str, typer.Argument(help="Its id, or the beginning of it.")],
    config: options.Config = None,
    environment: options.Environment = None,
    as_json: options.Json = False,
) -> None:
    """Let a workflow that is on hold run: a server takes it, or `orchestrator resume` does."""
    from orchestrator import assembly

    settings = options.load(config, environment)
    made = assembly.assemble(settings)
    try:
        record = made.find(workflow_id)
        if not made.store.leave_hold(record.id, WorkflowState.SUBMITTED):
            state = made.store.workflow(record.id).state
            raise errors.NotAllowed(f"workflow {record.id} is not on hold, it is {state}")
        waking.wake(settings)
        if as_json:
            print(json.dumps({"id": record.id, "status": WorkflowState.SUBMITTED}))
        typer.echo(f"workflow {record.id}: released", err=True)
    finally:
        made.close()
