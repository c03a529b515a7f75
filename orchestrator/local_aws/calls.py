"""Counts requests by service and action: `GET /_local-aws/calls`, `DELETE` starts from zero.

A SubmitJob that was answered with an error is counted too: it is a call. `GET /_local-aws/callers`
says who called what: who is told by the access key, for any key is taken here.
"""

from __future__ import annotations

import re
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs

from moto.core.request import Request
from moto.core.routing import get_service_router
from moto.moto_server.werkzeug_app import SIGNING_ALIASES
from werkzeug.exceptions import NotFound

_SERVICE = re.compile(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/aws4_request")
_CALLER = re.compile(r"Credential=([^/]+)/")
_FORM = "application/x-www-form-urlencoded"
_FORM_LIMIT = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Call:
    """What a request asks of which service. `service` is boto3's name of it, "" when unknown.

    `caller` is the access key; `place` is where in S3: the bucket and the first part of the key.
    """

    service: str
    action: str
    caller: str = ""
    place: str = ""


@dataclass
class Calls:
    """How often what was called."""

    _counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _callers: dict[str, set[tuple[str, str, str]]] = field(default_factory=lambda: defaultdict(set))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, call: Call) -> None:
        with self._lock:
            self._counts[call.service or "unknown"][call.action] += 1
            if call.caller:
                self._callers[call.caller].add((call.service, call.action, call.place))

    def clear(self) -> None:
        with self._lock:
            self._counts.clear()
            self._callers.clear()

    def callers(self) -> dict[str, list[tuple[str, str, str]]]:
        """`{"local-aws-job": [["s3", "PutObject", "bucket/workflows"]]}`."""
        with self._lock:
            return {caller: sorted(made) for caller, made in sorted(self._callers.items())}

    def as_json(self) -> dict[str, dict[str, int]]:
        """`{"batch": {"SubmitJob": 3}}`."""
        with self._lock:
            return {service: dict(counts) for service, counts in sorted(self._counts.items())}


def classify(environ: dict[str, Any]) -> Call:
    """A signed request: service and action as botocore's models name them."""
    service = service_of(environ)
    if not service:
        return Call("", f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
    match = _CALLER.search(_credential(environ))
    place = "/".join(environ["PATH_INFO"].split("/")[1:3]) if service == "s3" else ""
    return Call(service, _action(service, environ), match[1] if match else "", place)


def _action(service: str, environ: dict[str, Any]) -> str:
    target = environ.get("HTTP_X_AMZ_TARGET")
    if target:
        return str(target.rpartition(".")[2])
    if "HTTP_SMITHY_PROTOCOL" in environ:  # /service/NAME/operation/ACTION
        return str(environ["PATH_INFO"].rpartition("/")[2])
    if environ.get("CONTENT_TYPE", "").startswith(_FORM) and service != "s3":
        return _form_action(environ)
    try:
        operation, _ = get_service_router(service).match(Request(environ))
    except (NotFound, NotImplementedError, LookupError):
        return str(environ["REQUEST_METHOD"])
    return str(operation.name)


def service_of(environ: dict[str, Any]) -> str:
    """The service that a request is signed for, "" when it is not signed."""
    match = _SERVICE.search(_credential(environ))
    return "" if match is None else SIGNING_ALIASES.get(match[1].lower(), match[1].lower())


def _credential(environ: dict[str, Any]) -> str:
    """What the signature of a request is made with: in a header, or in a presigned URL."""
    header = str(environ.get("HTTP_AUTHORIZATION", ""))
    if header:
        return header
    query = parse_qs(environ.get("QUERY_STRING", ""))
    if "X-Amz-Credential" in query:
        return f"Credential={query['X-Amz-Credential'][0]}"
    if "AWSAccessKeyId" in query:  # signature version 2: S3 alone takes it still
        return f"Credential={query['AWSAccessKeyId'][0]}/0/-/s3/aws4_request"
    return ""


def _form_action(environ: dict[str, Any]) -> str:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if not 0 < length <= _FORM_LIMIT:
        return "unknown"
    body = environ["wsgi.input"].read(length)
    environ["wsgi.input"] = BytesIO(body)  # read once: hand a new stream on
    fields: dict[str, list[str]] = parse_qs(body.decode(errors="replace"))
    return fields.get("Action", ["unknown"])[0]
