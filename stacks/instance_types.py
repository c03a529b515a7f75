"""What one worker host can hold: vCPUs and memory of the EC2 instance types Batch may start.

Only families on the Nitro system (the data disk is found as an NVMe device). Numbers are EC2's
published ones; within a family memory is in a fixed ratio to vCPUs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Architecture = Literal["x86_64", "arm64"]

_VCPUS: Final = {"medium": 1, "large": 2, "xlarge": 4} | {
    f"{n}xlarge": 4 * n for n in (2, 4, 8, 9, 12, 16, 18, 24, 32, 48)
}
_UP_TO_4 = ("large", "xlarge", "2xlarge", "4xlarge")
_TO_16 = ("medium", *_UP_TO_4, "8xlarge", "12xlarge", "16xlarge")
_TO_24 = (*_UP_TO_4, "8xlarge", "12xlarge", "16xlarge", "24xlarge")
_TO_32 = (*_TO_24, "32xlarge")
_C5 = (*_UP_TO_4, "9xlarge", "12xlarge", "18xlarge", "24xlarge")
_7I = (*_TO_24, "48xlarge")
_48 = (*_TO_32, "48xlarge")
_G4DN_GPUS: Final = {"xlarge": 1, "2xlarge": 1, "4xlarge": 1, "8xlarge": 1} | {
    "12xlarge": 4,
    "16xlarge": 1,
}
_G_GPUS: Final = _G4DN_GPUS | {"24xlarge": 4, "48xlarge": 8}


@dataclass(frozen=True, slots=True)
class _Family:
    architecture: Architecture
    gib_per_vcpu: int
    sizes: tuple[str, ...]
    gpus: dict[str, int] | None = None  # by size; None: the family has none


def _generation(
    suffix: str, architecture: Architecture, sizes: tuple[str, ...]
) -> dict[str, _Family]:
    """The compute, general and memory families of one generation: `c6i`, `m6i`, `r6i`."""
    return {
        f"{letter}{suffix}": _Family(architecture, ratio, sizes)
        for letter, ratio in (("c", 2), ("m", 4), ("r", 8))
    }


_FAMILIES: Final[dict[str, _Family]] = (
    _generation("5", "x86_64", _TO_24)
    | {"c5": _Family("x86_64", 2, _C5)}
    | _generation("5a", "x86_64", _TO_24)
    | _generation("6a", "x86_64", _48)
    | _generation("6i", "x86_64", _TO_32)
    | _generation("7a", "x86_64", ("medium", *_48))
    | _generation("7i", "x86_64", _7I)
    | _generation("6g", "arm64", _TO_16)
    | _generation("7g", "arm64", _TO_16)
    | {
        "g4dn": _Family("x86_64", 4, tuple(_G4DN_GPUS), _G4DN_GPUS),
        "g5": _Family("x86_64", 4, tuple(_G_GPUS), _G_GPUS),
        "g6": _Family("x86_64", 4, tuple(_G_GPUS), _G_GPUS),
        "g6e": _Family("x86_64", 8, tuple(_G_GPUS), _G_GPUS),
    }
)


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the largest host of a type or family offers to one job."""

    architecture: Architecture
    vcpus: int
    memory_mib: int
    gpus: int = 0


def families() -> tuple[str, ...]:
    """The known families, for messages and suggestions."""
    return tuple(sorted(_FAMILIES))


def capacity(name: str) -> Capacity | None:
    """The capacity of `m6i.4xlarge`, or of the largest size of the family `m6i`; None = unknown.

    Memory is what a job can be sure to get: the ECS agent registers less than the nominal size
    (AWS Batch User Guide, "Compute resource memory management", advises a buffer of 5 %); kernel
    and agent take about the same on every host, which is 256 MiB here.
    """
    family_name, _, size = name.partition(".")
    family = _FAMILIES.get(family_name)
    if family is None or (size and size not in family.sizes) or name.endswith("."):
        return None
    vcpus = _VCPUS[size] if size else max(_VCPUS[s] for s in family.sizes)
    nominal_mib = vcpus * family.gib_per_vcpu * 1024
    gpus = family.gpus or {}
    return Capacity(
        family.architecture,
        vcpus,
        nominal_mib * 95 // 100 - 256,
        gpus[size] if gpus and size else max(gpus.values(), default=0),
    )
