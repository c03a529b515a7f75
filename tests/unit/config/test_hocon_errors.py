"""What a person sees who mistyped: line, caret, what to do; never their password."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import errors
from orchestrator.config import hocon


def refused(text: str, base_dir: Path | None = None) -> errors.InvalidConfig:
    with pytest.raises(errors.InvalidConfig) as caught:
        hocon.loads(text, base_dir, name="my.conf", environment={})
    return caught.value


def test_a_brace_that_is_missing_at_the_end_names_the_block() -> None:
    """Seven of Cromwell's own example configurations are like this."""
    error = refused('include required(classpath("application"))\n\nbackend {\n  default = x\n')
    assert error.place == errors.Place("my.conf", 4, 13)
    assert "`}` missing; the block opened at line 3" in error.message


def test_a_brace_that_is_missing_inside_is_guessed_by_the_indentation() -> None:
    error = refused("a {\n  b {\n    c = 1\n  d = 2\n}\n")
    assert "the block opened at line 1" in error.message
    assert "line 2" in error.hint


def test_the_caret_stands_below_the_mistake() -> None:
    error = refused("a = 1\n\tb = s3://bucket\n")
    assert error.message.splitlines()[1:] == ["  2 | \tb = s3://bucket", "    | \t      ^"]
    assert "quotes" in error.hint
    assert str(error).startswith("error[INVALID_CONFIG]: my.conf:2:8: ")


@pytest.mark.parametrize(
    "text",
    [
        'password = "sesame\n',
        "db { password = sesame:open }",
        'secret-key = "sesame\\q"',
        'dockerhub { token = sesame"',
        "access-key = sesame*",
    ],
)
def test_a_line_that_may_hold_a_secret_is_not_shown(text: str) -> None:
    error = refused(text)
    assert "sesame" not in str(error)
    assert "sesame" not in json.dumps(error.as_json())
    assert error.place is not None
    assert error.place.line == 1


def test_an_undefined_substitution_says_how_to_define_it() -> None:
    error = refused("a { b = 1 }\nc = ${a.d}")
    assert error.place == errors.Place("my.conf", 2, 5)
    assert "${a.d} is not defined" in error.message
    assert "${?a.d}" in error.hint


def test_a_mistake_in_an_included_file_is_shown_there(tmp_path: Path) -> None:
    (tmp_path / "other.conf").write_text("x = 1\ny = [1,,2]\n")
    error = refused('include "other.conf"', tmp_path)
    assert error.place == errors.Place(str(tmp_path / "other.conf"), 2, 8)


def test_a_file_that_includes_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text('include "b.conf"')
    (tmp_path / "b.conf").write_text('include "a.conf"')
    with pytest.raises(errors.InvalidConfig, match="includes itself"):
        hocon.load(tmp_path / "a.conf")


def test_a_required_include_that_is_missing_names_it(tmp_path: Path) -> None:
    error = refused('include required(file("gone.conf"))', tmp_path)
    assert "gone.conf" in error.message


def test_deep_nesting_is_refused_and_not_a_crash() -> None:
    assert "deep" in refused("a = " + "[" * 5000).message
    assert "deep" in refused("a " + "{ a " * 5000).message


def test_a_long_chain_of_references_is_refused_and_not_a_crash() -> None:
    text = "\n".join(f"a{n} = ${{a{n + 1}}}" for n in range(3000)) + "\na3000 = 1"
    assert "circle" in refused(text).message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidConfig, match="cannot be read"):
        hocon.load(tmp_path / "gone.conf")
    with pytest.raises(errors.InvalidConfig, match="cannot be read"):
        hocon.load(tmp_path)
    (tmp_path / "latin1.conf").write_bytes(b"a = \xe9")
    with pytest.raises(errors.InvalidConfig, match="UTF-8"):
        hocon.load(tmp_path / "latin1.conf")


def test_the_last_place_of_a_key_is_known() -> None:
    document = hocon.read("a.b = 1\na { b = 2\n c = 3 }", name="x", environment={})
    assert document.places["a", "b"] == errors.Place("x", 2, 5)
    assert document.places["a", "c"] == errors.Place("x", 3, 2)


def test_includes_lie_beside_the_file_that_names_them(tmp_path: Path) -> None:
    deep = tmp_path / "deep"
    deep.mkdir()
    (tmp_path / "main.conf").write_text('x { include "deep/one.conf" }\nname = outer')
    (deep / "one.conf").write_text('include "two"\nfrom = ${name}\nroot = ${?outer-only}')
    (deep / "two.conf").write_text("name = inner")
    assert hocon.load(tmp_path / "main.conf", environment={}) == {
        "x": {"name": "inner", "from": "inner"},
        "name": "outer",
    }


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text('abc. é"$', max_size=5), json_values, max_size=4), st.booleans())
def test_every_json_document_is_itself_in_hocon(document: dict[str, object], ascii: bool) -> None:
    """HOCON is a superset of JSON: nothing is dropped, guessed or changed."""
    text = json.dumps(document, indent=1, ensure_ascii=ascii)
    assert hocon.loads(text, environment={}) == document


@given(st.text('ab=:{}[],"\\$.# \n+?1-/*', max_size=40))
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    places: list[errors.Place | None] = []
    try:
        hocon.loads(text, environment={})
    except errors.InvalidConfig as error:
        places.append(error.place)
    assert None not in places
