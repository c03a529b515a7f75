"""Templates as text: what CloudFormation would put where the intrinsic functions stand."""

from __future__ import annotations

from email import message_from_string
from typing import Any


def render(node: Any) -> str:
    """A string property, with a placeholder for each value that only a deployment knows."""
    match node:
        case str():
            return node
        case {"Fn::Base64": inner}:
            return render(inner)
        case {"Fn::Join": [separator, parts]}:
            return str(separator).join(render(part) for part in parts)
        case {"Ref": "AWS::URLSuffix"}:
            return "amazonaws.com"
        case {"Ref": name}:
            return f"<{name}>"
        case {"Fn::ImportValue": name}:
            return f"<{name}>"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"<{name}.{attribute}>"
    raise AssertionError(f"not a string: {node!r}")


def mime_parts(user_data: str) -> list[tuple[str, str]]:
    """Content type and body of each part of a MIME multipart document."""
    message = message_from_string(user_data)
    assert message.is_multipart(), "not MIME multipart"
    parts = []
    for part in message.walk():
        if part.is_multipart():
            continue
        body = part.get_payload(decode=True)
        assert isinstance(body, bytes)
        parts.append((part.get_content_type(), body.decode()))
    return parts
