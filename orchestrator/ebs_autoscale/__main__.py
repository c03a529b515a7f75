"""`python3 -m ebs_autoscale SETTINGS`: looks at the disk every two seconds, and lets it grow.

SETTINGS is a file of JSON: `mount`, `group` (LVM), `journal`, `region`, `endpoint` (of EC2),
`environment`, `max_gib`, `iops`, `mib_per_second`, `kms_key` (may be empty). Events go to stdout,
one line of JSON each.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import sys
import time
from pathlib import Path
from typing import Any

from . import policy
from .disks import DiskError, Disks
from .ec2 import Ec2, Ec2Error, Metadata
from .growth import CannotGrow, Growth, Host
from .journal import Journal

_LOOK_SECONDS = 2.0
_COOL_DOWN_SECONDS = 30.0
_BACK_OFF_SECONDS = (10.0, 300.0)
_REMINDER_SECONDS = 600.0


def say(event: str, **facts: Any) -> None:
    """One event."""
    print(json.dumps({"disk": event, **facts}), flush=True)  # noqa: T201 - the log of the service


class Daemon:
    """One turn after the other; `turn` is given the time and gives how long to rest."""

    def __init__(self, growth: Growth, disks: Disks, limits: policy.Limits) -> None:
        self._growth, self._disks, self._limits = growth, disks, limits
        self._rate = policy.FillRate()
        self._started = False
        self._not_before = 0.0
        self._failures = 0
        self._reminded = float("-inf")

    def turn(self, now: float) -> None:
        """Look, and act where that is due. `now` is of a clock that only goes on."""
        usage = self._disks.usage()
        self._rate.see(now, usage.used)
        if now < self._not_before:
            return
        if not self._started:
            self._started = self._attempt(now, "start", self._growth.start)
            return
        rate = self._rate.bytes_per_second
        wanted = policy.wanted_gib(usage.total, usage.used, usage.inodes_used, rate, self._limits)
        if wanted is not None:
            facts = {"used": usage.used, "total": usage.total, "rate": round(rate)}
            say("growing", gib=wanted, **facts)
            self._attempt(now, "grow", lambda: self._growth.grow(wanted))
        elif usage.used > 0.9 * usage.total and now - self._reminded > _REMINDER_SECONDS:
            self._reminded = now
            say("at its limit", used=usage.used, total=usage.total, max_gib=self._limits.max_gib)

    def _attempt(self, now: float, what: str, do: Any) -> bool:
        began = time.monotonic()
        try:
            do()
        except (CannotGrow, DiskError, Ec2Error) as error:
            shortest, longest = _BACK_OFF_SECONDS
            pause = min(longest, shortest * 2**self._failures) * random.uniform(0.7, 1.0)  # noqa: S311
            self._failures = min(self._failures + 1, 10)
            self._not_before = now + (time.monotonic() - began) + pause
            say("failed", what=what, why=str(error), again_in_seconds=round(pause))
            return False
        self._failures = 0
        took = time.monotonic() - began
        self._not_before = now + took + (_COOL_DOWN_SECONDS if what == "grow" else 0.0)
        say("done", what=what, seconds=round(took, 1))
        return True


def make(settings: dict[str, Any], metadata: Metadata | None = None) -> Daemon:
    """The daemon of this host. Raises Ec2Error where the metadata service does not answer."""
    metadata = metadata or Metadata()
    identity = {
        "instance": metadata.get("instance-id"),
        "zone": metadata.get("placement/availability-zone"),
    }
    owner = json.loads(metadata.get("identity-credentials/ec2/info"))["AccountId"]
    partition = metadata.get("services/partition")
    host = Host(
        arn=f"arn:{partition}:ec2:{settings['region']}:{owner}:instance/{identity['instance']}",
        environment=settings["environment"],
        iops=settings["iops"],
        mib_per_second=settings["mib_per_second"],
        kms_key=settings["kms_key"] or None,
        **identity,
    )
    disks = Disks(settings["mount"], settings["group"])
    api = Ec2(settings["region"], settings["endpoint"], metadata)
    growth = Growth(host, api, disks, Journal(Path(settings["journal"])), say)
    return Daemon(growth, disks, policy.Limits(settings["max_gib"]))


def notify(message: str) -> None:
    """Tell systemd, where it listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door, contextlib.suppress(OSError):
        door.connect("\0" + address[1:] if address.startswith("@") else address)
        door.sendall(message.encode())


def main() -> None:
    """Until it is told to end."""
    daemon = make(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    notify("READY=1")
    while True:
        daemon.turn(time.monotonic())
        notify("WATCHDOG=1")
        time.sleep(_LOOK_SECONDS)


if __name__ == "__main__":
    main()
