"""The local backend on its own machine: room, time-outs, ends of all kinds, explanations."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import errors
from orchestrator.backends.base import JobState
from orchestrator.backends.local import LocalBackend, containers, processes, records
from orchestrator.backends.local import backend as local_backend
from orchestrator.backends.local.machine import this_machine
from orchestrator.backends.local.records import Record, directory_of
from orchestrator.model.failures import Failure, FailureCode
from orchestrator.model.job import Shape, SubmissionHandle
from tests.unit.backends.local.jobs import submission, submit, wait

Make = Callable[..., LocalBackend]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[LocalBackend] = []

    def make(**options: object) -> LocalBackend:
        settings: dict[str, object] = {
            "cores": 2, "memory_mib": 1024, "containers": "none", "grace_seconds": 1
        }  # fmt: skip
        backend = LocalBackend(tmp_path / "executions", **(settings | options))  # type: ignore[arg-type]
        made.append(backend)
        return backend

    yield make
    for backend in made:
        backend.close()


def record(backend: LocalBackend, handle: SubmissionHandle) -> Record:
    return Record(directory_of(backend._root, handle))


def test_no_more_runs_at_once_than_there_is_room_for(make: Make, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    script = f'echo + >> "{ledger}"; sleep 0.15; echo - >> "{ledger}"'
    backend = make()
    submit(backend, [script] * 6)
    wait(backend, 6)
    at_once = highest = 0
    for line in ledger.read_text().split():
        at_once += 1 if line == "+" else -1
        highest = max(highest, at_once)
    assert highest == 2


def test_waiting_jobs_say_what_they_wait_for(make: Make) -> None:
    backend = make(cores=1)
    handle = submit(backend, ["sleep 60", "true", "true"])
    wait(backend, 1, JobState.RUNNING)
    said = backend.explain(handle, 2)
    assert said.state == JobState.QUEUED
    assert "1 core" in said.cause
    assert "1 job came before it" in said.cause
    backend.cancel([(handle, [0, 1, 2])])
    wait(backend, 3)


def test_a_job_larger_than_the_machine_runs_with_all_of_it(make: Make) -> None:
    backend = make()
    shape = Shape(cpu=96, memory_mib=10**6)
    assert backend.fits(shape) is None
    submit(backend, ["true"], shape=shape)
    assert wait(backend, 1)[0].manifest is not None


def test_the_time_out_is_the_tasks_own(make: Make) -> None:
    backend = make()
    submit(backend, ["echo began; sleep 300"], shape=Shape(cpu=1, memory_mib=16, timeout_seconds=1))
    manifest = wait(backend, 1)[0].manifest
    assert manifest is not None
    assert manifest.failure == Failure(FailureCode.TIMEOUT, "the job took longer than 1 s")


def test_a_command_that_will_not_go_is_killed(make: Make) -> None:
    backend = make()
    handle = submit(backend, ["trap '' TERM; echo began; while :; do sleep 1; done"])
    wait(backend, 1, JobState.RUNNING)
    log = Path(backend.work_dir(handle.attempts[0]).stdout)
    wait_for(lambda: log.exists() and log.read_text() == "began\n")
    backend.cancel([(handle, [0])])
    manifest = wait(backend, 1, seconds=20)[0].manifest
    assert manifest is not None
    assert manifest.failure is not None
    assert manifest.failure.code is FailureCode.ABORTED


def test_a_stop_that_nobody_here_asked_for_is_a_loss_and_can_be_retried(make: Make) -> None:
    backend = make()
    handle = submit(backend, ["sleep 300"])
    wait(backend, 1, JobState.RUNNING)
    wait_for(Path(backend.work_dir(handle.attempts[0]).stdout).exists)
    processes.terminate(record(backend, handle).private(0) / "lock")
    manifest = wait(backend, 1)[0].manifest
    assert manifest is not None
    assert manifest.failure is not None
    assert manifest.failure.code is FailureCode.LOST


def test_a_killed_wrapper_is_a_loss_and_its_command_ends_too(make: Make, tmp_path: Path) -> None:
    backend = make()
    pid_file = tmp_path / "pid"
    handle = submit(backend, [f'echo $$ > "{pid_file}.new"; mv "{pid_file}.new" "{pid_file}"; '
                              "sleep 300"])  # fmt: skip
    wait_for(pid_file.exists)
    (job,) = backend._running.values()
    assert job.pid is not None
    os.kill(job.pid, signal.SIGKILL)
    change = wait(backend, 1)[0]
    assert change.manifest is None
    assert change.failure is not None
    assert change.failure.code is FailureCode.LOST
    assert "signal 9" in change.failure.message
    wait_for(lambda: not alive(int(pid_file.read_text())))
    wait_for(lambda: not processes.lives(record(backend, handle).private(0) / "lock"))


def test_a_manifest_that_the_command_forges_does_not_count(make: Make) -> None:
    backend = make()
    forged = '{"version":1,"submission_id":"x","attempt":"y"}'
    submit(backend, [f"echo '{forged}' > ../manifest.json; kill -9 $PPID; sleep 300"])
    change = wait(backend, 1)[0]
    assert change.manifest is None
    assert change.failure is not None


def test_a_workflow_directory_that_is_removed_does_not_hang_the_run(make: Make) -> None:
    backend = make()
    handle = submit(backend, ["sleep 0.5"])
    wait(backend, 1, JobState.RUNNING)
    shutil.rmtree(record(backend, handle).directory, ignore_errors=True)
    change = wait(backend, 1)[0]
    assert change.manifest is None
    assert change.failure is not None
    assert change.failure.code is FailureCode.LOST
    submit(backend, ["true"], number=1)
    assert wait(backend, 1)[0].manifest is not None


def test_a_submission_id_is_used_once(make: Make) -> None:
    backend = make()
    made = submission(backend, ["true"])
    backend.submit(made)
    with pytest.raises(errors.NotAllowed, match="submitted already"):
        backend.submit(made)
    assert wait(backend, 1)[0].manifest is not None


def test_revoked_before_it_was_submitted(make: Make) -> None:
    backend = make()
    made = submission(backend, ["true"])
    backend.revoke(made.handle)
    with pytest.raises(errors.NotAllowed, match="revoked"):
        backend.submit(made)
    assert backend.find(made.handle) is None


@pytest.mark.parametrize("number", [errno.ENAMETOOLONG, errno.ENOTDIR])
def test_what_can_never_be_written_is_refused_and_never_looked_for_again(
    make: Make, tmp_path: Path, number: int
) -> None:
    backend = make()
    made = submission(backend, ["true"])
    if number == errno.ENOTDIR:
        (tmp_path / "executions").write_text("in the way")
    else:
        far = replace(made.handle.attempts[0], directory="x" * 300)
        made = replace(made, handle=replace(made.handle, attempts=(far,)))
    with pytest.raises(errors.NotAllowed, match=os.strerror(number)):
        backend.submit(made)
    # After a crash before that answer was recorded.
    assert backend.find(made.handle) is None
    backend.revoke(made.handle)


@pytest.mark.parametrize(
    ("number", "raised"),
    [
        (errno.ENOSPC, errors.TryLater),
        (errno.EIO, errors.TryLater),
        (errno.EACCES, errors.NotAllowed),
        (errno.EROFS, errors.NotAllowed),
    ],
)
def test_a_full_disk_is_waited_for_and_one_that_is_not_ours_is_not(
    make: Make, monkeypatch: pytest.MonkeyPatch, number: int, raised: type[Exception]
) -> None:
    backend = make()

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(records, "create", fail)
    with pytest.raises(raised, match=os.strerror(number)):
        backend.submit(submission(backend, ["true"]))


def test_revoking_stops_what_waits_and_nothing_else(make: Make, tmp_path: Path) -> None:
    backend = make(cores=1)
    ledger = tmp_path / "ledger"
    handle = submit(backend, [f'echo {n} >> "{ledger}"; sleep 0.5' for n in range(3)])
    wait(backend, 1, JobState.RUNNING)
    wait_for(ledger.exists)
    backend.revoke(handle)
    manifest = wait(backend, 1)[0].manifest
    assert manifest is not None
    assert manifest.return_code == 0
    other = make()
    assert other.find(handle) is None
    submit(other, ["true"], number=1)
    wait(other, 1)
    assert ledger.read_text() == "0\n"


def test_what_was_cancelled_while_it_waited_is_still_so_after_a_restart(make: Make) -> None:
    backend = make(cores=1)
    handle = submit(backend, ["sleep 60", "true"])
    wait(backend, 1, JobState.RUNNING)
    backend.cancel([(handle, [1, 0])])
    wait(backend, 2)
    backend.close()
    again = make()
    assert again.find(handle) == handle.job_id
    codes = set()
    for change in wait(again, 2):
        failure = change.manifest.failure if change.manifest else change.failure
        assert failure is not None
        codes.add(failure.code)
    assert codes == {FailureCode.ABORTED}


def test_what_was_cancelled_before_its_wrapper_had_begun_never_runs(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "wrapper.sh"  # it never comes so far as to claim its attempt
    slow.write_text("sleep 60\n")
    monkeypatch.setattr(local_backend, "wrapper_path", lambda: slow)
    backend = make()
    handle = submit(backend, [f'echo ran > "{tmp_path}/ran"'])
    wait(backend, 1, JobState.RUNNING)
    backend.cancel([(handle, [0])])
    wait(backend, 1)
    backend.close()
    monkeypatch.undo()
    again = make()
    assert again.find(handle) == handle.job_id
    (change,) = wait(again, 1)
    assert change.failure is not None
    assert change.failure.code is FailureCode.ABORTED
    assert not (tmp_path / "ran").exists()


def test_ten_thousand_jobs_are_taken_at_once_and_let_go_of_again(make: Make) -> None:
    backend = make(cores=1)
    blocker = submit(backend, ["sleep 60"])
    wait(backend, 1, JobState.RUNNING)
    threads = threading.active_count()
    handle = submit(backend, ["true"] * backend.max_array_size, number=1)
    assert threading.active_count() == threads
    backend.cancel([(handle, range(backend.max_array_size)), (blocker, [0])])
    changes = wait(backend, backend.max_array_size + 1, seconds=120)
    assert len({(c.submission_id, c.index) for c in changes}) == backend.max_array_size + 1


def test_an_image_without_an_engine_never_fits(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "find", lambda choice: None)
    backend = make(containers="auto")
    shape = Shape(image="ubuntu:24.04", cpu=1, memory_mib=16)
    misfit = backend.fits(shape)
    assert misfit is not None
    assert "--no-containers" in misfit.message
    with pytest.raises(errors.BackendUnavailable):
        submit(backend, ["true"], shape=shape)
    assert backend.fits(Shape()) is None


def test_without_containers_an_image_is_left_aside(make: Make) -> None:
    backend = make(containers="none")
    shape = Shape(image="no/such:image", cpu=1, memory_mib=16)
    assert backend.fits(shape) is None
    submit(backend, ["echo here"], shape=shape)
    manifest = wait(backend, 1)[0].manifest
    assert manifest is not None
    assert manifest.return_code == 0


def test_jobs_get_the_environment_they_are_given_and_no_descriptors(make: Make) -> None:
    backend = make(environment={"PATH": os.environ["PATH"], "ONLY": "this"})
    handle = submit(backend, ["echo $ONLY; echo ${HOME##*/}; ls /proc/self/fd | wc -l"])
    wait(backend, 1)
    lines = list(backend.logs(handle, 0))
    assert lines[:2] == ["this", "home"]
    # stdin, stdout, stderr, the lock, and the one that ls reads the directory with
    assert int(lines[2]) <= 5


def test_closing_leaves_no_descriptor_and_no_thread(make: Make) -> None:
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before, threads = open_files(), threading.active_count()
    for number in range(3):
        backend = make()
        submit(backend, ["true"], number=number)
        wait(backend, 1)
        backend.close()
        backend.close()
    assert (open_files(), threading.active_count()) == (before, threads)


def test_this_machine_has_cores_and_memory() -> None:
    machine = this_machine()
    assert 1 <= machine.cores <= (os.cpu_count() or 1)
    assert machine.memory_mib > 64


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
