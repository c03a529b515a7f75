"""AWS on this machine, as an environment: its process and the tools of its one worker host.

A worker host in AWS boots from the launch template's user data; here this machine is the host, so
what user data would install is laid out below the state directory.
"""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from orchestrator import errors
from orchestrator.local_aws import process
from stacks import assets

ENVIRONMENT = "local"


# What Docker's mounts, systemd's units, PATH or a shell's quotes read as their own.
_UNUSABLE = re.compile(r"""[\x00-\x1f"'`\\%$:,]""")


def home(path: Path) -> Path:
    """The folder of an environment, absolute. Raises Invalid when its name cannot be used."""
    path = path.resolve()
    unusable = sorted(set(_UNUSABLE.findall(str(path))))
    if unusable:
        raise errors.Invalid(
            f"the folder {str(path)!r} has {' and '.join(map(repr, unusable))} in its name, "
            "which Docker's mounts or shells read as their own",
            hint="--home FOLDER puts state and outputs elsewhere; blanks are fine",
        )
    for folder in (path, state(path)):
        if folder.exists() and not folder.is_dir():
            raise errors.Invalid(f"{folder} is not a folder", hint="move it away, or use --home")
    return path


def state(home: Path) -> Path:
    """The directory that holds all of it, below the project's folder or where one wants it."""
    return home / ".local-aws"


def own_home(home: Path) -> Path:
    """A home directory for tools that keep caches there whatever one tells them."""
    path = state(home) / "home"
    path.mkdir(parents=True, exist_ok=True)
    return path


def context(home: Path) -> dict[str, str]:
    """What only this machine knows of the environment: where its host keeps tools and scratch."""
    chosen = {
        "environment": ENVIRONMENT,
        "set.worker.tools_path": str(state(home) / "host" / "tools"),
        "set.worker.scratch_path": str(state(home) / "host" / "scratch"),
    }
    if assets.machine_architecture() == "arm64":
        chosen["set.compute.instance_types"] = '["m7g.4xlarge"]'
    return chosen


def prepare_host(home: Path) -> None:
    """Lay out tools and scratch as a worker host has them.

    The static busybox, also under the name `sh`, and s5cmd: for containers and plain processes
    alike. Its applets need no program to be loaded, which halves what a small job costs.
    """
    tools, scratch = state(home) / "host" / "tools", state(home) / "host" / "scratch"
    tools.mkdir(parents=True, exist_ok=True)
    scratch.mkdir(parents=True, exist_ok=True)
    scratch.chmod(0o1777)  # images may run as a user of their own
    wanted = {tool.name: tool.path for tool in assets.tools(assets.machine_architecture())}
    wanted["sh"] = wanted["busybox"]
    for stale in tools.iterdir():
        if stale.name not in wanted:
            stale.unlink()
    for name, source in wanted.items():
        _place(source, tools / name)


def has_docker() -> bool:
    """Whether an engine answers."""
    return _docker("version", "--format", "{{.Server.Version}}") is not None


def image(home: Path) -> str:
    """The name of an image that is there without any registry: POSIX tools and nothing else."""
    return f"orchestrator-local:{hashlib.sha256(str(home).encode()).hexdigest()[:12]}"


def prepare_image(home: Path) -> str:
    """Make that image of the static busybox, where Docker does not have it yet; its name."""
    name = image(home)
    if _docker("image", "inspect", name) is None:
        archive = _root_file_system(assets.tools(assets.machine_architecture()))
        if _docker("import", "--change", 'CMD ["/bin/sh"]', "-", name, stdin=archive) is None:
            raise errors.EnvironmentProblem(
                f"docker import of {name} failed", hint="or run jobs without it: --jobs process"
            )
    return name


def destroy(home: Path) -> bool:
    """Stop everything, remove all its files. True when something was there."""
    there = state(home).exists()
    process.stop(state(home), destroy=True)
    if there and shutil.which("docker"):
        _docker("image", "rm", "--force", image(home))
    return there


def _root_file_system(tools: tuple[assets.Tool, ...]) -> bytes:
    busybox = next(tool.path for tool in tools if tool.name == "busybox")
    applets = subprocess.run(
        [str(busybox), "--list"], capture_output=True, text=True, check=True
    ).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("root", 0o700)):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            archive.addfile(entry)
        archive.add(busybox, "bin/busybox", recursive=False)
        for applet in applets:
            if applet != "busybox":
                entry = tarfile.TarInfo(f"bin/{applet}")
                entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(entry)
        users = b"root:x:0:0:root:/root:/bin/sh\n"
        entry = tarfile.TarInfo("etc/passwd")
        entry.size = len(users)
        archive.addfile(entry, io.BytesIO(users))
    return buffer.getvalue()


def _docker(*arguments: str, stdin: bytes | None = None) -> bytes | None:
    """What docker prints; None when it fails."""
    try:
        done = subprocess.run(
            ["docker", *arguments], input=stdin, capture_output=True, timeout=120, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _place(source: Path, target: Path) -> None:
    """By a rename: a job that is using the old one goes on."""
    new = target.with_name(f".{target.name}.new")
    new.unlink(missing_ok=True)
    shutil.copyfile(source, new)
    new.chmod(0o755)
    new.replace(target)
