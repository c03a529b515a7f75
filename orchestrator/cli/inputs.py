"""`orchestrator inputs`: a template of a workflow's inputs; checks the WDL on the way."""

from __future__ import annotations

import json

from orchestrator.cli import options


def inputs(
    workflow: options.Workflow,
    imports: options.Imports = None,
    strict: options.Strict = False,
    config: options.Config = None,
    environment: options.Environment = None,
) -> None:
    """Print the inputs of a workflow as JSON: name -> type, to be filled in."""
    settings = options.load(config, environment)
    loaded = options.load_workflow(workflow, imports, strict, settings)
    print(json.dumps(loaded.inputs_template(), indent=2))
