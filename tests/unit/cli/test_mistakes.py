"""Mistakes that users make: one error with its exit code, no traceback, nothing on stdout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

WDL = """version 1.1
task greet {
  command <<< echo hello >>>
  output { String out = read_string(stdout()) }
}
workflow w { call greet output { String out = greet.out } }
"""


def orchestrator(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    return subprocess.run(
        [str(Path(sys.executable).parent / "orchestrator"), *arguments],
        cwd=folder,
        env=variables | {"HOME": str(folder), "AWS_EC2_METADATA_DISABLED": "true"},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("config", "render", "dev"), 4, "region"),
        (("config", "render", "dev", "--contract", "binary"), 3, "not UTF-8"),
        (("config", "render", "dev", "--contract", "gone"), 3, "gone cannot be read"),
        (("local-aws", "start", "--state", "binary/x"), 4, "binary/x"),
        (("status", "--environment", "gone"), 4, "'gone'"),
        (("logs", "abc", "greet"), 5, "'abc'"),
    ],
)
def test_a_mistake_is_one_error(
    tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    (tmp_path / "binary").write_bytes(b"\x96\xff")
    done = orchestrator(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert done.stderr.count("error[") == 1
    assert "Traceback" not in done.stderr


def test_logs_takes_a_call_as_messages_name_it(tmp_path: Path) -> None:
    (tmp_path / "w.wdl").write_text(WDL)
    ran = orchestrator(tmp_path, "run", "w.wdl", "--no-containers", "--json")
    run_id = json.loads(ran.stdout)["id"]
    for name in ("greet", "w.greet"):
        assert orchestrator(tmp_path, "logs", run_id, name).stdout == "hello\n"
    unknown = orchestrator(tmp_path, "logs", run_id, "gret")
    assert unknown.returncode == 5
    assert "there are: greet" in unknown.stderr
    no_shard = orchestrator(tmp_path, "logs", run_id, "greet:x")
    assert no_shard.returncode == 3
    assert "greet:3" in no_shard.stderr


def test_a_defect_says_that_it_is_one(tmp_path: Path) -> None:
    program = (
        "import sys; from orchestrator import cli\n"
        "def broken(*_): raise ZeroDivisionError('by design')\n"
        "cli.app = broken; sys.argv = ['orchestrator', 'x']; cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (70, "")
    assert "error[ERROR]: a defect of the orchestrator: ZeroDivisionError" in done.stderr
    assert "Traceback" in done.stderr
