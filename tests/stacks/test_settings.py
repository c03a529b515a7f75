from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator import errors
from stacks.settings import ROOT, Settings, check, from_context, places, reference

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


SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret"
VPC = "[network]\negress = 'existing'\n[network.existing]\nvpc_id = 'vpc-0a1b2c3d'\n"
SUBNETS = (
    "host_subnets = ['subnet-0a1b2c3d']\n"
    "database_subnets = ['subnet-0a1b2c3e', 'subnet-0a1b2c3f']\n"
)
BAD = [
    ("production = true\nretention = 'destroy'\n[database]\nmin_acu = 1", "must keep its data"),
    ("log_retention_days = 31", "log_retention_days: must be 1, 3, 5"),
    ("[tags]\n'aws:x' = 'y'", "'aws:x' cannot be the name of a tag"),
    ("[tags]\n'orchestrator:x' = 'y'", "cannot be the name of a tag"),
    ("[storage]\nroot_prefix = 'a'\nscratch_prefix = 'a/b'", "must not lie in each other"),
    ("[storage]\nroot_prefix = 'a/b'\nscratch_prefix = 'a'", "must not lie in each other"),
    ("[storage]\nroot_prefix = '/a'", "storage.root_prefix: must be a prefix of keys"),
    ("[storage]\nscratch_expiry_days = 1", "must be greater than or equal to 8"),
    ("[storage]\nexisting_bucket = 's3://b/x'", "must be the name of a bucket, not an URL"),
    ("[storage]\nread_buckets = ['abc', 'abc']", "must not name anything twice"),
    ("[storage]\nexisting_bucket = 'abc'\nversioning = true", "versioning: has no effect"),
    ("[encryption]\nkms_key = 'alias/mine'", "the ARN of a KMS key (not an alias)"),
    (
        "[encryption]\nkms_key = 'arn:aws:kms:eu-west-1:123456789012:key/"
        "01234567-89ab-cdef-0123-456789abcdef'",
        "is in eu-west-1, this environment is in eu-central-1",
    ),
    ("[database]\nmin_acu = 8\nmax_acu = 2", "database.min_acu: 8 must not be above max_acu 2"),
    ("[database]\nmin_acu = 0.3", "must be a multiple of 0.5"),
    ("[database]\nengine_version = '15.4'", "15.4 cannot pause, and min_acu is 0"),
    ("[database]\nengine_version = '9.6'", "must be a version of Aurora PostgreSQL"),
    ("[database]\nuser = 'rdsadmin'", "must be a user of PostgreSQL"),
    ("[database]\nuser = 'bootstrap'", "is the master's name"),
    ("production = true\n[database]\nmin_acu = 0", "lets the database of a production"),
    ("production = true\n[database]\nmin_acu = 1\nlogin = 'secret'", "as the master"),
    ("[compute]\ninstance_types = ['m6i', 'm7g']", "all of one architecture"),
    ("[compute]\ninstance_types = []", "at least one type"),
    ("[compute]\ninstance_types = ['m6i.3xlarge', 'q9']", "unknown m6i.3xlarge, q9"),
    ("[compute]\nspot_max_vcpus = 0", "compute.default_queue: is 'spot', which has 0 vCPUs"),
    ("[compute]\ndefault_queue = 'priority'", "is 'priority', which has 0 vCPUs"),
    ("[compute]\non_demand_max_vcpus = 0\nspot_falls_back = true", "spot_falls_back: needs"),
    ("[compute]\nwarm_minutes = 5", "must be 0 or 20 to 10080"),
    ("[compute]\nupdate_drain_minutes = 9000", "less than or equal to 7200"),
    ("[compute.gpu]\ninstance_types = ['g5']", "has 0 vCPUs: nothing would be built"),
    ("[compute.gpu]\ninstance_types = ['m6i']\nspot_max_vcpus = 8", "m6i: no GPU"),
    ("[compute.arm64]\ninstance_types = ['m6i']\nspot_max_vcpus = 8", "must be Graviton types"),
    ("[compute.images]\nx86_64 = '/aws/service/x/latest/image_id'", "moves by itself"),
    ("[compute.images]\narm64 = 'ami-1'", "must be the id of an AMI"),
    ("[compute.fair_share.weights]\n'a-b' = 1.0", "must be a share identifier"),
    ("[network]\nzones = ['a']", "2 to 6 different zones"),
    ("[network]\nzones = ['a', 'a']", "2 to 6 different zones"),
    ("[network]\ncidr = '10.0.0.0/28'", "between /16 and /24"),
    ("[network]\ncidr = '10.0.0.1/16'", "has host bits set"),
    ("[network]\ncidr = '10.0.0.0/22'", "has 1024 addresses; the subnets of 2 zones need 8736"),
    ("[network]\negress = 'existing'", "is for a VPC that is there"),
    ("[network.existing]\nvpc_id = 'vpc-0a1b2c3d'\nlook_up = true", "would change the routes"),
    (VPC + SUBNETS, "network.existing.route_tables: must name those of host_subnets"),
    (VPC + "look_up = true\n[host]\nmode = 'public'", "no public subnet of ours"),
    ("[network]\negress = 'public'\n[host]\nmode = 'private'", "has no private subnet"),
    ("[worker]\ntools_path = 'opt/tools'", "must be an absolute path"),
    ("[worker]\ntools_path = '/opt/../etc'", "must not contain . or .."),
    ("[worker]\ntools_path = '/mnt/scratch/tools'", "must not lie in each other: jobs write"),
    ("[worker]\nscratch_path = '/a:b'", "must be an absolute path"),
    ("[worker]\nscratch_path = '/a$(reboot)'", "must be an absolute path"),
    ("[worker]\ndata_volume_mib_per_second = 1000", "at most 750 with 3000 IOPS"),
    ("[worker]\ndata_volume_max_gib = 100", "100 is less than the 200 GiB to begin with"),
    ("[worker]\ndata_volume_gib = 20\ndata_volume_iops = 16000", "at most 10000 for 20 GiB"),
    ("[host]\ninstance_type = 'mainframe'", "must be an instance type"),
    ("[registries.job_secrets]\n'https://x.org' = '" + SECRET + ":a-b1'", "host of a registry"),
    (
        "[network]\negress = 'endpoints'\n[registries]\nhost_secret = '" + SECRET + ":a-b1'",
        "endpoints reach ECR and no other registry",
    ),
    (
        "[[registries.pull_through]]\nregistry = 'docker.io'\nprefix = 'hub'",
        "ECR asks for credentials to cache docker.io",
    ),
    (
        "[[registries.pull_through]]\nregistry = 'example.org'\nprefix = 'ex'",
        "no pull-through cache for example.org",
    ),
    (
        "[[registries.pull_through]]\nregistry = 'docker.io'\nprefix = 'hub'\n"
        "secret = '" + SECRET + ":hub-a1b2c3'",
        "must begin with ecr-pullthroughcache/",
    ),
    (
        "[[registries.pull_through]]\nregistry = 'quay.io'\nprefix = 'q1'\n"
        "[[registries.pull_through]]\nregistry = 'quay.io'\nprefix = 'q2'",
        "'quay.io' is there twice",
    ),
    ("[registries]\ndocker_hub = 'somehow'", "docker_hub"),
    (
        "[registries]\ndocker_hub = 'host_login'\nhost_secret = '" + SECRET + ":a-b1c2d3'",
        "hosts log in with one secret, and these are two",
    ),
    (
        "[network]\negress = 'endpoints'\n[registries]\ndocker_hub = 'host_login'",
        "endpoints reach ECR and no other registry",
    ),
    (
        "[[registries.pull_through]]\nregistry = 'quay.io'\nprefix = 'dev-hub'\n"
        "[registries]\ndocker_hub = 'pull_through'",
        "is the prefix of Docker Hub's cache",
    ),
    ("[monitoring]\nemails = ['nobody']", "must be an e-mail address"),
    ("[monitoring]\nmonthly_budget_usd = 5", "a budget needs somebody to tell"),
    ("[identity]\npath = 'teams'", "begins and ends with a slash"),
    ("[identity]\npermissions_boundary = 'boundary'", "must be the ARN of a managed policy"),
    ("[identity]\njob_roles = ['arn:aws:iam::999999999999:role/x']", "only those of its own"),
    ("[identity]\njob_roles = ['arn:aws-cn:iam::123456789012:role/x']", "is of partition"),
]


@pytest.mark.parametrize(("text", "expected"), BAD)
def test_a_value_that_cannot_work_gets_one_clear_finding_with_its_line(
    tmp_path: Path, text: str, expected: str
) -> None:
    _write(tmp_path, MINIMAL + text)
    (finding,) = _findings(tmp_path)
    assert expected in finding
    assert re.match(r"environments/dev\.toml:\d+: ", finding)


def test_what_is_likely_not_meant_is_a_warning_and_synthesis_goes_on(tmp_path: Path) -> None:
    _write(
        tmp_path,
        MINIMAL + "production = true\n[database]\nmin_acu = 0.5\nbackup_days = 1\n"
        "[compute]\nfuse_mount = true\nimages.gpu = 'ami-0a1b2c3d'\n"
        f"[registries]\nhost_secret = '{SECRET}:a-b1c2d3'\n",
    )
    report = check({}, tmp_path)
    assert report.settings is not None
    warnings = "\n".join(map(str, report.warnings))
    for expected in ("backup_days", "fuse_mount", "host_secret", "emails"):
        assert expected in warnings
    (note,) = report.notes
    assert str(note) == "environments/dev.toml:9: compute.images.gpu: no pool uses it"


def test_rules_are_heard_beside_what_is_wrong_elsewhere_but_not_about_what_is_broken(
    tmp_path: Path,
) -> None:
    _write(
        tmp_path,
        MINIMAL + "[database]\nmin_acu = 'many'\nmax_acu = 1\n"
        "[compute]\ndefault_queue = 'priority'\n"
        "[[registries.pull_through]]\nregistry = 'docker.io'\nprefix = 'hub'\nsecrets = 'x'\n",
    )
    found = "\n".join(_findings(tmp_path))
    assert "database.min_acu: must be a valid number" in found
    assert "above max_acu" not in found
    assert "which has 0 vCPUs" in found
    assert "did you mean 'secret'?" in found
    assert "asks for credentials" not in found  # it is misspelt, and said so


def test_an_override_is_the_place_of_what_it_breaks(tmp_path: Path) -> None:
    _write(tmp_path, MINIMAL)
    (finding,) = _findings(tmp_path, **{"set.worker.tools_path": "/mnt/scratch/t"})
    assert finding.startswith("-c set.worker.tools_path: worker.tools_path: ")


def test_a_key_of_another_section_is_suggested_by_its_name(tmp_path: Path) -> None:
    _write(tmp_path, MINIMAL + "[storage]\nmin_acu = 1\n")
    (finding,) = _findings(tmp_path)
    assert "did you mean 'database.min_acu'?" in finding


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("a = 1\n# c\n\n[b]\nc = [\n 1,\n 2]\nd = 3", ("b", "d"), 8),
        ("a.b.c = 1", ("a", "b"), 1),
        ('x = """\n[y]\nz = 1\n"""\nz = 2', ("z",), 5),
        ("[[a.b]]\nc = 1\n[[a.b]]\nc = 2\n[a.b.d]\ne = 1", ("a", "b", 1, "c"), 4),
        ("[[a.b]]\nc = 1\n[[a.b]]\nc = 2\n[a.b.d]\ne = 1", ("a", "b", 1, "d", "e"), 6),
        ('"q.r" = { s = 1, t = { u = 2 } }', ("q.r", "t", "u"), 1),
        ("[a]\nb = 1", ("a", "missing"), 1),
        ("[a]\nb = 1", ("other",), None),
    ],
)
def test_lines_of_keys(text: str, path: tuple[str | int, ...], line: int | None) -> None:
    assert places.nearest(places.lines(text), path) == line


def test_all_sections_are_optional_and_all_keys_documented_by_type() -> None:
    for name, field in Settings.model_fields.items():
        if name not in ("environment", "account", "region"):
            assert not field.is_required(), name


def test_the_reference_is_that_of_the_schema() -> None:
    """`python -m stacks.settings.reference` writes it."""
    assert reference.PATH.read_text(encoding="utf-8") == reference.render() + "\n"
