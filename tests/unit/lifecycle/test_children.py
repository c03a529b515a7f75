"""Programs that bootstrap starts: Ctrl-C and SIGTERM reach them, and none outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from stacks.lifecycle import children

DEADLINE_SECONDS = 20.0


def wait_for(path: Path) -> str:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if path.exists() and (text := path.read_text()):
            return text
        time.sleep(0.02)
    raise AssertionError(f"{path.name} was not written")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_group_is_ended_with_what_it_started_even_when_that_ignores_sigterm(
    tmp_path: Path,
) -> None:
    if not Path("/proc/self/stat").exists():
        pytest.skip("needs /proc")
    script = f"trap '' TERM; sleep 600 & echo $! >{tmp_path / 'pid'}; wait"
    process = subprocess.Popen(["bash", "-c", script], start_new_session=True, text=True)
    grandchild = int(wait_for(tmp_path / "pid"))
    children.end_group(process)
    assert process.returncode is not None
    deadline = time.monotonic() + DEADLINE_SECONDS
    while is_alive(grandchild) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(grandchild)


def test_sigterm_unwinds_with_its_exit_status() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended, children.terminable():
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before


WINDS_UP = """
import pathlib, signal, sys
def wind_up(number, frame):
    sys.exit(number)
signal.signal(signal.SIGTERM, wind_up)
pathlib.Path(sys.argv[1]).write_text("up")
while True:
    signal.pause()
"""


def test_sigterm_is_passed_on_and_the_program_is_waited_for(tmp_path: Path) -> None:
    up = tmp_path / "up"

    def end() -> None:
        wait_for(up)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=end)
    thread.start()
    code = children.run_to_its_end([sys.executable, "-c", WINDS_UP, str(up)], tmp_path, os.environ)
    thread.join()
    assert code == signal.SIGTERM  # what it chose, not 143


def test_ctrl_c_is_left_to_the_program(tmp_path: Path) -> None:
    """The terminal signals both; the program's own exit status is what counts."""
    ready, go = tmp_path / "ready", tmp_path / "go"
    script = f"echo x >{ready}; until [ -e {go} ]; do sleep 0.02; done; exit 5"

    def interrupt() -> None:
        wait_for(ready)
        os.kill(os.getpid(), signal.SIGINT)
        go.write_text("x")

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert children.run_to_its_end(["bash", "-c", script], tmp_path, os.environ) == 5
    thread.join()


def test_a_program_that_was_killed_has_the_shells_exit_status(tmp_path: Path) -> None:
    command = ["bash", "-c", "kill -KILL $$"]
    assert children.run_to_its_end(command, tmp_path, os.environ) == 137
