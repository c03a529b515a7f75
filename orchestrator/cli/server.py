"""`orchestrator server`: runs workflows until it is told to stop, and answers over HTTP."""

from __future__ import annotations

import gc
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator import errors
from orchestrator.cli import options

if TYPE_CHECKING:
    import uvicorn

    from orchestrator.engine.coordinator import Engine
    from orchestrator.store.base import Store

_CHECK_SECONDS = 1.0
_ABORT_SECONDS = 60.0


def server(
    config: options.Config = None,
    environment: options.Environment = None,
    host: Annotated[
        str | None,
        typer.Option("--host", help="Listen here; webservice.interface otherwise."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", help="Listen here; webservice.port otherwise. 0: any free one."),
    ] = None,
) -> None:
    """Run submitted workflows, and those of servers that died, until SIGTERM or SIGINT.

    Jobs run on when it stops; the next server goes on with them. GET /health tells how it is.
    """
    import uvicorn

    from orchestrator import assembly
    from orchestrator.api import app

    settings = options.load(config, environment)
    listening = _listen(
        settings.webservice.interface if host is None else host,
        settings.webservice.port if port is None else port,
    )
    made = assembly.assemble(settings, verified=True)
    engine = made.engine(settings.system.max_concurrent_workflows)
    web = uvicorn.Server(
        uvicorn.Config(
            app.make(engine.health, engine.poke),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=5,
        )
    )
    gc.freeze()  # what is loaded by now lives as long as the process
    gc.set_threshold(50_000, 20, 50)
    # uvicorn takes these two, stops, and raises them once more: there is work to do here then.
    # What comes before it takes them counts as well.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: setattr(web, "should_exit", True))
    engine.start()
    died = threading.Event()
    watch = threading.Thread(target=_watch, args=(engine, web, died), daemon=True)
    watch.start()
    try:
        address = "{}:{}".format(*listening.getsockname()[:2])
        typer.echo(f"orchestrator server: http://{address}/health", err=True)
        web.run(sockets=[listening])
        if settings.system.abort_jobs_on_terminate and not died.is_set():
            _abort_all(engine, made.store)
    finally:
        engine.stop()
        made.close()
    if died.is_set():
        raise errors.OrchestratorError(
            "the engine has ended by itself",
            hint="the lines above say why; nothing is lost: start the server again",
        )


def _listen(host: str, port: int) -> socket.socket:
    """Before anything is claimed: whoever cannot be asked how they are shall not begin."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()
    except OSError as error:
        raise errors.EnvironmentProblem(
            f"{host}:{port} cannot be listened on: {error.strerror}",
            hint="--host and --port, or webservice.interface and webservice.port, choose another",
        ) from None
    return listening


def _abort_all(engine: Engine, store: Store) -> None:
    """`system.abort-jobs-on-terminate`: nothing may run on that costs money."""
    workflows = engine.workflows
    for root_id in workflows:
        store.put_command(root_id, "abort")
    engine.poke()
    deadline = time.monotonic() + _ABORT_SECONDS
    left = [w for w in workflows if engine.wait(w, max(0.0, deadline - time.monotonic())) is None]
    if left:
        typer.echo(
            f"warning: {len(left)} workflows are not aborted yet; the next server does it", err=True
        )


def _watch(engine: Engine, web: uvicorn.Server, died: threading.Event) -> None:
    """A server whose engine is gone must not look alive."""
    while engine.is_alive:
        if died.wait(_CHECK_SECONDS):
            return
    died.set()
    web.should_exit = True
