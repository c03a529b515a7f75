"""`orchestrator bootstrap`: one command from nothing to a proven environment, and back."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import boto3
import typer
from botocore.exceptions import BotoCoreError, ClientError

from config_templates.render import render
from orchestrator import deployment, environments, errors
from orchestrator.local_aws import process
from orchestrator.local_aws.process import JobRunner
from stacks import settings as stack_settings
from stacks.assets import fetch
from stacks.lifecycle import children, images, local, lock, removal
from stacks.lifecycle.cdk import Cdk
from stacks.settings import ROOT

_STEP_WIDTH = 10


def app(
    is_local: Annotated[
        bool, typer.Option("--local", help="Everything on this machine; no AWS account.")
    ] = False,
    environment: Annotated[
        str | None,
        typer.Option(
            "--environment",
            "-e",
            help="environments/<NAME>.toml.",
            show_default=stack_settings.DEFAULT_ENVIRONMENT,
        ),
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", help="A profile of the AWS command line.")
    ] = None,
    destroy: Annotated[
        bool, typer.Option("--destroy", help="Remove the environment instead.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    prove: Annotated[
        bool, typer.Option(help="Run an example workflow on it when it is up.")
    ] = True,
    jobs: Annotated[
        str | None,
        typer.Option(
            help="With --local, how jobs run: auto, docker or process.", show_default="auto"
        ),
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option(
            help="With --local, where state, configuration and outputs go.",
            show_default="the project",
        ),
    ] = None,
) -> None:
    """Deploy an environment with CDK, configure the orchestrator for it and prove that it works."""
    if is_local:
        _refuse("means nothing with --local", {"--environment": environment, "--profile": profile})
        folder = local.home(home or ROOT)
    else:
        _refuse("means something only with --local", {"--jobs": jobs, "--home": home})
        folder = ROOT
    name = local.ENVIRONMENT if is_local else environment or stack_settings.DEFAULT_ENVIRONMENT
    path = environments.path_in(folder, name)
    try:
        with children.terminable(), lock.exclusive(folder, name) as held:
            if is_local and destroy:
                _destroy_local(folder, path)
            elif is_local:
                _bootstrap_local(folder, jobs or "auto", prove, held)
            else:
                _bootstrap_aws(name, profile, path, held, destroy=destroy, yes=yes, prove=prove)
    except KeyboardInterrupt:
        say("", "interrupted; the same command goes on from here")
        raise typer.Exit(130) from None


def _refuse(why: str, options: Mapping[str, object]) -> None:
    """An option without effect is a mistake of somebody who expects one."""
    for option, value in options.items():
        if value is not None:
            raise errors.Invalid(f"{option} {why}", hint="./bootstrap --help")


def _bootstrap_local(home: Path, jobs: str, prove: bool, held: int) -> None:
    began = time.monotonic()
    if jobs not in ("auto", "docker", "process"):
        raise errors.Invalid(f"--jobs is {jobs!r}", hint="auto, docker or process")
    runner: JobRunner = jobs  # type: ignore[assignment]
    if jobs == "docker" and not local.has_docker():
        raise errors.BackendUnavailable(
            "--jobs docker, but no Docker engine answers", hint="start one, or leave --jobs out"
        )
    context = local.context(home)
    chosen = stack_settings.from_context(context)
    say("assets", "static tools for jobs, pinned by hash")
    fetch.fetch_for(chosen, lambda text: say("", text))
    state = local.state(home)
    aws = process.start(state, jobs=runner)
    if jobs not in ("auto", aws.jobs) and aws.jobs != "auto":
        raise errors.NotAllowed(
            f"the AWS that runs here runs jobs as {aws.jobs!r}; --jobs {jobs} cannot change that",
            hint=f"{_command(home)} --destroy, then this again; that AWS is lost with all it holds",
        )
    say("aws", f"on this machine at {aws.endpoint}")
    # Its own validation takes longer than the deployment; the tests of the stacks run it.
    variables = aws.environment() | {"CDK_VALIDATION": "false", "HOME": str(local.own_home(home))}
    cdk = Cdk(state, context, variables, lambda text: say("", text), held)
    session = boto3.Session(
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        region_name=chosen.region,
    )
    ssm = session.client("ssm", endpoint_url=aws.endpoint)
    say("deploy", "stacks, with cdk deploy")
    try:
        if not _is_cdk_ready(ssm):
            cdk.bootstrap(chosen.account, chosen.region)
        images.pin(ssm, chosen)
        cdk.deploy()
    except (errors.EnvironmentProblem, BotoCoreError):
        if process.status(state) is not None:
            raise
        raise errors.EnvironmentProblem(
            "the local AWS ended while the stacks were deployed into it; the end of its log:\n"
            + aws.log_file.read_text(errors="replace")[-2000:].rstrip(),
            hint=f"this again starts it anew; the whole log: {aws.log_file}",
        ) from None
    aws = process.status(state) or aws  # it knows by now how jobs run
    say("jobs", f"run in {_jobs_words(aws.jobs)}")
    local.prepare_host(home)
    contract = deployment.read(ssm, local.ENVIRONMENT)
    config = _configure(home, contract, endpoint_url=aws.endpoint)
    if not prove:
        _say_ready(home, config, began)
        return
    say("prove", "examples/read-qc on AWS Batch, as `orchestrator run` does it")
    image = [f"image={local.prepare_image(home)}"] if aws.jobs == "docker" else []
    code = children.run_to_its_end(
        [
            str(Path(sys.executable).parent / "orchestrator"),
            "run",
            str(ROOT / "examples/read-qc/read-qc.wdl"),
            *image,
            *("--inputs", str(ROOT / "examples/read-qc/inputs.json")),
            *("--environment", local.ENVIRONMENT),
            *("--copy-outputs", str(home / "outputs")),
        ],
        cwd=home,
        environment=os.environ,
    )
    if code == errors.EnvironmentProblem.exit_code:
        say("", f"if it stays so: {_command(home)} --destroy, then this again makes it anew")
    if code != 0:
        raise typer.Exit(code)
    _say_ready(home, config, began)


def _destroy_local(home: Path, path: Path) -> None:
    stopped = local.destroy(home)
    path.unlink(missing_ok=True)
    say("destroy", "the local AWS is stopped and removed" if stopped else "nothing was there")


def _bootstrap_aws(
    environment: str,
    profile: str | None,
    path: Path,
    held: int,
    *,
    destroy: bool,
    yes: bool,
    prove: bool,
) -> None:
    report = stack_settings.check({"environment": environment})
    chosen = report.valid()
    for finding in (*report.warnings, *report.notes):
        say("settings", str(finding))
    session = _session(profile, chosen.region, chosen.account)
    variables = {"AWS_REGION": chosen.region, "AWS_DEFAULT_REGION": chosen.region}
    if profile:
        variables["AWS_PROFILE"] = profile
    state = ROOT / ".orchestrator" / f"deploy-{environment}"
    cdk = Cdk(state, {"environment": environment}, variables, lambda text: say("", text), held)
    if destroy:
        keeps = chosen.retention == "keep"
        what = "but those with data" if keeps else "with all data in its bucket and database"
        _confirm(yes, f"Delete the stacks of {environment!r} in account {chosen.account}, {what}?")
        say("destroy", f"stacks of {environment}; retention is {chosen.retention!r}")
        make: Callable[[str], Any] = session.client  # type: ignore[assignment]
        removal.destroy(cdk, chosen, make, lambda text: say("", text))
        if not keeps:
            images.unpin(session.client("ssm"), chosen)
        path.unlink(missing_ok=True)
        return
    say("assets", "static tools for hosts and jobs, pinned by hash")
    fetch.fetch_for(chosen, lambda text: say("", text))
    ssm = session.client("ssm")
    say("plan", f"account {chosen.account}, region {chosen.region}")
    ready = _is_cdk_ready(ssm)
    if not yes:
        typer.echo(cdk.diff() if ready else "  everything is new here", err=True)
    _confirm(yes, f"Deploy {environment!r}? It costs money from then on.")
    if not ready:
        cdk.bootstrap(chosen.account, chosen.region)
    for name, image in images.pin(ssm, chosen).items():
        say("images", f"hosts start from {image}, now and later: {name}")
    say("deploy", "stacks, with cdk deploy")
    cdk.deploy()
    config = _configure(ROOT, deployment.read(ssm, environment))
    if prove:
        say("prove", "examples/hello on AWS Batch; a first host takes some minutes to boot")
        code = children.run_to_its_end(
            [
                str(Path(sys.executable).parent / "orchestrator"),
                *("run", "examples/hello/hello.wdl", "name=AWS"),
                *("--config", str(_without_database(config, state))),
            ],
            cwd=ROOT,
            environment={**os.environ, **variables},
        )
        if code != 0:
            raise typer.Exit(code)
    say("ready", f"configuration: {config.relative_to(ROOT)}")


def _configure(
    home: Path, contract: deployment.Deployment, endpoint_url: str | None = None
) -> Path:
    path = environments.path_in(home, contract.environment)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        render(contract, endpoint_url=endpoint_url, static_credentials=endpoint_url is not None),
        encoding="utf-8",
    )
    say("configure", str(path.relative_to(home)))
    return path


def _without_database(config: Path, state: Path) -> Path:
    """A configuration for this machine, which has no way to the environment's database."""
    path = state / "prove.conf"
    url = f"jdbc:sqlite:{state / 'prove.db'}"
    path.write_text(
        f"include required(file({json.dumps(str(config))}))\n"
        f"database.db.url = {json.dumps(url)}\norchestrator.database = null\n",
        encoding="utf-8",
    )
    return path


def _is_cdk_ready(ssm: object) -> bool:
    """Whether `cdk bootstrap` has been here."""
    try:
        ssm.get_parameter(Name="/cdk-bootstrap/hnb659fds/version")  # type: ignore[attr-defined]
    except ssm.exceptions.ParameterNotFound:  # type: ignore[attr-defined]
        return False
    return True


def _session(profile: str | None, region: str, account: str) -> boto3.Session:
    """Credentials that work, of the account that the environment is pinned to."""
    try:
        session = boto3.Session(profile_name=profile, region_name=region)
        actual = session.client("sts").get_caller_identity()["Account"]
    except (BotoCoreError, ClientError) as error:
        raise errors.EnvironmentProblem(
            f"no usable AWS credentials: {error}",
            hint="--profile PROFILE, or aws sso login; --local needs no AWS account",
        ) from None
    if actual != account:
        raise errors.NotAllowed(
            f"these credentials are of account {actual}, the environment is pinned to {account}",
            hint="choose another --profile, or change the environment's file",
        )
    return session


def _confirm(yes: bool, question: str) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise errors.Invalid("not confirmed, and there is no terminal to ask", hint="--yes")
    if not typer.confirm(question, err=True):
        raise typer.Exit(130)


def _jobs_words(jobs: str) -> str:
    return {
        "docker": "Docker containers",
        "process": "plain processes, each in a directory of its own, without containers",
        "instant": "nothing: they are over at once, for measurements",
    }[jobs]


def _say_ready(home: Path, config: Path, began: float) -> None:
    say(
        "ready", f"after {time.monotonic() - began:.0f} s; configuration {config.relative_to(home)}"
    )
    program = ".venv/bin/orchestrator" if home == ROOT else ROOT / ".venv/bin/orchestrator"
    where = "" if home == ROOT else f", in {home}"
    say("", f"run another workflow on it{where}:")
    say("", f"  {program} run my.wdl -i inputs.json --environment local")
    say("", f"what ran, and where its files are:  {program} status -e local [ID]")
    say("", f"stop it and remove it:  {_command(home)} --destroy")


def _command(home: Path) -> str:
    """What one types to bootstrap that home again."""
    option = "" if home == ROOT else f" --home {shlex.quote(str(home))}"
    return f"./bootstrap --local{option}"


def say(step: str, text: str) -> None:
    """One line of talk, to stderr."""
    typer.echo(f"{step:<{_STEP_WIDTH}} {text}", err=True)
