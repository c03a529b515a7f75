"""EC2 with the volumes of one host, and that host's tools of LVM and XFS."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from orchestrator.ebs_autoscale.disks import DiskError
from orchestrator.ebs_autoscale.ec2 import Ec2Error

INSTANCE = "i-0a1b2c3d4e5f60718"
ARN = f"arn:aws:ec2:us-east-1:111122223333:instance/{INSTANCE}"
GIB = 1024**3


class Killed(BaseException):
    """As if the daemon had been killed there."""


class FakeEc2:
    """EC2's rules for volumes, as far as they matter here.

    `faults`: action -> errors to be raised at its next calls. `die_at`: the call (counted from 1)
    at which the daemon is killed, after EC2 has done what it was asked.
    """

    def __init__(self, dev: Path) -> None:
        self.dev = dev
        self.volumes: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.faults: dict[str, list[Exception]] = {}
        self.die_at = 0
        self.slow_modifications = 0  # how often a modification is still `modifying`
        self.no_devices = False
        self._tokens: dict[str, str] = {}

    def launch(self, *gib: int) -> None:
        """The volumes of the launch template: the root disk, then those of the group."""
        for number, size in enumerate((30, *gib)):
            name = self._new(size, {"orchestrator:environment": "dev"})
            self._attach(name, "/dev/xvda" if number == 0 else f"/dev/xvd{'bcdef'[number - 1]}")
            self.volumes[name]["DeleteOnTermination"] = True
            if number:
                self.volumes[name]["member"] = True

    def made(self) -> list[str]:
        """Every call but those that only look."""
        return [action for action, _ in self.calls if not action.startswith("Describe")]

    def call(self, action: str, **parameters: Any) -> ElementTree.Element:
        self.calls.append((action, parameters))
        waiting = self.faults.get(action)
        if waiting:
            error = waiting.pop(0)
            if isinstance(error, Ec2Error) and error.code == "Unreachable":
                getattr(self, f"_{action}")(**parameters)  # done, but its answer was lost
            raise error
        answer = getattr(self, f"_{action}")(**parameters)
        if len(self.calls) == self.die_at:
            raise Killed
        root = ElementTree.Element("Answer")
        _xml(root, answer or {})
        return root

    # --- actions

    def _DescribeVolumes(self, VolumeId: Any = (), Filter: Any = ()) -> Any:
        wanted = {f["Name"]: f["Value"] for f in Filter}
        found = []
        for name, volume in self.volumes.items():
            tag = next((n for n in wanted if n.startswith("tag:")), "")
            if (
                (not VolumeId or name in VolumeId)
                and ("attachment.instance-id" not in wanted or "device" in volume)
                and ("status" not in wanted or volume["status"] in wanted["status"])
                and (not tag or volume["tags"].get(tag[4:]) in wanted[tag])
            ):
                found.append(
                    {
                        "volumeId": name,
                        "size": volume["size"],
                        "status": volume["status"],
                        "tagSet": [{"key": k, "value": v} for k, v in volume["tags"].items()],
                        "attachmentSet": [
                            {
                                "device": volume["device"],
                                "status": "attached",
                                "deleteOnTermination": volume["DeleteOnTermination"],
                            }
                        ]
                        if "device" in volume
                        else [],
                    }
                )
        return {"volumeSet": found}

    def _CreateTags(self, ResourceId: list[str], Tag: list[dict[str, str]]) -> None:
        for name in ResourceId:
            self.volumes[name]["tags"].update({one["Key"]: one["Value"] for one in Tag})

    def _ModifyVolume(self, VolumeId: str, Size: int) -> None:
        volume = self.volumes[VolumeId]
        assert volume["size"] < Size
        assert volume["tags"]["orchestrator:instance"] == ARN
        volume["size"], volume["modified"] = Size, self.slow_modifications
        self._write(VolumeId)

    def _DescribeVolumesModifications(self, VolumeId: list[str]) -> Any:
        volume = self.volumes[VolumeId[0]]
        volume["modified"] -= 1
        state = "modifying" if volume["modified"] >= 0 else "optimizing"
        return {"volumeModificationSet": [{"modificationState": state}]}

    def _CreateVolume(self, ClientToken: str, Size: int, **more: Any) -> Any:
        if ClientToken not in self._tokens:
            (specification,) = more["TagSpecification"]
            assert more["Encrypted"] is True
            tags = {one["Key"]: one["Value"] for one in specification["Tag"]}
            self._tokens[ClientToken] = self._new(Size, tags)
        return {"volumeId": self._tokens[ClientToken]}

    def _AttachVolume(self, VolumeId: str, InstanceId: str, Device: str) -> None:
        assert InstanceId == INSTANCE
        if self.volumes[VolumeId]["status"] != "available":
            raise Ec2Error("IncorrectState", "in use")
        self._attach(VolumeId, Device)

    def _ModifyInstanceAttribute(self, InstanceId: str, BlockDeviceMapping: Any) -> None:
        assert InstanceId == INSTANCE
        (mapping,) = BlockDeviceMapping
        volume = self.volumes[mapping["Ebs"]["VolumeId"]]
        assert volume["device"] == mapping["DeviceName"]
        volume["DeleteOnTermination"] = mapping["Ebs"]["DeleteOnTermination"]

    def _DetachVolume(self, VolumeId: str, InstanceId: str) -> None:
        volume = self.volumes[VolumeId]
        assert not volume["member"], "it holds data"
        del volume["device"]
        volume["status"] = "available"
        (self.dev / _link(VolumeId)).unlink(missing_ok=True)

    def _DeleteVolume(self, VolumeId: str) -> None:
        assert self.volumes[VolumeId]["status"] == "available"
        del self.volumes[VolumeId]

    # --- what there is

    def _new(self, gib: int, tags: dict[str, str]) -> str:
        name = f"vol-{len(self._tokens) + len(self.volumes):017x}"
        self.volumes[name] = {
            "size": gib,
            "tags": dict(tags),
            "status": "available",
            "member": False,
            "DeleteOnTermination": False,
            "modified": 0,
        }
        return name

    def _attach(self, name: str, device: str) -> None:
        self.volumes[name] |= {"device": device, "status": "in-use"}
        if not self.no_devices:
            self._write(name)

    def _write(self, name: str) -> None:
        """Its device: a file that says how large it is."""
        target = self.dev / f"nvme-{name[-4:]}"
        target.write_text(str(self.volumes[name]["size"]))
        link = self.dev / _link(name)
        if not link.is_symlink():
            link.symlink_to(target)


def _link(name: str) -> str:
    return "nvme-Amazon_Elastic_Block_Store_" + name.replace("-", "")


def _xml(parent: ElementTree.Element, value: Any) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _xml(ElementTree.SubElement(parent, key), item)
    elif isinstance(value, list):
        for item in value:
            _xml(ElementTree.SubElement(parent, "item"), item)
    else:
        parent.text = str(value).lower() if isinstance(value, bool) else str(value)


class FakeTools:
    """LVM and XFS. State in GiB: the members with the size that LVM knows, the logical volume, and
    the file system."""

    def __init__(self, ec2: FakeEc2) -> None:
        """As disk.sh leaves a new host."""
        self.members = {
            str((ec2.dev / _link(name)).resolve()): int(volume["size"])
            for name, volume in ec2.volumes.items()
            if volume["member"]
        }
        self.logical = self.files = sum(self.members.values())
        self.broken: set[str] = set()

    def run(self, name: str, *given: str) -> str:
        """What a program prints. Raises DiskError, as for one that fails."""
        if name in self.broken:
            raise DiskError(f"{name}: {name} does not work")
        free = sum(self.members.values()) - self.logical
        match name:
            case "pvs":
                return "".join(f"  {member}\n" for member in self.members)
            case "vgextend":
                assert given[-1] not in self.members
                self.members[given[-1]] = int(Path(given[-1]).read_text())
            case "pvresize":
                self.members[given[-1]] = int(Path(given[-1]).read_text())
            case "vgs":
                return f"  {free * 256}\n"
            case "lvextend":
                assert free > 0, "no free extents"
                self.logical += free
            case "xfs_growfs":
                self.files = self.logical
            case _:
                raise AssertionError(name)
        return ""
