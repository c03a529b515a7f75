"""Runtime attributes: from the values a task evaluates to, to a shape and the engine's own rules.

Attributes and precedence are Cromwell's (reference: supportedBackends/aws AwsBatchRuntimeAttributes
and backend/validation): the task's runtime section, then the workflow option
`default_runtime_attributes`, then the backend's `default-runtime-attributes`, then built in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator import errors
from orchestrator.model.job import Shape

# Cromwell reads every unit as a power of 1024 (wom/format/MemorySize.scala).
_UNITS = {"": 0, "B": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_SIZE = re.compile(r"^\s*([0-9]*\.?[0-9]+)\s*(?:([KMGT]?)(?:i?B)?)\s*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RuntimeAttributes:
    """What the attributes ask for. `accept_return_codes` None = every code."""

    shape: Shape
    max_retries: int = 0
    accept_return_codes: frozenset[int] | None = frozenset({0})
    fail_on_stderr: bool = False

    def accepts(self, return_code: int) -> bool:
        """Whether a command that ended with this code succeeded."""
        return self.accept_return_codes is None or return_code in self.accept_return_codes


def parse_mib(value: Any, attribute: str = "memory") -> int:
    """Bytes (a number) or `"2 GB"` to MiB, rounded down, at least 4 (Docker's own minimum)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _wrong(attribute, value, 'a size such as "2 GB", or a number of bytes')
    if isinstance(value, str):
        match = _SIZE.match(value)
        if not match:
            raise _wrong(attribute, value, 'a size such as "2 GB", or a number of bytes')
        size = float(match[1]) * 1024 ** _UNITS[match[2].upper()]
    else:
        size = float(value)
    if size <= 0:
        raise _wrong(attribute, value, "more than 0")
    return max(4, int(size // 1024**2))


def parse(task: Mapping[str, Any], *defaults: Mapping[str, Any]) -> RuntimeAttributes:
    """Attributes of a task over `defaults`, the nearest first.

    Raises InvalidRuntimeAttribute listing every wrong value. Unknown attributes are left alone, as
    Cromwell leaves them.
    """
    merged: dict[str, Any] = {}
    for layer in reversed(defaults):
        merged.update(layer)
    merged.update(task)
    findings: list[errors.Finding] = []

    def take(read: Any, name: str, default: Any) -> Any:
        if merged.get(name) is None:
            return default
        try:
            return read(merged[name], name)
        except errors.InvalidRuntimeAttribute as error:
            findings.append(errors.Finding(error.message, hint=error.hint))
            return default

    image_name = "container" if merged.get("container") is not None else "docker"
    returns = "returnCodes" if merged.get("returnCodes") is not None else "continueOnReturnCode"
    attributes = RuntimeAttributes(
        shape=Shape(
            image=take(_image, image_name, ""),
            cpu=take(_positive, "cpu", 1.0),
            memory_mib=take(parse_mib, "memory", 2048),
            gpu_count=take(_count, "gpuCount", 0),
            disk_gib=take(_disk_gib, "disks", 0),
            queue=take(_text, "queueArn", ""),
            timeout_seconds=take(_timeout, "jobTimeout", 0),
            shared_memory_mib=take(parse_mib, "sharedMemorySize", 0),
        ),
        max_retries=take(_count, "maxRetries", 0),
        accept_return_codes=take(_return_codes, returns, frozenset({0})),
        fail_on_stderr=take(_flag, "failOnStderr", False),
    )
    if findings:
        raise errors.InvalidRuntimeAttribute(
            "the runtime section cannot be used", findings=findings
        )
    return attributes


def _wrong(attribute: str, value: Any, expected: str) -> errors.InvalidRuntimeAttribute:
    return errors.InvalidRuntimeAttribute(f"{attribute} is {value!r}; expected {expected}")


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise _wrong(name, value, "a string")
    return value


def _image(value: Any, name: str) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str) and value:
        value = value[0]  # several are alternatives; Cromwell takes the first
    image = _text(value, name).removeprefix("docker://")
    # An image name can never look like an option or hold blanks: it ends up in `docker run`.
    if image.startswith("-") or any(character.isspace() for character in image):
        raise _wrong(name, value, "an image name")
    return image


def _positive(value: Any, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise _wrong(name, value, "a number greater than 0") from None
    if isinstance(value, bool) or not 0 < number < 1e6:
        raise _wrong(name, value, "a number greater than 0")
    return number


def _count(value: Any, name: str) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise _wrong(name, value, "a whole number, 0 or more") from None
    if isinstance(value, bool) or number < 0 or number != float(value):
        raise _wrong(name, value, "a whole number, 0 or more")
    return number


def _timeout(value: Any, name: str) -> int:
    seconds = _count(value, name)
    if 0 < seconds < 60:
        raise _wrong(name, value, "0 (none), or at least 60 seconds, the least AWS Batch knows")
    return seconds


def _flag(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise _wrong(name, value, "true or false")


def _return_codes(value: Any, name: str) -> frozenset[int] | None:
    if value is True or value == "*" or value == "true":
        return None
    if value is False or value == "false":
        return frozenset({0})
    codes = value if isinstance(value, list | tuple) else [value]
    try:
        return frozenset(int(code) for code in codes)
    except (TypeError, ValueError):
        raise _wrong(name, value, 'true, false, "*", a number or an array of numbers') from None


def _disk_gib(value: Any, name: str) -> int:
    """Sum of sizes in `"local-disk 20 SSD"`, `["/mnt/x 10 HDD", ...]`, `"20 GiB"` or a number."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return int(value)
    mounts = value.split(",") if isinstance(value, str) else value
    if not isinstance(mounts, list | tuple) or not all(isinstance(m, str) for m in mounts):
        raise _wrong(name, value, 'disks such as "local-disk 20 SSD"')
    return sum(
        int(float(word))
        for mount in mounts
        for word in mount.split()
        if word.replace(".", "", 1).isdigit()
    )
