"""What the kernel says of the disk, and the tools of LVM and XFS that make it larger."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_TOOL_SECONDS = 120


@dataclass(frozen=True)
class Usage:
    """Bytes of a file system, and the share of its inodes that is in use."""

    total: int
    used: int
    inodes_used: float


class DiskError(Exception):
    """A tool failed, or a device did not appear."""


class Disks:
    """The volume group `group`, its one logical volume `data`, mounted at `mount`."""

    def __init__(
        self,
        mount: str,
        group: str,
        by_id: Path = Path("/dev/disk/by-id"),
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._mount, self._group, self._by_id, self._pause = mount, group, by_id, pause

    def usage(self) -> Usage:
        """As `df` counts: what is kept for root is not free."""
        found = os.statvfs(self._mount)
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        total = used + found.f_bavail * found.f_frsize
        inodes = 1 - found.f_favail / found.f_files if found.f_files else 0.0
        return Usage(total, used, inodes)

    def device(self, volume: str, seconds: float = 90.0) -> str:
        """The device of an EBS volume, once it is there. Names like /dev/xvdb say nothing."""
        link = self._by_id / ("nvme-Amazon_Elastic_Block_Store_" + volume.replace("-", ""))
        for _ in range(int(seconds)):
            if link.exists():
                return str(link.resolve())
            self._pause(1.0)
        raise DiskError(f"{link} did not appear within {seconds:.0f} s")

    def members(self) -> list[str]:
        """The devices that the group is made of."""
        listed = self._run("pvs", "--noheadings", "-o", "pv_name", "-S", f"vg_name={self._group}")
        return [str(Path(line.strip()).resolve()) for line in listed.split("\n") if line.strip()]

    def join(self, device: str) -> None:
        """Make a device part of the group; nothing where it is already."""
        if device in self.members():
            return
        # No -f: what holds a file system of somebody else is refused.
        self._run("vgextend", "-q", "-y", self._group, device)

    def take_all(self, device: str | None = None) -> None:
        """Let the file system have all the space that the devices have by now."""
        for member in [device] if device else self.members():
            self._run("pvresize", "-q", member)
        free = self._run(
            "vgs", "--noheadings", "-o", "vg_free_count", "-S", f"vg_name={self._group}"
        )
        if int(free.strip() or 0) > 0:
            self._run("lvextend", "-q", "-l", "+100%FREE", f"{self._group}/data")
        # Also where nothing was left to take: the last time may have ended in between.
        self._run("xfs_growfs", self._mount)

    @staticmethod
    def _run(*command: str) -> str:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_TOOL_SECONDS,
                check=False,
                env={**os.environ, "LC_ALL": "C"},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DiskError(f"{command[0]}: {error}") from None
        if done.returncode != 0:
            raise DiskError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
        return done.stdout
