"""The scripts that hosts run at boot, run here, with stand-ins for what only a host has."""

from __future__ import annotations

import hashlib
import subprocess
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


@pytest.mark.parametrize("name", ["worker/disk.sh", "worker/tools.sh", "host/install.sh"])
def test_scripts_stop_at_the_first_failure(name: str) -> None:
    assert "\nset -euo pipefail\n" in assets.script(name)
