"""The command line: one file a command. stdout is data, stderr is talk, exit codes mean something.

    0 ok   1 the workflow failed   2 usage   3 invalid WDL, inputs or configuration
    4 environment   5 not found   6 not allowed   75 try later   130 interrupted

Commands of other packages join through the entry point group `orchestrator.commands`
(`bootstrap`, where the `stacks` extra is installed).
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from importlib import metadata
from typing import Annotated, NoReturn

import structlog
import typer

from orchestrator import errors
from orchestrator.cli import (
    abort,
    config,
    inputs,
    jobs,
    local_aws,
    logs,
    options,
    release,
    resume,
    run,
    server,
    status,
    submit,
)

app = typer.Typer(
    name="orchestrator",
    help="Runs WDL workflows on AWS Batch, or on this machine.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("run")(run.run)
app.command("submit")(submit.submit)
app.command("resume")(resume.resume)
app.command("status")(status.status)
app.command("abort")(abort.abort)
app.command("release")(release.release)
app.command("logs")(logs.logs)
app.command("inputs")(inputs.inputs)
app.command("server")(server.server)
app.add_typer(config.app, name="config")
app.add_typer(jobs.app, name="jobs")
app.add_typer(local_aws.app, name="local-aws")


@app.callback()
def _properties(
    properties: Annotated[
        list[str] | None,
        typer.Option(
            "-D",
            metavar="NAME=VALUE",
            help="As Java's: a key over those of the configuration; config.file; aws.accessKeyId "
            "and aws.secretKey, which every user of this machine can see in the list of processes.",
        ),
    ] = None,
) -> None:
    """Runs WDL workflows on AWS Batch, or on this machine."""
    options.take_properties(properties or [])


def main() -> None:
    """Entry point of the console script."""
    _quiet_libraries()
    _mount_commands_of_others()
    try:
        app()
    except errors.OrchestratorError as error:
        _fail(error)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of our stdout has gone, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:  # a full disk, a file that may not be read: of the machine, not ours
        if logging.getLogger().isEnabledFor(logging.INFO):
            traceback.print_exc()
        _fail(errors.EnvironmentProblem(str(error), hint="ORCHESTRATOR_LOG=info says where"))
    except Exception as error:
        traceback.print_exc()
        _fail(
            errors.OrchestratorError(
                f"a defect of the orchestrator: {type(error).__name__}: {error}",
                hint="please report it, with the lines above",
            )
        )


def _fail(error: errors.OrchestratorError) -> NoReturn:
    if "--json" in sys.argv:
        print(json.dumps({"error": error.as_json()}))
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)


def _mount_commands_of_others() -> None:
    """Only those that this call is about: importing CDK takes longer than most commands."""
    about = sys.argv[1:2]
    for entry in metadata.entry_points(group="orchestrator.commands"):
        if about and about[0] != entry.name and about[0] not in ("--help", "--show-completion"):
            continue
        try:
            app.command(entry.name)(entry.load())
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] in ("orchestrator", "stacks"):
                raise  # ours: a defect; otherwise its extra is not installed


def _quiet_libraries() -> None:
    """Warnings and errors to stderr; more with ORCHESTRATOR_LOG=info or debug."""
    level = getattr(logging, os.environ.get("ORCHESTRATOR_LOG", "warning").upper(), logging.WARNING)
    logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=False)
            if sys.stderr.isatty()
            else structlog.processors.JSONRenderer(),
        ],
    )
