"""The settings of one environment: typed, frozen, checked; every defect is reported at once.

The only reader of CDK context and of environment files. A `cdk` command chooses with
`-c environment=NAME` (default `dev`; read from `environments/NAME.toml`), or `-c settings=PATH` for
a file elsewhere, and changes single values with `-c set.SECTION.KEY=VALUE`, for what only the
machine that deploys can know (`-c set.worker.tools_path=/home/me/tools`).
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from orchestrator import errors
from stacks.instance_types import Architecture, Capacity, capacity, families

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_ENVIRONMENT = "dev"
_OVERRIDE = "set."

Prefix = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*$")
]
# Absolute; nothing that Docker's mounts, systemd's units or a shell's quotes read as their own.
HostPath = Annotated[
    str, StringConstraints(pattern=r"""^(/[^/\x00-\x1f"'`\\%$:,]+)+$""", max_length=1000)
]
BucketName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
# What CloudWatch Logs takes (API reference, PutRetentionPolicy), up to a year.
RetentionDays = Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Network(_Section):
    """`zones` are the letters of availability zones in the region.

    `egress`: how workers and host reach the internet (images, AWS's APIs). `nat_single` and
    `nat_per_zone` put them in private subnets behind NAT gateways, which cost by the hour and by
    the GiB; `public` gives each a public address and costs nothing. Nothing ever lets anyone in.
    """

    cidr: str = "10.0.0.0/16"
    zones: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z]$")], ...] = ("a", "b")
    egress: Literal["nat_single", "nat_per_zone", "public"] = "nat_single"
    flow_logs: bool = True

    @field_validator("cidr")
    @classmethod
    def _private_range(cls, value: str) -> str:
        network = ipaddress.IPv4Network(value)
        if not network.is_private or not 16 <= network.prefixlen <= 22:
            raise ValueError("must be a private IPv4 range between /16 and /22")
        return value

    @field_validator("zones")
    @classmethod
    def _at_least_two(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not 2 <= len(set(value)) == len(value) <= 6:
            raise ValueError("must name 2 to 6 different zones (Aurora needs two)")
        return value


class Storage(_Section):
    """Prefixes in the root bucket. Only what lies under `scratch_prefix` ever expires.

    `read_buckets` are further buckets that jobs and the orchestrator may read: reference data.
    """

    root_prefix: Prefix = "workflows"
    scratch_prefix: Prefix = "scratch"
    scratch_expiry_days: int = Field(30, ge=8, le=365)
    read_buckets: tuple[BucketName, ...] = ()

    @model_validator(mode="after")
    def _apart(self) -> Self:
        root, scratch = f"{self.root_prefix}/", f"{self.scratch_prefix}/"
        if root.startswith(scratch) or scratch.startswith(root):
            raise ValueError(
                "root_prefix and scratch_prefix must not lie in each other: "
                "what is under scratch_prefix expires"
            )
        return self


class Database(_Section):
    """Aurora Serverless v2. `min_acu` 0 lets it pause after `auto_pause_minutes` of no connection.

    One ACU is about 2 GiB of memory with the CPU that goes with it.
    """

    engine_version: Annotated[str, StringConstraints(pattern=r"^1[67]\.\d{1,2}$")] = "16.8"
    min_acu: float = Field(0, ge=0, le=256, multiple_of=0.5)
    max_acu: float = Field(4, ge=1, le=256, multiple_of=0.5)
    auto_pause_minutes: int = Field(15, ge=5, le=1440)
    backup_days: int = Field(7, ge=1, le=35)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_acu > self.max_acu:
            raise ValueError("min_acu must not be above max_acu")
        return self


class Compute(_Section):
    """`instance_types` are families (`m6i`) or types (`m6i.4xlarge`) of one architecture.

    A queue whose limit is 0 is not built. `default_queue` takes jobs that name none.
    """

    instance_types: tuple[str, ...] = ("c6i", "m6i", "r6i", "c6a", "m6a", "r6a")
    spot_max_vcpus: int = Field(256, ge=0, le=100_000)
    on_demand_max_vcpus: int = Field(64, ge=0, le=100_000)
    default_queue: Literal["spot", "on-demand"] = "spot"

    @field_validator("instance_types")
    @classmethod
    def _known_and_alike(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in value if capacity(name) is None]
        if unknown:
            raise ValueError(f"unknown {', '.join(unknown)}; families: {', '.join(families())}")
        if len({c.architecture for name in value if (c := capacity(name))}) != 1:
            raise ValueError("must name at least one type, all of one architecture")
        return value

    @model_validator(mode="after")
    def _default_exists(self) -> Self:
        limit = self.spot_max_vcpus if self.default_queue == "spot" else self.on_demand_max_vcpus
        if limit == 0:
            raise ValueError(f"default_queue is {self.default_queue!r}, which has 0 vCPUs")
        return self

    @property
    def architecture(self) -> Architecture:
        """The architecture that all instance types share."""
        return self._capacities()[0].architecture

    def largest_job(self, max_vcpus: int) -> tuple[int, int]:
        """vCPUs and MiB that one job can have at the most in a queue of so many vCPUs."""
        capacities = self._capacities()
        return (
            min(max_vcpus, max(c.vcpus for c in capacities)),
            max(c.memory_mib for c in capacities),
        )

    def _capacities(self) -> list[Capacity]:
        return [c for name in self.instance_types if (c := capacity(name))]


class Worker(_Section):
    """Worker hosts. Paths are theirs, and jobs see them under the same names.

    The data disk holds what jobs write (`scratch_path`) and Docker's images.
    """

    root_volume_gib: int = Field(30, ge=30, le=1000)
    data_volume_gib: int = Field(200, ge=20, le=16_000)
    data_volume_mib_per_second: int = Field(250, ge=125, le=1000)
    tools_path: HostPath = "/opt/orchestrator/tools"
    scratch_path: HostPath = "/mnt/scratch"

    @field_validator("tools_path", "scratch_path")
    @classmethod
    def _normal(cls, value: str) -> str:
        if any(part in (".", "..") for part in value.split("/")):
            raise ValueError("must not contain . or .. as a part")
        return value


class Host(_Section):
    """The machine that the orchestrator runs on in AWS; without it, run it where you like."""

    enabled: bool = True
    instance_type: Annotated[
        str,
        StringConstraints(pattern=r"^(t3a?|t4g|[cmr][567][aig]?)\.(small|medium|[0-9]*x?large)$"),
    ] = "t3.medium"
    volume_gib: int = Field(30, ge=10, le=1000)

    @property
    def architecture(self) -> Architecture:
        """Graviton's families have a `g` after their generation: `t4g`, `m7g`."""
        return "arm64" if self.instance_type.partition(".")[0].endswith("g") else "x86_64"


class Settings(_Section):
    """One environment. `retention`: what happens to the bucket and the database when they go.

    `keep` retains the bucket, takes a last snapshot of the database and protects both against
    deletion; `destroy` deletes them, for environments that hold nothing of value.
    """

    environment: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,18}[a-z0-9]$")]
    account: Annotated[str, StringConstraints(pattern=r"^\d{12}$")]
    region: Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
    retention: Literal["keep", "destroy"] = "keep"
    log_retention_days: RetentionDays = 30
    tags: dict[str, str] = {}
    network: Network = Network()
    storage: Storage = Storage()
    database: Database = Database()
    compute: Compute = Compute()
    worker: Worker = Worker()
    host: Host = Host()


def from_context(context: Mapping[str, Any], root: Path = ROOT) -> Settings:
    """The settings that a CDK context chooses. Raises InvalidConfig with all findings."""
    path_given = context.get("settings")
    environment = str(
        context.get("environment") or (Path(path_given).stem if path_given else DEFAULT_ENVIRONMENT)
    )
    path = root / (path_given or f"environments/{environment}.toml")
    findings = [_mistyped(key) for key in context if _near_miss(key)]
    values = _read(path, environment, root)
    for key, value in context.items():
        if key.startswith(_OVERRIDE):
            _override(values, key.removeprefix(_OVERRIDE), value)
    place = errors.Place(str(path.relative_to(root) if path.is_relative_to(root) else path))
    if values.setdefault("environment", environment) != environment:
        findings.append(
            errors.Finding(
                f"environment is {values['environment']!r} here, but {environment!r} was chosen",
                place,
                "choose it by its name: -c environment=NAME",
            )
        )
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        findings += [_finding(e, place) for e in error.errors()]
        settings = None
    if findings or settings is None:
        raise errors.InvalidConfig(
            f"the settings of environment {environment!r} are not valid", findings=findings
        )
    return settings


def _read(path: Path, environment: str, root: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = sorted(p.stem for p in (root / "environments").glob("*.toml"))
        raise errors.InvalidConfig(
            f"there is no environment {environment!r}: {path} does not exist",
            hint=f"environments here: {', '.join(known) or 'none'}"
            f"{_did_you_mean(environment, known)}",
        ) from None
    except OSError as error:
        raise errors.InvalidConfig(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise errors.InvalidConfig(
            f"not valid TOML: {error}", place=errors.Place(str(path))
        ) from None


def _override(values: dict[str, Any], dotted: str, value: Any) -> None:
    """Set one value; the text is read as TOML where it is TOML (`12`, `true`, `["a"]`)."""
    *sections, key = dotted.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise errors.InvalidConfig(f"-c {_OVERRIDE}{dotted}: {section} is not a section")
    values[key] = _toml_value(value) if isinstance(value, str) else value


def _toml_value(text: str) -> Any:
    if re.fullmatch(r"\d{12}", text):  # an account is a string of digits
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _near_miss(key: str) -> bool:
    """A context key that was meant for us but is not ours (CDK's own contain `:` or `/`)."""
    if ":" in key or "/" in key or key in ("environment", "settings") or key.startswith(_OVERRIDE):
        return False
    first = key.split(".")[0]
    return ("." in key and first in Settings.model_fields) or bool(
        difflib.get_close_matches(key, ("environment", "settings"), cutoff=0.75)
    )


def _mistyped(key: str) -> errors.Finding:
    if "." in key:
        return errors.Finding(f"-c {key} has no effect", hint=f"did you mean -c {_OVERRIDE}{key}?")
    near = _did_you_mean(key, ["environment", "settings"])
    return errors.Finding(f"-c {key} has no effect", hint=near.lstrip("; "))


def _finding(error: Any, place: errors.Place) -> errors.Finding:
    dotted = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        *parents, key = error["loc"]
        return errors.Finding(
            f"{dotted}: unknown key", place, _did_you_mean(key, _keys(parents)).lstrip("; ")
        )
    if error["type"] == "missing":
        return errors.Finding(f"{dotted}: must be given", place)
    message = error["msg"].removeprefix("Value error, ")
    given = "" if isinstance(error["input"], dict | BaseModel) else f" (given: {error['input']!r})"
    return errors.Finding(f"{dotted}: {message}{given}", place)


def _keys(parents: list[Any]) -> list[str]:
    model: Any = Settings
    for parent in parents:
        field = model.model_fields.get(parent)
        model = field.annotation if field else None
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return []
    return list(model.model_fields)


def _did_you_mean(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
