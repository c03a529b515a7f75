"""`orchestrator inputs`: a template of a workflow's inputs; checks the WDL on the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def inputs(
    workflow: Annotated[Path, typer.Argument(help="The WDL file.", show_default=False)],
) -> None:
    """Print the inputs of a workflow as JSON: name -> type, to be filled in."""
    from orchestrator.wdl import bundle, document

    loaded = document.load(bundle.read(workflow))
    for warning in loaded.warnings:
        typer.echo(f"warning: {warning}", err=True)
    print(json.dumps(loaded.inputs_template(), indent=2))
