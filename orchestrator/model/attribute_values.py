"""How each kind of runtime attribute is written, and what it means: one reader a kind.

Every reader takes the value as JSON and the attribute's name, and raises InvalidRuntimeAttribute
saying what was expected. Spellings are Cromwell's (backend/.../validation, wom's MemorySize.scala,
AwsBatchRuntimeAttributes.scala) and those of the WDL specification 1.1 and 1.2.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator import errors
from orchestrator.model.exit_rules import ExitRule

# Cromwell reads every unit as a power of 1024.
_UNITS = {"": 0, "B": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}
_SIZE = re.compile(
    r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(?:([KMGTP]?)(?:i?B)?)\s*", re.IGNORECASE | re.ASCII
)
_LARGEST_BYTES = 2**60
_LARGEST_GIB = 2**20
_LARGEST_COUNT = 2**31 - 1
_SIZE_EXPECTED = 'a size such as "2 GB", or a number of bytes'

# S3 user guide, "Bucket naming rules"; the shape of an ARN of AWS Batch (v92 of Cromwell).
_QUEUE = re.compile(r"arn:aws[a-z-]*:batch:[a-z0-9-]+:[0-9]{12}:job-queue/[A-Za-z0-9_-]{1,128}")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# CloudWatch Logs API reference, CreateLogGroup.
_LOG_GROUP = re.compile(r"[.\-_/#A-Za-z0-9]{1,512}")
_MOUNT = re.compile(r"(/[A-Za-z0-9_][A-Za-z0-9._-]*)+")
_DISK_TYPES = {"SSD", "HDD", "LOCAL"}
_SHARED_TYPES = {"EFS", "FSX"}


@dataclass(frozen=True, slots=True)
class Disks:
    """`gib`: all sizes together, 0 where none is given. `mounts`: paths besides the work dir's;
    `shared`: those of them that hosts have mounted already (EFS, FSx)."""

    gib: int = 0
    mounts: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ulimit:
    """One limit of a container, as Docker names them."""

    name: str
    soft: int
    hard: int


def wrong(attribute: str, value: Any, expected: str) -> errors.InvalidRuntimeAttribute:
    """The error that says what was expected instead of this value."""
    shown = repr(value)
    shown = shown if len(shown) <= 120 else f"{shown[:117]}..."
    return errors.InvalidRuntimeAttribute(f"{attribute} is {shown}; expected {expected}")


def text(value: Any, name: str) -> str:
    """Any string."""
    if not isinstance(value, str):
        raise wrong(name, value, "a string")
    return value


def flag(value: Any, name: str) -> bool:
    """true or false, also as a string."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise wrong(name, value, "true or false")


def number(value: Any, name: str) -> float:
    """A number above 0, also as a string."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        raise wrong(name, value, "a number greater than 0") from None
    if isinstance(value, bool) or not 0 < found < 1e6:
        raise wrong(name, value, "a number greater than 0")
    return found


def count(value: Any, name: str) -> int:
    """A whole number, 0 or more, also as a string."""
    try:
        found = int(value)
        whole = found == float(value)
    except (TypeError, ValueError, OverflowError):
        raise wrong(name, value, "a whole number, 0 or more") from None
    if isinstance(value, bool) or not whole or not 0 <= found <= _LARGEST_COUNT:
        raise wrong(name, value, "a whole number, 0 or more")
    return found


def batch_attempts(value: Any, name: str) -> int:
    """What AWS Batch takes as `retryStrategy.attempts`, 0 for none."""
    found = count(value, name)
    if found > 10:
        raise wrong(name, value, "a whole number from 0 to 10, the most AWS Batch knows")
    return found


def timeout(value: Any, name: str) -> int:
    """Seconds, 0 for none."""
    seconds = count(value, name)
    if 0 < seconds < 60:
        raise wrong(name, value, "0 (none), or at least 60 seconds, the least AWS Batch knows")
    return seconds


def size_bytes(value: Any, name: str) -> float:
    """A number of bytes, or `"2 GB"`."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise wrong(name, value, _SIZE_EXPECTED)
    if isinstance(value, str):
        match = _SIZE.fullmatch(value)
        if not match:
            raise wrong(name, value, _SIZE_EXPECTED)
        size = float(match[1]) * float(1024 ** _UNITS[match[2].upper()])
    else:
        size = float(value) if abs(value) <= _LARGEST_BYTES else math.inf
    if not 0 < size <= _LARGEST_BYTES:
        raise wrong(name, value, "more than 0, and no more than a machine can have")
    return size


def mib(value: Any, name: str = "memory") -> int:
    """MiB, rounded down as Cromwell does, at least 4 (Docker's own minimum)."""
    return max(4, int(size_bytes(value, name) // 1024**2))


def image(value: Any, name: str) -> str:
    """An image name. Several are alternatives; Cromwell takes the first."""
    if isinstance(value, Sequence) and not isinstance(value, str) and value:
        for other in value[1:]:
            image(other, name)
        value = value[0]
    found = text(value, name).removeprefix("docker://")
    # It ends up in `docker run`: it never looks like an option and never holds a blank.
    if found.startswith("-") or any(c.isspace() or not c.isprintable() for c in found):
        raise wrong(name, value, "an image name")
    return found


def return_codes(value: Any, name: str) -> frozenset[int] | None:
    """The codes that count as success; None for every code."""
    expected = 'true, false, "*", a number or an array of numbers'
    if isinstance(value, bool):
        return None if value else frozenset({0})
    if isinstance(value, str) and value.lower() in ("*", "true", "false"):
        return frozenset({0}) if value.lower() == "false" else None
    codes = value if isinstance(value, list | tuple) else [value]
    try:
        found = frozenset(int(code) for code in codes)
    except (TypeError, ValueError, OverflowError):
        raise wrong(name, value, expected) from None
    if not found or any(isinstance(c, bool) or (isinstance(c, float) and c % 1) for c in codes):
        raise wrong(name, value, expected)
    return found


def queue(value: Any, name: str) -> str:
    """The ARN of a job queue of AWS Batch; empty for the backend's own."""
    if value == "" or (isinstance(value, str) and _QUEUE.fullmatch(value)):
        return str(value)
    raise wrong(name, value, "arn:aws:batch:<region>:<account>:job-queue/<name>")


def bucket(value: Any, name: str) -> str:
    """The name of a bucket."""
    if not isinstance(value, str) or not _BUCKET.fullmatch(value):
        raise wrong(name, value, "the name of a bucket")
    return value


def log_group(value: Any, name: str) -> str:
    """The name of a log group of CloudWatch."""
    if not isinstance(value, str) or not _LOG_GROUP.fullmatch(value):
        raise wrong(name, value, "the name of a log group, such as /aws/batch/job")
    return value


def names(value: Any, name: str) -> tuple[str, ...]:
    """Words: an array of strings, or one string with blanks or commas between."""
    if isinstance(value, str):
        return tuple(value.replace(",", " ").split())
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise wrong(name, value, "a string or an array of strings")


def tags(value: Any, name: str) -> tuple[tuple[str, str], ...]:
    """A map of strings, as AWS takes tags: keys of 1 to 128 characters, values of at most 256."""
    expected = "a map of at most 40 strings: keys of 1 to 128 characters, values of at most 256"
    if not isinstance(value, Mapping) or len(value) > 40:
        raise wrong(name, value, expected)
    for key, item in value.items():
        plain = isinstance(item, str | int | float) and not isinstance(item, bool)
        if not plain or not 0 < len(key) <= 128 or len(str(item)) > 256:
            raise wrong(name, value, expected)
        if key.lower().startswith("aws:"):
            raise wrong(name, value, "keys that do not begin with aws:, which AWS keeps for itself")
    return tuple(sorted((key, str(item)) for key, item in value.items()))


def ulimits(value: Any, name: str) -> tuple[Ulimit, ...]:
    """`[{"name": "nofile", "softLimit": "1024", "hardLimit": "4096"}]`; empty maps are none."""
    expected = "an array of maps with name, softLimit and hardLimit"
    found = []
    for item in _maps(value, name, expected):
        if set(item) != {"name", "softLimit", "hardLimit"} or not isinstance(item["name"], str):
            raise wrong(name, value, expected)
        soft = count(item["softLimit"], f"{name}.softLimit")
        hard = count(item["hardLimit"], f"{name}.hardLimit")
        if soft > hard or not re.fullmatch(r"[a-z]{1,16}", item["name"]):
            raise wrong(name, value, "names such as nofile, and soft limits up to the hard ones")
        found.append(Ulimit(item["name"], soft, hard))
    return tuple(found)


def exit_rules(value: Any, name: str) -> tuple[ExitRule, ...]:
    """`[{"action": "RETRY", "onExitCode": "137"}]`, keys in any case; empty maps are none."""
    expected = (
        "an array of maps with action (RETRY or EXIT) and onExitCode, onReason or onStatusReason"
    )
    found = []
    for item in _maps(value, name, expected):
        rule = {key.lower(): str(entry) for key, entry in item.items()}
        action = rule.pop("action", "").upper()
        if action not in ("RETRY", "EXIT") or not rule:
            raise wrong(name, value, expected)
        if rule.keys() - {"onexitcode", "onreason", "onstatusreason"}:
            raise wrong(name, value, expected)
        found.append(
            ExitRule(
                action,
                rule.get("onexitcode", ""),
                rule.get("onreason", ""),
                rule.get("onstatusreason", ""),
            )
        )
    if len(found) > 5:
        raise wrong(name, value, "at most 5 rules, the most AWS Batch knows")
    return tuple(found)


def disks(value: Any, name: str) -> Disks:
    """Cromwell's `"local-disk 20 SSD, /mnt/x 5 HDD"`, WDL 1.1's `"20 GiB"`, `["/mnt/x 5 GiB"]`,
    a number of GiB. Sizes are rounded up to GiB and added up."""
    entries: Sequence[Any]
    if isinstance(value, str):
        entries = [part for part in value.split(",") if part.strip()]
    elif isinstance(value, list | tuple):
        entries = value
    else:
        entries = [value]
    gib, mounts, shared = 0.0, [], []
    for entry in entries:
        mount, size, is_shared = _disk(entry, name)
        gib += 0 if is_shared else size
        if mount:
            mounts.append(mount)
        if is_shared:
            shared.append(mount)
    if len(set(mounts)) != len(mounts):
        raise wrong(name, value, "each mount point once")
    if gib > _LARGEST_GIB:
        raise wrong(name, value, "no more than a machine can have")
    return Disks(math.ceil(gib), tuple(mounts), tuple(shared))


def _disk(entry: Any, name: str) -> tuple[str, float, bool]:
    """(mount point, "" for the work dir's disk; GiB; whether hosts have it mounted already)."""
    expected = 'disks such as "local-disk 20 SSD", "/mnt/data 5 GiB" or "20 GiB"'
    if isinstance(entry, int | float) and not isinstance(entry, bool):
        if not 0 <= entry <= _LARGEST_GIB:
            raise wrong(name, entry, expected)
        return "", float(entry), False
    if not isinstance(entry, str):
        raise wrong(name, entry, expected)
    words, mount = entry.split(), ""
    if words and words[0] == "local-disk":
        words = words[1:]
    elif words and words[0].startswith("/"):
        mount, words = words[0].rstrip("/"), words[1:]
        if not _MOUNT.fullmatch(mount):
            raise wrong(name, entry, "a mount point such as /mnt/data")
    elif not words:
        raise wrong(name, entry, expected)
    shared = bool(mount and words and words[-1].upper() in _SHARED_TYPES)
    if shared or (words and words[-1].upper() in _DISK_TYPES):
        words = words[:-1]  # what kind of disk: there is one kind here
    if not words:
        return mount, 0.0, shared
    size = " ".join(words)
    if len(words) == 1 and re.fullmatch(r"[0-9]+(\.[0-9]+)?", size):
        return mount, float(size), shared
    try:
        return mount, size_bytes(size, name) / 1024**3, shared
    except errors.InvalidRuntimeAttribute:
        raise wrong(name, entry, expected) from None


def _maps(value: Any, name: str, expected: str) -> list[Mapping[str, Any]]:
    if not isinstance(value, list | tuple) or not all(isinstance(i, Mapping) for i in value):
        raise wrong(name, value, expected)
    return [item for item in value if item]
