"""Custom resources: a function is called, and says by a PUT to a URL what came of it.

Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html
"""

from __future__ import annotations

import http.server
import json
import threading
import uuid
from collections.abc import Mapping
from typing import Any

from orchestrator.local_aws.cloudformation.errors import ResourceFailed
from orchestrator.local_aws.cloudformation.resources.base import (
    Made,
    Properties,
    Request,
    ResourceType,
)

_SERVICE = ("ServiceToken", "ServiceTimeout")


class CustomResource(ResourceType):
    """Any properties; only the function knows. It must answer before it returns."""

    type = "AWS::CloudFormation::CustomResource"
    replacing = frozenset({"ServiceToken"})  # AWS refuses that change

    def check(self, properties: Properties) -> None:
        if ":lambda:" not in str(properties.get("ServiceToken")):
            raise ResourceFailed("the local AWS supports only functions as ServiceToken")

    def check_change(self, old: Properties, new: Properties) -> None: ...

    def replaces(self, old: Properties, new: Properties) -> bool:
        if old["ServiceToken"] != new["ServiceToken"]:
            raise ResourceFailed("Modifying service token is not allowed.")
        return False

    def create(self, request: Request) -> Made:
        return _made(_ask(request, "Create"))

    def update(self, request: Request) -> Made:
        made = _made(_ask(request, "Update"))
        if made.physical_id != request.physical_id:
            raise ResourceFailed("the local AWS cannot replace a custom resource")
        return made

    def delete(self, request: Request) -> None:
        _ask(request, "Delete")


def _made(answer: Mapping[str, Any]) -> Made:
    return Made(answer["PhysicalResourceId"], answer.get("Data", {}))


def _ask(request: Request, kind: str) -> Mapping[str, Any]:
    """What the function says of one event. Raises ResourceFailed where it fails or says nothing."""
    event: dict[str, Any] = {
        "RequestType": kind,
        "StackId": request.stack_name,
        "RequestId": str(uuid.uuid4()),
        "ResourceType": CustomResource.type,
        "LogicalResourceId": request.logical_id,
        "ResourceProperties": _texts(_own(request.properties)),
    }
    if kind != "Create":
        event["PhysicalResourceId"] = request.physical_id
    if kind == "Update":
        event["OldResourceProperties"] = _texts(_own(request.old or {}))
    with _Mailbox(("127.0.0.1", 0), _Answer) as mailbox:
        thread = threading.Thread(target=mailbox.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        event["ResponseURL"] = f"http://127.0.0.1:{mailbox.server_port}/"
        try:
            returned = request.client("lambda").invoke(
                FunctionName=request.get("ServiceToken"), Payload=json.dumps(event).encode()
            )
        finally:
            mailbox.shutdown()
            thread.join()
    if mailbox.answer is None:
        why = returned["Payload"].read().decode(errors="replace")
        raise ResourceFailed(f"the function of the custom resource did not answer: {why}")
    if mailbox.answer.get("Status") != "SUCCESS":
        raise ResourceFailed(
            f"Received response status [FAILED] from custom resource. Message returned: "
            f"{mailbox.answer.get('Reason', 'none')}"
        )
    return mailbox.answer


def _own(properties: Properties) -> Properties:
    return {name: value for name, value in properties.items() if name not in _SERVICE}


def _texts(value: Any) -> Any:
    """As CloudFormation sends them: every number and truth value is a text."""
    if isinstance(value, Mapping):
        return {key: _texts(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_texts(item) for item in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Mailbox(http.server.HTTPServer):
    answer: dict[str, Any] | None = None


class _Answer(http.server.BaseHTTPRequestHandler):
    server: _Mailbox

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.answer = json.loads(body)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None: ...


TYPES: tuple[ResourceType, ...] = (CustomResource(),)
