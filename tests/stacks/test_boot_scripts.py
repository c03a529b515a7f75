"""The scripts that hosts run at boot, run here, with stand-ins for what only a host has."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from orchestrator.ebs_autoscale import __main__ as ebs_autoscale
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
  */meta-data/instance-id) printf i-0a1b2c3d ;;
  http://127.0.0.1:8000/health)
    left=$(cat "$STATE/silent" 2>/dev/null || echo 0)
    if ((left > 0)); then echo $((left - 1)) >"$STATE/silent"; exit 7; fi ;;
  https://cloudformation.*)
    cat >/dev/null
    printf '%s\\n' "$@" | grep = >>"$STATE/signal" ;;
  https://secretsmanager.*)
    cat >/dev/null
    if [[ -f $STATE/secret ]]; then cat "$STATE/secret"; exit; fi
    printf '{"__type":"%s"}' "$(cat "$STATE/refusal" 2>/dev/null)"
    exit 22 ;;
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
            f"TOOLS_PATH='{tools}' DISK_KEY=arn:of:key",
            f"TOOLS='s5cmd bucket key1 {sha256}\nbusybox bucket key2 {sha256}'",
            "SERVICES='ebs_autoscale.zip bucket key3\nservices.sh bucket key4'",
            assets.script("worker/retire.sh", "fetch.sh", "worker/tools.sh"),
        ]
    )
    _stand_in(host, "systemctl", "")
    return _run(script, host)


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


def test_a_host_without_its_tools_ends_itself(host: Path) -> None:
    """Its group replaces it. Left alone it would be paid for, and jobs would wait for it."""
    assert _install(host, hashlib.sha256(b"another").hexdigest()).returncode != 0
    assert (host / "calls").read_text().splitlines() == ["systemctl --no-block poweroff"]


def test_a_host_that_cannot_report_still_works(host: Path) -> None:
    (host / "object").write_bytes(TOOL + b"exit 1\n")
    done = _install(host, hashlib.sha256(TOOL + b"exit 1\n").hexdigest())
    assert done.returncode == 0
    assert "this host sends no logs and no reports" in done.stderr
    assert not (host / "calls").exists()


_ABSOLUTE = re.compile(r"(?<![\w/.-])(/(?:etc|var/lib|var/log|opt|usr/local)/)")


def _run(script: str, host: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a boot script with the paths it writes to moved below `host`."""
    script = _ABSOLUTE.sub(f"{host}/root\\1", script)
    python = Path(sys.base_prefix) / "bin"
    return subprocess.run(
        ["bash", "-s"],
        input=script,
        env={"PATH": f"{host}:{python}:/usr/bin:/bin", "STATE": str(host), **variables},
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
        _stand_in(host, "vgs", 'test -e "$STATE/group"')
        _stand_in(host, "lvs", 'test -e "$STATE/logical"')
        _stand_in(host, "vgcreate", 'touch "$STATE/group"; echo "$3" >>"$STATE/formatted"')
        _stand_in(host, "lvcreate", 'touch "$STATE/logical"')
        _stand_in(host, "systemctl", "")
        _stand_in(host, "udevadm", "")
        _stand_in(host, "sleep", "")

    def boot(self) -> subprocess.CompletedProcess[str]:
        paths = f"SCRATCH_PATH='{self.host}/mnt/scratch' TOOLS_PATH=/opt/tools\n"
        return _run(paths + assets.script("worker/retire.sh", "worker/disk.sh"), self.host)

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
    assert disks.calls("vgcreate") == ["vgcreate -q orchestrator /dev/nvme2n1"]
    assert disks.calls("lvcreate") == ["lvcreate -q -y -l 100%FREE -n data orchestrator"]
    assert disks.calls("mkfs.xfs") == ["mkfs.xfs -q -L orchestrator /dev/orchestrator/data"]
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


@pytest.mark.parametrize("done", ["group", "group logical"])
def test_a_boot_that_ended_half_way_is_finished_by_the_next(host: Path, done: str) -> None:
    disks = Disks(host, THREE_DISKS)
    (host / "formatted").write_text("/dev/nvme2n1\n")  # as a part of the group
    for step in done.split():
        (host / step).touch()
    assert disks.boot().returncode == 0
    assert len(disks.calls("mkfs.xfs")) == 1
    assert disks.calls("vgcreate") == []
    assert len(disks.calls("lvcreate")) == (1 if done == "group" else 0)


def test_a_file_system_that_is_there_is_never_made_anew(host: Path) -> None:
    """Its label may not be seen at once after a boot."""
    disks = Disks(host, THREE_DISKS)
    for step in ("group", "logical"):
        (host / step).touch()
    (host / "formatted").write_text("/dev/nvme2n1\n/dev/orchestrator/data\n")
    assert disks.boot().returncode != 0
    assert disks.calls("mkfs.xfs") == []


@pytest.mark.parametrize(("failures", "works"), [(0, True), (4, True), (5, False)])
def test_lvm_is_installed_where_it_is_missing(host: Path, failures: int, works: bool) -> None:
    disks = Disks(host, THREE_DISKS)
    (host / "lvcreate").rename(host / "lvcreate.rpm")
    (host / "left").write_text(str(failures))
    _stand_in(
        host,
        "dnf",
        """left=$(cat "$STATE/left")
        if ((left > 0)); then echo $((left - 1)) >"$STATE/left"; exit 1; fi
        cp "$STATE/lvcreate.rpm" "$STATE/lvcreate"
        """,
    )
    done = disks.boot()
    assert (done.returncode == 0) == works, done.stderr
    assert set(disks.calls("dnf")) == {"dnf -q -y install lvm2"}
    assert len(disks.calls("mkfs.xfs")) == (1 if works else 0)


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


def test_a_host_without_its_disk_ends_itself(host: Path) -> None:
    disks = Disks(host, "")
    assert disks.boot().returncode != 0
    assert disks.calls("systemctl")[-1] == "systemctl --no-block poweroff"


def test_a_host_with_its_disk_goes_on(host: Path) -> None:
    disks = Disks(host, THREE_DISKS)
    assert disks.boot().returncode == 0
    assert disks.calls("systemctl") == ["systemctl daemon-reload"]


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


HOST = (
    "ASSET_REGION=eu-central-1 ASSET_DOMAIN=amazonaws.com ENVIRONMENT=dev\n"
    "HEALTH_SECONDS=2 LOG_GROUP=/a/group STACK=dev-host RESOURCE=TheGroup\n"
    "PATH=/usr/local/bin:$PATH\n"  # moved by _run like the rest
    "ARCHIVES='lib bucket lib.zip\napp/orchestrator bucket app.zip'\n"
    "FILES='/opt/orchestrator/reporting.sh bucket reporting.sh'\n"
)


@pytest.fixture
def orchestrator_host(host: Path) -> Path:
    cli = (
        "import sys, a_package\n"
        "def main():\n"
        "    print('configuration of', *sys.argv[1:], a_package.NAME)\n"
    )
    _archive(host / "app.zip", {"__init__.py": "", "cli.py": cli})
    _archive(host / "lib.zip", {"a_package.py": "NAME = 'with packages'\n"})
    (host / "reporting.sh").write_text('echo "reports of $ENVIRONMENT to $LOG_GROUP"\n')
    fake = (host / "curl").read_text().replace('cp "$STATE/object"', 'cp "$STATE/${url##*/}"')
    (host / "curl").write_text(fake)
    for name in ("dnf", "useradd", "systemctl"):
        _stand_in(host, name, "")
    (host / "root/var/log/orchestrator").mkdir(parents=True)
    (host / "root/var/log/orchestrator/server.log").write_text("the last words\n")
    if not shutil.which("unzip"):  # dnf would have installed it
        _stand_in(host, "unzip", 'test -d "$4" && python3.11 -m zipfile -e "$2" "$4"')
    (host / "root/usr/local/bin").mkdir(parents=True)
    return host


def _boot_orchestrator(host: Path) -> subprocess.CompletedProcess[str]:
    return _run(HOST + assets.script("fetch.sh", "host/install.sh"), host)


def test_the_host_gets_a_command_with_its_packages_and_a_configuration(
    orchestrator_host: Path,
) -> None:
    for _ in range(2):  # the same again: a boot that was interrupted is repeated
        done = _boot_orchestrator(orchestrator_host)
        assert done.returncode == 0, done.stderr
    assert "reports of dev to /a/group" in done.stdout
    etc = orchestrator_host / "root/etc/orchestrator"
    assert (etc / "orchestrator.conf").read_text() == (
        "configuration of config render dev with packages\n"
    )
    assert "AWS_REGION=eu-central-1\n" in (etc / "environment").read_text()
    assert (
        "systemctl enable --now orchestrator.service" in (orchestrator_host / "calls").read_text()
    )


def test_success_is_signalled_only_when_the_server_answers(orchestrator_host: Path) -> None:
    (orchestrator_host / "silent").write_text("3")
    done = _boot_orchestrator(orchestrator_host)
    assert done.returncode == 0, done.stderr
    assert (orchestrator_host / "silent").read_text() == "0\n"
    assert set((orchestrator_host / "signal").read_text().split()) == {
        "Action=SignalResource",
        "Version=2010-05-15",
        "StackName=dev-host",
        "LogicalResourceId=TheGroup",
        "UniqueId=i-0a1b2c3d",
        "Status=SUCCESS",
    }


def test_a_server_that_never_answers_fails_its_deployment(orchestrator_host: Path) -> None:
    (orchestrator_host / "silent").write_text("1000000")
    (orchestrator_host / "sleep").write_text("#!/bin/bash\nexec /bin/sleep 0.2\n")
    done = _boot_orchestrator(orchestrator_host)
    assert done.returncode != 0
    assert "no answer from /health within 2 s" in done.stderr
    assert "the last words" in done.stderr
    signals = (orchestrator_host / "signal").read_text()
    assert "Status=FAILURE" in signals
    assert "SUCCESS" not in signals


def test_a_host_that_cannot_be_installed_fails_its_deployment(orchestrator_host: Path) -> None:
    _stand_in(orchestrator_host, "dnf", "exit 1")
    assert _boot_orchestrator(orchestrator_host).returncode != 0
    assert "Status=FAILURE" in (orchestrator_host / "signal").read_text()


def test_no_credentials_are_in_any_argument_list_of_the_host(orchestrator_host: Path) -> None:
    assert _boot_orchestrator(orchestrator_host).returncode == 0
    argv = (orchestrator_host / "argv").read_text()
    assert "cloudformation.eu-central-1.amazonaws.com" in argv
    for secret in ("AKIDEXAMPLE", "SECRET", "TOKEN=="):
        assert secret not in argv


# --- Registries -----------------------------------------------------------------------------------


def _log_in(host: Path, secret: str = "arn:of:secret") -> subprocess.CompletedProcess[str]:
    variables = f"ASSET_REGION=eu-central-1 ASSET_DOMAIN=amazonaws.com REGISTRY_SECRET={secret}\n"
    _stand_in(host, "systemctl", "")
    scripts = assets.script("worker/retire.sh", "fetch.sh", "worker/registry.sh")
    return _run(variables + scripts, host)


def test_the_agent_gets_the_registries_passwords_in_a_file_of_roots(host: Path) -> None:
    data = {"registry.example.org": {"username": "u", "password": 'p"w $x'}}
    (host / "secret").write_text(json.dumps({"SecretString": json.dumps(data, indent=2)}))
    config = host / "root/etc/ecs/ecs.config"
    config.parent.mkdir(parents=True)
    config.write_text("ECS_CLUSTER=of-batch\n")
    done = _log_in(host)
    assert done.returncode == 0, done.stderr
    lines = dict(line.split("=", 1) for line in config.read_text().splitlines())
    assert lines["ECS_CLUSTER"] == "of-batch"
    assert lines["ECS_ENGINE_AUTH_TYPE"] == "docker"
    assert json.loads(lines["ECS_ENGINE_AUTH_DATA"]) == data
    assert config.stat().st_mode & 0o777 == 0o600
    assert 'p"w' not in (host / "argv").read_text()


@pytest.mark.parametrize("secret", [None, "{}", json.dumps({"SecretString": "not JSON"})])
def test_a_host_that_cannot_log_in_takes_no_jobs(host: Path, secret: str | None) -> None:
    """They would fail to pull: the host ends itself instead."""
    if secret is not None:
        (host / "secret").write_text(secret)
    assert _log_in(host).returncode != 0
    assert "systemctl --no-block poweroff" in (host / "calls").read_text()


def test_a_host_begins_without_a_login_that_nobody_has_configured_yet(host: Path) -> None:
    (host / "refusal").write_text("ResourceNotFoundException")
    done = _log_in(host, "orchestrator/dev/docker-hub")
    assert done.returncode == 0, done.stderr
    assert "no login to Docker Hub yet" in done.stderr
    assert not (host / "root/etc/ecs/ecs.config").exists()


@pytest.mark.parametrize(
    ("secret", "refusal"),
    [
        ("arn:of:secret", "ResourceNotFoundException"),
        ("orchestrator/dev/docker-hub", "AccessDeniedException"),
    ],
)
def test_a_host_that_is_refused_its_login_takes_no_jobs(
    host: Path, secret: str, refusal: str
) -> None:
    (host / "refusal").write_text(refusal)
    assert _log_in(host, secret).returncode != 0
    assert "systemctl --no-block poweroff" in (host / "calls").read_text()


# --- Reports --------------------------------------------------------------------------------------


def _start_reporting(host: Path, kind: str, **variables: str) -> None:
    for name in ("systemctl", "dnf"):
        _stand_in(host, name, "")
    agent = host / "root/opt/aws/amazon-cloudwatch-agent/bin"
    agent.mkdir(parents=True)
    (agent / "amazon-cloudwatch-agent-ctl").write_text(
        '#!/bin/bash\necho "agent $*" >>"$STATE/calls"\n'
    )
    (agent / "amazon-cloudwatch-agent-ctl").chmod(0o755)
    (host / "root/etc/systemd/system").mkdir(parents=True)
    done = _run(
        assets.script("report.sh", f"{kind}/report.sh"), host, LOG_GROUP="/a/group", **variables
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", ["worker", "host"])
def test_logs_and_reports_are_sent_to_the_hosts_own_log_group(host: Path, kind: str) -> None:
    _start_reporting(host, kind, SCRATCH_PATH=str(host), ENVIRONMENT="dev")
    config = json.loads(
        (host / "root/opt/aws/amazon-cloudwatch-agent/etc/orchestrator.json").read_text()
    )
    assert set(config) == {"agent", "logs"}  # no metrics: the role may not write any
    files = config["logs"]["logs_collected"]["files"]["collect_list"]
    assert {file["log_group_name"] for file in files} == {"/a/group"}
    names = [file["log_stream_name"] for file in files]
    assert "{instance_id}/report" in names
    assert "{instance_id}/boot" in names
    calls = (host / "calls").read_text()
    assert "systemctl enable --now orchestrator-report.timer" in calls
    assert "agent -a fetch-config -m ec2 -s -c file:" in calls


def test_a_worker_reports_how_full_its_data_disk_is(host: Path) -> None:
    _start_reporting(host, "worker", SCRATCH_PATH="/mnt/with space")
    program = host / "root/usr/local/lib/orchestrator/report"
    _stand_in(host, "df", 'printf "Use%% IUse%%\\n 41%%  7%%\\n"')
    line = subprocess.check_output(
        [str(program)], env={"PATH": f"{host}:/usr/bin:/bin", "STATE": str(host)}, text=True
    )
    assert json.loads(line) == {"disk_used_percent": 41}
    assert "df --output=pcent,ipcent /mnt/with space" in (host / "calls").read_text()
    _stand_in(host, "df", 'printf "Use%% IUse%%\\n 41%%  99%%\\n"')  # inodes run out as well
    line = subprocess.check_output(
        [str(program)], env={"PATH": f"{host}:/usr/bin:/bin", "STATE": str(host)}, text=True
    )
    assert json.loads(line) == {"disk_used_percent": 99}


# --- The disk that grows --------------------------------------------------------------------------


def _start_services(host: Path, max_gib: int) -> subprocess.CompletedProcess[str]:
    _stand_in(host, "systemctl", "")
    (host / "root/etc/systemd/system").mkdir(parents=True)
    return _run(
        assets.script("worker/growth.sh"),
        host,
        SCRATCH_PATH="/mnt/scratch",
        ENVIRONMENT="dev",
        IOPS="3000",
        MIB_PER_SECOND="250",
        MAX_GIB=str(max_gib),
        DAEMON="/var/lib/orchestrator/ebs_autoscale.zip",
        ASSET_REGION="eu-central-1",
        ASSET_DOMAIN="amazonaws.com",
        DISK_KEY="",
    )


def test_the_daemon_is_started_with_settings_that_it_takes(host: Path) -> None:
    done = _start_services(host, 2000)
    assert done.returncode == 0, done.stderr
    settings = json.loads((host / "root/etc/orchestrator/disk.json").read_text())
    assert settings["max_gib"] == 2000
    assert settings["endpoint"] == "https://ec2.eu-central-1.amazonaws.com"
    assert ebs_autoscale.make(settings, _Metadata())
    unit = (host / "root/etc/systemd/system/orchestrator-disk.service").read_text()
    assert f"-m ebs_autoscale {host}/root/etc/orchestrator/disk.json" in unit
    assert "systemctl enable --now orchestrator-disk.service" in (host / "calls").read_text()


class _Metadata:
    def get(self, path: str) -> str:
        return {
            "instance-id": "i-0a1b2c3d",
            "placement/availability-zone": "eu-central-1a",
            "services/partition": "aws",
            "identity-credentials/ec2/info": '{"AccountId": "111122223333"}',
        }[path]


def test_a_disk_that_may_not_grow_has_no_daemon(host: Path) -> None:
    done = _start_services(host, 0)
    assert done.returncode == 0, done.stderr
    assert not (host / "calls").exists()


def test_a_daemon_that_does_not_start_is_told_and_the_host_works(host: Path) -> None:
    _stand_in(host, "systemctl", "exit 1")
    (host / "root/etc/systemd/system").mkdir(parents=True)
    done = _run(
        assets.script("worker/growth.sh") + "\necho went on",
        host,
        **dict.fromkeys(("SCRATCH_PATH", "ENVIRONMENT", "IOPS", "MIB_PER_SECOND", "DAEMON"), "1"),
        MAX_GIB="5",
        ASSET_REGION="r",
        ASSET_DOMAIN="d",
    )
    assert done.returncode == 0
    assert "does not grow" in done.stderr
    assert "went on" in done.stdout
