"""The orchestrator's dependencies for its host, as one archive: its boot needs no registry.

Every package is the locked one, by its hash (`host/requirements.txt`, made from uv.lock), for the
Python of Amazon Linux. The archive's name says which requirements it holds.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

from orchestrator import errors
from stacks import assets
from stacks.assets import clients
from stacks.instance_types import Architecture

PYTHON = "3.11"  # what host/install.sh installs
_REQUIREMENTS = assets.SCRIPTS / "host" / "requirements.txt"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that an archive can say


def wanted(architecture: Architecture, cache_dir: Path = assets.CACHE) -> Path:
    """Where the archive of the present requirements lies, or would."""
    digest = hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()
    return cache_dir / architecture / f"dependencies-{digest[:16]}.zip"


def find(architecture: Architecture, cache_dir: Path = assets.CACHE) -> Path:
    """The archive. Raises EnvironmentProblem where it is not there."""
    path = wanted(architecture, cache_dir)
    if not path.is_file():
        raise errors.EnvironmentProblem(
            f"the orchestrator's dependencies for its {architecture} host are not here: {path}",
            hint=assets.HINT,
        )
    return path


def build(architecture: Architecture, directory: Path, path: Path) -> None:
    """Fetch the packages and write the archive; the same packages make the same bytes.

    `directory` is for work, on the file system of `path`. Archives of earlier requirements go.
    """
    target = directory / "packages"
    clients.uv_install(
        architecture,
        target,
        *("--python-version", PYTHON, "--require-hashes", "-r", str(_REQUIREMENTS)),
        what=f"the orchestrator's dependencies for {architecture}",
    )
    part = directory / "part.zip"
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(p for p in target.rglob("*") if p.is_file()):
            name = file.relative_to(target).as_posix()
            if name.startswith((".", "bin/")) or "/__pycache__/" in name:
                continue
            info = zipfile.ZipInfo(name, _EPOCH)
            info.external_attr = (0o755 if file.stat().st_mode & 0o100 else 0o644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, file.read_bytes())
    for earlier in path.parent.glob("dependencies-*.zip"):
        earlier.unlink()
    part.replace(path)
