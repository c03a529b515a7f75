"""An image for tests in containers: Debian's static busybox, imported without any registry."""

from __future__ import annotations

import functools
import io
import subprocess
import tarfile
from pathlib import Path

IMAGE = "orchestrator-tests/busybox:1"
BUSYBOX = Path("/bin/busybox")
_APPLETS = ("sh", "cat", "sleep", "ls", "id", "pwd", "touch", "tail", "dd", "tr", "mkdir", "env")


@functools.cache
def why_not() -> str:
    """Why no container can be run here; empty where one can."""
    if not BUSYBOX.exists():
        return "busybox-static is not installed"
    try:
        answer = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "docker does not answer"
    return "" if answer.returncode == 0 else "docker does not answer"


@functools.cache
def image() -> str:
    """The image's name, when it is there. Several processes may do this at once."""
    found = subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True, check=False)
    if found.returncode == 0:
        return IMAGE
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(BUSYBOX.resolve(), "bin/busybox")
        for applet in _APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        tmp = tarfile.TarInfo("tmp")
        tmp.type, tmp.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(tmp)
    subprocess.run(
        ["docker", "import", "-", IMAGE], input=archive.getvalue(), capture_output=True, check=True
    )
    return IMAGE
