"""How expressions are evaluated where WDL's readers differ, and how much they may take.

Values that a configuration can set (`system.input-read-limits`, `orchestrator.wdl`); the bounds in
`bounds` are for the engine's own safety and cannot be set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

LARGEST_READ_BYTES = 128 * 1024**2

# Function -> the key of its limit in `system.input-read-limits`.
LIMIT_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "read_lines": "lines",
        "read_boolean": "bool",
        "read_int": "int",
        "read_float": "float",
        "read_string": "string",
        "read_json": "json",
        "read_tsv": "tsv",
        "read_map": "map",
        "read_object": "object",
        "read_objects": "object",
    }
)

# Cromwell's limits of what is one number or word; its 512,000,000 for the others would not fit into
# a database beside everything else, where contents are pinned.
READ_LIMITS: Mapping[str, int] = MappingProxyType(
    dict.fromkeys(LIMIT_KEYS.values(), LARGEST_READ_BYTES) | {"bool": 7, "int": 19, "float": 50}
)


@dataclass(frozen=True, slots=True)
class Rules:
    """Read limits and dialect.

    `read_limits`: bytes that a function takes from one file, by the keys of
    `system.input-read-limits`. `binary_sizes`: `size(f, "GB")` counts in 1024s, as Cromwell does;
    WDL says 1000s. `trimmed_strings`: `read_string()` drops blanks at both ends, as Cromwell does;
    WDL says line ends at the end only.
    """

    read_limits: Mapping[str, int] = field(default_factory=lambda: READ_LIMITS)
    binary_sizes: bool = False
    trimmed_strings: bool = True

    def read_limit(self, function: str) -> tuple[str, int]:
        """The full key of a read function's limit, and the limit in bytes."""
        key = LIMIT_KEYS[function]
        return f"system.input-read-limits.{key}", self.read_limits.get(key, READ_LIMITS[key])

    @property
    def largest_read_bytes(self) -> int:
        """The most that any function takes from a file."""
        return max(*READ_LIMITS.values(), *self.read_limits.values())
