"""The routes of `orchestrator server`.

GET /health              200 while the engine works, else 503; for load balancers and start-up
POST /wake               look for work now, as `orchestrator submit` asks; it changes nothing else
GET /engine/v1/status    the same in Cromwell's shape
GET /engine/v1/version   Cromwell's shape
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orchestrator.engine.coordinator import Health


def make(health: Callable[[], Health], wake: Callable[[], None]) -> Starlette:
    """The application over one engine; `health` and `wake` must not block."""
    version = importlib.metadata.version("wdl-batch-orchestrator")

    async def show_health(_: Request) -> JSONResponse:
        now = health()
        body = {
            "status": "ok" if now.problem is None else "unhealthy",
            "version": version,
            "workflows": now.workflows,
        }
        if now.problem is not None:
            body["problem"] = now.problem
        return JSONResponse(body, status_code=200 if now.problem is None else 503)

    async def wake_up(_: Request) -> Response:
        wake()
        return Response(status_code=204)

    async def show_status(_: Request) -> JSONResponse:
        now = health()
        engine = {"ok": now.problem is None, "messages": [now.problem] if now.problem else []}
        return JSONResponse({"engine": engine}, status_code=200 if engine["ok"] else 503)

    async def show_version(_: Request) -> JSONResponse:
        return JSONResponse({"cromwell": version})

    return Starlette(
        routes=[
            Route("/health", show_health),
            Route("/wake", wake_up, methods=["POST"]),
            Route("/engine/v1/status", show_status),
            Route("/engine/v1/version", show_version),
        ]
    )
