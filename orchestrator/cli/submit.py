"""`orchestrator submit`: a workflow for the server to run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator import errors
from orchestrator.cli import options, waking
from orchestrator.model.states import WorkflowState

if TYPE_CHECKING:
    from orchestrator.assembly import Assembly
    from orchestrator.wdl.document import Document


def submit(
    workflow: options.Workflow,
    assignments: options.Assignments = None,
    inputs: options.Inputs = None,
    workflow_options: options.WorkflowOptions = None,
    labels: options.Labels = None,
    imports: options.Imports = None,
    strict: options.Strict = False,
    config: options.Config = None,
    environment: options.Environment = None,
    hold: Annotated[
        bool, typer.Option("--hold", help="It waits for `orchestrator release`.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the id.")] = False,
    as_json: options.Json = False,
) -> None:
    """Hand a workflow in and print its id. `orchestrator server` on the same database runs it."""
    from orchestrator import assembly

    settings = options.load(config, environment)
    loaded = options.load_workflow(workflow, imports, strict, settings)
    made = assembly.assemble(settings)
    try:
        root = create(
            made, loaded, assignments, inputs, workflow_options, labels, quiet=quiet, hold=hold
        )
    finally:
        made.close()
    if not hold:
        waking.wake(settings)
    state = WorkflowState.ON_HOLD if hold else WorkflowState.SUBMITTED
    print(json.dumps({"id": root, "status": state}) if as_json else root)


def create(
    made: Assembly,
    loaded: Document,
    assignments: Sequence[str] | None,
    inputs: Sequence[Path] | None,
    workflow_options: Path | None,
    labels: Path | None,
    *,
    quiet: bool,
    hold: bool = False,
    owner: str | None = None,
) -> str:
    """Read what the options name and create the workflow; the answer is its id. See
    `submission.submit`."""
    from orchestrator import submission
    from orchestrator.wdl import input_files

    defects = errors.Defects()

    def read(path: Path | None, wrong: type[errors.Invalid]) -> input_files.Given:
        with defects.noted():
            if path is not None:
                return input_files.read(path, wrong)
        return input_files.Given({})

    given = [(path, read(path, errors.InvalidInputs)) for path in inputs or []]
    how, named = (read(path, errors.InvalidOptions) for path in (workflow_options, labels))
    defects.tell("files cannot be read")
    return submission.submit(
        made,
        loaded,
        input_files=given,
        assignments=assignments or [],
        options=how,
        labels=named,
        say=lambda text: None if quiet else typer.echo(text, err=True),
        warn=lambda finding: typer.echo(f"warning: {finding}", err=True),
        hold=hold,
        owner=owner,
    )
