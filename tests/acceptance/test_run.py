"""`orchestrator run`, on this machine and on the local AWS."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import ROOT, Environment, Program, eventually, kill

pytestmark = [pytest.mark.xdist_group("acceptance"), pytest.mark.timeout(300)]

FAILING = """version 1.1
workflow w { scatter (i in range(3)) { call sometimes { input: i = i } } }
task sometimes {
  input { Int i }
  command <<<
    echo "working on ~{i}"
    if [ ~{i} = 1 ]; then echo "the reference is not indexed" >&2; exit 7; fi
  >>>
  runtime { docker: "IMAGE" }
}
"""


def no_containers(program: Program) -> list[str]:
    return [] if program.where else ["--no-containers"]


def test_a_failing_task_gives_exit_code_1_its_name_and_the_end_of_stderr(
    program: Program,
) -> None:
    wdl = program.write("w.wdl", FAILING.replace("IMAGE", program.image))
    done = program("run", wdl, *no_containers(program))
    assert done.code == 1
    assert done.stdout == ""
    assert "w.sometimes[1]" in done.stderr
    assert "return code 7" in done.stderr
    assert "the reference is not indexed" in done.stderr


LEDGER = """version 1.1
workflow w {
  input { String ledger  Int n = 6 }
  scatter (i in range(n)) { call work { input: ledger = ledger, i = i } }
  call sum { input: numbers = work.o, ledger = ledger }
  output { Int total = sum.o }
}
task work {
  input { String ledger  Int i }
  command <<<
    echo "work ~{i}" >> ~{ledger}
    sleep $((1 + ~{i} % 3))
    echo ~{i}
  >>>
  output { Int o = read_int(stdout()) }
  runtime { docker: "IMAGE" }
}
task sum {
  input { Array[Int] numbers  String ledger }
  command <<<
    echo "sum" >> ~{ledger}
    echo $((~{sep=" + " numbers}))
  >>>
  output { Int o = read_int(stdout()) }
  runtime { docker: "IMAGE" }
}
"""


@pytest.fixture
def ledger(program: Program, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A file that commands can append to: in containers, too, on the data disk."""
    if not program.where:
        return tmp_path / "ledger"
    environment: Environment = request.getfixturevalue("environment")
    return Path(environment.contract.scratch_path) / f"ledger-{tmp_path.name}"


@pytest.mark.parametrize("begun", [0, 1, 5], ids=["before", "at-first", "in-the-middle"])
def test_a_killed_run_is_resumed_and_no_command_runs_twice(
    program: Program, ledger: Path, begun: int
) -> None:
    wdl = program.write("w.wdl", LEDGER.replace("IMAGE", program.image))
    process = program.start("run", wdl, f"ledger={ledger}", *no_containers(program))
    assert process.stderr is not None
    line = process.stderr.readline()
    while "workflow w " not in line:
        line = process.stderr.readline()
        assert line, "it ended before it began"
    root_id = line.split()[-1]
    eventually(lambda: _lines(ledger) >= begun)
    kill(process)
    done = program("resume", root_id, *no_containers(program))
    assert done.code == 0, done.stderr
    assert done.json == {"w.total": 15}
    lines = ledger.read_text().splitlines()
    assert sorted(lines) == ["sum", *(f"work {i}" for i in range(6))]


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def in_containers(program: Program) -> list[str]:
    """Options of read-qc: containers where AWS Batch's jobs run, none on a laptop."""
    return [f"image={program.image}"] if program.where else ["--no-containers"]


READ_QC = [
    "run",
    str(ROOT / "examples/read-qc/read-qc.wdl"),
    "-i",
    str(ROOT / "examples/read-qc/inputs.json"),
]


def test_read_qc_killed_in_the_middle_is_finished_by_resume(program: Program) -> None:
    expected = program(*READ_QC, *in_containers(program))
    assert expected.code == 0, expected.stderr
    process = program.start(*READ_QC, *in_containers(program))
    assert process.stderr is not None
    told = ""
    while " running" not in told:
        told = process.stderr.readline()
        assert told, "it ended before anything ran"
    kill(process)
    record = next(r for r in program("status", "--json").json if r["status"] == "Running")
    done = program("resume", record["id"], *no_containers(program))
    assert done.code == 0, done.stderr
    assert _without_places(done.json) == _without_places(expected.json)


def _without_places(value: object) -> object:
    """Outputs with files by their names only: each run has a directory of its own."""
    if isinstance(value, str) and "/" in value:
        return Path(value).name
    if isinstance(value, dict):
        return {key: _without_places(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_places(item) for item in value]
    return value


NEEDS_FILE = """version 1.1
workflow w { input { File f  Int n } call t { input: f = f } }
task t { input { File f } command <<< cat ~{f} >>> }
"""


@pytest.mark.parametrize(
    ("wdl", "inputs", "told"),
    [
        ("version 1.1\nworkflow w {\n  call nothing\n}\n", [], ["w.wdl:3", "nothing"]),
        ("version 1.1\nworkflow w {{\n", [], ["w.wdl:2"]),
        (NEEDS_FILE, ["n=1", "f=here.txt", "m=2"], ["m", "did you mean"]),
        (NEEDS_FILE, ["f=here.txt"], ["n", "Int"]),
        (NEEDS_FILE, ["f=here.txt", "n=many"], ["n", "many"]),
        (NEEDS_FILE, ["n=1", "f=nowhere.txt"], ["nowhere.txt"]),
    ],
    ids=["unknown-call", "syntax", "unknown-input", "missing-input", "wrong-type", "missing-file"],
)
def test_what_is_wrong_ends_in_one_error_before_anything_runs(
    on_laptop: Program, wdl: str, inputs: list[str], told: list[str]
) -> None:
    on_laptop.write("here.txt", "content")
    done = on_laptop("run", on_laptop.write("w.wdl", wdl), *inputs)
    assert done.code == 3, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("error[") == 1
    assert "Traceback" not in done.stderr
    for words in told:
        assert words in done.stderr
    assert on_laptop("status", "--json").json == []


def test_a_missing_object_on_s3_is_told_before_anything_is_submitted(
    environment: Environment, on_aws: Program
) -> None:
    missing = f"{environment.contract.root}/no/such.txt"  # where its role may read
    done = on_aws("run", on_aws.write("w.wdl", NEEDS_FILE), f"f={missing}", "n=1")
    assert done.code == 3
    assert missing in done.stderr


def test_a_malformed_config_is_told_with_its_place(on_laptop: Program) -> None:
    config = on_laptop.write("my.conf", "backend {\n  default = Local\n")
    done = on_laptop("run", on_laptop.write("w.wdl", NEEDS_FILE), "--config", config)
    assert done.code == 3
    assert "my.conf:" in done.stderr
    assert done.stderr.count("error[") == 1


def test_outputs_are_json_on_stdout_and_everything_else_is_not(on_laptop: Program) -> None:
    wdl = on_laptop.write(
        "w.wdl",
        """version 1.1
workflow w { call t output { Array[String] o = t.o  File f = t.f  Map[String, Int] m = {"a": 1} } }
task t {
  command <<< printf 'a b\\nc"d\\n'; echo x > 'odd name.txt' >>>
  output { Array[String] o = read_lines(stdout())  File f = "odd name.txt" }
}
""",
    )
    done = on_laptop("run", wdl, "--copy-outputs", "kept")
    assert done.code == 0, done.stderr
    assert done.json["w.o"] == ["a b", 'c"d']
    assert done.json["w.m"] == {"a": 1}
    assert Path(done.json["w.f"]).read_text() == "x\n"
    copied = json.loads((on_laptop.folder / "kept" / "outputs.json").read_text())
    assert Path(copied["w.f"]) == on_laptop.folder / "kept" / "odd name.txt"


def test_an_image_without_a_container_engine_is_an_error_that_says_what_to_do(
    on_laptop: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    monkeypatch.setenv("CONTAINER_HOST", "unix:///nowhere.sock")
    wdl = on_laptop.write("w.wdl", FAILING.replace("IMAGE", "debian:12"))
    done = on_laptop("run", wdl)
    assert done.code != 0
    assert "--no-containers" in done.stderr


def test_an_interrupted_run_aborts_its_jobs(program: Program, ledger: Path) -> None:
    source = LEDGER.replace("sleep $((1 + ~{i} % 3))", "sleep 600")
    wdl = program.write("w.wdl", source.replace("IMAGE", program.image))
    process = program.start("run", wdl, f"ledger={ledger}", *no_containers(program))
    eventually(lambda: ledger.exists())
    process.terminate()
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    root_id = next(line.split()[-1] for line in stderr.splitlines() if "workflow w " in line)
    record = program("status", root_id, "--json").json
    assert record["status"] == "Aborted"
    assert record["calls"]["work"] == {"Aborted": 6}
