"""`orchestrator config`: what a configuration says, and the one of a deployed environment."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator import deployment, errors
from orchestrator.cli import options

if TYPE_CHECKING:
    from orchestrator.config.settings import Examined

_NOWHERE = "reference"

app = typer.Typer(help="Configuration files.", no_args_is_help=True)


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="A Cromwell-style HOCON file.")],
    environment: options.Environment = None,
    as_json: options.Json = False,
) -> None:
    """Say what becomes of every key of a configuration, and all that is wrong with it.

    A key is used, or has no effect here, or is unknown. Exit code 3 where the file cannot be used.
    """
    examined = options.examine(path, environment)
    if as_json:
        print(json.dumps(_as_json(examined), indent=2))
        raise typer.Exit(0 if examined.settings else errors.InvalidConfig.exit_code)
    told = set()
    for key in examined.keys:
        if key.use != "used":
            told.add(key.name)
        print(f"{key.use:9}  {key.name}  {key.place or ''}" + (f"  {key.why}" if key.why else ""))
    for warning in examined.warnings:
        if warning.message.partition(": ")[0] not in told:
            typer.echo(f"warning: {warning}", err=True)
    examined.usable()
    typer.echo(f"{path} can be used", err=True)


def _as_json(examined: Examined) -> dict[str, Any]:
    def finding(found: errors.Finding) -> dict[str, str]:
        place = {"place": str(found.place)} if found.place else {}
        return {"message": found.message, **place} | ({"hint": found.hint} if found.hint else {})

    return {
        "valid": examined.settings is not None,
        "keys": [
            {"key": key.name, "use": key.use, "why": key.why, "place": str(key.place or "")}
            for key in examined.keys
        ],
        "warnings": [finding(warning) for warning in examined.warnings],
        "defects": [finding(defect) for defect in examined.defects],
    }


@app.command()
def show(
    config: options.Config = None,
    environment: options.Environment = None,
    as_json: options.Json = False,
) -> None:
    """Print the settings that hold, each with the file and line that it comes from.

    Secrets are masked. `reference`: nothing says otherwise.
    """
    from orchestrator.config.effective import effective

    found = list(effective(options.examine(config, environment)))
    if as_json:
        rows = [
            {"key": setting.name, "value": setting.value, "origin": str(setting.origin or _NOWHERE)}
            for setting in found
        ]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for setting in found:
        value = json.dumps(setting.value, ensure_ascii=False)
        print(f"{setting.name} = {value}  # {setting.origin or _NOWHERE}")


@app.command()
def schema() -> None:
    """Print the JSON schema of configurations, for editors."""
    from orchestrator.config import settings

    print(json.dumps(settings.schema(), indent=2))


@app.command()
def render(
    environment: Annotated[str, typer.Argument(help="A deployed environment, by name.")],
    contract: Annotated[
        str | None,
        typer.Option(help="The contract's JSON file, - for stdin; without, it is read from SSM."),
    ] = None,
    endpoint_url: Annotated[
        str | None, typer.Option(help="Where AWS is, when it is not AWS itself.")
    ] = None,
) -> None:
    """Print the configuration of a deployed environment, made from its contract."""
    from config_templates.render import render as render_template

    if contract is None:
        found = _from_ssm(environment, endpoint_url)
    else:
        try:
            text = sys.stdin.read() if contract == "-" else Path(contract).read_text("utf-8")
        except OSError as error:
            raise errors.Invalid(f"{contract} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise errors.Invalid(f"{contract} is not UTF-8 text") from None
        found = deployment.parse(text, environment)
    sys.stdout.write(render_template(found, endpoint_url=endpoint_url))


def _from_ssm(environment: str, endpoint_url: str | None) -> deployment.Deployment:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return deployment.read(boto3.client("ssm", endpoint_url=endpoint_url), environment)
    except (BotoCoreError, ClientError, ValueError) as error:
        raise errors.EnvironmentProblem(
            f"the contract of environment {environment!r} cannot be read from SSM: {error}",
            hint="AWS_PROFILE and AWS_DEFAULT_REGION choose where, --contract FILE needs no AWS",
        ) from None
