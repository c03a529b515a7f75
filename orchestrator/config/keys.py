"""What every block of the configuration is made of."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from orchestrator import errors
from orchestrator.model import runtime


def _kebab(name: str) -> str:
    return name.replace("_", "-")


class Keys(BaseModel):
    """One block. Keys are the fields' names with dashes, unless an alias says otherwise."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=_kebab,
        populate_by_name=True,
        coerce_numbers_to_str=True,
        hide_input_in_errors=True,
    )


def _mib(value: Any) -> Any:
    if value is None:
        return None
    try:
        return runtime.parse_mib(value, "memory")
    except errors.InvalidRuntimeAttribute as error:
        raise ValueError(error.message) from None


_UNITS = {
    "ns": 1e-9, "nano": 1e-9, "nanos": 1e-9, "nanosecond": 1e-9, "nanoseconds": 1e-9,
    "us": 1e-6, "micro": 1e-6, "micros": 1e-6, "microsecond": 1e-6, "microseconds": 1e-6,
    "": 1e-3, "ms": 1e-3, "milli": 1e-3, "millis": 1e-3, "millisecond": 1e-3, "milliseconds": 1e-3,
    "s": 1.0, "second": 1.0, "seconds": 1.0,
    "m": 60.0, "minute": 60.0, "minutes": 60.0,
    "h": 3600.0, "hour": 3600.0, "hours": 3600.0,
    "d": 86400.0, "day": 86400.0, "days": 86400.0,
}  # fmt: skip


def _seconds(value: Any) -> Any:
    """HOCON's durations (its specification, Duration format): a bare number is milliseconds."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)\s*", str(value))
    if isinstance(value, bool) or match is None or match[2] not in _UNITS:
        raise ValueError("expected a duration, such as 24 hours")
    seconds = float(match[1]) * _UNITS[match[2]]
    if seconds <= 0:
        raise ValueError("expected a duration above 0")
    return seconds


def _shell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    path = re.sub(r"^/usr/bin/env +(?=(ba|da)?sh$)", "/bin/", value.strip())
    if not re.fullmatch(r"/[^\s'\"]+", path):
        raise ValueError("expected the path of a shell, such as /bin/bash, and no options")
    return path


Mib = Annotated[int, BeforeValidator(_mib)]
Seconds = Annotated[float, BeforeValidator(_seconds)]
Shell = Annotated[str, BeforeValidator(_shell)]
Count = Annotated[int, Field(ge=1)]
