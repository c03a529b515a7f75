"""Requests that are refused, in AWS Batch's form; and requests checked against AWS's own model."""

from __future__ import annotations

import functools
import json
import uuid
from typing import Any, NoReturn

import botocore.session
from botocore.model import Shape
from botocore.validate import ParamValidator
from moto.batch.exceptions import ClientException


def refuse(why: str) -> NoReturn:
    """Raise the ClientException (HTTP 400) that Batch gives to a request it will not do."""
    raise ClientException(
        f"Error executing request, Exception : {why.rstrip('.')}., RequestId: {uuid.uuid4()}"
    )


def refuse_unsupported(what: str) -> NoReturn:
    """AWS would take this; this AWS does not, and says so rather than doing something else."""
    refuse(f"{what} is not supported by the local AWS Batch")


def parse(operation: str, body: str | bytes) -> dict[str, Any]:
    """The request as JSON, checked for names, types and required members by botocore's model."""
    try:
        request = json.loads(body or "{}")
    except ValueError:
        refuse("the request is not JSON")
    if not isinstance(request, dict):
        refuse("the request is not a JSON object")
    report = ParamValidator().validate(request, _input_of(operation))
    if report.has_errors():
        refuse(report.generate_report().replace("\n", "; "))
    return request


@functools.cache
def _input_of(operation: str) -> Shape:
    model = botocore.session.get_session().get_service_model("batch")
    shape = model.operation_model(operation).input_shape
    if shape is None:
        raise ValueError(f"{operation} takes no input")
    return shape
