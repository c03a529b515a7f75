"""`orchestrator config`: check a configuration, or make the one of a deployed environment."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from orchestrator import deployment, errors
from orchestrator.cli import options

app = typer.Typer(help="Configuration files.", no_args_is_help=True)


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="A Cromwell-style HOCON file.")],
    as_json: options.Json = False,
) -> None:
    """Read a configuration and say all that is wrong with it. Exit code 3 where it is."""
    from orchestrator.config import settings

    loaded = settings.load(path)
    if as_json:
        print(json.dumps({"valid": True, "warnings": [str(w) for w in loaded.warnings]}, indent=2))
        return
    for warning in loaded.warnings:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"{path} can be used", err=True)


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
