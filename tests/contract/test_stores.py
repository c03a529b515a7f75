"""What every store promises, whichever it is: the port's docstrings, one test a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import errors
from orchestrator.model.records import (
    AttemptRecord,
    CallRecord,
    EventRecord,
    FactRecord,
    Record,
    SharedInput,
    SubmissionRecord,
    WorkflowRecord,
)
from orchestrator.model.states import AttemptState, CallState, SubmissionState, WorkflowState
from orchestrator.store.base import Lease, Store
from orchestrator.store.memory import MemoryStore
from orchestrator.store.sql import SqlStore
from tests.postgres import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]

OpenStore = Callable[[], Store]


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[OpenStore]:
    """Opens stores of several servers over one database."""
    opened: list[Store] = []
    if request.param == "memory":
        memory = MemoryStore(clock=clock)
        yield lambda: memory
        return
    url = (
        f"sqlite:///{tmp_path}/store/workflows.db"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres_url")
    )

    def open_another() -> Store:
        opened.append(SqlStore(url, clock=clock))
        opened[-1].migrate()
        return opened[-1]

    yield open_another
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    return open_store()


def root(name: str = "w", **fields: Any) -> WorkflowRecord:
    defaults: dict[str, Any] = {
        "state": WorkflowState.SUBMITTED,
        "bundle": "b" * 64,
        "submitted_at": 1.5,
    }
    return WorkflowRecord(id=name, root_id=name, name="hello", **(defaults | fields))


def call(name: str = "call-t", **fields: Any) -> CallRecord:
    defaults: dict[str, Any] = {
        "workflow_id": "w",
        "root_id": "w",
        "id": name,
        "name": "t",
        "shards": (),
        "state": CallState.WAITING,
        "inputs_digest": "d",
    }
    return CallRecord(**(defaults | fields))


def attempt(number: int = 1, **fields: Any) -> AttemptRecord:
    defaults: dict[str, Any] = {
        "workflow_id": "w",
        "root_id": "w",
        "call_id": "call-t",
        "attempt": number,
        "state": AttemptState.SUBMITTING,
        "submission_id": None,
        "array_index": 0,
    }
    return AttemptRecord(**(defaults | fields))


def submission(name: str = "s", **fields: Any) -> SubmissionRecord:
    defaults: dict[str, Any] = {
        "id": name,
        "root_id": "w",
        "name": f"hello-t-{name}",
        "backend": "local",
        "queue": "",
        "size": 1,
        "state": SubmissionState.INTENDED,
        "created_at": 2.5,
    }
    return SubmissionRecord(**(defaults | fields))


def fact(uri: str = "s3://b/k", **fields: Any) -> FactRecord:
    defaults: dict[str, Any] = {"root_id": "w", "kind": "stat", "uri": uri, "exists": True}
    return FactRecord(**(defaults | fields))


def happened(kind: str = "submitted", **fields: Any) -> EventRecord:
    defaults: dict[str, Any] = {"root_id": "w", "workflow_id": "w", "at": 3.5, "kind": kind}
    return EventRecord(**(defaults | fields))


def claimed(store: Store, owner: str = "server-1") -> Lease:
    """The lease of a new workflow `w`."""
    store.create(root())
    [lease] = store.claim(owner, 60, 1, "w")
    return lease


class TestBundles:
    def test_come_back_with_names_in_order_and_every_character(self, store: Store) -> None:
        files = {"": "main.wdl", "main.wdl": "version 1.1\n# ü \x00 \U0001f9ec", "a/b.wdl": ""}
        store.put_bundle("d1", files)
        assert store.bundle("d1") == files
        assert list(store.bundle("d1")) == list(files)

    def test_twice_are_kept_once(self, store: Store) -> None:
        store.put_bundle("d1", {"": "a"})
        store.put_bundle("d1", {"": "a"})
        assert store.bundle("d1") == {"": "a"}

    def test_unknown_is_not_found(self, store: Store) -> None:
        with pytest.raises(errors.NotFound, match="d2"):
            store.bundle("d2")


class TestWorkflows:
    def test_come_back_whole(self, store: Store) -> None:
        workflow = root(
            inputs='{"a": 1}',
            options='{"x": true}',
            labels='{"l": "m"}',
            directory="hello/w",
            backend="aws",
            submitted_at=1_732_000_000.123456,
        )
        store.create(workflow)
        assert store.workflow("w") == workflow

    def test_unknown_is_not_found(self, store: Store) -> None:
        with pytest.raises(errors.NotFound, match="nobody"):
            store.workflow("nobody")

    def test_same_id_twice_is_refused_and_the_first_stays(self, store: Store) -> None:
        store.create(root(inputs="1"))
        with pytest.raises(errors.NotAllowed, match="exists already"):
            store.create(root(inputs="2"))
        assert store.workflow("w").inputs == "1"

    def test_sub_workflow_cannot_be_created_as_root(self, store: Store) -> None:
        with pytest.raises(ValueError, match="no root"):
            store.create(replace(root("child"), root_id="w"))

    def test_match_newest_first_by_literal_prefix(self, store: Store) -> None:
        for index, name in enumerate(["ab1", "ab%", "ab_", "aB2", "b"]):
            store.create(root(name, submitted_at=float(index)))
        assert [w.id for w in store.matching("")] == ["b", "aB2", "ab_", "ab%", "ab1"]
        assert [w.id for w in store.matching("ab")] == ["ab_", "ab%", "ab1"]
        assert [w.id for w in store.matching("ab%")] == ["ab%"]
        assert [w.id for w in store.matching("ab_")] == ["ab_"]
        assert [w.id for w in store.matching("ab1")] == ["ab1"]
        assert not store.matching("\x00")
        assert not store.matching("\udc80")
        assert not store.matching("ab1'; DROP TABLE workflow; --")

    def test_match_at_most_100(self, store: Store) -> None:
        for index in range(103):
            store.create(root(f"w{index:03}", submitted_at=float(index)))
        assert [w.id for w in store.matching("w")] == [f"w{i:03}" for i in range(102, 2, -1)]

    def test_sub_workflows_do_not_match(self, store: Store) -> None:
        lease = claimed(store)
        store.write(lease, [replace(root("w-sub"), root_id="w", parent_id="w")])
        assert [w.id for w in store.matching("w")] == ["w"]
        assert store.workflow("w-sub").parent_id == "w"


class TestClaims:
    def test_take_oldest_first_up_to_limit(self, store: Store) -> None:
        for name, at in (("young", 3.0), ("old", 1.0), ("middle", 2.0)):
            store.create(root(name, submitted_at=at))
        assert [lease.root_id for lease in store.claim("s", 60, 2)] == ["old", "middle"]
        assert store.claim("s", 60, 9) == (Lease("young", "s", 1),)
        assert not store.claim("s", 60, 9)

    @pytest.mark.parametrize("limit", [0, -1])
    def test_limit_of_none_takes_none(self, store: Store, limit: int) -> None:
        store.create(root())
        assert not store.claim("s", 60, limit)

    @pytest.mark.parametrize("state", list(WorkflowState))
    def test_only_what_needs_work(self, store: Store, state: WorkflowState) -> None:
        store.create(root(state=state))
        wanted = state in (WorkflowState.SUBMITTED, WorkflowState.RUNNING, WorkflowState.ABORTING)
        assert bool(store.claim("s", 60, 9)) == wanted
        assert bool(store.steal("t", 60, "w", "s")) == wanted

    def test_one_by_its_id(self, store: Store) -> None:
        store.create(root("a"))
        store.create(root("b"))
        assert [lease.root_id for lease in store.claim("s", 60, 9, "b")] == ["b"]
        assert not store.claim("s", 60, 9, "b")
        assert not store.claim("s", 60, 9, "unknown")

    def test_never_a_sub_workflow(self, store: Store) -> None:
        lease = claimed(store)
        store.write(lease, [replace(root("sub"), root_id="w", state=WorkflowState.RUNNING)])
        assert not store.claim("s", 60, 9)

    def test_held_until_time_runs_out(self, store: Store, clock: Clock) -> None:
        claimed(store, "first")
        clock.now += 59.9
        assert not store.claim("second", 60, 1)
        assert store.holder("w") == "first"
        clock.now += 0.2
        assert store.holder("w") is None
        assert store.claim("second", 60, 1) == (Lease("w", "second", 2),)
        assert store.holder("w") == "second"

    def test_renewal_keeps_it(self, store: Store, clock: Clock) -> None:
        lease = claimed(store)
        clock.now += 50
        assert not store.renew([lease], 60)
        clock.now += 50
        assert not store.claim("second", 60, 1)
        assert store.holder("w") == "server-1"

    def test_renewal_lists_the_lost(self, store: Store, clock: Clock) -> None:
        for name in "abc":
            store.create(root(name))
        leases = store.claim("first", 60, 3)
        clock.now += 61
        store.claim("second", 60, 1, "b")
        assert store.renew(leases, 60) == (leases[1],)
        assert not store.renew([], 60)
        clock.now += 59
        assert [store.holder(name) for name in "abc"] == ["first", "second", "first"]

    def test_late_renewal_of_what_nobody_took_is_no_loss(self, store: Store, clock: Clock) -> None:
        lease = claimed(store)
        clock.now += 1000
        assert not store.renew([lease], 60)
        assert store.holder("w") == "server-1"

    def test_released_is_free(self, store: Store) -> None:
        lease = claimed(store)
        store.release(lease)
        assert store.holder("w") is None
        assert store.claim("second", 60, 1) == (Lease("w", "second", 2),)

    def test_release_of_a_lost_lease_changes_nothing(self, store: Store, clock: Clock) -> None:
        lease = claimed(store)
        clock.now += 61
        store.claim("second", 60, 1)
        store.release(lease)
        assert store.holder("w") == "second"

    def test_same_owner_again_has_another_epoch(self, store: Store) -> None:
        lease = claimed(store)
        store.release(lease)
        [again] = store.claim(lease.owner, 60, 1)
        with pytest.raises(errors.LeaseLost):
            store.write(lease, [call()])
        store.write(again, [call()])

    def test_stolen_from_the_dead_only(self, store: Store) -> None:
        claimed(store, "dead")
        assert store.steal("thief", 60, "w", "somebody else") is None
        assert store.steal("thief", 60, "w", "dead") == Lease("w", "thief", 2)
        assert store.steal("late", 60, "w", "dead") is None
        assert store.steal("late", 60, "unknown", "dead") is None
        assert store.holder("w") == "thief"

    def test_finished_are_not_claimed(self, store: Store) -> None:
        lease = claimed(store)
        store.write(lease, [root(state=WorkflowState.SUCCEEDED)])
        store.release(lease)
        assert not store.claim("s", 60, 9)

    def test_nobody_holds_the_unknown(self, store: Store) -> None:
        assert store.holder("unknown") is None


class TestDeaths:
    """How many servers in a row died with a workflow."""

    @pytest.fixture
    def dies(self, store: Store, clock: Clock) -> Callable[[str], dict[str, int]]:
        """A server takes all it is given and is heard of no more: the deaths of each."""

        def dies(server: str) -> dict[str, int]:
            taken = store.claim(server, 60, 100)
            clock.now += 61
            return {lease.root_id: lease.deaths for lease in taken}

        return dies

    def test_are_counted_when_a_lease_has_run_out(
        self, store: Store, dies: Callable[[str], dict[str, int]]
    ) -> None:
        store.create(root())
        assert [dies(f"s{n}") for n in range(4)] == [{"w": 0}, {"w": 1}, {"w": 2}, {"w": 3}]

    def test_a_lease_given_back_is_none(self, store: Store, clock: Clock) -> None:
        store.create(root())
        for n in range(4):
            [lease] = store.claim(f"s{n}", 60, 1)
            assert lease.deaths == 0
            store.release(lease)

    def test_a_lease_given_back_because_its_holder_broke_is_one(self, store: Store) -> None:
        store.create(root())
        for deaths in range(4):
            [lease] = store.claim("s", 60, 1)
            assert lease.deaths == deaths
            store.release(lease, broken=True)
            store.release(lease, broken=True)  # not its any more

    def test_stay_when_the_next_one_gives_it_back(
        self, store: Store, dies: Callable[[str], dict[str, int]]
    ) -> None:
        store.create(root())
        dies("dead")
        [lease] = store.claim("s", 60, 1)
        store.release(lease)
        assert [lease.deaths for lease in store.claim("t", 60, 1)] == [1]

    def test_taking_it_from_itself_is_none(self, store: Store, clock: Clock) -> None:
        """The database was away for longer than a lease: nobody died."""
        store.create(root())
        for _ in range(4):
            [lease] = store.claim("s", 60, 1)
            assert lease.deaths == 0
            clock.now += 61

    def test_are_forgotten_by_who_asks_for_it(
        self, store: Store, clock: Clock, dies: Callable[[str], dict[str, int]]
    ) -> None:
        store.create(root())
        dies("s1")
        dies("s2")
        assert [lease.deaths for lease in store.claim("user", 60, 1, "w")] == [0]
        clock.now += 61
        assert dies("s3") == {"w": 1}
        stolen = store.steal("user", 60, "w", "s3")
        assert stolen is not None
        assert stolen.deaths == 0
        clock.now += 61
        assert dies("s4") == {"w": 1}

    @pytest.mark.parametrize("end", [CallState.DONE, CallState.FAILED])
    def test_are_forgotten_when_a_call_ends(
        self, store: Store, clock: Clock, dies: Callable[[str], dict[str, int]], end: CallState
    ) -> None:
        store.create(root())
        dies("s1")
        [lease] = store.claim("s2", 60, 1)
        store.write(lease, [call(state=CallState.RUNNING)])
        clock.now += 61
        [lease] = store.claim("s3", 60, 1)
        assert lease.deaths == 2
        store.write(lease, [call(state=end)])
        clock.now += 61
        assert dies("s4") == {"w": 1}

    def test_are_forgotten_when_a_server_lives_with_it(
        self, store: Store, clock: Clock, dies: Callable[[str], dict[str, int]]
    ) -> None:
        store.create(root())
        dies("s1")
        [lease] = store.claim("s2", 60, 1)
        for _ in range(3):
            clock.now += 50
            store.renew([lease], 60)
        clock.now += 61
        assert dies("s3") == {"w": 1}

    def test_who_did_not_kill_the_servers_is_told_from_who_did(
        self, store: Store, clock: Clock
    ) -> None:
        """A server dies a while after it has taken `bad`; it held all the others too."""
        for n in range(4):
            store.create(root(f"good{n}", submitted_at=float(n)))
        store.create(root("bad", submitted_at=1.5))
        poisoned: set[str] = set()
        finished: set[str] = set()
        for server in range(20):
            held: list[Lease] = []
            for second in range(0, 1000, 10):
                if second % 20 == 0:
                    taken = store.claim(f"s{server}", 60, 100)
                    poisoned |= {lease.root_id for lease in taken if lease.deaths >= 3}
                    held += [lease for lease in taken if lease.deaths < 3]
                assert not store.renew(held, 60)
                clock.now += 10
                if second > 30 and any(lease.root_id == "bad" for lease in held):
                    break
            else:
                finished |= {lease.root_id for lease in held}
                break
            clock.now += 61
        assert poisoned == {"bad"}
        assert finished == {f"good{n}" for n in range(4)}

    def test_do_not_keep_others_from_being_taken(
        self, store: Store, dies: Callable[[str], dict[str, int]]
    ) -> None:
        store.create(root("a"))
        store.create(root("b"))
        dies("s1")
        dies("s2")
        store.create(root("new"))
        first = {lease.root_id: lease.deaths for lease in store.claim("s3", 60, 2)}
        assert first == {"a": 2, "new": 0}
        assert not store.claim("s3", 60, 9)
        assert [lease.root_id for lease in store.claim("s4", 60, 9)] == ["b"]


class TestWrites:
    def test_journal_holds_all_of_the_root_and_nothing_else(self, store: Store) -> None:
        store.create(root("other"))
        lease = claimed(store)
        [other] = store.claim("server-1", 60, 1, "other")
        records: dict[str, tuple[Record, ...]] = {
            "workflows": (
                root(state=WorkflowState.RUNNING, started_at=4.25, outputs="{}", failures="[]"),
                replace(root("a-sub"), root_id="w", parent_id="w", parent_call_id="call-s"),
            ),
            "calls": (
                call(
                    "call-t-0",
                    shards=(0,),
                    state=CallState.DONE,
                    inputs='{"x": 1}',
                    outputs='{"y": 2}',
                    attempts=2,
                    started_at=1.5,
                    ended_at=2.5,
                ),
                call(
                    "call-t-1",
                    shards=(1, 12),
                    state=CallState.FAILED,
                    failure_code="LOST",
                    failure_message="gone",
                    sub_workflow_id="a-sub",
                ),
            ),
            "attempts": (
                attempt(
                    1,
                    call_id="call-t-0",
                    state=AttemptState.FAILED,
                    submission_id="s",
                    array_index=3,
                    uri="s3://b/w",
                    runtime='{"cpu": 1}',
                    job_id="j:3",
                    return_code=-9,
                    failure_code="SPOT_LOSS",
                    failure_message="Host EC2 terminated",
                    stdout="s3://b/o",
                    stderr="s3://b/e",
                    log_stream="l/1",
                    phases='[["run", 1.0, 2.0]]',
                    peak_memory_bytes=2**40,
                    peak_disk_bytes=2**50,
                    started_at=1.0,
                    ended_at=2.0,
                ),
                attempt(2, call_id="call-t-0"),
            ),
            "submissions": (submission("r"), submission("s", job_id="j", size=10_000)),
            "facts": (
                fact(size=2**41, etag='"e"'),
                fact("s3://b/none", exists=False),
                fact("s3://b/k", kind="content", content=b"\x00\xff text"),
            ),
        }
        store.write(lease, [record for part in records.values() for record in part])
        theirs = replace(call(), workflow_id="other", root_id="other")
        store.write(other, [theirs])

        journal = store.journal(lease)
        assert journal.workflows == records["workflows"]
        assert journal.calls == records["calls"]
        assert journal.attempts == records["attempts"]
        assert journal.submissions == records["submissions"]
        assert set(journal.facts) == set(records["facts"])
        assert store.journal(other).calls == (theirs,)
        assert all(isinstance(c.state, CallState) for c in journal.calls)

    def test_replace_by_key(self, store: Store) -> None:
        lease = claimed(store)
        store.write(lease, [call(), attempt(), submission()])
        done: list[Record] = [
            call(state=CallState.DONE, outputs="{}"),
            attempt(state=AttemptState.SUCCEEDED),
            submission(state=SubmissionState.SETTLED, job_id="j"),
            root(state=WorkflowState.SUCCEEDED, ended_at=9.0),
        ]
        store.write(lease, done)
        journal = store.journal(lease)
        assert [*journal.calls, *journal.attempts, *journal.submissions, *journal.workflows] == done

    def test_what_is_none_again_is_none(self, store: Store) -> None:
        lease = claimed(store)
        store.write(lease, [call(failure_code="LOST")])
        store.write(lease, [call()])
        assert store.calls("w") == (call(),)

    def test_later_record_of_a_key_wins(self, store: Store) -> None:
        lease = claimed(store)
        store.write(lease, [call(attempts=1), call("call-u"), call(attempts=2)])
        assert store.calls("w") == (call(attempts=2), call("call-u"))

    def test_first_fact_wins_within_and_between_writes(self, store: Store) -> None:
        lease = claimed(store)
        store.write(lease, [fact(size=1), fact(size=2)])
        store.write(lease, [fact(size=3), fact("s3://b/other", size=4)])
        assert set(store.journal(lease).facts) == {fact(size=1), fact("s3://b/other", size=4)}

    def test_facts_of_very_long_uris(self, store: Store) -> None:
        lease = claimed(store)
        # Random text, that no compression makes short enough for an index by chance.
        import secrets

        long = "https://b.example/k?signature=" + secrets.token_hex(20_000)
        store.write(lease, [fact(long, size=1), fact(long + "0", size=2)])
        assert set(store.journal(lease).facts) == {fact(long, size=1), fact(long + "0", size=2)}

    def test_events_are_appended_and_numbered(self, store: Store) -> None:
        lease = claimed(store)
        first, second = happened(detail='{"n": 1}'), happened("ended", call_id="c", attempt=2)
        store.write(lease, [first, first])
        store.write(lease, [second])
        assert store.events("w") == ((1, first), (2, first), (3, second))
        assert store.events("w", after=1, limit=1) == ((2, first),)
        assert not store.events("w", after=3)
        assert not store.events("w", limit=0)
        assert not store.events("unknown")

    def test_event_numbers_go_on_under_another_lease(self, store: Store) -> None:
        lease = claimed(store)
        store.write(lease, [happened()])
        store.release(lease)
        [lease] = store.claim("second", 60, 1)
        store.write(lease, [happened("again")])
        assert [number for number, _ in store.events("w")] == [1, 2]

    def test_nothing_is_written_under_a_lost_lease(self, store: Store, clock: Clock) -> None:
        lease = claimed(store)
        store.write(lease, [call()])
        clock.now += 61
        [theirs] = store.claim("second", 60, 1)
        records: list[Record] = [
            root(state=WorkflowState.FAILED),
            call(attempts=7),
            attempt(),
            submission(),
        ]
        with pytest.raises(errors.LeaseLost, match="w"):
            store.write(lease, [*records, fact(), happened()])
        journal = store.journal(theirs)
        assert (journal.workflows, journal.calls) == ((root(),), (call(),))
        assert not [*journal.attempts, *journal.submissions, *journal.facts]
        assert not store.events("w")

    def test_lost_lease_reads_no_journal_and_takes_no_commands(
        self, store: Store, clock: Clock
    ) -> None:
        lease = claimed(store)
        store.put_command("w", "abort")
        clock.now += 61
        [theirs] = store.claim("second", 60, 1)
        with pytest.raises(errors.LeaseLost):
            store.journal(lease)
        with pytest.raises(errors.LeaseLost):
            store.take_commands(lease)
        assert len(store.take_commands(theirs)) == 1

    def test_lease_that_nobody_took_still_writes(self, store: Store, clock: Clock) -> None:
        lease = claimed(store)
        clock.now += 1000
        store.write(lease, [call()])
        assert store.calls("w") == (call(),)

    def test_released_lease_writes_nothing(self, store: Store) -> None:
        lease = claimed(store)
        store.release(lease)
        with pytest.raises(errors.LeaseLost):
            store.write(lease, [call()])

    def test_record_of_another_root_is_refused(self, store: Store) -> None:
        store.create(root("other"))
        lease = claimed(store)
        with pytest.raises(ValueError, match="not of workflow w"):
            store.write(lease, [call(), replace(call(), root_id="other")])
        assert not store.calls("w")

    def test_id_of_another_roots_workflow_is_refused(self, store: Store) -> None:
        store.create(root("other"))
        lease = claimed(store)
        with pytest.raises(errors.NotAllowed):
            store.write(lease, [call(), replace(root("other"), root_id="w")])
        assert store.workflow("other") == root("other")
        assert not store.calls("w")

    def test_empty_write_still_checks_the_lease(self, store: Store) -> None:
        lease = claimed(store)
        store.write(lease, [])
        store.release(lease)
        with pytest.raises(errors.LeaseLost):
            store.write(lease, [])

    def test_many_records_in_one_write(self, store: Store) -> None:
        lease = claimed(store)
        calls = [call(f"call-t-{n:05}", shards=(n,)) for n in range(12_000)]
        store.write(lease, iter(calls))
        assert list(store.calls("w")) == calls
        assert list(store.journal(lease).calls) == calls

    def test_seen_by_another_server(self, open_store: OpenStore) -> None:
        here, there = open_store(), open_store()
        lease = claimed(here)
        here.write(lease, [call(), attempt(), happened()])
        assert there.calls("w") == (call(),)
        assert there.attempts("w") == (attempt(),)
        assert there.events("w") == ((1, happened()),)
        assert there.holder("w") == "server-1"


class TestReading:
    def test_calls_and_attempts_of_one_workflow_in_order(self, store: Store) -> None:
        lease = claimed(store)
        store.write(
            lease,
            [
                replace(root("sub"), root_id="w", parent_id="w"),
                replace(call("call-z"), workflow_id="sub"),
                replace(attempt(1), workflow_id="sub"),
                call("call-b"),
                call("call-B"),
                call("call-a"),
                attempt(10, call_id="call-b"),
                attempt(9, call_id="call-b"),
                attempt(1, call_id="call-a"),
            ],
        )
        assert [c.id for c in store.calls("w")] == ["call-B", "call-a", "call-b"]
        assert [c.id for c in store.calls("sub")] == ["call-z"]
        assert [(a.call_id, a.attempt) for a in store.attempts("w")] == [
            ("call-a", 1),
            ("call-b", 9),
            ("call-b", 10),
        ]
        assert len(store.attempts("sub")) == 1
        assert not store.calls("unknown")
        assert not store.attempts("unknown")


class TestCommands:
    def test_are_taken_once_in_order(self, open_store: OpenStore) -> None:
        store, door = open_store(), open_store()
        lease = claimed(store)
        numbers = [
            door.put_command("w", "abort"),
            store.put_command("w", "retry", '{"call": "t"}'),
        ]
        assert numbers == sorted(set(numbers))
        assert store.take_commands(lease) == (
            (numbers[0], "abort", "{}"),
            (numbers[1], "retry", '{"call": "t"}'),
        )
        assert not store.take_commands(lease)

    def test_the_next_holder_gets_them_again(self, store: Store, clock: Clock) -> None:
        lease = claimed(store)
        number = store.put_command("w", "abort")
        assert store.take_commands(lease)
        clock.now += 61
        [theirs] = store.claim("second", 60, 1)
        assert store.take_commands(theirs) == ((number, "abort", "{}"),)
        assert not store.take_commands(theirs)

    def test_wait_for_a_holder(self, store: Store) -> None:
        store.create(root())
        number = store.put_command("w", "abort")
        [lease] = store.claim("s", 60, 1)
        assert store.take_commands(lease) == ((number, "abort", "{}"),)

    def test_are_of_one_workflow(self, store: Store) -> None:
        store.create(root("other"))
        lease = claimed(store)
        store.put_command("other", "abort")
        assert not store.take_commands(lease)

    def test_who_has_some_is_asked_once_for_all(self, store: Store, clock: Clock) -> None:
        for name in ("other", "third", "free"):
            store.create(root(name))
        held = {name: store.claim("server", 60, 1, name)[0] for name in ("other", "third")}
        store.claim("elsewhere", 60, 1, "free")
        assert not store.commanded("server")
        for name in ("other", "free"):
            store.put_command(name, "abort")
            store.put_command(name, "abort")
        assert set(store.commanded("server")) == {"other"}
        assert set(store.commanded("elsewhere")) == {"free"}
        assert not store.commanded("nobody")
        store.take_commands(held["other"])
        assert not store.commanded("server")
        clock.now += 61
        store.claim("next", 60, 1, "other")
        assert set(store.commanded("next")) == {"other"}
        assert not store.commanded("server")

    def test_unknown_workflow_is_not_found(self, store: Store) -> None:
        with pytest.raises(errors.NotFound):
            store.put_command("unknown", "abort")

    def test_sub_workflow_has_none_of_its_own(self, store: Store) -> None:
        lease = claimed(store)
        store.write(lease, [replace(root("sub"), root_id="w", parent_id="w")])
        with pytest.raises(errors.NotFound):
            store.put_command("sub", "abort")


def test_what_a_dead_owner_holds_is_free_at_once(store: Store) -> None:
    for name in ("one", "two"):
        store.create(root(name))
    assert not store.holders()
    (first,) = store.claim("a", 60, 1, "one")
    (second,) = store.claim("b", 60, 1, "two")
    assert set(store.holders()) == {"a", "b"}
    assert not store.claim("c", 60, 5)
    (taken,) = store.claim("c", 60, 5, dead_owners=["a"])
    assert (taken.root_id, taken.deaths) == ("one", 1)
    assert set(store.holders()) == {"b", "c"}
    with pytest.raises(errors.LeaseLost):
        store.write(first, [call(workflow_id="one", root_id="one")])
    store.write(second, [root("two", state=WorkflowState.SUCCEEDED)])
    assert set(store.holders()) == {"c"}


def test_a_workflow_leaves_its_hold_once(store: Store) -> None:
    for name in ("released", "aborted"):
        store.create(root(name, state=WorkflowState.ON_HOLD))
    assert not store.claim("one", 60, 5)
    assert store.leave_hold("released", WorkflowState.SUBMITTED)
    assert not store.leave_hold("released", WorkflowState.ABORTED)
    assert store.leave_hold("aborted", WorkflowState.ABORTED)
    assert store.workflow("aborted").state is WorkflowState.ABORTED
    assert store.workflow("aborted").ended_at
    assert store.workflow("released").ended_at is None
    assert [lease.root_id for lease in store.claim("one", 60, 5)] == ["released"]
    assert not store.leave_hold("nobody", WorkflowState.SUBMITTED)


def test_a_shared_input_is_kept_once_and_by_its_root(store: Store) -> None:
    store.create(root("other"))
    lease = claimed(store)
    shared = SharedInput("w", "d" * 64, '["a","b"]')
    named = replace(call(), shared_inputs=json.dumps({"xs": shared.digest}))
    store.write(lease, [shared, named])
    store.write(lease, [replace(shared, json="[]"), shared])
    assert store.shared_inputs("w") == {shared.digest: '["a","b"]'}
    assert not store.shared_inputs("other")
    assert store.calls("w") == (named,)
    assert store.journal(lease).calls == (named,)


def test_the_submissions_of_a_root_workflow_can_be_read_without_its_lease(store: Store) -> None:
    lease = claimed(store)
    intended = submission("b")
    given = submission("a", state=SubmissionState.SUBMITTED, job_id="job-1", size=3)
    store.write(lease, [intended, given])
    assert list(store.submissions("w")) == [given, intended]
    assert list(store.submissions("other")) == []


def test_who_creates_a_workflow_to_run_it_has_its_lease_at_once(store: Store) -> None:
    store.create(root("mine"), "a", 60)
    store.create(root("anybody's"))
    assert [lease.root_id for lease in store.claim("b", 60, 5)] == ["anybody's"]
    assert store.holder("mine") == "a"
    lease = store.steal("a", 60, "mine", "a")
    assert lease is not None
    store.write(lease, [root("mine", state=WorkflowState.RUNNING)])
