"""Where the configuration of a deployed environment lies on this machine.

`<project>/.orchestrator/environments/<name>.conf`, written by `./bootstrap`; found from any folder
below the project, else below the user's configuration directory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from orchestrator import errors

_FOLDER = Path(".orchestrator") / "environments"


def path_in(project: Path, name: str) -> Path:
    """Where a project keeps the configuration of an environment."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise errors.Invalid(
            f"{name!r} cannot be the name of an environment",
            hint="letters, digits, - and _; a letter or digit first",
        )
    return project / _FOLDER / f"{name}.conf"


def config_file(name: str) -> Path:
    """The configuration of an environment. Raises DeploymentMissing."""
    for folder in _folders():
        path = path_in(folder, name)
        if path.is_file():
            return path
    raise errors.DeploymentMissing(
        f"no environment {name!r} is known on this machine",
        hint="./bootstrap --local makes `local`; run from inside the project's folder",
    )


def _folders() -> Iterator[Path]:
    here = Path.cwd()
    yield here
    yield from here.parents
    config_home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    yield Path(config_home) / "orchestrator"
