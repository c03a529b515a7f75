"""`orchestrator logs`: which call is meant, what is printed of it, and how it is followed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from orchestrator import assembly, errors
from orchestrator.backends.fake import FakeBackend
from orchestrator.cli import app, calls
from orchestrator.cli.logs_following import Follower
from orchestrator.cli.logs_sources import Sources
from orchestrator.engine.coordinator import EngineSettings
from orchestrator.filesystems.base import Filesystems
from orchestrator.filesystems.local import LocalFilesystem
from orchestrator.model.records import (
    AttemptRecord,
    CallRecord,
    SubmissionRecord,
    WorkflowRecord,
)
from orchestrator.model.states import AttemptState, CallState, SubmissionState, WorkflowState
from orchestrator.store.memory import MemoryStore
from orchestrator.wdl import document
from orchestrator.wdl.bundle import Bundle

ROOT = "11111111-2222-3333-4444-555555555555"
SUB = "99999999-2222-3333-4444-555555555555"
SOURCE = """version 1.1
workflow w {
  call align
  scatter (i in range(3)) { call many }
  call later { input: n = length(many.o) }
}
task align { command <<< >>> }
task many { command <<< >>> output { Int o = 1 } }
task later { input { Int n } command <<< >>> }
"""


class World:
    """A workflow `w` in a store, and what its jobs write."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = MemoryStore()
        self.backend = FakeBackend(lambda submission, index: None)
        bundle = document.load(Bundle("w.wdl", {"w.wdl": SOURCE})).bundle
        self.store.put_bundle(bundle.digest, {"": "w.wdl", **bundle.files})
        self.root = WorkflowRecord(ROOT, ROOT, "w", WorkflowState.SUBMITTED, bundle.digest)
        self.store.create(self.root)
        (self.lease,) = self.store.claim("test", 1e9, 1)
        self.root = replace(self.root, state=WorkflowState.RUNNING)
        self.write(self.root)

    def write(self, *records: Any) -> None:
        self.store.write(self.lease, records)

    def call(
        self,
        name: str,
        *shards: int,
        state: CallState = CallState.RUNNING,
        workflow_id: str = ROOT,
        **fields: Any,
    ) -> CallRecord:
        id_ = "-".join(["call", name, *map(str, shards)])
        record = CallRecord(workflow_id, ROOT, id_, name, shards, state, "digest", **fields)
        self.write(record)
        return record

    def attempt(
        self,
        call: CallRecord,
        number: int = 1,
        state: AttemptState = AttemptState.RUNNING,
        *,
        submission: str = "",
        job: bool = True,
        **fields: Any,
    ) -> AttemptRecord:
        submission = submission or f"{call.workflow_id[:1]}-{call.id}-{number}"
        given = SubmissionState.SUBMITTED if job else SubmissionState.INTENDED
        job_id = f"job-{submission}" if job else None
        place = self.directory / submission
        record = AttemptRecord(
            call.workflow_id,
            ROOT,
            call.id,
            number,
            state,
            submission,
            0,
            stdout=str(place / "stdout"),
            stderr=str(place / "stderr"),
            **fields,
        )
        self.write(
            record, SubmissionRecord(submission, ROOT, "n", "fake", "", 1, given, 0.0, job_id)
        )
        return record

    def writes(self, attempt: AttemptRecord, *lines: str | errors.OrchestratorError) -> None:
        self.backend.written.setdefault((attempt.submission_id or "", 0), []).extend(lines)

    def keeps(self, attempt: AttemptRecord, stdout: bytes | None, stderr: bytes | None) -> None:
        for place, content in ((attempt.stdout, stdout), (attempt.stderr, stderr)):
            if content is not None and place is not None:
                Path(place).parent.mkdir(exist_ok=True)
                Path(place).write_bytes(content)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path)
    parts = assembly.Assembly(
        store=world.store,
        backends={"fake": world.backend},
        filesystems=Filesystems(LocalFilesystem()),
        default_backend="fake",
        upload_roots={},
        _engine_settings=EngineSettings("fake", {}),
    )
    monkeypatch.setattr(assembly, "assemble", lambda *_, **__: parts)
    return world


def logs(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["logs", ROOT[:8], *arguments])


def document_of(*arguments: str) -> Any:
    done = logs(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


# --- what is there


def test_a_running_attempt_is_shown_from_its_log(world: World) -> None:
    world.writes(world.attempt(world.call("align")), "one", "two")
    done = logs("align")
    assert (done.exit_code, done.stdout) == (0, "one\ntwo\n")
    assert document_of("w.align") == [
        {"call": "align", "shards": [], "attempt": 1, "status": "Running", "log": ["one", "two"]}
    ]


def test_an_attempt_that_ended_is_shown_from_what_it_kept_byte_by_byte(world: World) -> None:
    attempt = world.attempt(world.call("align"), state=AttemptState.SUCCEEDED)
    world.writes(attempt, "not this")
    world.keeps(attempt, b"out \xff\r\nend", b"err\n")
    done = logs("align")
    assert done.stdout_bytes == b"out \xff\r\nenderr\n"
    assert "== align stdout" in done.stderr
    assert logs("align", "--stderr").stdout == "err\n"
    assert logs("align", "--stdout").stdout_bytes == b"out \xff\r\nend"
    [entry] = document_of("align")
    assert (entry["stdout"], entry["stderr"]) == ("out \ufffd\r\nend", "err\n")
    assert "log" not in entry


def test_an_attempt_that_kept_nothing_is_shown_from_its_log(world: World) -> None:
    attempt = world.attempt(world.call("align"), state=AttemptState.FAILED, failure_code="LOST")
    world.writes(attempt, "last words")
    assert logs("align").stdout == "last words\n"
    [entry] = document_of("align")
    assert (entry["stdout"], entry["log"]) == (None, ["last words"])


def test_an_earlier_attempt_can_be_asked_for(world: World) -> None:
    call = world.call("align")
    world.keeps(world.attempt(call, 1, AttemptState.FAILED), b"first\n", b"")
    world.writes(world.attempt(call, 2), "second")
    assert logs("align").stdout == "second\n"
    assert logs("align", "--attempt", "1").stdout == "first\n"
    none = logs("align", "--attempt", "3")
    assert isinstance(none.exception, errors.NotFound)
    assert "no attempt 3" in none.exception.message


def test_one_shard_or_all_of_them_in_order(world: World) -> None:
    for shard in (10, 2, 0):
        world.writes(world.attempt(world.call("many", shard)), f"of {shard}")
    assert logs("many").stdout == "of 0\nof 2\nof 10\n"
    assert logs("many:2").stdout == "of 2\n"


def test_a_call_of_a_sub_workflow_is_named_through_it(world: World) -> None:
    world.call("many", 1, sub_workflow_id=SUB)
    world.write(replace(world.root, id=SUB, name="inner", parent_id=ROOT))
    world.writes(world.attempt(world.call("align", 4, workflow_id=SUB)), "deep")
    assert logs("many.align").stdout == "deep\n"
    assert logs("w.many:1.align:4").stdout == "deep\n"
    assert document_of("many:1.align")[0]["call"] == "many[1].align"
    whole = logs("many").exception
    assert isinstance(whole, errors.Invalid)
    assert "many.align" in whole.hint


@pytest.mark.parametrize("text", ["", "align:x", "align:", "a b", ".", "align.", "../etc"])
def test_what_cannot_name_a_call_is_said(world: World, text: str) -> None:
    assert isinstance(logs(text).exception, errors.Invalid)


def test_a_call_that_is_not_in_the_source_and_one_that_has_not_come_up_are_told_apart(
    world: World,
) -> None:
    world.call("align")
    unknown = logs("aligns").exception
    assert isinstance(unknown, errors.NotFound)
    assert "align" in unknown.hint
    shard = logs("align:7").exception
    assert isinstance(shard, errors.TryLater)  # it may come
    assert isinstance(logs("later").exception, errors.TryLater)
    world.write(replace(world.root, state=WorkflowState.FAILED))
    assert isinstance(logs("later").exception, errors.NotFound)
    world.call("many", 4)
    shard = logs("many:7").exception
    assert isinstance(shard, errors.NotFound)
    assert "many[4]" in shard.hint


def test_a_call_without_an_attempt_and_a_job_without_a_line_say_where_they_stand(
    world: World,
) -> None:
    call = world.call("align", state=CallState.WAITING)
    waiting = logs("align").exception
    assert isinstance(waiting, errors.TryLater)
    assert "has not been started yet" in waiting.message
    world.attempt(call, state=AttemptState.SUBMITTING, job=False)
    submitting = logs("align").exception
    assert isinstance(submitting, errors.TryLater)
    assert "is being submitted" in submitting.message
    world.attempt(call, state=AttemptState.SUBMITTING)
    silent = logs("align").exception
    assert isinstance(silent, errors.TryLater)
    assert "it is a fake" in silent.message


def test_a_log_that_cannot_be_read_is_an_error(world: World) -> None:
    world.writes(
        world.attempt(world.call("align")), errors.NotAllowed("no right to /jobs", hint="a policy")
    )
    assert isinstance(logs("align").exception, errors.NotAllowed)


def test_a_backend_that_is_not_configured_is_named(world: World) -> None:
    world.attempt(world.call("align"))
    world.write(replace(world.store.submissions(ROOT)[0], backend="elsewhere"))
    missing = logs("align").exception
    assert isinstance(missing, errors.NotFound)
    assert "elsewhere" in missing.message


# --- following


class Shown:
    """What a follower showed."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.said: list[str] = []

    def began(self, found: calls.Found, record: AttemptRecord) -> None:
        self.lines.append(f"+{found.label} {record.attempt}")

    def line(self, found: calls.Found, record: AttemptRecord, stream: str, text: str) -> None:
        self.lines.append(f"{stream}: {text}")

    def ended(self, found: calls.Found, record: AttemptRecord) -> None:
        self.lines.append(f"-{found.label} {record.attempt} {record.state}")

    def say(self, text: str) -> None:
        self.said.append(text)


Script = Iterator[None]


def follow(
    world: World, call: str, script: Callable[[], Script] = lambda: iter(()), **fields: Any
) -> Shown:
    """Each pause of the follower lets the script go one step on."""
    shown, steps, now = Shown(), script(), [0.0]

    def sleep(seconds: float) -> None:
        assert 0 < seconds <= 15
        now[0] += seconds
        assert now[0] < 1000, f"never ends: {shown.lines}"
        next(steps, None)

    def find() -> Any:
        root = world.store.workflow(ROOT)
        planned = frozenset({"align", "many", "later"})
        return calls.find(world.store, root, call, lambda: planned)

    Follower(
        world.store,
        ROOT,
        Sources(world.store, {"fake": world.backend}, Filesystems(LocalFilesystem()), ROOT),
        find,
        shown,
        clock=lambda: now[0],
        sleep=sleep,
        **fields,
    ).run()
    assert next(steps, "over") == "over"
    return shown


def test_a_call_is_followed_from_before_it_comes_up_through_its_attempts(world: World) -> None:
    def script() -> Script:
        yield
        call = world.call("align", state=CallState.WAITING)
        yield
        world.attempt(call, job=False, state=AttemptState.SUBMITTING)
        yield
        first = world.attempt(call)
        world.writes(first, "one")
        yield
        world.writes(first, "two")
        yield
        world.write(replace(first, state=AttemptState.FAILED))
        world.writes(first, "three")
        yield
        second = world.attempt(call, 2)
        world.writes(second, "again")
        yield
        world.write(replace(second, state=AttemptState.SUCCEEDED))
        world.call("align", state=CallState.DONE)

    shown = follow(world, "align", script)
    assert shown.lines == [
        "+align 1",
        "log: one",
        "log: two",
        "log: three",
        "-align 1 Failed",
        "+align 2",
        "log: again",
        "-align 2 Succeeded",
    ]
    assert len(shown.said) == 1  # that it has not come up yet, once


def test_following_begins_with_the_last_attempt_or_with_the_one_asked_for(world: World) -> None:
    call = world.call("align", state=CallState.DONE)
    for number, state in ((1, AttemptState.FAILED), (2, AttemptState.SUCCEEDED)):
        world.keeps(world.attempt(call, number, state), b"out\n", b"err without end")
    assert follow(world, "align").lines == [
        "+align 2", "stdout: out", "stderr: err without end", "-align 2 Succeeded",
    ]  # fmt: skip
    assert follow(world, "align", attempt=1).lines[0] == "+align 1"
    with pytest.raises(errors.NotFound, match="no attempt 3"):
        follow(world, "align", attempt=3)


def test_what_came_live_is_not_shown_again_from_what_was_kept(world: World) -> None:
    call = world.call("align")
    attempt = world.attempt(call)
    world.writes(attempt, "one")

    def script() -> Script:
        yield
        world.keeps(attempt, b"one\ntwo\n", b"")
        world.writes(attempt, "two")
        world.write(replace(attempt, state=AttemptState.SUCCEEDED))
        world.call("align", state=CallState.DONE)

    lines = follow(world, "align", script).lines
    assert lines == ["+align 1", "log: one", "log: two", "-align 1 Succeeded"]


def test_lines_that_come_late_are_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.backends.fake.FakeLog.late_seconds", 10.0)
    attempt = world.attempt(world.call("align"))
    world.writes(attempt, "one")

    def script() -> Script:
        yield
        world.write(replace(attempt, state=AttemptState.SUCCEEDED))
        world.call("align", state=CallState.DONE)
        yield
        yield
        world.writes(attempt, "late")
        yield
        world.writes(attempt, "later")

    lines = follow(world, "align", script).lines
    assert lines == ["+align 1", "log: one", "log: late", "log: later", "-align 1 Succeeded"]


def test_a_throttled_log_goes_on_where_it_was(world: World) -> None:
    attempt = world.attempt(world.call("align"))
    world.writes(attempt, "one", errors.TryLater("Rate exceeded"), "two")

    def script() -> Script:
        yield
        world.writes(attempt, errors.TryLater("Rate exceeded"), "three")
        yield
        yield
        world.write(replace(attempt, state=AttemptState.SUCCEEDED))
        world.call("align", state=CallState.DONE)

    shown = follow(world, "align", script)
    assert [line for line in shown.lines if "log" in line] == ["log: one", "log: two", "log: three"]
    assert len(shown.said) == 1


def test_where_the_log_may_not_be_read_what_was_kept_is_shown_at_the_end(world: World) -> None:
    attempt = world.attempt(world.call("align"))
    world.writes(attempt, errors.NotAllowed("no right to /jobs"), "unseen")

    def script() -> Script:
        yield
        yield
        world.keeps(attempt, b"kept\n", b"")
        world.write(replace(attempt, state=AttemptState.SUCCEEDED))
        world.call("align", state=CallState.DONE)

    shown = follow(world, "align", script)
    assert shown.lines == ["+align 1", "stdout: kept", "-align 1 Succeeded"]
    assert len(shown.said) == 1
    assert "no right to /jobs" in shown.said[0]


def test_an_attempt_that_is_submitted_anew_is_read_from_its_new_job(world: World) -> None:
    call = world.call("align")
    world.attempt(call, submission="lost", state=AttemptState.SUBMITTING)

    def script() -> Script:
        yield
        again = world.attempt(call, submission="again")
        world.writes(again, "here")
        yield
        world.write(replace(again, state=AttemptState.SUCCEEDED))
        world.call("align", state=CallState.DONE)

    assert "log: here" in follow(world, "align", script).lines


def test_following_ends_when_the_workflow_has_although_its_call_was_cut_off(world: World) -> None:
    attempt = world.attempt(world.call("align"))
    world.writes(attempt, "one")

    def script() -> Script:
        yield
        world.write(replace(world.root, state=WorkflowState.ABORTED))

    assert follow(world, "align", script).lines[:2] == ["+align 1", "log: one"]


def test_shards_are_followed_together_up_to_a_number(world: World) -> None:
    attempts = [world.attempt(world.call("many", shard)) for shard in range(3)]

    def script() -> Script:
        for number, attempt in enumerate(attempts):
            world.writes(attempt, f"of {number}")
            yield
            world.write(replace(attempt, state=AttemptState.SUCCEEDED))
            world.call("many", number, state=CallState.DONE)

    lines = follow(world, "many", script).lines
    assert {"log: of 0", "log: of 1", "log: of 2"} < set(lines)
    assert lines.count("log: of 1") == 1
    for shard in range(3, 60):
        world.call("many", shard)
    with pytest.raises(errors.Invalid, match="60 shards"):
        follow(world, "many")


def test_followed_json_is_an_object_a_line(world: World) -> None:
    attempt = world.attempt(
        world.call("align", state=CallState.FAILED),
        state=AttemptState.FAILED,
        failure_code="OUT_OF_MEMORY",
        failure_message="too much",
    )
    world.keeps(attempt, b"a\n", b"b\n")
    done = logs("align", "--follow", "--json")
    assert done.exit_code == 0, done.output
    first, second, end = map(json.loads, done.stdout.splitlines())
    assert (first["stream"], first["line"]) == ("stdout", "a")
    assert (second["stream"], second["line"]) == ("stderr", "b")
    assert end["failure"] == {"code": "OUT_OF_MEMORY", "message": "too much"}
    text = logs("align", "-f")
    assert text.stdout == "a\nb\n"
    assert "OUT_OF_MEMORY: too much" in text.stderr


def test_followed_lines_of_a_scatter_say_whose_they_are(world: World) -> None:
    for shard in (0, 1):
        call = world.call("many", shard, state=CallState.DONE)
        world.keeps(world.attempt(call, state=AttemptState.SUCCEEDED), b"a\n", None)
    assert logs("many", "-f").stdout == "many[0] | a\nmany[1] | a\n"
    assert logs("many:1", "-f").stdout == "a\n"


def test_streams_cannot_be_told_apart_while_they_are_followed(world: World) -> None:
    assert isinstance(logs("align", "-f", "--stderr").exception, errors.Invalid)
