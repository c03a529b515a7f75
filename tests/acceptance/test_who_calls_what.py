"""What orchestrator and jobs asked of AWS in all tests of this folder: this one is the last.

The policies of their roles are evaluated against the same list (tests/stacks/test_permissions.py),
so what is called and not in the list would be refused in an account, and nobody would know here.
"""

from __future__ import annotations

import json
import urllib.request

import pytest

from orchestrator.local_aws.batch import environment as job_environment
from tests.stacks.recorded import RECORDED, Recorded

from .conftest import ORCHESTRATOR_KEY, Environment, Program

pytestmark = [pytest.mark.xdist_group("acceptance"), pytest.mark.timeout(300)]

ROLES = {ORCHESTRATOR_KEY: "orchestrator", job_environment.ACCESS_KEY: "job"}
TASK = """version 1.0
workflow recorded { call one }
task one {
  command { echo one > one.txt }
  output { File text = "one.txt" }
  runtime { docker: "IMAGE" }
}
"""


def test_every_call_is_one_that_the_roles_are_tested_with(
    environment: Environment, on_aws: Program
) -> None:
    assert on_aws("run", on_aws.write("one.wdl", TASK.replace("IMAGE", on_aws.image))).code == 0
    with urllib.request.urlopen(f"{environment.aws.endpoint}/_local-aws/callers") as answer:
        callers = json.load(answer)
    seen = {
        Recorded(ROLES[caller], service, action, _place(environment, place))
        for caller, made in callers.items()
        if caller in ROLES
        for service, action, place in made
    }
    assert {call.role for call in seen} == set(ROLES.values())
    new = sorted(seen - set(RECORDED))
    assert not new, "not in tests/stacks/recorded.py, so not tested with the roles:\n" + "\n".join(
        f"    Recorded{tuple(call)}," for call in new
    )


def _place(environment: Environment, place: str) -> str:
    """In words that are the same in every deployment."""
    contract = environment.contract
    known = {
        contract.bucket: "bucket",
        contract.root.removeprefix("s3://"): "root",
        contract.scratch_root.removeprefix("s3://"): "scratch",
    }
    return known.get(place, place)
