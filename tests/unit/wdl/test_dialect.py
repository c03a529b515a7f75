"""What pipelines written for Cromwell say that WDL does not: read with the same meaning, and said.

Each source is one of the root causes found among public pipelines and Cromwell's own test cases.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from orchestrator import errors
from orchestrator.wdl import bundle, document
from tests.unit.wdl.drive import load, manifest, prepare, run, start

ECHO = """
task echo { input { String s = "x" } command { echo ~{s} } output { String o = s } }
"""


def outputs(
    loaded: document.Document,
    given: Mapping[str, Any] | None = None,
    answers: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A workflow's outputs when every call answers so (or `s`, what it was given)."""
    found, _ = run(
        start(loaded, given),
        lambda call: dict(answers) if answers else {"o": json.loads(call.inputs).get("s", "x")},
    )
    return found


def tolerated(loaded: document.Document, *places: str) -> str:
    """All warnings, which stand at exactly these lines and columns."""
    found = [f"{w.place.line}:{w.place.column}" for w in loaded.warnings if w.place]
    assert found == list(places), loaded.warnings
    return " ".join(warning.message for warning in loaded.warnings)


def strictly(source: str, **imports: str) -> errors.InvalidWdl:
    files = {f"{name}.wdl": text for name, text in imports.items()}
    with pytest.raises(errors.InvalidWdl) as raised:
        document.load(bundle.Bundle("main.wdl", {"main.wdl": source, **files}), strict=True)
    error = raised.value
    assert error.place or all(finding.place for finding in error.findings)
    return error


def test_an_optional_value_stands_where_another_is_needed() -> None:
    source = f"""version 1.0
workflow w {{
  input {{ String? s }}
  call echo {{ input: s = select_first([s, "d"]) }}
  call need {{ input: s = s }}
  output {{ String o = need.o }}
}}
task need {{ input {{ String s }} command {{}} output {{ String o = s }} }}
{ECHO}"""
    loaded = load(source)
    assert "tolerated" in tolerated(loaded, "5:26")
    assert outputs(loaded, {"w.s": "given"}) == {"w.o": "given"}
    assert strictly(source).place == errors.Place("main.wdl", 5, 26)


def test_a_null_that_an_optional_value_brought_is_an_error_when_it_comes() -> None:
    loaded = load("version 1.0\nworkflow w {\n  input { Int? x }\n  Int y = x\n}\n")
    with pytest.raises(errors.EvaluationFailed) as raised:
        start(loaded).advance()
    assert raised.value.place is not None


def test_a_task_has_the_name_of_its_workflow() -> None:
    source = (
        f"version 1.0\nworkflow echo {{\n  call echo\n  output {{ String o = echo.o }}\n}}{ECHO}"
    )
    loaded = load(source)
    assert "has the name of" in tolerated(loaded, "2:1", "3:3")
    assert outputs(loaded, {"echo.echo.s": "given"}) == {"echo.o": "given"}
    strictly(source)


def test_an_importer_gets_the_workflow_of_two_with_one_name() -> None:
    lib = f"version 1.0\nworkflow echo {{ call echo as e output {{ String o = e.o }} }}{ECHO}"
    loaded = load(
        'version 1.0\nimport "lib.wdl" as lib\n'
        "workflow w { call lib.echo output { String o = echo.o } }",
        lib=lib,
    )
    assert loaded.workflow_name == "w"
    assert outputs(loaded, {"w.echo.e.s": "deep"}) == {"w.o": "deep"}
    assert [str(warning.place) for warning in loaded.warnings] == ["lib.wdl:2:1"]


def test_a_call_has_the_name_of_its_workflow() -> None:
    loaded = load(
        'version 1.0\nimport "lib.wdl" as lib\nworkflow echo { call lib.echo }',
        lib=f"version 1.0\n{ECHO}",
    )
    tolerated(loaded, "3:17")
    assert outputs(loaded) == {"echo.echo.o": "x"}


def test_an_output_of_a_task_has_the_name_of_its_input() -> None:
    source = """version 1.0
workflow w {
  call metrics { input: library = "in" }
  output { String o = metrics.library  String p = metrics.other }
}
task metrics {
  input { String library }
  command { echo ~{library} }
  output {
    String library = library + ".out"
    String other = library
  }
}
"""
    loaded = load(source)
    tolerated(loaded, "10:5")
    (call,) = (graph := start(loaded)).advance().calls
    prepared = prepare(graph.task(call))
    assert prepared.script.strip() == "echo in"
    from orchestrator.wdl.facts import Facts

    assert prepared.result(manifest(), Facts()) == {"library": "in.out", "other": "in.out"}
    strictly(source)


def test_an_output_of_a_workflow_has_the_name_of_its_input() -> None:
    source = """version 1.0
workflow w {
  input { String done  Int n = 2 }
  output {
    String done = done + "!"
    String also = done
    Int n = n
  }
}
"""
    loaded = load(source)
    tolerated(loaded, "5:5", "7:5")
    assert outputs(loaded, {"done": "yes"}) == {"w.done": "yes!", "w.also": "yes!", "w.n": 2}
    strictly(source)


def test_an_output_has_the_name_of_a_call() -> None:
    loaded = load(
        f"version 1.0\nworkflow w {{ call echo output {{ String echo = echo.o }} }}{ECHO}"
    )
    assert outputs(loaded) == {"w.echo": "x"}


def test_a_struct_is_declared_again_with_other_members() -> None:
    source = """version 1.0
import "lib.wdl" as lib
struct S { String name  Int n }
workflow w {
  S own = object { name: "a", n: 1 }
  call lib.t { input: s = object { name: "b" } }
  output { Int n = own.n  String o = t.o }
}
"""
    lib = """version 1.0
struct S { String name }
task t { input { S s } command {} output { String o = s.name } }
"""
    loaded = load(source, lib=lib)
    assert "struct S is declared differently" in tolerated(loaded, "2:1")
    assert outputs(loaded, answers={"o": "b"}) == {"w.n": 1, "w.o": "b"}
    strictly(source, lib=lib)


def test_two_imports_bring_different_structs_of_one_name() -> None:
    loaded = load(
        """version 1.0
import "a.wdl" as a
import "b.wdl" as b
workflow w { S s = object { second: 2 }  output { Int n = s.second } }
""",
        a="version 1.0\nstruct S { Int first }\n",
        b="version 1.0\nstruct S { Int second }\n",
    )
    assert "the last import's counts" in tolerated(loaded, "3:1")
    assert outputs(loaded) == {"w.n": 2}


def test_the_same_struct_twice_is_one() -> None:
    again = "version 1.0\nstruct S { Int n }\nstruct S { Int n }\nworkflow w { input { S s } }\n"
    tolerated(load(again), "3:1")
    with pytest.raises(errors.InvalidWdl, match="multiple structs named S"):
        load(again.replace("{ Int n }\nwork", "{ Float n }\nwork"))


def test_members_are_called_left_right_and_object() -> None:
    source = """version 1.0
struct Ends { String left  String right  Int object }
workflow w {
  input { Ends ends  Pair[Int, Int] p = (1, 2) }
  Int object = 3
  output { String l = ends.left  String r = ends.right  Int n = ends.object  Int pl = p.left }
}
"""
    loaded = load(source)
    assert outputs(loaded, {"ends": {"left": "a", "right": "b", "object": 4}}) == {
        "w.l": "a",
        "w.r": "b",
        "w.n": 4,
        "w.pl": 1,
    }
    assert {w.place.line for w in loaded.warnings if w.place} == {2, 5, 6}
    strictly(source)


def test_keys_of_meta_and_inputs_of_calls_stand_twice() -> None:
    source = f"""version 1.0
workflow w {{
  call echo {{ input: s = "first", s = "second" }}
  output {{ String o = echo.o }}
  meta {{ author: "a"  author: "b" }}
}}
{ECHO}"""
    loaded = load(source)
    text = tolerated(loaded, "3:39", "5:8")
    assert "the input s of a call stands twice" in text
    assert outputs(loaded) == {"w.o": "second"}
    strictly(source)


def test_a_workflow_without_an_output_section_is_called() -> None:
    lib = """workflow sub { call echo }
task echo { String s = "x" command { echo ${s} } output { String o = s } }
"""
    source = """import "lib.wdl" as lib
workflow w {
  call lib.sub
  output { String o = sub.echo.o }
}
"""
    loaded = load(source, lib=lib)
    assert "no output section" in tolerated(loaded, "3:3")
    assert outputs(loaded) == {"w.o": "x"}


def test_calls_inside_a_sub_workflow_lack_inputs_that_are_then_given() -> None:
    lib = """version 1.0
workflow sub { call need output { String o = need.o } }
task need { input { String s } command {} output { String o = s } }
"""
    source = """version 1.0
import "lib.wdl" as lib
workflow w { call lib.sub output { String o = sub.o } }
"""
    loaded = load(source, lib=lib)
    assert "lack inputs" in tolerated(loaded, "3:14")
    with pytest.raises(errors.InvalidInputs) as raised:
        start(loaded)
    assert "w.sub.need.s" in str(raised.value)
    assert outputs(loaded, {"w.sub.need.s": "deep"}) == {"w.o": "deep"}


def test_a_map_is_an_array_of_pairs_or_of_rows() -> None:
    source = """version 1.0
workflow w {
  Map[String, Int] m = {"a": 1, "b": 2}
  Array[Pair[String, Int]] pairs = m
  Array[Array[String]] rows = m
  scatter (entry in m) { String text = entry.left + entry.right }
  output {
    Array[String] t = text  Array[Array[String]] r = rows  Int n = pairs[1].right
    Int l = length(m)
  }
}
"""
    loaded = load(source)
    assert "tolerated" in " ".join(w.message for w in loaded.warnings)
    rows = [["a", "1"], ["b", "2"]]
    assert outputs(loaded) == {"w.t": ["a1", "b2"], "w.r": rows, "w.n": 2, "w.l": 2}
    strictly(source)


def test_text_says_true_or_false_in_conditions() -> None:
    source = """version 1.0
workflow w {
  input { String flag }
  if ("~{flag}") { Int there = 1 }
  Boolean b = flag
  Int n = if "~{flag}" then 1 else 2
  output { Int? t = there  Boolean bb = b  Int nn = n }
}
"""
    loaded = load(source)
    assert outputs(loaded, {"flag": "true"}) == {"w.t": 1, "w.bb": True, "w.nn": 1}
    assert outputs(loaded, {"flag": "False"}) == {"w.t": None, "w.bb": False, "w.nn": 2}
    with pytest.raises(errors.EvaluationFailed, match="neither true nor false"):
        outputs(loaded, {"flag": "maybe"})
    strictly(source)


def test_text_says_which_option_of_a_placeholder_is_meant() -> None:
    source = """version 1.0
workflow w { call t { input: flag = "TRUE" } }
task t { input { String flag } command { run ~{true='--yes' false='--no' flag} } }
"""
    (call,) = (graph := start(load(source))).advance().calls
    assert prepare(graph.task(call)).script.strip() == "run --yes"
    strictly(source)


def test_sep_of_what_is_no_array_has_no_effect() -> None:
    source = """version 1.0
workflow w { call t }
task t {
  input { File f = "s3://b/x.bam" }
  command { cat ~{sep=' ' f} }
}
"""
    (call,) = (graph := start(load(source))).advance().calls
    assert prepare(graph.task(call)).script.strip().startswith("cat /w/a1/inputs/")
    strictly(source)


OBJECT = """version 1.0
workflow w {
  input { Object given  Array[Object] several = [] }
  Object made = object { name: "n", inner: object { deep: 4 } }
  call t { input: o = made, n = given.count }
  output {
    Int n = given.count
    String name = made.name
    Int deep = made.inner.deep
    Array[String] names = [given.tags[0]]
    Object all = made
  }
}
task t {
  input { Object o  Int n }
  command { echo ~{o.name} ~{n} }
}
"""


def test_an_object_is_read_and_passed_on() -> None:
    loaded = load(OBJECT)
    given = {"w.given": {"count": 3, "tags": ["x", "y"]}}
    assert outputs(loaded, given, {"none": 0}) == {
        "w.n": 3,
        "w.name": "n",
        "w.deep": 4,
        "w.names": ["x"],
        "w.all": {"name": "n", "inner": {"deep": 4}},
    }
    (call,) = (graph := start(loaded, given)).advance().calls
    assert prepare(graph.task(call)).script.strip() == "echo n 3"
    assert {w.place.line for w in loaded.warnings if w.place} == {3, 4, 11, 15}
    strictly(OBJECT)


def test_an_object_without_the_member_says_so() -> None:
    loaded = load(OBJECT)
    with pytest.raises(errors.EvaluationFailed) as raised:
        start(loaded, {"w.given": {"counts": 3}}).advance()
    assert "no member count, did you mean counts?" in raised.value.message
    assert raised.value.place is not None
    with pytest.raises(errors.InvalidInputs, match="do not fit"):
        start(loaded, {"w.given": [1]})


@pytest.mark.parametrize("version", ["draft-3", "development-1.1"])
def test_versions_have_the_names_that_cromwell_gave_them_first(version: str) -> None:
    source = f"# a comment\nversion   {version}  # and another\nworkflow w {{ Int x = 1 }}\n"
    assert f"version {version} is 1." in tolerated(load(source), "2:1")
    strictly(source)


def test_an_import_whose_file_has_no_name_for_calls_brings_its_structs() -> None:
    files = {
        "main.wdl": 'version 1.0\nimport "my-structs.wdl"\nworkflow w { input { S s } }\n',
        "my-structs.wdl": "version 1.0\nstruct S { Int n }\n",
    }
    loaded = document.load(bundle.Bundle("main.wdl", files))
    assert "`as` gives one" in tolerated(loaded, "2:1")
    assert outputs(loaded, {"s": {"n": 1}}) == {}


def test_one_task_without_a_workflow_runs() -> None:
    loaded = load(
        """version 1.1
task align {
  input { String name  Int n = 1 }
  command { echo ~{name} }
  output { String o = name  Int m = n }
  runtime { cpu: 1 }
}
"""
    )
    assert loaded.workflow_name == "align"
    assert set(loaded.inputs_template()) == {"align.name", "align.n"}
    graph = start(loaded, {"align.name": "x", "align.runtime.cpu": 4})
    (call,) = graph.advance().calls
    assert prepare(graph.task(call)).runtime == {"cpu": 4}
    graph.finish(call.id, {"o": "x", "m": 1})
    graph.advance()
    assert graph.outputs == {"align.o": "x", "align.m": 1}
    assert start(loaded, {"name": "x"}).advance().calls


def test_a_document_that_needs_no_leniency_has_no_warnings_and_loads_strictly() -> None:
    source = f"version 1.1\nworkflow w {{ call echo {{ input: s = 'a' }} }}{ECHO}"
    assert load(source).warnings == ()
    assert document.load(bundle.Bundle("m.wdl", {"m.wdl": source}), strict=True).warnings == ()
