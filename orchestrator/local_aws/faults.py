"""Faults on demand: throttles, errors, delays and answers that get lost after the effect.

    POST   /_local-aws/faults   {"match": "batch SubmitJob", ...}   one rule, or a list of rules
    GET    /_local-aws/faults   the rules that are left
    DELETE /_local-aws/faults   none any more

The tests of every room that talks to AWS use them: what a client does when AWS misbehaves.
"""

from __future__ import annotations

import json
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

from orchestrator.local_aws import answers

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Fault(BaseModel):
    """One rule. The first rule that matches a request acts.

    `match` is a regular expression, searched in "service Action" (`batch SubmitJob`).
    `error` names what is answered; `status` is its HTTP status. `lost` loses the answer: "before"
    the effect or "after" it: the client sees a closed connection. `delay_seconds` comes first and
    may stand alone. `times` counts down; `skip` lets so many matching requests pass first.
    """

    model_config = ConfigDict(extra="forbid")

    match: str
    error: str | None = None
    message: str = "injected fault"
    status: int = Field(default=400, ge=400, le=599)
    lost: Literal["before", "after"] | None = None
    delay_seconds: float = Field(default=0, ge=0, le=600)
    times: int = Field(default=1, ge=1)
    skip: int = Field(default=0, ge=0)
    probability: float = Field(default=1, gt=0, le=1)

    @field_validator("match")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return value


_RULES = TypeAdapter(list[Fault])


@dataclass
class Faults:
    """The rules in force."""

    _rules: list[Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _random: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311

    def add(self, body: bytes) -> None:
        """Rules from JSON. Raises pydantic.ValidationError or ValueError."""
        value = json.loads(body)
        rules = _RULES.validate_python(value if isinstance(value, list) else [value])
        with self._lock:
            self._rules += rules

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def as_json(self) -> list[dict[str, Any]]:
        with self._lock:
            return [rule.model_dump() for rule in self._rules]

    def take(self, service: str, action: str) -> Fault | None:
        """The rule that acts on this request, counted down."""
        with self._lock:
            for index, rule in enumerate(self._rules):
                if not re.search(rule.match, f"{service} {action}"):
                    continue
                if rule.skip > 0:
                    self._rules[index] = rule.model_copy(update={"skip": rule.skip - 1})
                    continue
                if self._random.random() >= rule.probability:
                    continue
                if rule.times == 1:
                    del self._rules[index]
                else:
                    self._rules[index] = rule.model_copy(update={"times": rule.times - 1})
                return rule
        return None


def act(
    fault: Fault, protocol: str, app: Wsgi, environ: dict[str, Any], start_response: Any
) -> Iterable[bytes]:
    """Answer one request as the fault says."""
    time.sleep(fault.delay_seconds)
    if fault.lost == "before":
        _cut(environ)
    if fault.lost == "after":
        for _ in app(environ, lambda *_: None):
            pass
        _cut(environ)
    if fault.error is None:
        return app(environ, start_response)
    return answers.error(start_response, protocol, fault.status, fault.error, fault.message)


def _cut(environ: dict[str, Any]) -> None:
    """Close the connection with no answer. shutdown: after close() the client would wait on."""
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionError("connection cut by a fault rule")
