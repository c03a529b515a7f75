from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator import errors
from orchestrator.model.job import OutputPlan
from orchestrator.model.records import FactRecord
from orchestrator.wdl.facts import Facts, NeedFacts, Want
from tests.unit.wdl.drive import WHERE, content, manifest, prepare, stat, task


def plan(outputs: str, version: str = "1.1", **given: object) -> OutputPlan:
    declared = "  ".join(
        f"{'Array[String]' if isinstance(value, list) else 'File'} {name}"
        for name, value in given.items()
    )
    source = f"task t {{ input {{ {declared} }} command <<< run >>> output {{ {outputs} }} }}"
    return prepare(task(source, given, version)).outputs


def result(outputs: str, left: object, facts: Facts | None = None, version: str = "1.1") -> object:
    source = f"task t {{ command <<< run >>> output {{ {outputs} }} }}"
    prepared = prepare(task(source, {}, version))
    return prepared.result(left, facts or Facts())  # type: ignore[arg-type]


def test_paths_are_planned_exactly_and_named_as_the_manifest_names_them() -> None:
    assert plan(
        """File a = "./x//a.txt"
           File? b = "b b.txt"
           Array[File] cs = ["c1", "sub/c2"]
           Map[String, File] m = {"k": "m.txt"}
           Pair[File, Int] p = ("p.txt", 1)
           String name = "not-a-file"
           File abs = "/tmp/made"
        """
    ) == OutputPlan(files=("x/a.txt", "b b.txt", "c1", "sub/c2", "m.txt", "p.txt", "/tmp/made"))


def test_outputs_may_depend_on_inputs_and_on_each_other() -> None:
    planned = plan(
        """File second = "~{base}.bai"
           String base = "~{basename(f, ".sam")}.bam"
           File first = base
        """,
        f="s3://in/x.sam",
    )
    assert sorted(planned.files) == ["x.bam", "x.bam.bai"]
    assert not planned.everything


def test_reads_are_carried_inline_and_kept_too_for_those_too_large_for_it() -> None:
    planned = plan(
        """Int n = read_int("n.txt")
           Array[String] both = flatten([read_lines("a"), read_lines("b")])
           Float size = size("big.bin", "GiB")
           String log = read_string(stdout()) + read_string(stderr())
        """
    )
    assert planned.reads == ("n.txt", "a", "b", WHERE.stdout, WHERE.stderr)
    assert planned.files == ("n.txt", "a", "b", "big.bin")
    assert not planned.everything


def test_globs_are_planned_and_picking_from_them_keeps_no_more() -> None:
    planned = plan(
        """Array[File] bams = glob("*.bam")
           File first = bams[0]
           File? one = if length(bams) > 1 then bams[1] else select_first(glob("x/*"))
           Int n = length(glob("*.txt"))
        """
    )
    assert set(planned.globs) == {"*.bam", "x/*", "*.txt"}
    assert not planned.everything


@pytest.mark.parametrize(
    "outputs",
    [
        'Array[File] fs = read_lines("list.txt")',
        'File f = read_string("name.txt")',
        'Array[File] fs = glob(read_string("pattern.txt"))',
        'Array[String] names = read_lines("l")  Array[File] fs = names',
        'Array[File] bams = glob("*.bam")  File bai = bams[0] + ".bai"',
        'Int n = read_int(read_string("where.txt"))',
        'File f = if length(glob("*")) > 0 then "a" else "b"',
        "File f = read_string(stdout())",
    ],
)
def test_what_cannot_be_planned_keeps_everything(outputs: str) -> None:
    assert plan(outputs).everything


def test_what_depends_on_the_contents_of_inputs_is_planned() -> None:
    source = """task t {
      input { File names }
      command <<< run >>>
      output { Array[File] fs = read_lines(names) }
    }"""
    call = task(source, {"names": "s3://in/names"})
    facts = Facts()
    prepare_wants: set[Want] = set()
    for _ in range(3):
        try:
            prepared = call.prepare(WHERE, 1, facts)
            break
        except NeedFacts as need:
            prepare_wants |= need.wants
            for want in need.wants:
                known = want.kind == "content"
                facts.add(content(want.uri, "a\nb\n") if known else stat(want.uri, 4))
    assert prepare_wants == {Want("stat", "s3://in/names"), Want("content", "s3://in/names")}
    assert prepared.outputs == OutputPlan(files=("a", "b"))


def test_an_output_that_is_an_input_is_not_kept_again() -> None:
    source = """task t {
      input { File f }
      command <<< samtools index ~{f} >>>
      output { File same = f  File index = "~{f}.bai"  String uri = f }
    }"""
    prepared = prepare(task(source, {"f": "s3://in/x.bam"}))
    made = "/w/a1/inputs/0/x.bam.bai"
    assert prepared.outputs.files == (made,)
    outputs = prepared.result(manifest({made: 5}), Facts())
    assert outputs["same"] == "s3://in/x.bam"
    assert outputs["index"] == f"{WHERE.uri}{made}"


@pytest.mark.parametrize("path", ["../../x", "a/../../../x", "../../../../etc/passwd"])
def test_a_path_that_leaves_the_attempts_directory_is_refused_before_the_run(path: str) -> None:
    with pytest.raises(errors.EvaluationFailed, match="leaves the directory of the task"):
        plan(f'File f = "{path}"')


def test_values_come_from_the_manifest() -> None:
    outputs = result(
        """File f = "a.txt"
           Int n = read_int("n.txt")
           Float gib = size(["a.txt", "n.txt"])
           String out = read_string(stdout())
           File log = stderr()
           Map[String, Int] counts = read_json("c.json")
           Array[Array[String]] table = read_tsv("t.tsv")
        """,
        manifest(
            {"a.txt": 7, "n.txt": " 42 \n", "c.json": '{"a": 1}', "t.tsv": "p\tq\r\nr\ts\r\n"},
            stdout="hello\n",
            stderr="oops",
        ),
    )
    assert outputs == {
        "f": "s3://runs/call-t/a.txt",
        "n": 42,
        "gib": 12.0,
        "out": "hello",
        "log": WHERE.stderr,
        "counts": {"a": 1},
        "table": [["p", "q"], ["r", "s"]],
    }


def test_contents_that_the_manifest_does_not_carry_are_asked_for_all_at_once() -> None:
    outputs = (
        'Int a = length(read_lines("a"))  Int d = a + b  '
        'Int b = length(read_lines("b")) + length(read_lines("c"))'
    )
    left = manifest({"a": 100_000, "b": 100_000, "c": 100_000})
    facts = Facts()
    with pytest.raises(NeedFacts) as raised:
        result(outputs, left, facts)
    assert raised.value.wants == {Want("content", f"s3://runs/call-t/{x}") for x in "abc"}
    for number, name in enumerate("abc"):
        facts.add(content(f"s3://runs/call-t/{name}", "x\n" * number))
    assert result(outputs, left, facts) == {"a": 0, "b": 3, "d": 3}


def test_a_missing_file_is_named_with_output_and_place() -> None:
    with pytest.raises(errors.OutputMissing) as raised:
        result('File there = "a"\nFile gone = "b/c"', manifest({"a": 1}))
    assert raised.value.message == "output gone: the command left no file b/c"
    assert str(raised.value.place) == "main.wdl:3:1"


def test_reading_a_missing_file_is_a_missing_output_with_a_place() -> None:
    with pytest.raises(errors.OutputMissing, match=r"left no file n\.txt") as raised:
        result('Int n = read_int("n.txt")', manifest())
    assert raised.value.place is not None


def test_optional_files_that_are_missing_are_null() -> None:
    outputs = result(
        """File? a = "gone"
           Array[File?] some = ["gone", "there"]
           Boolean has = defined(a)
           Map[String, File?] m = {"x": "gone"}
        """,
        manifest({"there": 1}),
    )
    assert outputs == {
        "a": None,
        "some": [None, "s3://runs/call-t/there"],
        "has": False,
        "m": {"x": None},
    }


@pytest.mark.parametrize(
    "output",
    [
        'Array[File] fs = ["there", "gone"]',
        'Pair[File, File] p = ("there", "gone")',
        'Map[String, File] m = {"a": "gone"}',
        'Array[File?]+ fs = ["gone"]  File f = select_first([fs[0], "gone"])',
    ],
)
def test_a_missing_file_inside_a_value_is_missing(output: str) -> None:
    with pytest.raises(errors.OutputMissing, match="left no file gone"):
        result(output, manifest({"there": 1}))


def test_globs_keep_the_manifests_order_and_odd_names() -> None:
    outputs = result(
        'Array[File] fs = glob("*.txt")  Array[String] names = [basename(fs[0]), basename(fs[1])]',
        manifest({"b é.txt": 1, "a #?.txt": 1}, globs={"*.txt": ("b é.txt", "a #?.txt")}),
    )
    assert outputs == {
        "fs": ["s3://runs/call-t/b é.txt", "s3://runs/call-t/a #?.txt"],
        "names": ["b é.txt", "a #?.txt"],
    }


def test_a_glob_that_could_not_be_planned_is_matched_against_what_was_left() -> None:
    outputs = result(
        'Array[File] fs = glob(read_string("p"))',
        manifest({"p": "d/*.txt\n", "d/b.txt": 1, "d/a.txt": 1, "d/.h.txt": 1, "e/c.txt": 1}),
    )
    assert outputs == {"fs": ["s3://runs/call-t/d/a.txt", "s3://runs/call-t/d/b.txt"]}


def test_directories_are_outputs_since_1_2() -> None:
    outputs = """Directory d = "out"
                 Directory empty = "none"
                 Directory? gone = "gone"
                 Float n = size(d)
                 Directory? work = "."
              """
    planned = plan(outputs, version="1.2")
    assert planned.files == ("out/", "none/", "gone/", "/w/a1/execution/")
    found = result(
        outputs,
        manifest({"out/a": 3, "out/sub/b": 4}, directories=("out", "none")),
        version="1.2",
    )
    assert found == {
        "d": "s3://runs/call-t/out",
        "empty": "s3://runs/call-t/none",
        "gone": None,
        "n": 7.0,
        "work": "s3://runs/call-t",
    }


def test_a_directory_is_no_file_even_where_one_is_optional() -> None:
    with pytest.raises(errors.OutputMissing, match="is a directory, not a file"):
        result('File? f = "out"', manifest({"out/a": 1}, directories=("out",)))


def test_structs_hold_files() -> None:
    source = """struct S { File f  File? g  Int n }
    task t {
      command <<< run >>>
      output { S s = S { f: "a", g: "gone", n: 1 } }
    }"""
    prepared = prepare(task(source))
    assert prepared.outputs.files == ("a", "gone")
    assert prepared.result(manifest({"a": 1}), Facts()) == {
        "s": {"f": "s3://runs/call-t/a", "g": None, "n": 1}
    }


def test_writing_what_the_command_made_is_refused_in_words() -> None:
    with pytest.raises(errors.EvaluationFailed, match="let the command write it"):
        result('File f = write_lines(read_lines("a"))', manifest({"a": "x\n"}))


def test_a_uri_in_an_output_stays_as_it_is() -> None:
    assert plan('File f = "s3://elsewhere/x"').files == ()
    assert result('File f = "s3://elsewhere/x"', manifest()) == {"f": "s3://elsewhere/x"}


def test_an_output_that_is_not_of_its_type_fails_with_its_place() -> None:
    with pytest.raises(errors.EvaluationFailed) as raised:
        result('Int n = read_int("n")', manifest({"n": "many"}))
    assert raised.value.place is not None
    assert "'many' is not an Int" in raised.value.message


def test_text_that_is_not_utf_8_is_told() -> None:
    left = manifest({"n": 3})
    facts = Facts()
    facts.add(FactRecord("root", "content", "s3://runs/call-t/n", True, 3, None, b"\xff\xfe\x00"))
    with pytest.raises(errors.EvaluationFailed, match="not UTF-8"):
        result('String s = read_string("n")', left, facts)


_SCRIPT = """
from tests.unit.wdl.drive import prepare, task
call = task('''task t {
  input { INPUTS }
  File a = z + ".1"
  File b = y + ".2"
  File c = x + ".3"
  command <<< ~{a} ~{b} ~{c} ~{sep=" " m} >>>
}''', {"m": ["s3://c/1", "s3://d/2"]} | {n: f"s3://{n}/{n}" for n in "zyxwv"})
p = prepare(call)
print(p.script, [i.path for i in p.inputs])
""".replace("INPUTS", "  ".join([*(f"File {n}" for n in "zyxwv"), "Array[File] m"]))


def test_paths_are_the_same_in_every_process() -> None:
    answers = {
        subprocess.run(
            [sys.executable, "-c", _SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(Path.cwd())},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in (1, 2, 3)
    }
    assert len(answers) == 1
    assert answers.pop().strip()
