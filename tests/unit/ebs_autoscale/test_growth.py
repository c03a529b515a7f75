"""Growing against fakes of EC2 and of the tools, with faults and deaths at every step."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.ebs_autoscale.disks import DiskError, Disks
from orchestrator.ebs_autoscale.ec2 import Ec2Error
from orchestrator.ebs_autoscale.growth import CannotGrow, Growth, Host
from orchestrator.ebs_autoscale.journal import Journal
from tests.unit.ebs_autoscale.fakes import ARN, INSTANCE, FakeEc2, FakeTools, Killed

HOST = Host(INSTANCE, ARN, "us-east-1a", "dev", iops=3000, mib_per_second=250)
DAY = 86_400.0


@dataclass
class Worker:
    """A host, and the daemon that is on it now."""

    folder: Path
    ec2: FakeEc2
    tools: FakeTools
    now: float = 1_000_000.0
    waited: float = 0.0
    said: list[dict[str, Any]] = field(default_factory=list)

    def daemon(self, host: Host = HOST) -> Growth:
        """A new one: all it knows is in the journal and in EC2."""
        return Growth(
            host,
            self.ec2,
            Disks("/mnt", "orchestrator", by_id=self.ec2.dev, pause=self.pause),
            Journal(self.folder / "journal" / "state.json"),
            lambda event, **facts: self.said.append({"event": event, **facts}),
            clock=lambda: self.now,
            pause=self.pause,
        )

    def pause(self, seconds: float) -> None:
        self.waited += seconds

    @property
    def gib(self) -> int:
        """Of the file system."""
        return self.tools.files

    def check(self) -> None:
        """What must hold whenever nothing is going on."""
        assert len(self.ec2.volumes) == len(self.tools.members) + 1  # the root disk
        for name, volume in self.ec2.volumes.items():
            assert volume["status"] == "in-use", name
            assert volume["DeleteOnTermination"], name
            assert volume["tags"]["orchestrator:instance"] == ARN
        assert self.gib == sum(self.tools.members.values())


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worker:
    (tmp_path / "dev").mkdir()
    ec2 = FakeEc2(tmp_path / "dev")
    ec2.launch(200)
    made = Worker(tmp_path, ec2, FakeTools(ec2))
    monkeypatch.setattr(Disks, "_run", made.tools.run)
    return made


def started(worker: Worker) -> Growth:
    daemon = worker.daemon()
    daemon.start()
    return daemon


def use_up(worker: Worker, daemon: Growth) -> None:
    """Every modification that EBS allows in a day."""
    for gib in (210, 220, 230, 240):
        daemon.grow(gib)


def test_a_host_claims_its_volumes_once(worker: Worker) -> None:
    started(worker)
    worker.check()
    assert worker.ec2.made() == ["CreateTags", "CreateTags"]
    started(worker)
    assert worker.ec2.made() == ["CreateTags", "CreateTags"]


def test_the_volume_that_is_there_is_made_larger_first(worker: Worker) -> None:
    worker.ec2.slow_modifications = 3
    daemon = started(worker)
    daemon.grow(400)
    worker.check()
    assert worker.gib == 400
    assert worker.ec2.made()[2:] == ["ModifyVolume"]
    assert len(worker.ec2.volumes) == 2
    (call,) = [given for action, given in worker.ec2.calls if action == "ModifyVolume"]
    assert call.keys() == {"VolumeId", "Size"}  # other changes take hours


def test_another_one_is_added_when_none_may_be_changed_any_more(worker: Worker) -> None:
    daemon = started(worker)
    use_up(worker, daemon)
    assert len(worker.ec2.volumes) == 2
    daemon.grow(480)
    worker.check()
    assert worker.gib == 480
    assert worker.ec2.made()[-3:] == ["CreateVolume", "AttachVolume", "ModifyInstanceAttribute"]
    daemon.grow(960)  # the new one may be changed
    worker.check()
    assert worker.ec2.made()[-1] == "ModifyVolume"
    assert len(worker.ec2.volumes) == 3


def test_a_day_later_it_may_be_changed_again(worker: Worker) -> None:
    use_up(worker, started(worker))
    worker.now += DAY + 1
    worker.daemon().grow(480)
    worker.check()
    assert len(worker.ec2.volumes) == 2


@pytest.mark.parametrize("code", ["IncorrectModificationState", "VolumeModificationRateExceeded"])
def test_a_volume_that_ebs_is_busy_with_is_not_waited_for(worker: Worker, code: str) -> None:
    daemon = started(worker)
    worker.ec2.faults["ModifyVolume"] = [Ec2Error(code, "not yet")]
    daemon.grow(400)
    worker.check()
    assert worker.gib == 400
    assert "CreateVolume" in worker.ec2.made()


@pytest.mark.parametrize(
    "action", ["AttachVolume", "ModifyInstanceAttribute"], ids=["attaching", "letting go"]
)
def test_a_volume_that_would_outlive_its_host_is_taken_back(worker: Worker, action: str) -> None:
    daemon = started(worker)
    use_up(worker, daemon)
    worker.ec2.faults[action] = [Ec2Error("AttachmentLimitExceeded", "too many")]
    with pytest.raises(CannotGrow, match="too many"):
        daemon.grow(480)
    worker.check()
    assert worker.ec2.made()[-1] == "DeleteVolume"
    daemon.grow(480)  # the next time is a new one
    worker.check()
    assert worker.gib == 480


def test_a_refusal_changes_nothing(worker: Worker) -> None:
    daemon = started(worker)
    worker.ec2.faults["ModifyVolume"] = [Ec2Error("UnauthorizedOperation", "no")]
    with pytest.raises(Ec2Error, match="Unauthorized"):
        daemon.grow(400)
    worker.check()
    use_up(worker, daemon)  # it did not count
    worker.ec2.faults["CreateVolume"] = [Ec2Error("VolumeLimitExceeded", "no")]
    with pytest.raises(Ec2Error, match="VolumeLimit"):
        daemon.grow(480)
    worker.check()


@pytest.mark.parametrize(
    "action", ["CreateVolume", "AttachVolume", "ModifyInstanceAttribute", "DescribeVolumes"]
)
def test_an_answer_that_is_lost_makes_no_second_volume(worker: Worker, action: str) -> None:
    daemon = started(worker)
    use_up(worker, daemon)
    worker.ec2.faults[action] = [Ec2Error("Unreachable", "timed out")]
    with pytest.raises(Ec2Error, match="timed out"):
        daemon.grow(480)
    daemon.grow(480)
    worker.check()
    assert worker.gib == 480
    assert len(worker.ec2.volumes) == 3


def test_a_lost_answer_of_a_change_counts_and_is_found_out(worker: Worker) -> None:
    daemon = started(worker)
    worker.ec2.faults["ModifyVolume"] = [Ec2Error("Unreachable", "timed out")]
    with pytest.raises(Ec2Error):
        daemon.grow(400)
    daemon.grow(400)
    worker.check()
    assert worker.gib == 400
    assert worker.ec2.made().count("ModifyVolume") == 1


@pytest.mark.parametrize("how", ["resize", "add"])
@pytest.mark.parametrize("step", range(1, 12))
def test_a_daemon_that_is_killed_anywhere_is_followed_by_one_that_goes_on(
    worker: Worker, how: str, step: int
) -> None:
    daemon = started(worker)
    if how == "add":
        use_up(worker, daemon)
    worker.ec2.die_at = len(worker.ec2.calls) + step
    wanted = 480 if how == "add" else 400
    try:
        daemon.grow(wanted)
    except Killed:
        worker.ec2.die_at = 0
        worker.daemon().start()
        worker.check()
        worker.daemon().grow(wanted)
    worker.check()
    assert worker.gib == wanted
    assert len(worker.ec2.volumes) == (3 if how == "add" else 2)


@pytest.mark.parametrize("tool", ["pvs", "vgextend", "pvresize", "vgs", "lvextend", "xfs_growfs"])
def test_a_tool_that_fails_is_tried_again_and_nothing_is_added_twice(
    worker: Worker, tool: str
) -> None:
    daemon = started(worker)
    use_up(worker, daemon)
    worker.tools.broken = {tool}
    with pytest.raises(DiskError, match=f"{tool} does not work"):
        daemon.grow(480)
    worker.tools.broken = set()
    daemon.grow(480)
    worker.check()
    assert worker.gib == 480
    assert len(worker.ec2.volumes) == 3


def test_a_device_that_does_not_appear_is_not_waited_for_forever(worker: Worker) -> None:
    daemon = started(worker)
    use_up(worker, daemon)
    worker.ec2.no_devices = True
    with pytest.raises(DiskError, match="did not appear within 90 s"):
        daemon.grow(480)
    assert worker.waited < 200
    # It goes with its host all the same.
    assert all(v["DeleteOnTermination"] for v in worker.ec2.volumes.values())


def test_a_change_that_ebs_does_not_make_is_not_waited_for_forever(worker: Worker) -> None:
    daemon = started(worker)
    worker.ec2.slow_modifications = 10_000
    with pytest.raises(CannotGrow, match="in vain"):
        daemon.grow(400)
    assert worker.waited < 300


def test_what_was_made_and_never_attached_is_deleted(worker: Worker) -> None:
    daemon = started(worker)
    use_up(worker, daemon)
    worker.ec2.die_at = len(worker.ec2.calls) + 2  # CreateVolume, after looking
    with pytest.raises(Killed):
        daemon.grow(480)
    worker.ec2.die_at = 0
    (worker.folder / "journal" / "state.json").write_text("{")  # as after a disk's failure
    worker.daemon().start()
    worker.check()
    assert worker.ec2.made()[-1] == "DeleteVolume"


def test_disks_of_others_are_left_alone(worker: Worker) -> None:
    """A volume that somebody attached by hand is no part of the group."""
    worker.ec2._attach(worker.ec2._new(500, {"orchestrator:instance": ARN}), "/dev/xvdz")
    started(worker).grow(400)
    assert worker.gib == 400
    assert sorted(v["size"] for v in worker.ec2.volumes.values()) == [30, 400, 500]


def test_a_key_of_ones_own_encrypts_what_is_added(worker: Worker) -> None:
    daemon = worker.daemon(replace(HOST, kms_key="arn:of:key"))
    daemon.start()
    use_up(worker, daemon)
    daemon.grow(480)
    (call,) = [given for action, given in worker.ec2.calls if action == "CreateVolume"]
    assert call["KmsKeyId"] == "arn:of:key"
    assert call["Throughput"] == 250
