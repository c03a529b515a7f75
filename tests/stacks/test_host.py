from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from typing import Any

from aws_cdk.assertions import Template

from tests.stacks.text import render


def _instance(template: Template) -> dict[str, Any]:
    (entry,) = template.find_resources("AWS::EC2::Instance").values()
    return dict(entry["Properties"])


def test_the_host_has_an_encrypted_disk_and_only_the_second_metadata_version(
    templates: Mapping[str, Template],
) -> None:
    instance = _instance(templates["host"])
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert instance["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    assert [d["Ebs"]["Encrypted"] for d in instance["BlockDeviceMappings"]] == [True]
    assert "KeyName" not in instance


def test_the_host_boots_only_after_its_contract_and_its_rights(
    bodies: Mapping[str, dict[str, Any]],
) -> None:
    resources = bodies["host"]["Resources"]
    (instance,) = [r for r in resources.values() if r["Type"] == "AWS::EC2::Instance"]
    needed = {resources[name]["Type"] for name in instance["DependsOn"]}
    assert {"AWS::IAM::Policy", "AWS::SSM::Parameter"} <= needed


def test_the_boot_script_is_clean_bash_and_holds_no_secret(
    templates: Mapping[str, Template],
) -> None:
    script = render(_instance(templates["host"])["UserData"])
    assert script.startswith("#!/bin/bash\n")
    assert len(script.encode()) < 16_000
    assert "Secret" not in script.replace("SecretAccessKey", "")
    checked = subprocess.run(
        ["bash", "-n"], input=script, text=True, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_an_environment_can_do_without_a_host(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    host = synthesise(**{"set.host.enabled": "false"})["host"]
    host.resource_count_is("AWS::EC2::Instance", 0)
    host.resource_count_is("AWS::SSM::Parameter", 1)


def test_an_arm_host_gets_an_arm_image(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    host = synthesise(**{"set.host.instance_type": "t4g.medium"})["host"].to_json()
    (parameter,) = host["Parameters"].values()
    assert parameter["Default"].endswith("-arm64")
