"""What holds for the app as a whole."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aws_cdk
import pytest
from aws_cdk.assertions import Template

from stacks.settings import ROOT
from tests.stacks.conftest import PARTS, feature_flags

# What CloudFormation may have to replace must not have a name: the new one could not be made
# beside the old one.
NEVER_NAMED = {
    "AWS::Batch::ComputeEnvironment": "ComputeEnvironmentName",
    "AWS::EC2::LaunchTemplate": "LaunchTemplateName",
    "AWS::IAM::Role": "RoleName",
    "AWS::IAM::InstanceProfile": "InstanceProfileName",
    "AWS::EC2::SecurityGroup": "GroupName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::RDS::DBCluster": "DBClusterIdentifier",
}


def test_synthesis_is_deterministic(
    synthesise: Callable[..., Mapping[str, Template]], tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    synthesise(first)
    synthesise(second)
    names = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert len([n for n in names if n.name.endswith(".template.json")]) == len(PARTS)
    assert names == sorted(p.relative_to(second) for p in second.rglob("*") if p.is_file())
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_what_may_be_replaced_has_no_name(
    resources: list[tuple[str, str, str, dict[str, Any]]],
) -> None:
    kinds = {kind for _, _, kind, _ in resources}
    assert set(NEVER_NAMED) <= kinds
    for _, name, kind, entry in resources:
        if kind in NEVER_NAMED:
            assert NEVER_NAMED[kind] not in entry["Properties"], name


def test_references_go_from_later_stacks_to_earlier_ones(
    bodies: Mapping[str, dict[str, Any]],
) -> None:
    for part, body in bodies.items():
        text = json.dumps(body)
        for other in PARTS[PARTS.index(part) :]:
            assert f'"Fn::ImportValue": "dev-{other}:' not in text, (part, other)


def test_no_exported_value_belongs_to_the_replaceable_compute_stack(
    bodies: Mapping[str, dict[str, Any]],
) -> None:
    assert "Outputs" not in bodies["compute"]


def test_every_resource_that_can_be_is_tagged_with_its_environment(
    templates: Mapping[str, Template],
) -> None:
    for bucket in templates["storage"].find_resources("AWS::S3::Bucket").values():
        assert {"Key": "orchestrator:environment", "Value": "dev"} in bucket["Properties"]["Tags"]


def test_the_only_function_is_the_one_that_makes_the_login(
    resources: list[tuple[str, str, str, dict[str, Any]]],
) -> None:
    """CDK adds some quietly: to empty buckets, to set how long logs are kept."""
    found = {
        (part, kind)
        for part, _, kind, _ in resources
        if kind.startswith(("Custom::", "AWS::CloudFormation::", "AWS::Lambda::"))
    }
    assert found == {("database", "AWS::Lambda::Function"), ("database", "Custom::DatabaseLogin")}


def test_the_app_builds_the_environment_that_the_context_chooses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location("the_app", ROOT / "app.py")
    assert spec is not None
    assert spec.loader is not None
    app = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(app)
    # The command line passes both in variables, which the running Node of a test does not see.
    context = {**feature_flags(), "environment": "local"}
    monkeypatch.setattr(
        aws_cdk, "App", functools.partial(aws_cdk.App, context=context, outdir=str(tmp_path))
    )
    app.main()
    made = {p.name.removesuffix(".template.json") for p in tmp_path.glob("*.template.json")}
    assert made == {f"local-{part}" for part in PARTS if part != "host"}
    stacks = json.loads((tmp_path / "manifest.json").read_text())["artifacts"]
    assert stacks["local-network"]["environment"] == "aws://123456789012/us-east-1"


def test_the_app_is_short() -> None:
    assert len((ROOT / "app.py").read_text().splitlines()) <= 40


def test_a_bad_choice_is_one_error_and_no_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env={**os.environ, "CDK_CONTEXT_JSON": json.dumps({"environment": "lcal"})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "there is no environment 'lcal'" in done.stderr
    assert "did you mean 'local'?" in done.stderr
    assert "Traceback" not in done.stderr
