"""Errors as services put them on the wire, each protocol in its own form.

Source: https://smithy.io/2.0/aws/protocols/index.html
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any
from xml.sax.saxutils import escape

from moto.core.utils import get_service_model

_CBOR = "smithy-rpc-v2-cbor"


def error(
    start_response: Any, protocol: str, status: int, code: str, message: str
) -> Iterable[bytes]:
    """Answer a request with an error; the body."""
    content_type, body = _body(protocol, code, message)
    headers = [
        ("Content-Type", content_type),
        ("Content-Length", str(len(body))),
        ("x-amzn-ErrorType", code),
    ]
    if protocol == _CBOR:
        headers.append(("smithy-protocol", "rpc-v2-cbor"))
    start_response(f"{status} Error", headers)
    return [body]


def protocol_of(environ: Mapping[str, Any], service: str) -> str:
    """The protocol that a request speaks: some services understand more than one."""
    if environ.get("HTTP_SMITHY_PROTOCOL") == "rpc-v2-cbor":
        return _CBOR
    if "HTTP_X_AMZ_TARGET" in environ or not service:
        return "json"
    protocol = _protocol(service)
    return "query" if protocol == _CBOR else protocol


@cache
def _protocol(service: str) -> str:
    try:
        protocol: str = get_service_model(service).metadata["protocol"]
        return protocol
    except Exception:  # botocore has a zoo of errors for a service that it does not know
        return "json"


def _body(protocol: str, code: str, message: str) -> tuple[str, bytes]:
    if protocol == _CBOR:
        return "application/cbor", _cbor_map({"__type": code, "message": message})
    if protocol in ("rest-xml", "ec2", "query"):
        detail = f"<Code>{_text(code)}</Code><Message>{_text(message)}</Message>"
        if protocol == "rest-xml":
            return "application/xml", f"<Error>{detail}</Error>".encode()
        if protocol == "ec2":
            whole = f"<Response><Errors><Error>{detail}</Error></Errors></Response>"
            return "text/xml", whole.encode()
        return "text/xml", f"<ErrorResponse><Error>{detail}</Error></ErrorResponse>".encode()
    return "application/json", json.dumps({"__type": code, "message": message}).encode()


def _text(value: str) -> str:
    """Without the control characters that XML has no form for."""
    return escape("".join(c if c in "\t\n\r" or c >= " " else "?" for c in value))


def _cbor_map(value: Mapping[str, str]) -> bytes:
    """RFC 8949: major type 5, a map of so many pairs; 3, text of so many bytes."""
    strings = (text.encode() for pair in value.items() for text in pair)
    return bytes([0xA0 | len(value)]) + b"".join(
        b"\x7a" + struct.pack(">I", len(text)) + text for text in strings
    )
