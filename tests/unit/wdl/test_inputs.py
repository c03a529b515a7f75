from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import errors
from orchestrator.wdl import document, inputs
from tests.unit.wdl.drive import load, prepare, start

SOURCE = """\
version 1.1
struct Sample { String name  Array[File] reads  Int? lane }
workflow w {
  input {
    File ref
    Int n = 3
    Float? f
    Boolean flag = true
    Array[String]+ names = ["a"]
    Array[Array[Int]] matrix = []
    Map[String, File] index = {}
    Pair[Int, File]? pair
    Sample? sample
    Directory_? d
  }
  call t { input: n = n }
  call sub.inner as s
}
task t { input { Int n  String who = "me"  File? extra } command {} }
"""
SUB = """\
version 1.1
task deep { input { Int k = 1 } command {} output { Int o = k } }
workflow inner { input { Int depth = 2 } call deep output { Int o = deep.o } }
"""


@pytest.fixture(scope="module")
def loaded() -> document.Document:
    source = SOURCE.replace("    Directory_? d\n", "")
    return load(
        source.replace("version 1.1\n", 'version 1.1\nimport "sub.wdl" as sub\n', 1), sub=SUB
    )


def refused(loaded: document.Document, given: dict[str, Any]) -> list[errors.Finding]:
    with pytest.raises(errors.InvalidInputs) as raised:
        inputs.bind(loaded, given)
    assert raised.value.exit_code == 3
    return list(raised.value.findings)


def test_names_are_bound_qualified_or_bare(loaded: document.Document) -> None:
    bound = inputs.bind(loaded, {"w.ref": "s3://b/r", "n": 4, "#note": "ignored"})
    assert bound.json == {"w.ref": "s3://b/r", "w.n": 4}


def test_binding_again_what_was_bound_gives_the_same(loaded: document.Document) -> None:
    bound = inputs.bind(
        loaded,
        {
            "w.ref": "s3://b/r",
            "w.index": {"x": "s3://b/x"},
            "w.pair": {"Left": 1, "Right": "/p"},
            "w.sample": {"name": "s", "reads": ["/r1"]},
            "w.f": 1,
            "w.t.who": "you",
            "w.s.deep.k": 5,
            "w.t.runtime.cpu": 2,
        },
    )
    again = inputs.bind(loaded, json.loads(json.dumps(bound.json)))
    assert again.json == bound.json
    assert again.files == bound.files
    assert bound.json["w.sample"] == {"name": "s", "reads": ["/r1"], "lane": None}
    assert bound.json["w.pair"] == {"left": 1, "right": "/p"}


def test_every_defect_is_one_finding(loaded: document.Document) -> None:
    findings = refused(
        loaded,
        {
            "w.nn": 1,
            "w.n": "three",
            "w.flag": 1,
            "w.matrix": [[1], [2, "x"]],
            "w.sample": {"reads": [3]},
            "w.names": [],
        },
    )
    texts = [finding.message for finding in findings]
    assert texts == [
        "workflow w has no input w.nn",
        'w.n: expected Int, got "three"',
        "w.flag: expected Boolean, got 1",
        'w.matrix[1][1]: expected Int, got "x"',
        "w.sample.name: expected String, got nothing",
        "w.sample.reads[0]: expected File, got 3",
        "w.names: expected Array[String]+, got []",
        "w.ref (File) is missing",
    ]
    assert findings[0].hint == "did you mean w.n?"
    assert str(findings[1].place) == "main.wdl:7:5"
    assert str(findings[-1].place) == "main.wdl:6:5"


@pytest.mark.parametrize("value", [True, 1.5, "1", None, 2**63, -(2**63) - 1, [1]])
def test_an_int_is_an_int(loaded: document.Document, value: Any) -> None:
    if value is None:
        assert inputs.bind(loaded, {"ref": "/r", "n": None}).json["w.n"] is None
    else:
        (finding,) = refused(loaded, {"ref": "/r", "n": value})
        assert "expected Int" in finding.message


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63)])
def test_an_int_has_64_bits(loaded: document.Document, value: int) -> None:
    assert inputs.bind(loaded, {"ref": "/r", "n": value}).json["w.n"] == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "1.5"])
def test_a_float_is_a_finite_number(loaded: document.Document, value: Any) -> None:
    (finding,) = refused(loaded, {"ref": "/r", "f": value})
    assert "expected Float" in finding.message


def test_the_same_input_by_two_names_is_refused(loaded: document.Document) -> None:
    (finding,) = refused(loaded, {"w.ref": "/r", "ref": "/s"})
    assert finding.message == "ref is given twice, here and as w.ref"


@pytest.mark.parametrize("path", ["", "s3://b/dir/"])
def test_a_file_is_not_empty_and_no_directory(loaded: document.Document, path: str) -> None:
    (finding,) = refused(loaded, {"ref": path})
    assert "expected File" in finding.message


def test_files_are_listed_for_checks_and_can_be_moved(loaded: document.Document) -> None:
    bound = inputs.bind(
        loaded,
        {"ref": "r.fa", "index": {"x": "s3://b/x"}, "sample": {"name": "r.fa", "reads": ["r.fa"]}},
    )
    assert bound.files == (
        ("w.ref", "r.fa", False),
        ("w.index", "s3://b/x", False),
        ("w.sample", "r.fa", False),
    )
    moved = bound.with_files({"r.fa": "/data/r.fa"})
    assert moved.json["w.ref"] == "/data/r.fa"
    assert moved.json["w.sample"] == {"name": "r.fa", "reads": ["/data/r.fa"], "lane": None}
    assert bound.json["w.ref"] == "r.fa"


def test_directories_are_marked_as_such() -> None:
    loaded = load("version 1.2\nworkflow w { input { Directory d  Array[File] fs } }\n")
    bound = inputs.bind(loaded, {"d": "s3://b/dir/", "fs": ["/f", "/f"]})
    assert bound.files == (("w.d", "s3://b/dir", True), ("w.fs", "/f", False))


def test_inputs_of_calls_reach_them_and_old_names_of_sub_workflows_are_known(
    loaded: document.Document,
) -> None:
    for name in ("w.s.depth", "s.depth", "w.s.inner.depth"):
        bound = inputs.bind(loaded, {"ref": "/r", name: 7})
        assert bound.json["w.s.depth"] == 7
    (finding,) = refused(loaded, {"ref": "/r", "w.t.n": 1})
    assert "no input w.t.n" in finding.message  # the call gives it itself


@pytest.mark.parametrize("version", ["draft-2", "1.0", "1.1", "1.2"])
def test_runtime_attributes_are_overridden_in_every_version(version: str) -> None:
    head = "" if version == "draft-2" else f"version {version}\n"
    loaded = load(f"{head}task t {{ command {{}} }}\nworkflow w {{ call t }}\n")
    bound = inputs.bind(loaded, {"w.t.runtime.memory": "8 GB"})
    (call,) = start(loaded, bound.json).advance().calls
    assert json.loads(call.inputs) == {"runtime.memory": "8 GB"}
    (finding,) = refused(loaded, {"w.x.runtime.memory": "8 GB"})
    assert "no input w.x.runtime.memory" in finding.message


def test_assignments_are_read_by_the_declared_type(loaded: document.Document) -> None:
    parsed = inputs.parse_assignments(
        loaded,
        [
            "ref=data/r=1.fa",
            "n=-4",
            "w.f=1e3",
            "flag=FALSE",
            "names=1",
            "names=b",
            "matrix=[[1,2]]",
            'index={"a": "b"}',
            "t.who=null",
            "t.runtime.cpu=2",
            "t.runtime.docker=img",
            "unknown=x",
        ],
    )
    assert not parsed.findings
    assert parsed.values == {
        "w.ref": "data/r=1.fa",
        "w.n": -4,
        "w.f": 1000.0,
        "w.flag": False,
        "w.names": ["1", "b"],
        "w.matrix": [[1, 2]],
        "w.index": {"a": "b"},
        "w.t.who": "null",
        "w.t.runtime.cpu": 2,
        "w.t.runtime.docker": "img",
        "unknown": "x",
    }


def test_every_wrong_assignment_is_one_finding(loaded: document.Document) -> None:
    read = inputs.parse_assignments(
        loaded, ["novalue", "n=x", "flag=yes", "n=1", "f=1_0", "index={", "names=[", "=x"]
    )
    assert not read.values
    assert read.unread == {"w.n", "w.flag", "w.f", "w.index", "w.names"}
    texts = [finding.message for finding in read.findings]
    assert texts == [
        "'novalue' is not of the form name=value",
        "'=x' is not of the form name=value",
        "w.n: given 2 times, but it is no array",
        "w.flag: expected true or false, got 'yes'",
        "w.f: expected Float, got '1_0'",
        "w.index: expected Map[String,File] as JSON: "
        "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        "w.names: expected Array[String]+ as JSON: Expecting value: line 1 column 2 (char 1)",
    ]


DEEP = """\
version 1.1
import "sub.wdl" as sub
workflow outer { call sub.inner as s }
"""


@pytest.mark.parametrize("name", ["outer.o.s.deep.k", "outer.o.outer.s.inner.deep.k", "o.s.deep.k"])
def test_inputs_of_calls_are_given_at_any_depth(name: str) -> None:
    loaded = load(
        'version 1.1\nimport "mid.wdl" as mid\nworkflow outer { call mid.outer as o }\n',
        mid=DEEP,
        sub=SUB,
    )
    bound = inputs.bind(loaded, {name: 9, "outer.o.s.deep.runtime.cpu": 2})
    assert bound.json == {"outer.o.s.deep.k": 9, "outer.o.s.deep.runtime.cpu": 2}
    graph = start(loaded, bound.json)
    for _ in range(2):
        (call,) = graph.advance().calls
        graph = graph.subgraph(call)
    (call,) = graph.advance().calls
    assert json.loads(call.inputs) == {"k": 9, "runtime.cpu": 2}
    assert prepare(graph.task(call)).runtime == {"cpu": 2}


def test_a_draft_2_task_takes_overrides_over_its_runtime_section() -> None:
    loaded = load(
        """\
        task t {
          Int n
          command { echo ${n} }
          runtime { memory: n + " GB"  docker: "a" }
        }
        workflow w { call t }
        """
    )
    given = {"w.t.n": 3, "w.t.runtime.memory": "8 GB", "w.t.runtime.maxRetries": 2}
    (call,) = (graph := start(loaded, given)).advance().calls
    runtime = prepare(graph.task(call)).runtime
    assert runtime == {"memory": "8 GB", "docker": "a", "maxRetries": 2}


def test_files_and_directories_are_found_in_every_compound_type() -> None:
    loaded = load(
        """\
        version 1.2
        struct S { File f  Map[String, Array[Directory?]] more }
        workflow w {
          input {
            Map[File, Directory] m
            Array[Pair[File?, Array[Array[File]]]] p
            Map[Directory, S]? s
          }
        }
        """
    )
    bound = inputs.bind(
        loaded,
        {
            "m": {"/k1": "/d1/"},
            "p": [{"left": None, "right": [["/f1"], []]}, {"left": "/f2", "right": []}],
            "s": {"/k2": {"f": "/f3", "more": {"x": ["/d2", None]}}},
        },
    )
    assert set(bound.files) == {
        ("w.m", "/k1", False),
        ("w.m", "/d1", True),
        ("w.p", "/f1", False),
        ("w.p", "/f2", False),
        ("w.s", "/k2", True),
        ("w.s", "/f3", False),
        ("w.s", "/d2", True),
    }
    moved = bound.with_files({path: f"s3:/{path}" for _, path, _ in bound.files})
    assert moved.json["w.m"] == {"s3://k1": "s3://d1"}
    assert moved.json["w.s"] == {"s3://k2": {"f": "s3://f3", "more": {"x": ["s3://d2", None]}}}
    assert inputs.bind(loaded, moved.json).json == moved.json


@pytest.mark.parametrize("value", ["", "/a\0b", "/\ud800", "/dir/"])
def test_a_path_is_text_that_a_file_can_have(loaded: document.Document, value: str) -> None:
    assert refused(loaded, {"ref": value})
    (finding,) = refused(loaded, {"ref": "/r", "index": {"k": value}})
    assert finding.message.startswith('index["k"]: expected File')


def test_findings_stand_where_the_inputs_file_says_it(loaded: document.Document) -> None:
    place = errors.Place("in.json", 3, 2)
    with pytest.raises(errors.InvalidInputs) as raised:
        inputs.bind(
            loaded, {"w.n": "x", "w.nn": 1, "n": 2}, dict.fromkeys(["w.n", "w.nn", "n"], place)
        )
    findings = raised.value.findings
    assert [finding.place for finding in findings[:3]] == [place] * 3
    assert findings[0].hint == "declared at main.wdl:7:5"
    assert str(findings[3].place) == "main.wdl:6:5"  # missing: where it is declared


def test_a_later_file_wins_by_whatever_name_an_input_is_given(loaded: document.Document) -> None:
    first = {"w.ref": "/a", "n": 1, "w.s.inner.depth": 2, "#": 0}
    later = {"ref": "/b", "w.n": 3, "s.depth": 4}
    assert inputs.merged(loaded, first, later) == {"#": 0, **later}


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_what_the_template_names_can_be_given_and_what_it_requires_must_be(version: str) -> None:
    loaded = load(
        SOURCE.replace("version 1.1", f'version {version}\nimport "sub.wdl" as sub').replace(
            "    Directory_? d\n", ""
        ),
        sub=SUB,
    )
    template = loaded.inputs_template()
    values = {
        "File": "/f",
        "Int": 1,
        "Float": 1.5,
        "Boolean": False,
        "String": "s",
        "Array[String]+": ["a"],
        "Array[Array[Int]]": [[1]],
        "Map[String,File]": {"a": "/f"},
        "Pair[Int,File]": {"left": 1, "right": "/f"},
        "Sample": {"name": "n", "reads": []},
    }
    filled = {name: values[text.split(" ")[0].rstrip("?")] for name, text in template.items()}
    assert set(inputs.bind(loaded, filled).json) == set(template)
    required = {name for name, text in template.items() if "(optional" not in text}
    assert required == {"w.ref"}
    findings = refused(loaded, {})
    assert {finding.message.split(" ")[0] for finding in findings} == required


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["left", "right", "name", "reads", "x"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
_NAMES = ["ref", "n", "f", "flag", "names", "matrix", "index", "pair", "sample"]
_NAMES += ["t.who", "t.extra", "s.depth", "t.runtime.cpu"]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(given=st.dictionaries(st.sampled_from([*_NAMES, "zz", "w.n", ""]), _JSON, max_size=5))
def test_any_json_is_bound_or_refused_with_findings(
    loaded: document.Document, given: dict[str, Any]
) -> None:
    try:
        bound = inputs.bind(loaded, given)
    except errors.InvalidInputs as error:
        findings = error.findings
        bound = None
    if bound is None:
        assert findings
    else:
        assert inputs.bind(loaded, bound.json).json == bound.json
