from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from aws_cdk.assertions import Template

from stacks import assets
from tests.stacks.text import mime_parts, render


def _launch_template(template: Template) -> dict[str, Any]:
    (entry,) = template.find_resources("AWS::EC2::LaunchTemplate").values()
    return dict(entry["Properties"]["LaunchTemplateData"])


def _group(template: Template) -> tuple[str, dict[str, Any]]:
    ((name, entry),) = template.find_resources("AWS::AutoScaling::AutoScalingGroup").items()
    return name, entry


def _user_data(template: Template) -> str:
    return render(_launch_template(template)["UserData"])


def test_the_host_has_an_encrypted_disk_and_only_the_second_metadata_version(
    templates: Mapping[str, Template],
) -> None:
    data = _launch_template(templates["host"])
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert data["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    assert [d["Ebs"]["Encrypted"] for d in data["BlockDeviceMappings"]] == [True]
    assert "KeyName" not in data


def test_the_host_is_a_group_of_one_in_private_subnets(templates: Mapping[str, Template]) -> None:
    host = templates["host"]
    _, entry = _group(host)
    properties = entry["Properties"]
    assert (properties["MinSize"], properties["MaxSize"]) == ("1", "1")
    subnets = [str(subnet) for subnet in properties["VPCZoneIdentifier"]]
    assert len(subnets) == 2
    assert all("Vpchosts" in subnet for subnet in subnets)
    assert "NetworkInterfaces" not in _launch_template(host)
    name = properties["LaunchTemplate"]["LaunchTemplateId"]["Ref"]
    version = properties["LaunchTemplate"]["Version"]
    assert version == {"Fn::GetAtt": [name, "LatestVersionNumber"]}


def test_no_port_is_open(templates: Mapping[str, Template]) -> None:
    host = templates["host"]
    for group in host.find_resources("AWS::EC2::SecurityGroup").values():
        assert "SecurityGroupIngress" not in group["Properties"]
    (ingress,) = host.find_resources("AWS::EC2::SecurityGroupIngress").values()
    assert ingress["Properties"]["FromPort"] == 5432  # into the database, from the host
    assert "CidrIp" not in ingress["Properties"]


def test_a_public_host_has_an_address_and_no_open_port_either(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    host = synthesise(**{"set.host.mode": "public", "set.host.instance_type": "t4g.medium"})["host"]
    (interface,) = _launch_template(host)["NetworkInterfaces"]
    assert interface["AssociatePublicIpAddress"] is True
    _, entry = _group(host)
    assert all("Vpcpublic" in str(s) for s in entry["Properties"]["VPCZoneIdentifier"])
    for group in host.find_resources("AWS::EC2::SecurityGroup").values():
        assert "SecurityGroupIngress" not in group["Properties"]


def test_a_deployment_waits_until_the_server_answers_or_is_rolled_back(
    templates: Mapping[str, Template],
) -> None:
    host = templates["host"]
    name, entry = _group(host)
    assert entry["CreationPolicy"] == {"ResourceSignal": {"Count": 1, "Timeout": "PT20M"}}
    update = entry["UpdatePolicy"]["AutoScalingRollingUpdate"]
    assert update["WaitOnResourceSignals"] is True
    assert update["PauseTime"] == "PT20M"
    _, script = mime_parts(_user_data(host))[-1]
    assert f"RESOURCE={name}\n" in script
    assert "STACK=dev-host\n" in script
    # It gives up before CloudFormation does, and says so.
    assert "HEALTH_SECONDS=1080\n" in script


def test_the_host_boots_only_when_all_that_it_needs_is_there(
    bodies: Mapping[str, dict[str, Any]],
) -> None:
    resources = bodies["host"]["Resources"]
    (group,) = [r for r in resources.values() if r["Type"] == "AWS::AutoScaling::AutoScalingGroup"]
    needed = [resources[name]["Type"] for name in group["DependsOn"]]
    assert needed.count("AWS::IAM::Policy") == 2
    assert "AWS::Logs::LogGroup" in needed
    assert "AWS::EC2::SecurityGroupIngress" in needed


def test_logs_do_not_stay_for_ever(templates: Mapping[str, Template]) -> None:
    templates["host"].has_resource_properties(
        "AWS::Logs::LogGroup",
        {"LogGroupName": "/orchestrator/dev/host", "RetentionInDays": 30},
    )


def test_user_data_is_small_and_holds_no_secret(templates: Mapping[str, Template]) -> None:
    user_data = _user_data(templates["host"])
    assert len(user_data.encode()) < 8_000
    assert [kind for kind, _ in mime_parts(user_data)] == [
        "text/cloud-config",
        "text/x-shellscript",
    ]
    for word in ("password", "secretsmanager", "SecretString"):
        assert word not in user_data


def test_an_environment_can_do_without_a_host(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    made = synthesise(**{"set.host.enabled": "false"})
    assert "host" not in made
    alarms = made["monitoring"].find_resources("AWS::CloudWatch::Alarm").values()
    assert "dev-Heartbeat" not in {a["Properties"]["AlarmName"] for a in alarms}


def test_the_image_is_one_that_only_people_move(templates: Mapping[str, Template]) -> None:
    host = templates["host"]
    image = _launch_template(host)["ImageId"]["Ref"]
    parameter = host.to_json()["Parameters"][image]
    assert parameter["Default"] == "/orchestrator/dev/images/host"


# --- The service ----------------------------------------------------------------------------------

NEEDS_SYSTEMD = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze"
)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with programs and files that this machine has."""
    text = assets.script("host/orchestrator.service")
    program = tmp_path / "orchestrator"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (tmp_path / "user").mkdir()
    unit = tmp_path / "orchestrator.service"
    unit.write_text(
        text.replace("/opt/orchestrator/venv/bin/orchestrator", str(program)).replace(
            "User=orchestrator", "User=root"
        )
    )
    return unit


@NEEDS_SYSTEMD
def test_systemd_takes_the_unit(unit: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if "orchestrator" in line]
    assert (done.returncode, ours) == (0, [])


@NEEDS_SYSTEMD
def test_systemd_finds_the_service_little_exposed() -> None:
    """Of 10.0, which is a service that may do anything; the network it needs counts 0.8 alone."""
    done = subprocess.run(
        [
            *("systemd-analyze", "security", "--offline=true", "--threshold=16", "--no-pager"),
            str(assets.SCRIPTS / "host" / "orchestrator.service"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-500:]


def test_the_service_is_the_server_with_the_rendered_configuration() -> None:
    lines = assets.script("host/orchestrator.service").splitlines()
    assert (
        "ExecStart=/opt/orchestrator/venv/bin/orchestrator server "
        "--config /etc/orchestrator/orchestrator.conf"
    ) in lines
    assert {"User=orchestrator", "NoNewPrivileges=yes", "Restart=always"} <= set(lines)
