"""What hosts are given to boot with, as the programs that read it would check it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import jsonschema
import pytest
import yaml
from aws_cdk.assertions import Template

from stacks import assets
from tests.stacks.text import mime_parts, render

SCHEMA = Path(__file__).with_name("cloud_init") / "schema-cloud-config-v1.json"
ODD = {
    "set.worker.tools_path": "/srv/with space/tools",
    "set.worker.scratch_path": "/mnt/(x)",
    "set.registries.host_secret": "arn:aws:secretsmanager:us-east-1:111122223333:secret:r-abcdef",
    "set.compute.gpu": '{instance_types = ["g5"], spot_max_vcpus = 8}',
    "set.compute.fuse_mount": "true",
}
LONGEST = {
    "set.worker.tools_path": "/" + "t" * 120,
    "set.worker.scratch_path": "/" + "s" * 120,
    "set.registries.host_secret": (
        f"arn:aws:secretsmanager:us-east-1:111122223333:secret:{'r' * 120}-abcdef"
    ),
}


@pytest.fixture(scope="module")
def parts(
    templates: Mapping[str, Template], synthesise: Callable[..., Mapping[str, Template]]
) -> list[tuple[str, str]]:
    """Every part of every kind of host, of an ordinary environment and of an odd one."""
    return [
        part
        for made in (templates, synthesise(**ODD))
        for user_data in _all_of(made)
        for part in mime_parts(user_data)
    ]


def _all_of(made: Mapping[str, Template]) -> Iterator[str]:
    for template in (made["compute"], made["host"]):
        for entry in template.find_resources("AWS::EC2::LaunchTemplate").values():
            yield render(entry["Properties"]["LaunchTemplateData"]["UserData"])


def test_it_stays_below_8_kb_with_long_names_too(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    """EC2 takes 16 KiB, and AWS Batch adds a part of its own."""
    sizes = [len(text.encode()) for text in _all_of(synthesise(**LONGEST))]
    assert len(sizes) == 2
    assert max(sizes) < 8_000


def test_shellcheck_finds_nothing(parts: list[tuple[str, str]]) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("there is no shellcheck")
    scripts = [body for kind, body in parts if kind != "text/cloud-config"]
    scripts += [
        f"#!/bin/bash\n{assets.script(*names)}"
        for names in (
            ("worker/growth.sh", "report.sh", "worker/report.sh"),
            ("report.sh", "host/report.sh"),
        )
    ]
    assert len(scripts) == 10
    for script in scripts:
        checked = subprocess.run(
            ["shellcheck", "--shell=bash", "--severity=info", "-"],
            input=script,
            text=True,
            capture_output=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stdout


def test_scripts_are_bash_and_stop_at_the_first_failure(parts: list[tuple[str, str]]) -> None:
    for kind, script in parts:
        if kind == "text/cloud-config":
            continue
        assert script.startswith("#!/bin/bash\n")
        assert "\nset -euo pipefail\n" in script
        checked = subprocess.run(
            ["bash", "-n"], input=script, text=True, capture_output=True, check=False
        )
        assert (checked.returncode, checked.stderr) == (0, "")


def test_cloud_init_takes_its_configuration(parts: list[tuple[str, str]]) -> None:
    schema = json.loads(SCHEMA.read_text())
    validator = jsonschema.Draft4Validator(schema)
    configurations = [body for kind, body in parts if kind == "text/cloud-config"]
    assert len(configurations) == 5
    for text in configurations:
        assert text.startswith("#cloud-config\n")
        assert list(validator.iter_errors(yaml.safe_load(text))) == []
    broken = {"write_files": [{"path": 1, "contents": "x"}]}
    assert list(validator.iter_errors(broken)), "the schema finds nothing at all"
