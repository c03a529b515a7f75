"""Options that several commands share, and the settings they lead to."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator import environments, errors
from orchestrator.config import settings

if TYPE_CHECKING:
    from orchestrator.wdl.document import Document

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="A Cromwell-style HOCON file.", show_default=False),
]
Environment = Annotated[
    str | None,
    typer.Option(
        "--environment",
        "-e",
        help="A deployed environment, by name (./bootstrap --local makes `local`).",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Assignments = Annotated[
    list[str] | None,
    typer.Argument(help="Inputs as key=value; again for arrays.", metavar="[KEY=VALUE]..."),
]
Inputs = Annotated[
    list[Path] | None,
    typer.Option("--inputs", "-i", help="A JSON or YAML file of inputs; a later one wins."),
]
WorkflowOptions = Annotated[
    Path | None,
    typer.Option("--options", "-o", help="A JSON or YAML file of workflow options."),
]
Labels = Annotated[
    Path | None, typer.Option("--labels", "-l", help="A JSON or YAML file of labels.")
]
NoContainers = Annotated[
    bool,
    typer.Option(
        "--no-containers", help="Local backend: run commands here although tasks name an image."
    ),
]
Workflow = Annotated[str, typer.Argument(help="The WDL file, or its URL.", show_default=False)]
Imports = Annotated[
    Path | None,
    typer.Option("--imports", "-p", help="A zip of imported documents.", show_default=False),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="What only Cromwell accepts in WDL is an error.")
]


def load_workflow(
    workflow: str, dependencies: Path | None, strict: bool, chosen: settings.Settings
) -> Document:
    """The document that an argument names, with its imports; warnings are said."""
    from orchestrator import assembly
    from orchestrator.wdl import bundle

    archive = None
    if dependencies is not None:
        try:
            archive = dependencies.read_bytes()
        except OSError as error:
            raise errors.InvalidWdl(f"{dependencies} cannot be read: {error.strerror}") from None
    fetch = assembly.fetcher(chosen)
    if bundle.is_url(workflow):
        source = bundle.of_url(workflow, dependencies=archive, fetch=fetch)
    else:
        source = bundle.read(Path(workflow), dependencies=archive, fetch=fetch)
    loaded = assembly.load(source, strict=strict)
    for warning in loaded.warnings:
        typer.echo(f"warning: {warning}", err=True)
    return loaded


def resume_command(
    root_id: str, config: Path | None, environment: str | None, no_containers: bool
) -> str:
    """What takes a workflow up again under the same options."""
    words = ["orchestrator", "resume", root_id]
    words += ["--environment", environment] if environment else []
    words += ["--config", str(config)] if config else []
    words += ["--no-containers"] if no_containers else []
    return shlex.join(words)


def load(config: Path | None, environment: str | None) -> settings.Settings:
    """The settings that the options name; with neither, the embedded defaults."""
    if config is not None and environment is not None:
        raise errors.Invalid("--config and --environment exclude each other", hint="give one")
    if environment is not None:
        config = environments.config_file(environment)
    loaded = settings.load(config)
    for warning in loaded.warnings:
        typer.echo(f"warning: {warning}", err=True)
    return loaded
