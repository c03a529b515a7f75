from __future__ import annotations

import subprocess
import sys
import threading

from orchestrator.engine import tenure
from orchestrator.engine.tenure import Heartbeat, Tenure
from orchestrator.store.base import Lease

from .conftest import World, eventually


def test_a_process_that_has_ended_is_dead_and_a_living_one_is_not() -> None:
    assert not tenure.is_dead(tenure.this_process())
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from orchestrator.engine.tenure import this_process as me; print(me(), flush=True);"
            "input()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    owner = child.stdout.readline().strip()
    assert not tenure.is_dead(owner)
    child.kill()
    child.communicate()
    assert tenure.is_dead(owner)


def test_a_process_of_another_host_is_never_called_dead() -> None:
    assert not tenure.is_dead("elsewhere/boot/1/1")
    assert not tenure.is_dead("what is this")


def test_nothing_is_begun_in_the_second_half_of_a_lease() -> None:
    lease = Lease("root", "me", 1)
    assert Tenure(lease, 60, Tenure.now()).may_act()
    assert not Tenure(lease, 60, Tenure.now() - 31).may_act()
    lost = Tenure(lease, 60, Tenure.now())
    lost.lose()
    assert not lost.may_act()


def test_a_stolen_lease_is_noticed_and_one_that_nobody_took_is_kept(world: World) -> None:
    ids = [world.submit("version 1.1\nworkflow w { }\n") for _ in range(2)]
    at = Tenure.now()
    mine = [world.store.claim("me", 60, 1, root_id)[0] for root_id in ids]
    lost: list[str] = []
    heartbeat = Heartbeat(world.store, 60, lambda: False, lost.append)
    tenures = [Tenure(lease, 60, at - 100) for lease in mine]  # as after a long sleep
    for item in tenures:
        heartbeat.add(item)
    assert world.store.steal("thief", 60, ids[0], "me") is not None
    assert not heartbeat.confirm(tenures[0])
    assert heartbeat.confirm(tenures[1])
    assert lost == [ids[0]]


def test_a_stalled_engine_lets_its_leases_run_out(world: World) -> None:
    (root_id,) = [world.submit("version 1.1\nworkflow w { }\n")]
    (lease,) = world.store.claim("me", 0.3, 1, root_id)
    stalled = threading.Event()
    heartbeat = Heartbeat(world.store, 0.3, stalled.is_set, lambda root: None)
    heartbeat.add(Tenure(lease, 0.3, Tenure.now()))
    heartbeat.start()
    try:
        assert not world.store.claim("other", 0.3, 1, root_id)
        stalled.set()
        assert eventually(lambda: world.store.claim("other", 60, 1, root_id))
    finally:
        heartbeat.stop()
