"""Finding and killing processes by what /proc says of them."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator

import pytest

from orchestrator.local_aws.batch.runners import proc
from tests.unit.local_aws.batch.conftest import until

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []
    mine = uuid.uuid4().hex

    def run(script: str, **environment: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            ["/bin/sh", "-c", script],
            env={"PATH": os.environ["PATH"], "TEST": mine, **environment},
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        proc.kill_sessions({process.pid: proc.start_time(process.pid)})
        process.wait()
    proc.kill_marked("TEST", {mine})


def members(leader: int) -> set[int]:
    return {process.pid for process in proc.processes() if process.session == leader}


def test_marked_processes_are_killed_with_what_shares_their_session(start: Start) -> None:
    mark = uuid.uuid4().hex
    marked = start("env -i sleep 300 & wait", MARK=mark)
    other, longer = (
        start("sleep 300 & wait", MARK="other"),
        start("sleep 300 & wait", MARK=mark + "x"),
    )
    until(lambda: all(len(members(one.pid)) == 2 for one in (marked, other, longer)), "all run")
    proc.kill_marked("MARK", {mark})
    assert members(marked.pid) == set()
    assert len(members(other.pid)) == len(members(longer.pid)) == 2
    proc.kill_marked("MARK", {mark}, prefix=True)
    assert members(longer.pid) == set()
    assert len(members(other.pid)) == 2


def test_a_session_is_killed_also_when_its_leader_is_gone(start: Start) -> None:
    leader = start("(setsid true; sleep 300) & sleep 300 & exit 0")
    started = proc.start_time(leader.pid)
    leader.wait()
    until(lambda: len(members(leader.pid)) >= 2, "members outlive it")
    proc.kill_sessions({leader.pid: started})
    assert members(leader.pid) == set()


def test_a_pid_that_is_somebody_elses_by_now_is_left_alone(start: Start) -> None:
    process = start("sleep 300 & wait")
    until(lambda: len(members(process.pid)) == 2, "it runs")
    ticks, _, boot = proc.start_time(process.pid).partition("@")
    proc.kill_sessions({process.pid: f"{int(ticks) + 1}@{boot}"})
    proc.kill_sessions({process.pid: f"{ticks}@another-boot"})
    assert len(members(process.pid)) == 2


def test_a_tree_has_the_session_and_descendants_that_left_it(start: Start) -> None:
    leader = start("sleep 300 & setsid sh -c 'sleep 300 & wait' & wait")
    until(lambda: len(proc.trees({leader.pid}).get(leader.pid, [])) == 4, "four processes")
    assert len(members(leader.pid)) == 2


def test_memory_of_its_own_is_counted(start: Start) -> None:
    process = start("exec python3 -c 'x = b\"x\" * (50 << 20); import time; time.sleep(300)'")
    until(lambda: proc.own_bytes(process.pid) > 50 << 20, "it has taken its memory")
    found = proc.read(process.pid)
    assert found is not None
    assert found.resident_bytes >= proc.own_bytes(process.pid)


def test_a_process_that_is_not_there_has_nothing() -> None:
    assert proc.read(2**22 + 1) is None
    assert proc.own_bytes(2**22 + 1) == 0
