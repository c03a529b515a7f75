"""cdk-nag's AwsSolutions: no finding without a reason, no reason without a finding."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import cdk_nag
import pytest

from stacks import nag
from tests.stacks.conftest import build
from tests.stacks.test_matrix import EVERYTHING

pytestmark = pytest.mark.xdist_group("templates")


def _violations(app: cdk.App, outdir: Path) -> list[str]:
    cdk.Validations.of(app).add_plugins(cdk_nag.AwsSolutionsChecks(app))
    with contextlib.suppress(RuntimeError):  # what it raises stands in the report
        app.synth(force=True)
    report = json.loads((outdir / "validation-report.json").read_text())
    return [
        f"{violation['ruleName']} {construct.get('constructPath')}"
        for plugin in report["pluginReports"]
        for violation in plugin["violations"]
        for construct in violation["violatingConstructs"]
    ]


@pytest.mark.parametrize(
    "context",
    [{"environment": "dev"}, {"environment": "prod"}, EVERYTHING],
    ids=["dev", "prod", "everything"],
)
def test_no_finding_is_left(context: dict[str, Any], tmp_path: Path) -> None:
    app = build(tmp_path, **context)
    app.synth()
    nag.acknowledge(app)
    assert _violations(app, tmp_path) == []


def test_every_reason_is_needed_and_is_a_reason(tmp_path: Path) -> None:
    """Without any, all findings show; each must be of those that are accepted, and no more."""
    found = set()
    cached = {"set.registries.docker_hub": "pull_through"}
    for number, context in enumerate(({"environment": "prod", **cached}, EVERYTHING)):
        outdir = tmp_path / str(number)
        app = build(outdir, **context)
        app.synth()
        found |= set(_violations(app, outdir))
    assert found
    others = [f for f in found if not f.startswith("AwsSolutions-IAM5")]
    for place, id, _ in nag.OTHERS:
        assert any(id in f and re.search(rf"-{place}(/|$)", f) for f in others), (place, id)
    for reason in (*nag.WILDCARDS.values(), *(reason for _, _, reason in nag.OTHERS)):
        assert len(reason.split()) >= 4, reason


def test_every_accepted_statement_exists() -> None:
    app = build(**EVERYTHING)
    sids = set()
    for construct in app.node.find_all():
        if isinstance(construct, cdk.aws_iam.CfnPolicy | cdk.aws_iam.CfnManagedPolicy):
            document = cdk.Stack.of(construct).resolve(construct.policy_document)
            statements = document["Statement"]
            for statement in statements if isinstance(statements, list) else [statements]:
                sids.add(statement.get("Sid"))
    assert nag.WILDCARDS.keys() - sids == set()
