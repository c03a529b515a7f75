"""Makes the disk larger: first a volume that is there, then another one.

A volume of the launch template goes with its host by itself. One that is added does not before it
is told to: so it is told as soon as it is attached, and whatever fails before that takes it back.
"""

from __future__ import annotations

import time
import uuid
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import ec2
from .disks import DiskError, Disks
from .ec2 import Ec2Error
from .journal import Adding, Journal

INSTANCE_TAG, ENVIRONMENT_TAG = "orchestrator:instance", "orchestrator:environment"

# EBS: four modifications of a volume in 24 hours, one after the other, gp3 up to 64 TiB.
_MODIFICATIONS, _DAY_SECONDS = 4, 86_400.0
_LARGEST_VOLUME_GIB = 65_536
# This volume cannot be changed now; another may be, or one can be added.
_NOT_NOW = {
    "IncorrectModificationState",
    "VolumeModificationRateExceeded",
    "ModifyVolumeInProgress",
    "VolumeModificationSizeLimitExceeded",
}
# Answers after which nobody knows whether it was done.
_UNKNOWN = {"Unreachable", "InternalError", "InternalFailure", "ServiceUnavailable", "Unavailable"}
_DEVICES = tuple(f"/dev/sd{letter}" for letter in "fghijklmnop")
_WAIT_SECONDS = 120


class CannotGrow(Exception):
    """Nothing more can be done on this host, or not now; says why."""


@dataclass(frozen=True)
class Host:
    """The instance, and how volumes are made for it."""

    instance: str
    arn: str
    zone: str
    environment: str
    iops: int
    mib_per_second: int
    kms_key: str | None = None


class Growth:
    """`say` takes an event and its facts, for the log."""

    def __init__(
        self,
        host: Host,
        api: Any,
        disks: Disks,
        journal: Journal,
        say: Callable[..., object],
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        """`api.call(action, **parameters)` as `ec2.Ec2` has it."""
        self._host, self._api, self._disks, self._journal = host, api, disks, journal
        self._say, self._clock, self._pause = say, clock, pause

    def start(self) -> None:
        """Claim the host's volumes, and end what a daemon before this one left half done.

        Raises Ec2Error or DiskError; then it is called again.
        """
        for volume in self._attached():
            if INSTANCE_TAG not in ec2.tags(volume):
                name = ec2.text(volume, "volumeId")
                self._api.call(
                    "CreateTags",
                    ResourceId=[name],
                    Tag=[{"Key": INSTANCE_TAG, "Value": self._host.arn}],
                )
                self._say("claimed", volume=name)
        if self._journal.state.adding is not None:
            self._finish_adding()
        for leftover in self._leftovers():
            self._api.call("DeleteVolume", VolumeId=leftover)
            self._say("deleted", volume=leftover, why="it was never attached")
        self._disks.take_all()

    def grow(self, wanted_gib: int) -> None:
        """To that many GiB altogether. Raises CannotGrow, Ec2Error or DiskError."""
        if self._journal.state.adding is not None:
            self._finish_adding()
            return
        members = self._members()
        missing = wanted_gib - sum(size for _, size, _ in members)
        if missing <= 0:  # the volumes are large enough: the last time ended in between
            self._disks.take_all()
            return
        for name, size, device in sorted(members, key=lambda member: member[1]):
            if size + missing <= _LARGEST_VOLUME_GIB and self._may_be_modified(name):
                try:
                    self._resize(name, size + missing, device)
                except Ec2Error as error:
                    if error.code not in _NOT_NOW:
                        raise
                    self._say("postponed", volume=name, why=str(error))
                else:
                    return
        self._journal.state.adding = Adding(uuid.uuid4().hex, missing)
        self._journal.save()
        self._finish_adding()

    # --- larger

    def _may_be_modified(self, volume: str) -> bool:
        since = self._clock() - _DAY_SECONDS
        times = [t for t in self._journal.state.resized.get(volume, []) if t > since]
        self._journal.state.resized[volume] = times
        return len(times) < _MODIFICATIONS

    def _resize(self, volume: str, gib: int, device: str) -> None:
        times = self._journal.state.resized[volume]
        times.append(self._clock())
        self._journal.save()  # before: what EC2 did although its answer was lost counts as well
        try:
            # Its size alone: other changes keep a volume busy for hours.
            self._api.call("ModifyVolume", VolumeId=volume, Size=gib)
        except Ec2Error as error:
            if error.code not in _UNKNOWN:
                times.pop()
                self._journal.save()
            raise
        self._wait(
            f"{volume} has {gib} GiB",
            lambda: self._modification(volume) in ("optimizing", "completed"),
        )
        self._disks.take_all(device)
        self._say("resized", volume=volume, gib=gib)

    def _modification(self, volume: str) -> str:
        answer = self._api.call("DescribeVolumesModifications", VolumeId=[volume])
        state = ec2.text(answer, "volumeModificationSet/item/modificationState")
        if state == "failed":
            why = ec2.text(answer, "volumeModificationSet/item/statusMessage")
            raise CannotGrow(f"EBS could not make {volume} larger: {why}")
        return state

    # --- another one

    def _finish_adding(self) -> None:
        """Every step looks first whether it is done: it may be the second time."""
        adding = self._journal.state.adding
        assert adding is not None
        if adding.volume is None:
            adding.volume = self._create(adding)
            self._journal.save()
        volume = adding.volume
        try:
            self._attach(volume)
        except (Ec2Error, CannotGrow) as error:
            if isinstance(error, Ec2Error) and error.code in _UNKNOWN:
                raise
            self._take_back(volume)
            self._forget_adding()
            raise CannotGrow(f"{volume} could not be added: {error}") from None
        device = self._disks.device(volume)
        self._disks.join(device)
        self._disks.take_all(device)
        self._say("added", volume=volume, gib=adding.gib)
        self._forget_adding()

    def _create(self, adding: Adding) -> str:
        host = self._host
        try:
            answer = self._api.call(
                "CreateVolume",
                AvailabilityZone=host.zone,
                Size=adding.gib,
                VolumeType="gp3",
                Iops=host.iops,
                Throughput=host.mib_per_second,
                Encrypted=True,
                **({"KmsKeyId": host.kms_key} if host.kms_key else {}),
                ClientToken=adding.token,
                TagSpecification=[
                    {
                        "ResourceType": "volume",
                        "Tag": [
                            {"Key": INSTANCE_TAG, "Value": host.arn},
                            {"Key": ENVIRONMENT_TAG, "Value": host.environment},
                        ],
                    }
                ],
            )
        except Ec2Error as error:
            if error.code not in _UNKNOWN:
                self._forget_adding()
            raise
        return ec2.text(answer, "volumeId")

    def _attach(self, volume: str) -> None:
        """Attach it, and let it go with the instance."""
        self._wait(f"{volume} is available", lambda: self._state(volume) in ("available", "in-use"))
        if self._state(volume) == "available":
            used = {ec2.text(v, "attachmentSet/item/device") for v in self._attached()}
            device = next((name for name in _DEVICES if name not in used), None)
            if device is None:
                raise CannotGrow(f"all of {len(_DEVICES)} devices are in use")
            self._api.call(
                "AttachVolume", VolumeId=volume, InstanceId=self._host.instance, Device=device
            )
        self._wait(
            f"{volume} is attached", lambda: self._attachment(volume, "status") == "attached"
        )
        if self._attachment(volume, "deleteOnTermination") != "true":
            self._api.call(
                "ModifyInstanceAttribute",
                InstanceId=self._host.instance,
                BlockDeviceMapping=[
                    {
                        "DeviceName": self._attachment(volume, "device"),
                        "Ebs": {"VolumeId": volume, "DeleteOnTermination": True},
                    }
                ],
            )

    def _take_back(self, volume: str) -> None:
        """No volume stays that nobody deletes."""
        if self._state(volume) == "in-use":
            self._api.call("DetachVolume", VolumeId=volume, InstanceId=self._host.instance)
            self._wait(f"{volume} is detached", lambda: self._state(volume) == "available")
        self._api.call("DeleteVolume", VolumeId=volume)
        self._say("deleted", volume=volume, why="it could not be added")

    def _forget_adding(self) -> None:
        self._journal.state.adding = None
        self._journal.save()

    # --- what there is

    def _attached(self) -> list[ElementTree.Element]:
        return self._volumes(
            Filter=[{"Name": "attachment.instance-id", "Value": [self._host.instance]}]
        )

    def _leftovers(self) -> list[str]:
        found = self._volumes(
            Filter=[
                {"Name": f"tag:{INSTANCE_TAG}", "Value": [self._host.arn]},
                {"Name": "status", "Value": ["available"]},
            ]
        )
        return [ec2.text(volume, "volumeId") for volume in found]

    def _members(self) -> list[tuple[str, int, str]]:
        """The volumes that the disk is made of: id, GiB, device."""
        devices = set(self._disks.members())
        found = []
        for volume in self._attached():
            name = ec2.text(volume, "volumeId")
            device = self._disks.device(name, 5.0)
            if device in devices:
                found.append((name, int(ec2.text(volume, "size")), device))
        if len(found) != len(devices):
            raise DiskError(f"of {sorted(devices)} only {sorted(found)} are volumes of EBS")
        return found

    def _state(self, volume: str) -> str:
        return ec2.text(self._volume(volume), "status")

    def _attachment(self, volume: str, what: str) -> str:
        return ec2.text(self._volume(volume), f"attachmentSet/item/{what}")

    def _volume(self, volume: str) -> ElementTree.Element:
        found = self._volumes(VolumeId=[volume])
        if not found:
            raise CannotGrow(f"{volume} is gone")
        return found[0]

    def _volumes(self, **which: Any) -> list[ElementTree.Element]:
        return list(self._api.call("DescribeVolumes", **which).findall("volumeSet/item"))

    def _wait(self, what: str, done: Callable[[], bool]) -> None:
        waited, step = 0.0, 1.0
        while not done():
            if waited >= _WAIT_SECONDS:
                raise CannotGrow(f"waited {waited:.0f} s in vain: {what}")
            self._pause(step)
            waited, step = waited + step, min(step * 1.5, 10.0)
