"""The settings of one environment: typed, frozen, checked; every defect is reported at once.

    schema     the sections and keys, with their defaults
    types      the kinds of text in them
    places     the lines of a file that keys stand on
    reader     CDK's context and the environment's file -> settings, or all that is wrong with them

The only reader of CDK context and of environment files. A `cdk` command chooses with
`-c environment=NAME` (default `dev`; read from `environments/NAME.toml`), or `-c settings=PATH` for
a file elsewhere, and changes single values with `-c set.SECTION.KEY=VALUE`, for what only the
machine that deploys can know (`-c set.worker.tools_path=/home/me/tools`).
"""

from __future__ import annotations

from stacks.settings.reader import DEFAULT_ENVIRONMENT, ROOT, Report, check, from_context
from stacks.settings.schema import (
    Compute,
    Database,
    Egress,
    Encryption,
    ExistingNetwork,
    FairShare,
    Host,
    Identity,
    Images,
    Monitoring,
    Network,
    Pool,
    PoolName,
    PullThrough,
    Registries,
    Settings,
    Storage,
    Worker,
)

__all__ = [
    "DEFAULT_ENVIRONMENT",
    "ROOT",
    "Compute",
    "Database",
    "Egress",
    "Encryption",
    "ExistingNetwork",
    "FairShare",
    "Host",
    "Identity",
    "Images",
    "Monitoring",
    "Network",
    "Pool",
    "PoolName",
    "PullThrough",
    "Registries",
    "Report",
    "Settings",
    "Storage",
    "Worker",
    "check",
    "from_context",
]
