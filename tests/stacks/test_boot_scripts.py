"""The scripts that hosts run at boot, run here, with stand-ins for what only a host has."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from stacks import assets

TOOL = b"#!/bin/sh\necho a tool\n"
# Answers as the metadata service and S3 do, by URL; `broken` has how often S3 still fails.
CURL = """
echo "$*" >>"$STATE/argv"
url=${@: -1}
case $url in
  */api/token) printf token ;;
  */iam/security-credentials/) printf the-role ;;
  */iam/security-credentials/the-role)
    printf '{\\n "%s" : "%s",\\n "%s" : "%s",\\n "%s" : "%s"\\n}' \\
      AccessKeyId AKIDEXAMPLE SecretAccessKey SECRET/+= Token TOKEN== ;;
  https://*)
    cat >"$STATE/config"
    while [[ $1 != --output ]]; do shift; done
    left=$(cat "$STATE/broken" 2>/dev/null || echo 0)
    if ((left > 0)); then echo $((left - 1)) >"$STATE/broken"; printf half >"$2"; exit 0; fi
    cp "$STATE/object" "$2" ;;
  *) exit 22 ;;
esac
"""


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A directory of stand-ins, first on PATH."""
    for name, body in {"curl": CURL, "sleep": 'echo "$1" >>"$STATE/slept"'}.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "object").write_bytes(TOOL)
    return tmp_path


def _install(host: Path, sha256: str) -> subprocess.CompletedProcess[str]:
    tools = host / "with space" / "tools"
    script = "\n".join(
        [
            "ASSET_REGION=eu-central-1 ASSET_DOMAIN=amazonaws.com",
            f"TOOLS_PATH='{tools}'",
            f"TOOLS='s5cmd bucket key1 {sha256}\nbusybox bucket key2 {sha256}'",
            assets.script("fetch.sh", "worker/tools.sh"),
        ]
    )
    return subprocess.run(
        ["bash", "-s"],
        input=script,
        env={"PATH": f"{host}:/usr/bin:/bin", "STATE": str(host)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_tools_are_installed_under_their_names_and_sh_is_busybox(host: Path) -> None:
    done = _install(host, hashlib.sha256(TOOL).hexdigest())
    assert done.returncode == 0, done.stderr
    tools = host / "with space" / "tools"
    assert sorted(p.name for p in tools.iterdir()) == ["busybox", "s5cmd", "sh"]
    for name in ("busybox", "s5cmd", "sh"):
        assert subprocess.check_output([str(tools / name)], text=True) == "a tool\n"
    assert (tools / "sh").readlink() == Path("busybox")


def test_credentials_are_in_no_argument_list(host: Path) -> None:
    assert _install(host, hashlib.sha256(TOOL).hexdigest()).returncode == 0
    argv = (host / "argv").read_text()
    assert "https://bucket.s3.eu-central-1.amazonaws.com/key1" in argv
    assert "--aws-sigv4 aws:amz:eu-central-1:s3" in argv
    for secret in ("AKIDEXAMPLE", "SECRET", "TOKEN=="):
        assert secret not in argv
    assert (host / "config").read_text() == (
        'user = "AKIDEXAMPLE:SECRET/+="\nheader = "X-Amz-Security-Token: TOKEN=="\n'
    )


def test_an_object_that_comes_in_half_is_fetched_again(host: Path) -> None:
    (host / "broken").write_text("2")
    done = _install(host, hashlib.sha256(TOOL).hexdigest())
    assert done.returncode == 0
    assert (host / "slept").read_text().split() == ["3", "6"]
    assert (host / "with space" / "tools" / "s5cmd").read_bytes() == TOOL


def test_an_object_that_is_not_the_pinned_one_is_never_installed(host: Path) -> None:
    done = _install(host, hashlib.sha256(b"another").hexdigest())
    assert done.returncode != 0
    assert "gave up on s3://bucket/key1" in done.stderr
    assert list((host / "with space" / "tools").iterdir()) == []


def _run(script: str, host: Path) -> subprocess.CompletedProcess[str]:
    """Run a boot script with the paths it writes to moved below `host`."""
    for path in ("/etc/", "/var/lib/", "/opt/", "/usr/local/bin"):
        script = script.replace(path, f"{host}/root{path}")
    python = Path(sys.base_prefix) / "bin"
    return subprocess.run(
        ["bash", "-s"],
        input=script,
        env={"PATH": f"{host}:{python}:/usr/bin:/bin", "STATE": str(host)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _stand_in(host: Path, name: str, body: str) -> None:
    (host / name).write_text(f'#!/bin/bash\necho "{name} $*" >>"$STATE/calls"\n{body}\n')
    (host / name).chmod(0o755)


class Disks:
    """A host's disks: what lsblk lists, what has a file system, what is mounted."""

    def __init__(self, host: Path, lsblk: str) -> None:
        self.host = host
        (host / "lsblk.txt").write_text(lsblk)
        _stand_in(
            host,
            "lsblk",
            """case $1 in
              -n) grep -c "^$2" "$STATE/lsblk.txt" | xargs seq ;;
              *) cat "$STATE/lsblk.txt" ;;
            esac""",
        )
        _stand_in(
            host,
            "blkid",
            """case $1 in
              -L) test -e "$STATE/label.$2" ;;
              -p) grep -qs "^$2$" "$STATE/formatted" ;;
            esac""",
        )
        _stand_in(host, "mkfs.xfs", 'touch "$STATE/label.$3"; echo "$4" >>"$STATE/formatted"')
        _stand_in(host, "mountpoint", 'grep -qsxF "$2" "$STATE/mounted"')
        _stand_in(host, "mount", 'echo "${@: -1}" >>"$STATE/mounted"')
        _stand_in(host, "systemctl", "")
        _stand_in(host, "udevadm", "")
        _stand_in(host, "sleep", "")

    def boot(self) -> subprocess.CompletedProcess[str]:
        paths = f"SCRATCH_PATH='{self.host}/mnt/scratch' TOOLS_PATH=/opt/tools\n"
        return _run(paths + assets.script("worker/disk.sh"), self.host)

    def calls(self, program: str) -> list[str]:
        lines = (self.host / "calls").read_text().splitlines()
        return [line for line in lines if line.split()[0] == program]


# The root disk and its partition, an instance store, and the data disk; \x20 as lsblk writes it.
THREE_DISKS = r"""/dev/nvme0n1 disk Amazon\x20Elastic\x20Block\x20Store
/dev/nvme0n1p1 part
/dev/nvme1n1 disk Amazon\x20EC2\x20NVMe\x20Instance\x20Storage
/dev/nvme2n1 disk Amazon\x20Elastic\x20Block\x20Store
"""


def test_the_one_blank_ebs_disk_becomes_the_data_disk(host: Path) -> None:
    disks = Disks(host, THREE_DISKS)
    done = disks.boot()
    assert done.returncode == 0, done.stderr
    assert disks.calls("mkfs.xfs") == ["mkfs.xfs -q -L orchestrator /dev/nvme2n1"]
    mounted = [line.split()[-1] for line in disks.calls("mount")]
    assert [path.replace(str(host), "") for path in mounted] == [
        "/root/var/lib/orchestrator/volume",
        "/root/var/lib/docker",
        "/root/var/lib/containerd",
        "/mnt/scratch",
    ]


def test_a_second_boot_formats_nothing(host: Path) -> None:
    disks = Disks(host, THREE_DISKS)
    assert disks.boot().returncode == 0
    (host / "mounted").unlink()  # mounts end with the host, the file system stays
    assert disks.boot().returncode == 0
    assert len(disks.calls("mkfs.xfs")) == 1
    assert len(disks.calls("mount")) == 8


def test_what_is_mounted_is_not_mounted_again(host: Path) -> None:
    disks = Disks(host, THREE_DISKS)
    assert disks.boot().returncode == 0
    assert disks.boot().returncode == 0
    assert len(disks.calls("mount")) == 4


def test_a_disk_with_anything_on_it_is_never_formatted(host: Path) -> None:
    disks = Disks(host, THREE_DISKS)
    (host / "formatted").write_text("/dev/nvme2n1\n")
    done = disks.boot()
    assert done.returncode != 0
    assert "no data disk appeared within 60 s" in done.stderr
    assert disks.calls("mkfs.xfs") == []
    assert "mount" not in {line.split()[0] for line in (host / "calls").read_text().splitlines()}


def test_the_agent_is_held_back_before_anything_can_fail(host: Path) -> None:
    """Without its disk or tools a host must take no job: Docker would make empty directories."""
    disks = Disks(host, "")
    assert disks.boot().returncode != 0
    unit = (host / "root/etc/systemd/system/ecs.service.d/10-orchestrator.conf").read_text()
    assert f'ExecStartPre=/usr/bin/mountpoint -q "{host}/mnt/scratch"' in unit
    assert '/opt/tools/s5cmd"' in unit
    assert '/opt/tools/sh"' in unit


def _archive(path: Path, files: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)


def test_the_host_gets_a_command_with_its_packages_and_a_configuration(host: Path) -> None:
    cli = (
        "import sys, a_package\n"
        "def main():\n"
        "    print('configuration of', *sys.argv[1:], a_package.NAME)\n"
    )
    _archive(host / "app.zip", {"__init__.py": "", "cli.py": cli})
    _archive(host / "lib.zip", {"a_package.py": "NAME = 'with packages'\n"})
    fake = (host / "curl").read_text().replace('cp "$STATE/object"', 'cp "$STATE/${url##*/}"')
    (host / "curl").write_text(fake)
    _stand_in(host, "dnf", "")
    if not shutil.which("unzip"):  # dnf would have installed it
        _stand_in(host, "unzip", 'test -d "$4" && python3.11 -m zipfile -e "$2" "$4"')
    (host / "root/usr/local/bin").mkdir(parents=True)
    variables = (
        "ASSET_REGION=eu-central-1 ASSET_DOMAIN=amazonaws.com ENVIRONMENT=dev\n"
        "PATH=/usr/local/bin:$PATH\n"  # moved by _run like the rest
        "ARCHIVES='lib bucket lib.zip\napp/orchestrator bucket app.zip'\n"
    )
    script = variables + assets.script("fetch.sh", "host/install.sh")
    for _ in range(2):  # the same again: a boot that was interrupted is repeated
        done = _run(script, host)
        assert done.returncode == 0, done.stderr
    assert (host / "root/etc/orchestrator/orchestrator.conf").read_text() == (
        "configuration of config render dev with packages\n"
    )


@pytest.mark.parametrize("name", ["worker/disk.sh", "worker/tools.sh", "host/install.sh"])
def test_scripts_stop_at_the_first_failure(name: str) -> None:
    assert "\nset -euo pipefail\n" in assets.script(name)
