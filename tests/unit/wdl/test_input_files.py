from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import errors
from orchestrator.wdl import input_files


def refused(content: str | bytes, *, is_yaml: bool = False) -> errors.InvalidInputs:
    data = content.encode() if isinstance(content, str) else content
    with pytest.raises(errors.InvalidInputs) as raised:
        input_files.parse(data, "in", is_yaml=is_yaml)
    assert raised.value.place is not None
    return raised.value


@pytest.mark.parametrize(
    ("content", "says", "place"),
    [
        ("", "not JSON", "in:1:1"),
        ("[1]", "not a JSON object", "in"),
        ('{"a": 1,\n  "b" 2}', "not JSON", "in:2:7"),
        ('{"w.a": 1,\n "w.a": 2}', "w.a stands twice", "in:2:2"),
        ('{"a": {"b": 1,\n "b" : 2}}', "b stands twice", "in:2:2"),
        ('{"a": 1,\n "b": NaN}', "NaN is no number", "in:2:7"),
        ('{"a": -Infinity}', "-Infinity is no number", "in:1:7"),
        ('{"a": 1e999}', "too large", "in:1:7"),
        ('{"a": ' + "9" * 5000 + "}", "too many digits", "in:1:7"),
        ('{"a": ' + "[" * 200 + "]" * 200 + "}", "nests more than 100 deep", "in"),
        ('{"a": ' + "[" * 100_000, "nests more than 100 deep", "in"),
        (b'{"a": "\xff"}', "not UTF-8", "in:1"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8", "in:1"),
    ],
)
def test_json_that_is_wrong_is_told_with_its_place(
    content: str | bytes, says: str, place: str
) -> None:
    error = refused(content)
    assert says in error.message
    assert str(error.place) == place


@pytest.mark.parametrize(
    ("content", "says", "place"),
    [
        ("a: [1\nb: 2", "not YAML", "in:2:2"),
        ("- 1\n- 2", "not a YAML mapping", "in"),
        ("a: 1\na: 2", "a stands twice", "in:2:1"),
        ("a: !!python/object/apply:os.system [x]", "the tag", "in:1:4"),
        ("a: !!binary aGk=", "the tag", "in:1:4"),
        ("a: &x [*x]", "no anchor x", "in:1:8"),
        ("a: *nowhere", "no anchor nowhere", "in:1:4"),
        ("a: &x {b: 1}\nc:\n  <<: *x", "merge keys", "in:3:3"),
        ("a: 1\n---\nb: 2", "second document", "in:2:1"),
        ("? [a]\n: 1", "a name that is no text", "in:1:3"),
        ("a: .nan", "no number", "in:1:4"),
        ("a: 1e999", "too large", "in:1:4"),
        ("a: " + "[" * 200 + "]" * 200, "nests more than 100 deep", "in:1:103"),
        ("a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
            f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi",
                                                                       strict=True)),
         "more than 5,000,000 values", None),
        ("a: \x00", "not YAML", None),
    ],
)  # fmt: skip
def test_yaml_that_is_wrong_is_told_with_its_place(
    content: str, says: str, place: str | None
) -> None:
    error = refused(content, is_yaml=True)
    assert says in error.message
    assert place is None or str(error.place) == place


@pytest.mark.timeout(30)
def test_names_of_a_file_with_many_have_their_places() -> None:
    names = [f"w.call_{number}.x" for number in range(50_000)]
    content = json.dumps(dict.fromkeys(names, "a value"), indent=1).encode()
    places = input_files.parse(content, "in.json").places
    assert [str(place) for place in places.values()] == [f"in.json:{n}:2" for n in range(2, 50_002)]


def test_yaml_is_read_by_the_core_schema() -> None:
    content = """\
# inputs
w.sample: no
w.date: 2024-01-01
w.time: 12:30:00
w.n: 3
w.octal: 0o17
w.f: 1.5e3
w.b: true
w.nothing:
w.text: "3"
w.list: &files
  - s3://b/x
  - s3://b/y
w.again: *files
w.map: {1: one, k: ~}
"""
    given = input_files.parse(content.encode(), "in.yaml", is_yaml=True)
    assert given.values == {
        "w.sample": "no",
        "w.date": "2024-01-01",
        "w.time": "12:30:00",
        "w.n": 3,
        "w.octal": "0o17",
        "w.f": 1500.0,
        "w.b": True,
        "w.nothing": None,
        "w.text": "3",
        "w.list": ["s3://b/x", "s3://b/y"],
        "w.again": ["s3://b/x", "s3://b/y"],
        "w.map": {"1": "one", "k": None},
    }
    assert str(given.places["w.n"]) == "in.yaml:5:1"


def test_a_byte_order_mark_is_left_out() -> None:
    assert input_files.parse('﻿{"a": 1}'.encode(), "in").values == {"a": 1}


def test_the_places_of_names_are_known() -> None:
    given = input_files.parse(b'{"w.a": 1,\n  "w.b": {"w.c": 2}}', "in.json")
    assert {key: str(place) for key, place in given.places.items()} == {
        "w.a": "in.json:1:2",
        "w.b": "in.json:2:3",
    }


@pytest.mark.parametrize(("name", "content"), [("i.yml", "a: 1"), ("i.json", '{"a": 1}')])
def test_a_file_is_read_by_its_name(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert input_files.read(tmp_path / name).values == {"a": 1}


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path, Path("\0")):
        with pytest.raises(errors.InvalidOptions):
            input_files.read(path, errors.InvalidOptions)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@settings(max_examples=60, deadline=None, derandomize=True)
@given(values=st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), _VALUES))
def test_what_json_can_say_is_read_back(values: dict[str, Any]) -> None:
    assert input_files.parse(json.dumps(values).encode(), "in").values == values


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    content=st.binary(max_size=60)
    | st.lists(st.sampled_from([*"{}[]:,-&*!?|>'\"\n #%@~", "a", "1", "<<", "---", "  "]),
               max_size=25).map(lambda parts: "".join(parts).encode()),
    is_yaml=st.booleans(),
)  # fmt: skip
def test_whatever_a_file_holds_is_an_object_or_an_error_with_a_place(
    content: bytes, is_yaml: bool
) -> None:
    try:
        found: Any = input_files.parse(content, "in", is_yaml=is_yaml).values
    except errors.InvalidInputs as error:
        found = error.place
    assert isinstance(found, dict | errors.Place)
