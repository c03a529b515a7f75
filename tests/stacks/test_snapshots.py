"""The templates of the shipped environments, word for word, and the ids that must never change.

After a change that is meant: `UPDATE_SNAPSHOTS=1 pytest tests/stacks/test_snapshots.py`, then read
the difference.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from aws_cdk.assertions import Template

from orchestrator import deployment

SNAPSHOTS = Path(__file__).parent / "snapshots"
# What CloudFormation would replace under another logical id, with all that is in it.
STATEFUL = (
    "AWS::EC2::NatGateway",
    "AWS::EC2::VPC",
    "AWS::ECR::PullThroughCacheRule",
    "AWS::KMS::Key",
    "AWS::Logs::LogGroup",
    "AWS::RDS::DBCluster",
    "AWS::RDS::DBInstance",
    "AWS::S3::Bucket",
    "AWS::SNS::Topic",
    "AWS::SQS::Queue",
    "AWS::SSM::Parameter",
)
ENVIRONMENTS = ("dev", "prod", "local")


def _normal(template: Mapping[str, Any]) -> Any:
    """Without what follows from other files of the project: hashes of assets, the release.

    CDK sorts the resources of a policy: by hashes, where they have some.
    """
    text = re.sub(r"[0-9a-f]{64}", "<sha256>", json.dumps(template))
    return _in_order(json.loads(text))


def _in_order(node: Any) -> Any:
    if isinstance(node, list):
        return [_in_order(item) for item in node]
    if isinstance(node, dict):
        return {
            key: sorted(value, key=json.dumps)
            if key == "Resource" and isinstance(value, list)
            else _in_order(value)
            for key, value in node.items()
        }
    if isinstance(node, str):
        return node.replace(f'"release":"{deployment.release()}"', '"release":"<release>"')
    return node


def _compare(path: Path, text: str) -> None:
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.is_file(), f"{path.name} is missing: UPDATE_SNAPSHOTS=1 writes it"
    assert text == path.read_text()


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_templates_are_as_they_were(
    synthesise: Callable[..., Mapping[str, Template]], environment: str
) -> None:
    made = synthesise(environment=environment)
    whole = {part: _normal(t.to_json()) for part, t in sorted(made.items())}
    _compare(SNAPSHOTS / f"{environment}.json", json.dumps(whole, indent=1, sort_keys=True) + "\n")


def test_logical_ids_of_what_holds_data_are_as_they_were(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    """A new id is a new, empty resource beside an orphan: rename constructs only with a plan."""
    found = sorted(
        f"{environment} {part} {entry['Type']} {name}"
        for environment in ENVIRONMENTS
        for part, template in synthesise(environment=environment).items()
        for name, entry in template.to_json()["Resources"].items()
        if entry["Type"] in STATEFUL
    )
    _compare(SNAPSHOTS / "stateful-ids.txt", "\n".join(found) + "\n")


def test_what_holds_data_says_what_happens_to_it(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    for environment in ENVIRONMENTS:
        for part, template in synthesise(environment=environment).items():
            for name, entry in template.to_json()["Resources"].items():
                key = entry["Type"] == "AWS::KMS::Key" and part == "storage"
                if key or entry["Type"] in ("AWS::S3::Bucket", "AWS::RDS::DBCluster"):
                    policies = (entry.get("DeletionPolicy"), entry.get("UpdateReplacePolicy"))
                    kept = {"Retain", "Snapshot"} if environment != "local" else {"Delete"}
                    assert set(policies) <= kept, (environment, part, name)
