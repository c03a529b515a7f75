"""AWS that misbehaves all the time, towards the engine and its jobs alike: nothing fails of it, and
nothing runs twice."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import batch_cloud
from tests.batch_cloud import Cloud
from tests.crash.engine_process import Cloud as CloudSetup
from tests.crash.engines import Setup, World, eventually
from tests.crash.workflows import WHOLE, WHOLE_RAN, WHOLE_TOTAL, numbers

pytestmark = pytest.mark.xdist_group("faulty-aws")

_OFTEN = 10**9
# What share of all requests meets what. `lost` before the effect: a connection that drops.
SHARES = {"throttled": 0.10, "failed": 0.05, "dropped": 0.02, "lost": 0.02}
THROTTLES = {"batch": ("TooManyRequestsException", 429), "s3": ("SlowDown", 503)}
FAILURES = {"batch": "ServerException", "s3": "InternalError"}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """ListJobs shows a job three seconds late."""
    with batch_cloud.running(tmp_path_factory.mktemp("cloud"), listjobs_lag_seconds=3.0) as running:
        yield running


@pytest.fixture
def world(cloud: Cloud, tmp_path: Path) -> Iterator[World]:
    setup = Setup(
        f"sqlite:///{tmp_path}/store.db",
        cloud.deployment.root,
        cloud=CloudSetup(cloud.endpoint, cloud.deployment),
    )
    world = World(tmp_path, setup, tmp_path / "ledger")
    yield world
    world.close()
    cloud.clear_faults()


def disturb(cloud: Cloud) -> None:
    """From now on every request meets one of the faults, or none, by chance."""
    for service, (throttle, status) in THROTTLES.items():
        kinds: dict[str, dict[str, Any]] = {
            "throttled": {"error": throttle, "status": status},
            "failed": {"error": FAILURES[service], "status": 500},
            "dropped": {"lost": "before"},
            "lost": {"lost": "after"},
        }
        left = 1.0
        for kind, fault in kinds.items():
            # A rule is asked only when those before it did not act.
            cloud.fault(
                match=f"^{service} ", times=_OFTEN, probability=SHARES[kind] / left, **fault
            )
            left -= SHARES[kind]


def met(cloud: Cloud) -> dict[str, dict[str, int]]:
    """How often each fault has acted, by service."""
    with urllib.request.urlopen(f"{cloud.endpoint}/_local-aws/faults") as answer:
        rules = json.load(answer)
    kinds = list(SHARES)
    counts: dict[str, dict[str, int]] = {service: {} for service in THROTTLES}
    for number, rule in enumerate(rules):
        service = list(THROTTLES)[number // len(kinds)]
        counts[service][kinds[number % len(kinds)]] = _OFTEN - rule["times"]
    return counts


@pytest.mark.parametrize("count", [5, pytest.param(50, marks=pytest.mark.slow)])
@pytest.mark.timeout(900)
def test_workflows_finish_right_and_no_command_runs_twice(
    world: World, cloud: Cloud, count: int
) -> None:
    uri = f"s3://{cloud.deployment.bucket}/{world.folder.name}/numbers"
    cloud.put(uri, Path(numbers(world.folder)).read_bytes())
    ledgers = [world.folder / f"ledger-{number}" for number in range(count)]
    ids = [world.submit(WHOLE, numbers=uri, ledger=str(ledger)) for ledger in ledgers]
    cloud.clear_calls()
    disturb(cloud)
    engine = world.engine(capacity=count)
    for root_id in ids:
        eventually(lambda root_id=root_id: world.workflow(root_id).ended_at, 800)  # type: ignore[misc]
    faults, calls = met(cloud), cloud.calls()
    cloud.clear_faults()
    engine.signal(signal.SIGTERM)
    assert engine.end() == 0
    for root_id, ledger in zip(ids, ledgers, strict=True):
        assert world.outputs(root_id)["w.total"] == WHOLE_TOTAL
        lines = ledger.read_text().splitlines()
        ran = Counter(line.rpartition(" ")[0] for line in lines)
        assert ran == WHOLE_RAN, world.said
        assert len(set(lines)) == len(lines)
    assert all(faults["s3"].values()), faults
    assert sum(faults["batch"].values()), faults
    print(json.dumps({"workflows": count, "faults": faults, "calls": calls}))
