from __future__ import annotations

import asyncio
import concurrent.futures
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import errors
from orchestrator.wdl import bundle, document
from tests.unit.wdl.drive import load


def failure(source: str, **imports: str) -> errors.InvalidWdl:
    with pytest.raises(errors.InvalidWdl) as raised:
        load(source, **imports)
    return raised.value


@pytest.mark.parametrize("version", ["", "version 1.0\n", "version 1.1\n", "version 1.2\n"])
def test_every_version_loads(version: str) -> None:
    loaded = load(f"{version}task t {{ command {{}} }}\nworkflow w {{ call t }}\n")
    assert loaded.workflow_name == "w"


def test_a_syntax_error_has_its_place_and_says_what_was_expected() -> None:
    error = failure('version 1.1\nworkflow w {\n  Int x = "a" +\n}\n')
    assert str(error.place) == "main.wdl:4:1"
    assert error.message == "unexpected '}'"
    assert "expected here" in error.hint


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ("version 1.1\nworkflow w { call t", "main.wdl:2:19", "{"),
        ("version 1.1\ntask t { command <<< echo hi", "main.wdl:2:21", ""),
        ('version 1.1\nworkflow w { String s = "abc', "main.wdl:2:26", "the end of the string"),
        ("version 1.1\nworkflow w { Int x = ", "main.wdl:2:20", "a number"),
    ],
)
def test_a_document_that_breaks_off_says_so_in_words(text: str, place: str, hint: str) -> None:
    error = failure(text)
    assert "ends here, in the middle" in error.message
    assert str(error.place) == place
    assert hint in error.hint
    assert not re.search(r"[A-Z]{3}|ANON|Token", f"{error.message} {error.hint}")


def test_names_that_no_directory_can_have_are_refused_with_their_places() -> None:
    name = "n" * 201
    error = failure(
        f"version 1.1\nworkflow w {{ call t as {name} }}\ntask t {{ command <<< >>> }}\n"
    )
    assert "201 characters" in error.message
    assert str(error.place) == "main.wdl:2:14"
    load(f"version 1.1\nworkflow {name[:200]} {{ }}\n")


def test_all_errors_of_a_document_are_told_at_once() -> None:
    error = failure(
        """\
        version 1.1
        workflow w {
          Int a = nowhere
          Boolean b = 1 && true
          call t { input: n = "no", zz = 1 }
        }
        task t { input { Int n } command {} }
        """
    )
    places = [str(finding.place) for finding in error.findings]
    assert places == ["main.wdl:3:11", "main.wdl:4:15", "main.wdl:5:34"]
    assert "Unknown identifier nowhere" in error.findings[0].message


def test_an_error_in_an_imported_file_has_its_place_there() -> None:
    error = failure(
        'version 1.1\nimport "lib.wdl" as lib\nworkflow w {}\n',
        lib="version 1.1\nworkflow sub {\n  Int x = y\n}\n",
    )
    assert str(error.place) == "lib.wdl:3:11"


def test_an_unknown_version_is_named_with_those_that_are_known() -> None:
    error = failure("version 9\nworkflow w {}\n")
    assert "unknown WDL version 9" in error.message
    assert "1.1" in error.message
    assert error.place is not None
    assert error.place.line == 1


def test_a_document_without_a_version_that_is_no_draft_2_says_so() -> None:
    error = failure("struct S { Int n }\nworkflow w {}\n")
    assert error.place is not None
    assert error.hint.startswith("read as draft-2")


@pytest.mark.parametrize(
    "uri",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "file:/etc/passwd",
        "../../../../../../../../../../etc/passwd",
        "lib/../../../../../../../../../../etc/passwd",
        "http://169.254.169.254/latest/meta-data",
        "https://example.org/x.wdl",
        "s3://bucket/x.wdl",
        "missing.wdl",
    ],
)
def test_hostile_imports_are_refused_and_nothing_of_a_file_is_quoted(uri: str) -> None:
    error = failure(f'version 1.1\nimport "{uri}" as x\nworkflow w {{}}\n')
    assert str(error.place) == "main.wdl:2:1"
    assert uri in error.message
    assert "root:" not in str(error.as_json())


def test_imports_resolve_from_the_importer_then_from_the_root() -> None:
    files = {
        "flows/main.wdl": 'version 1.0\nimport "b.wdl" as b\nimport "lib/c.wdl" as c\n'
        "workflow w { call b.t call c.u }\n",
        "flows/b.wdl": "version 1.0\ntask t { command {} }\n",
        "lib/c.wdl": "version 1.0\ntask u { command {} }\n",
    }
    assert document.load(bundle.Bundle("flows/main.wdl", files)).workflow_name == "w"


def test_a_missing_import_says_what_was_meant() -> None:
    error = failure('version 1.0\nimport "alignn.wdl" as x\nworkflow w {}\n', align="version 1.0\n")
    assert error.hint == "did you mean align.wdl?"


def test_a_document_of_several_tasks_says_how_to_make_a_workflow() -> None:
    error = failure("version 1.0\ntask one { command {} }\ntask two { command {} }\n")
    assert "no workflow, only 2 tasks: one, two" in error.message
    assert "call one" in error.hint


def test_optional_values_may_stand_where_others_are_needed_as_cromwell_has_it() -> None:
    load("version 1.0\nworkflow w { input { Int? x } Int y = x }\n")


def test_a_tolerated_call_is_warned_about() -> None:
    loaded = load("version development\ntask t { command {} }\nworkflow w { call? t }\n")
    (warning,) = loaded.warnings
    assert "call? t" in warning.message
    assert str(warning.place) == "main.wdl:3:14"


def test_the_template_of_inputs_has_womtools_words() -> None:
    loaded = load(
        """\
        version 1.0
        workflow w {
          input { File reads  Int k = 3  String? label  Array[Float]+ xs }
          call t { input: n = k }
        }
        task t { input { Int n  String who = "me" } command {} }
        """
    )
    assert loaded.inputs_template() == {
        "w.reads": "File",
        "w.k": "Int (optional, default = 3)",
        "w.label": "String? (optional)",
        "w.xs": "Array[Float]+",
        "w.t.who": 'String (optional, default = "me")',
    }


def test_documents_load_inside_an_event_loop_and_from_many_threads() -> None:
    source = "version 1.1\nworkflow w { Int x = 1 }\n"

    async def inside() -> str:
        return load(source).workflow_name

    assert asyncio.run(inside()) == "w"
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        names = list(pool.map(lambda _: load(source).workflow_name, range(8)))
    assert names == ["w"] * 8


def test_a_document_that_nests_too_deeply_is_an_error_of_the_user() -> None:
    error = failure("version 1.1\nworkflow w { Int x = " + "[" * 3_000 + "]" * 3_000 + "}")
    assert error.code == "INVALID_WDL"
    assert error.place is not None


_FRAGMENTS = [
    *("version 1.1", "workflow w", "task t", "input", "output", "command", "<<<", ">>>", "Int"),
    *("File", "x", "=", "1", "+", "(", ")", '"', "~{", "scatter", "in", "if", "call", "import"),
    *("as", "[", "]", ",", ":", "runtime", "struct", "Map", "\n", "#", "\\", "\0", "é", "after"),
    *("{", "}"),
]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(
        st.sampled_from(_FRAGMENTS),
        max_size=25,
    )
)
def test_whatever_is_handed_in_is_a_document_or_an_error_with_a_place(parts: list[str]) -> None:
    try:
        load("version 1.1\n" + " ".join(parts))
        error = None
    except errors.InvalidWdl as raised:
        error = raised
    if error is not None:
        assert error.place or (error.findings and all(f.place for f in error.findings))
