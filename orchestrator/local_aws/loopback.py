"""boto3 clients of this AWS inside its own process: no socket, not counted, no faults.

CloudFormation acts through them: what a resource type sends is checked by botocore against the
service's model, so a property of a wrong name or type is an error, never ignored.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from werkzeug.test import EnvironBuilder, run_wsgi_app

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Loopback:
    """Clients of the services behind a WSGI application."""

    def __init__(self, app: Wsgi) -> None:
        self._app = app
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    def client(self, service: str, region: str) -> Any:
        """A client; the same one every time (clients may be shared by threads)."""
        with self._lock:
            key = (service, region)
            if key not in self._clients:
                self._clients[key] = self._new(service, region)
            return self._clients[key]

    def _new(self, service: str, region: str) -> Any:
        session = boto3.session.Session(
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106 - any is taken
            region_name=region,
        )
        client = session.client(
            service,  # type: ignore[call-overload]
            endpoint_url="http://localhost",
            config=Config(
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
            ),
        )
        client.meta.events.register("before-send.*", self._answer)
        client.meta.events.register("provide-client-params.*", _coerce_parameters)
        return client

    def _answer(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        body: Any = request.body or b""
        content: str | bytes = body.read() if hasattr(body, "read") else body
        content = content.encode() if isinstance(content, str) else bytes(content)
        headers: Any = request.headers
        builder = EnvironBuilder(
            method=request.method,
            path=request.url.removeprefix("http://localhost"),
            base_url="http://localhost",
            headers={key: _text(value) for key, value in headers.items()},
            data=content,
        )
        environ = builder.get_environ()
        environ["CONTENT_LENGTH"] = str(len(content))  # also for an empty one: S3 asks for it
        chunks, status, answered = run_wsgi_app(self._app, environ, buffered=True)
        kept: Any = HTTPHeaders()
        for key, value in answered.items():
            kept[key] = value
        return AWSResponse(request.url, int(status.split()[0]), kept, _Raw(b"".join(chunks)))


def _coerce_parameters(params: dict[str, Any], model: Any, **_: Any) -> dict[str, Any]:
    """Templates may say "30" for 30 and "true" for true: CloudFormation converts, so do we."""
    if model.input_shape is None:
        return params
    coerced: dict[str, Any] = _coerced(model.input_shape, params)
    return coerced


def _coerced(shape: Any, value: Any) -> Any:
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        known = shape.members
        return {k: _coerced(known[k], v) if k in known else v for k, v in value.items()}
    if kind == "list" and isinstance(value, list):
        return [_coerced(shape.member, item) for item in value]
    if kind == "map" and isinstance(value, dict):
        return {key: _coerced(shape.value, item) for key, item in value.items()}
    if kind in ("integer", "long") and isinstance(value, str) and value.lstrip("-").isdigit():
        return int(value)
    if kind in ("float", "double") and isinstance(value, str):
        with contextlib.suppress(ValueError):
            return float(value)
    if kind == "boolean" and isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if kind == "string" and isinstance(value, int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return value


class _Raw(BytesIO):
    """A body as urllib3 hands it out."""

    def stream(self, **_: Any) -> Iterable[bytes]:
        chunk = self.read()
        while chunk:
            yield chunk
            chunk = self.read()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
