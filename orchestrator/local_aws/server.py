"""The process that is AWS on this machine: `python -m orchestrator.local_aws.server --state DIR`.

Started by `process.start`. It listens on 127.0.0.1 only, ends on SIGTERM, and takes its jobs and
databases with it.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_log = logging.getLogger("orchestrator.local_aws")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code."""
    arguments = _parser().parse_args(argv)
    state_dir: Path = arguments.state.absolute()
    _configure(state_dir)

    from orchestrator.local_aws import process

    if process.hold_server_lock(state_dir) is None:
        print(f"another local AWS already runs on {state_dir}", file=sys.stderr)  # noqa: T201
        return 1
    with contextlib.ExitStack() as stack:
        ended_well = _serve(stack, state_dir, arguments)
    _log.info("ended")
    return 0 if ended_well else 1


def _serve(stack: contextlib.ExitStack, state_dir: Path, arguments: argparse.Namespace) -> bool:
    """Serve until told to end (True) or until a service cannot be loaded (False)."""
    from orchestrator.local_aws import gateway, process

    settings = gateway.Settings(
        state_dir=state_dir, jobs=arguments.jobs, listjobs_lag_seconds=arguments.listjobs_lag
    )
    aws = gateway.Gateway(settings)
    stack.callback(aws.close)
    server = _listen(aws, state_dir, arguments.port)
    stack.callback(server.server_close)
    aws.endpoint = f"http://localhost:{server.server_port}"

    def end(number: int, _frame: Any) -> None:
        _log.info("ending: %s", signal.Signals(number).name)
        # shutdown() waits for the loop that this handler interrupts: so from a thread.
        threading.Thread(target=server.shutdown, name="shutdown", daemon=True).start()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    process.write_record(state_dir, server.server_port, arguments.jobs)
    aws.on_runner = lambda runner: process.write_record(state_dir, server.server_port, runner)
    stack.callback(process.remove_record, state_dir)
    _log.info("listening on 127.0.0.1:%d", server.server_port)
    failed = threading.Event()

    def fail() -> None:
        # A moto that is not as the patches expect, no Docker though jobs shall run in it: better no
        # AWS than one that is wrong.
        failed.set()
        server.shutdown()

    aws.warm_up(fail)
    server.serve_forever(poll_interval=0.1)
    return not failed.is_set()


def _listen(aws: Any, state_dir: Path, port: int | None) -> Any:
    """A threaded HTTP server on the asked port, else on the last one if free, else on any."""
    from werkzeug.serving import make_server

    from orchestrator.local_aws import keep_alive, process

    wanted = [port] if port is not None else [process.last_port(state_dir), 0]
    for number in wanted:
        try:
            # werkzeug prints and exits when a port is taken: ask first.
            _check_free(number)
            return make_server(
                "127.0.0.1", number, aws, threaded=True, request_handler=keep_alive.Handler
            )
        except OSError as error:
            if error.errno != errno.EADDRINUSE or number == wanted[-1]:
                raise
    raise AssertionError("unreachable: the last port of the list returns or raises")


def _check_free(port: int) -> None:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


def _configure(state_dir: Path) -> None:
    """All files below the state directory, readable by the owner only; warnings to the log."""
    os.umask(0o077)
    scratch = state_dir / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = str(scratch)  # S3 spools big objects there
    os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"  # roles attach AWS's own policies
    os.environ["MOTO_DISABLE_GLOBAL_CORS"] = "true"  # no web page may talk to this server
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # not one line a request
    logging.getLogger("botocore").setLevel(logging.WARNING)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m orchestrator.local_aws.server", description=__doc__
    )
    parser.add_argument("--state", type=Path, required=True, help="state directory")
    parser.add_argument("--port", type=int, default=None, help="default: the last one, or any free")
    parser.add_argument(
        "--jobs",
        choices=("auto", "docker", "process", "instant"),
        default="auto",
        help="how AWS Batch jobs run: in containers, as plain processes, as this machine can, or "
        "not at all (instant: they are over at once, for measurements)",
    )
    parser.add_argument(
        "--listjobs-lag",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="how long ListJobs answers with the past (AWS: eventually consistent)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
