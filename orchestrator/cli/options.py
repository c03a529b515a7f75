"""Options that several commands share, and the settings they lead to."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator import errors
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


# What `-Dname=value` says, as Java's system properties do: of this process.
_properties: dict[str, str] = {}


def take_properties(assignments: list[str]) -> None:
    """Java's `-D` options. Credentials among them go where every AWS client of this process finds
    them first; `config.file` is `--config`; all others lie over the configuration file."""
    _properties.clear()
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not name or not equals:
            raise errors.Invalid(f"-D{name} has no value", hint="-Dname=value")
        _properties[name] = value
    key, token = (_properties.pop(f"aws.{name}", None) for name in ("accessKeyId", "sessionToken"))
    secrets = [_properties.pop(f"aws.{name}", None) for name in ("secretKey", "secretAccessKey")]
    secret = secrets[0] or secrets[1]
    if bool(key) != bool(secret) or (token and not key):
        raise errors.Invalid(
            "aws.accessKeyId and aws.secretKey go together", hint="give both by -D, or neither"
        )
    if key and secret:
        os.environ.update(AWS_ACCESS_KEY_ID=key, AWS_SECRET_ACCESS_KEY=secret)
        os.environ.pop("AWS_SESSION_TOKEN", None)
        if token:
            os.environ["AWS_SESSION_TOKEN"] = token


def examine(config: Path | None, environment: str | None) -> settings.Examined:
    """What the configuration that the options name comes to; with neither, the defaults."""
    properties = dict(_properties)
    file = properties.pop("config.file", None)
    if config is None and file is not None:
        config = Path(file)
    return settings.examine(config, environment=environment, properties=properties)


def load(config: Path | None, environment: str | None) -> settings.Settings:
    """The settings that the options name; warnings are said. Raises InvalidConfig."""
    loaded = examine(config, environment).usable()
    for warning in loaded.warnings:
        typer.echo(f"warning: {warning}", err=True)
    return loaded
