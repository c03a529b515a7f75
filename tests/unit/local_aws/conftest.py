"""An AWS inside the test's own process: the whole gateway, without a socket."""

from __future__ import annotations

import itertools
import json
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import werkzeug.test

from orchestrator.local_aws.gateway import Gateway, Settings
from orchestrator.local_aws.loopback import Loopback

REGION = "us-east-1"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that failed shows what the AWS of its directory said, before that is removed."""
    report = yield
    directory = getattr(item, "funcargs", {}).get("tmp_path")
    if report.failed and isinstance(directory, Path):
        for log in sorted(directory.rglob("server.log")):
            lines = log.read_text(errors="replace").splitlines()[-80:]
            report.sections.append((f"the end of {log.name}", "\n".join(lines)))
    return report


@dataclass
class Cloud:
    """Clients of the AWS, and stacks by a few words."""

    gateway: Gateway
    loopback: Loopback
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def client(self, service: str) -> Any:
        return self.loopback.client(service, REGION)

    def name(self, prefix: str = "stack") -> str:
        """A name that no other test has."""
        return f"{prefix}-{next(self._numbers)}"

    def create(self, resources: dict[str, Any], *, name: str = "", **more: Any) -> str:
        """A new stack of these resources; its name. `more` is template sections or arguments."""
        name = name or self.name()
        self.client("cloudformation").create_stack(StackName=name, **self._body(resources, more))
        return name

    def update(self, name: str, resources: dict[str, Any], **more: Any) -> None:
        self.client("cloudformation").update_stack(StackName=name, **self._body(resources, more))

    def delete(self, name: str) -> None:
        self.client("cloudformation").delete_stack(StackName=name)

    def stack(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client("cloudformation").describe_stacks(StackName=name)
        return found["Stacks"][0]

    def status(self, name: str) -> str:
        stack = self.stack(name)
        status: str = stack["StackStatus"]
        return status

    def outputs(self, name: str) -> dict[str, str]:
        return {o["OutputKey"]: o["OutputValue"] for o in self.stack(name).get("Outputs", [])}

    def physical(self, name: str, logical: str) -> str:
        detail = self.client("cloudformation").describe_stack_resource(
            StackName=name, LogicalResourceId=logical
        )["StackResourceDetail"]
        physical_id: str = detail["PhysicalResourceId"]
        return physical_id

    def reasons(self, name: str) -> str:
        """All status reasons of its events, in one text."""
        events = self.client("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
        return "\n".join(e.get("ResourceStatusReason", "") for e in events)

    def exists(self, name: str) -> bool:
        pages = self.client("cloudformation").get_paginator("describe_stacks").paginate()
        return name in [stack["StackName"] for page in pages for stack in page["Stacks"]]

    @staticmethod
    def _body(resources: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
        sections = ("Conditions", "Mappings", "Outputs", "Parameters", "Rules")
        template = {"Resources": resources}
        template |= {key: more[key] for key in sections if key in more}
        arguments = {key: value for key, value in more.items() if key not in sections}
        if "Values" in arguments:
            arguments["Parameters"] = arguments.pop("Values")
        arguments.setdefault("Capabilities", ["CAPABILITY_NAMED_IAM"])
        return {"TemplateBody": json.dumps(template), **arguments}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    gateway = Gateway(Settings(tmp_path_factory.mktemp("aws"), jobs="process"))
    gateway.endpoint = "http://localhost"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")  # as the server does
        _reset(gateway)  # moto is one for the whole process: what other tests made goes
        yield Cloud(gateway, Loopback(gateway))
    _reset(gateway)
    gateway.close()


@pytest.fixture
def deploy(cloud: Cloud) -> Iterator[Any]:
    """Deploys (deployed.py), and in the end deletes."""
    from tests.unit.local_aws.deployed import Deployed

    deployed = Deployed(cloud)
    yield deployed
    deployed.delete()


def _reset(gateway: Gateway) -> None:
    assert werkzeug.test.Client(gateway).post("/moto-api/reset").status_code == 200
