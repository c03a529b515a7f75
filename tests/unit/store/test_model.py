"""The SQL store does what the store in memory does, whatever the order of things."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from orchestrator import errors
from orchestrator.model.records import (
    AttemptRecord,
    EventRecord,
    FactRecord,
    Record,
    SubmissionRecord,
)
from orchestrator.model.states import AttemptState, SubmissionState, WorkflowState
from orchestrator.store.base import Lease, Store
from orchestrator.store.memory import MemoryStore
from orchestrator.store.sql import SqlStore
from tests.unit.store.conftest import call, root

IDS = st.sampled_from(["a", "ab", "b"])
OWNERS = st.sampled_from(["first", "second"])
KINDS = st.sampled_from(["workflow", "sub", "call", "attempt", "submission", "fact", "event"])
TEXT = st.text(max_size=8).filter(lambda text: "\x00" not in text)  # `clean` has a test of its own


def record(kind: str, root_id: str, n: int, text: str, state: WorkflowState) -> Record:
    """One record of a root."""
    match kind:
        case "workflow":
            return replace(root(root_id, state), outputs=text, submitted_at=float(n))
        case "sub":
            return replace(root(f"{root_id}-{n}"), root_id=root_id, inputs=text)
        case "call":
            return replace(call(n, root_id=root_id), outputs=text, shards=tuple(range(n)))
        case "attempt":
            queued = AttemptState.QUEUED
            return AttemptRecord(root_id, root_id, f"c{n % 2}", n, queued, text, n, return_code=-n)
        case "submission":
            return SubmissionRecord(
                f"s{n}", root_id, text, "b", "q", n, SubmissionState.INTENDED, 1.25 * n
            )
        case "fact":
            return FactRecord(root_id, "content", f"u{n}", bool(n % 2), n, text, text.encode())
        case _:
            return EventRecord(root_id, root_id, float(n), text, attempt=n)


class Stores(RuleBasedStateMachine):
    """Both stores are asked the same."""

    leases: Bundle[Lease] = Bundle("leases")  # all that were ever given: held, lost and released

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.directory = tempfile.TemporaryDirectory()
        url = f"sqlite:///{self.directory.name}/workflows.db"
        self.sql = SqlStore(url, clock=lambda: self.now)
        self.sql.migrate()
        self.memory = MemoryStore(clock=lambda: self.now)

    def teardown(self) -> None:
        self.sql.close()
        self.directory.cleanup()

    def both(self, use: Callable[[Store], Any]) -> Any:
        """The same answer, or an error of the same kind."""
        answers: list[Any] = []
        for store in (self.sql, self.memory):
            try:
                answers.append(use(store))
            except errors.OrchestratorError as error:
                answers.append(type(error))
        assert answers[0] == answers[1]
        return answers[0]

    @rule(name=IDS, state=st.sampled_from(WorkflowState), at=st.integers(0, 3))
    def create(self, name: str, state: WorkflowState, at: int) -> None:
        self.both(lambda s: s.create(replace(root(name, state), submitted_at=float(at))))

    @rule(seconds=st.integers(1, 40))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule(target=leases, owner=OWNERS, limit=st.integers(0, 3), name=st.none() | IDS)
    def claim(self, owner: str, limit: int, name: str | None) -> Any:
        return multiple(*self.both(lambda s: s.claim(owner, 30, limit, name)))

    @rule(target=leases, owner=OWNERS, name=IDS, dead=OWNERS)
    def steal(self, owner: str, name: str, dead: str) -> Any:
        stolen = self.both(lambda s: s.steal(owner, 30, name, dead))
        return stolen or multiple()

    @rule(some=st.lists(leases, max_size=4))
    def renew(self, some: list[Lease]) -> None:
        self.both(lambda s: s.renew(some, 30))

    @rule(lease=leases)
    def release(self, lease: Lease) -> None:
        self.both(lambda s: s.release(lease))

    @rule(
        lease=leases,
        records=st.lists(
            st.tuples(KINDS, st.integers(0, 3), TEXT, st.sampled_from(WorkflowState)), max_size=6
        ),
    )
    def write(self, lease: Lease, records: list[tuple[str, int, str, WorkflowState]]) -> None:
        batch = [record(kind, lease.root_id, n, text, st_) for kind, n, text, st_ in records]
        self.both(lambda s: s.write(lease, batch))

    @rule(name=IDS, kind=TEXT)
    def put_command(self, name: str, kind: str) -> None:
        self.both(lambda s: s.put_command(name, kind) > 0)

    @rule(owner=OWNERS)
    def commanded(self, owner: str) -> None:
        self.both(lambda s: set(s.commanded(owner)))

    @rule(lease=leases)
    def take_commands(self, lease: Lease) -> None:
        self.both(lambda s: [(kind, detail) for _, kind, detail in s.take_commands(lease)])

    @rule(lease=leases)
    def journal(self, lease: Lease) -> None:
        def read(store: Store) -> Any:
            journal = store.journal(lease)
            return replace(journal, facts=tuple(sorted(journal.facts, key=lambda f: f.uri)))

        self.both(read)

    @rule(name=IDS, after=st.integers(0, 3), limit=st.integers(0, 3))
    def read(self, name: str, after: int, limit: int) -> None:
        self.both(lambda s: s.workflow(name))
        self.both(lambda s: s.calls(name))
        self.both(lambda s: s.attempts(name))
        self.both(lambda s: s.events(name, after, limit))

    @invariant()
    def same_workflows_and_holders(self) -> None:
        self.both(lambda s: s.matching(""))
        self.both(lambda s: s.matching("a"))
        self.both(lambda s: [s.holder(name) for name in ("a", "ab", "b")])


TestStores = Stores.TestCase
TestStores.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
