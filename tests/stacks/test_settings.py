from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator import errors
from stacks.settings import ROOT, Settings, from_context

MINIMAL = 'account = "123456789012"\nregion = "eu-central-1"\n'


def _write(root: Path, text: str, name: str = "dev") -> Path:
    path = root / "environments" / f"{name}.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def _findings(root: Path, **context: Any) -> list[str]:
    with pytest.raises(errors.InvalidConfig) as raised:
        from_context(context, root)
    assert raised.value.exit_code == 3
    return [str(finding) for finding in raised.value.findings]


@pytest.mark.parametrize("path", sorted((ROOT / "environments").glob("*.toml")))
def test_every_shipped_environment_is_valid(path: Path) -> None:
    assert from_context({"environment": path.stem}).environment == path.stem


def test_dev_is_the_default_and_account_and_region_suffice(tmp_path: Path) -> None:
    _write(tmp_path, MINIMAL)
    settings = from_context({}, tmp_path)
    assert settings.environment == "dev"
    assert settings.retention == "keep"
    assert settings.network.egress == "nat_single"
    assert settings.worker.scratch_path == "/mnt/scratch"


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    _write(tmp_path, MINIMAL)
    settings = from_context({}, tmp_path)
    with pytest.raises(ValidationError):
        settings.region = "us-east-1"  # type: ignore[misc]


def test_every_defect_is_reported_at_once_with_its_place(tmp_path: Path) -> None:
    _write(
        tmp_path,
        """
        account = "12"
        regoin = "us-east-1"
        [network]
        cidr = "8.8.8.0/16"
        [compute]
        spot_max_vcpus = -1
        [databse]
        """,
    )
    found = _findings(tmp_path)
    assert all(text.startswith("environments/dev.toml:") for text in found)
    text = "\n".join(found)
    for expected in (
        "account: ",
        "region: must be given",
        "regoin: unknown key\n    help: did you mean 'region'?",
        "network.cidr: ",
        "compute.spot_max_vcpus: ",
        "databse: unknown key\n    help: did you mean 'database'?",
    ):
        assert expected in text
    assert len(found) == 6


def test_an_unknown_key_of_a_section_is_suggested_from_that_section(tmp_path: Path) -> None:
    _write(tmp_path, MINIMAL + "[worker]\nscratchpath = '/x'\n")
    assert _findings(tmp_path) == [
        "environments/dev.toml:4: worker.scratchpath: unknown key\n"
        "    help: did you mean 'scratch_path'?"
    ]


def test_an_unknown_environment_lists_those_that_are_there(tmp_path: Path) -> None:
    _write(tmp_path, MINIMAL)
    _write(tmp_path, MINIMAL, "production")
    with pytest.raises(errors.InvalidConfig, match="no environment 'prodction'") as raised:
        from_context({"environment": "prodction"}, tmp_path)
    assert raised.value.hint == "environments here: dev, production; did you mean 'production'?"


def test_text_that_is_not_toml_is_named_with_its_place(tmp_path: Path) -> None:
    path = _write(tmp_path, "account = \n")
    with pytest.raises(errors.InvalidConfig, match="line 1") as raised:
        from_context({}, tmp_path)
    assert str(raised.value.place) == str(path)


def test_a_file_elsewhere_can_be_chosen_and_names_the_environment(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINIMAL)
    assert from_context({"settings": str(tmp_path / "mine.toml")}).environment == "mine"
    assert from_context({"settings": "mine.toml"}, tmp_path).environment == "mine"
    chosen = from_context({"settings": "mine.toml", "environment": "test"}, tmp_path)
    assert chosen.environment == "test"


def test_a_file_of_another_environment_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, MINIMAL + 'environment = "production"\n')
    assert "environment is 'production' here, but 'dev' was chosen" in _findings(tmp_path)[0]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("worker.tools_path", "/home/me/a b/tools", "/home/me/a b/tools"),
        ("worker.root_volume_gib", "55", 55),
        ("host.enabled", "false", False),
        ("host.enabled", True, True),  # cdk.json's context has types
        ("compute.instance_types", '["m7g"]', ("m7g",)),
        ("account", "000000000001", "000000000001"),
        ("account", "123456789012", "123456789012"),
        ("tags.team", "genomics", "genomics"),
    ],
)
def test_context_overrides_one_value(tmp_path: Path, key: str, value: Any, expected: Any) -> None:
    _write(tmp_path, MINIMAL)
    found: Any = from_context({f"set.{key}": value}, tmp_path)
    for part in key.split("."):
        found = found[part] if isinstance(found, dict) else getattr(found, part)
    assert found == expected


def test_an_override_into_a_value_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, MINIMAL)
    with pytest.raises(errors.InvalidConfig, match="region is not a section"):
        from_context({"set.region.name": "x"}, tmp_path)


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("enviroment", "did you mean 'environment'?"),
        ("setings", "did you mean 'settings'?"),
        ("worker.tools_path", "did you mean -c set.worker.tools_path?"),
    ],
)
def test_context_that_was_meant_for_us_but_has_no_effect_is_refused(
    tmp_path: Path, key: str, hint: str
) -> None:
    _write(tmp_path, MINIMAL)
    (finding,) = _findings(tmp_path, **{key: "x"})
    assert hint in finding


def test_context_of_cdk_itself_is_left_alone(tmp_path: Path) -> None:
    _write(tmp_path, MINIMAL)
    context = {
        "@aws-cdk/core:target-partitions": ["aws"],
        "cli-telemetry": False,
        "aws:cdk:bundling-stacks": ["**"],
        "availability-zones:account=1:region=us-east-1": ["us-east-1a"],
    }
    assert from_context(context, tmp_path).environment == "dev"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[storage]\nroot_prefix = 'a'\nscratch_prefix = 'a/b'", "must not lie in each other"),
        ("[storage]\nroot_prefix = 'a/b'\nscratch_prefix = 'a'", "must not lie in each other"),
        ("[storage]\nroot_prefix = '/a'", "storage.root_prefix"),
        ("[storage]\nscratch_expiry_days = 1", "storage.scratch_expiry_days"),
        ("[database]\nmin_acu = 8\nmax_acu = 2", "database.min_acu: 8 must not be above max_acu 2"),
        ("[compute]\ninstance_types = ['m6i', 'm7g']", "all of one architecture"),
        ("[compute]\ninstance_types = []", "at least one type"),
        ("[compute]\ninstance_types = ['m6i.3xlarge', 'q9']", "unknown m6i.3xlarge, q9"),
        ("[compute]\nspot_max_vcpus = 0", "compute.default_queue: is 'spot', which has 0 vCPUs"),
        ("[network]\nzones = ['a']", "2 to 6 different zones"),
        ("[network]\nzones = ['a', 'a']", "2 to 6 different zones"),
        ("[network]\ncidr = '10.0.0.0/28'", "between /16 and /24"),
        ("[network]\ncidr = '10.0.0.1/16'", "has host bits set"),
        ("[worker]\ntools_path = 'opt/tools'", "worker.tools_path"),
        ("[worker]\ntools_path = '/opt/../etc'", "must not contain . or .."),
        ("[worker]\nscratch_path = '/a:b'", "worker.scratch_path"),
        ("[worker]\nscratch_path = '/a$(reboot)'", "worker.scratch_path"),
        ("[host]\ninstance_type = 'mainframe'", "host.instance_type"),
    ],
)
def test_a_value_that_cannot_work_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    _write(tmp_path, MINIMAL + text)
    (finding,) = _findings(tmp_path)
    assert expected in finding


def test_all_sections_are_optional_and_all_keys_documented_by_type() -> None:
    for name, field in Settings.model_fields.items():
        if name not in ("environment", "account", "region"):
            assert not field.is_required(), name
