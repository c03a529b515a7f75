"""Every function of the standard library, in a workflow and in a task's outputs, over URIs.

Expectations are the specification's (its text and examples, 1.0 to 1.2); where Cromwell differs
and we follow it, a comment says so.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from orchestrator import errors
from orchestrator.model.records import FactRecord
from orchestrator.wdl.facts import Facts, NeedFacts
from orchestrator.wdl.rules import Rules
from tests.unit.wdl.drive import load, manifest, prepare, start, task

FILES: dict[str, bytes] = {
    "empty": b"",
    "newline": b"\n",
    "lines": b"a\nb b\n\nc\n",
    "no-last-newline": b"a\nb",
    "crlf": b"a\r\nb\r\n",
    "unicode": "h\u00e9\n\u65e5\u672c \U0001f600\n".encode(),
    "bom": b"\xef\xbb\xbfx\n",
    "latin1": b"\xe9\n",
    "padded": b"  \t word \n\n",
    "int": b" -42\r\n",
    "plus": b"+7",
    "underscore": b"1_000",
    "long": b"9223372036854775808",
    "float": b"1.5e3\n",
    "nan": b"NaN",
    "true": b"TRUE\n",
    "yes": b"yes",
    "tsv": b"a\tb\n1\t\n",
    "ragged": b"a\tb\n1\n",
    "map": b"k1\tv1\nk2\tv 2\n",
    "map-twice": b"k\tv\nk\tw\n",
    "object": b"name\tage\nJo\t5\n",
    "objects": b"name\tage\nJo\t5\nMo\t6\n",
    "header-only": b"name\tage\n",
    "same-names": b"a\ta\n1\t2\n",
    "json-object": b'{"name": "Jo", "age": 5, "more": [1, 2]}',
    "json-array": b'[{"name": "Jo", "age": 5}, {"name": "Mo", "age": 6}]',
    "json-strings": '["\u00e9", "x"]'.encode(),
    "json-number": b"3",
    "json-null": b"null",
    "json-map": b'{"a": "b"}',
    "json-bad": b'{"a": ',
    "kilo": b"x" * 1500,
}
PERSON = "struct Person { String name  Int age }\n"
PLACES = "struct Places { Directory d  File f }\n"


def facts() -> Facts:
    known = Facts()
    for name, data in FILES.items():
        uri = f"s3://in/{name}"
        known.add(FactRecord("root", "stat", uri, True, len(data), "etag"))
        known.add(FactRecord("root", "content", uri, True, len(data), None, data))
    listed = json.dumps([["a", 10, None], ["b/c", 20, None]]).encode()
    known.add(FactRecord("root", "listing", "s3://in/dir", True, 30, None, listed))
    return known


def in_workflow(version: str, type_: str, expression: str) -> Any:
    header = "" if version == "draft-2" else f"version {version}\n"
    structs = {"draft-2": "", "1.2": PERSON + PLACES}.get(version, PERSON)
    source = f"{header}{structs}workflow w {{ output {{ {type_} o = {expression} }} }}\n"
    graph = start(load(source), {}, known := facts())
    while graph.outputs is None:
        advance = graph.advance()
        for write in advance.writes:  # the engine writes these and pins them
            size = len(write.content)
            known.add(FactRecord("root", "stat", write.uri, True, size, "etag"))
            known.add(FactRecord("root", "content", write.uri, True, size, None, write.content))
        if advance.wants and all(known.peek(w.kind, w.uri) is None for w in advance.wants):
            raise NeedFacts(advance.wants)
    return graph.outputs["w.o"]


def in_task(version: str, type_: str, expression: str) -> Any:
    structs = {"draft-2": "", "1.2": PERSON + PLACES}.get(version, PERSON)
    call = task(
        f"{structs}task t {{ command {{ run }} output {{ {type_} o = {expression} }} }}",
        version=version,
    )
    return prepare(call, facts()).result(manifest(), facts())["o"]


def f(name: str) -> str:
    return f'"s3://in/{name}"'


# version, type, expression, value
CASES: list[tuple[str, str, str, Any]] = [
    # numbers
    ("1.0", "Int", "floor(-1.5)", -2),
    ("1.0", "Int", "ceil(-1.5)", -1),
    ("1.0", "Array[Int]", "[round(1.49), round(1.5), round(2.5), round(-1.5)]", [1, 2, 3, -1]),
    ("1.1", "Int", "min(1, max(2, 3))", 1),
    ("1.1", "Float", "min(1, 0.5)", 0.5),
    ("1.0", "Array[Int]", "[7 / 2, -7 / 2, 7 / -2]", [3, -3, -3]),  # Cromwell's: towards zero
    ("1.0", "Array[Int]", "[7 % 3, -7 % 3, 7 % -3]", [1, -1, 1]),  # Cromwell's: sign of the first
    ("1.0", "Float", "1 / 4.0", 0.25),
    ("1.2", "Int", "2 ** 10", 1024),
    ("1.2", "Float", "2 ** 0.5", 2**0.5),
    # strings
    ("draft-2", "String", 'sub("a.b.c", "\\\\.", "-")', "a-b-c"),
    ("1.0", "String", 'sub("x.fastq.gz", "\\\\.fastq(\\\\.gz)?$", "")', "x"),
    ("1.0", "String", 'sub("aaa", "a{2}", "b")', "ba"),
    ("1.0", "String", 'sub("abc", "[[:alpha:]]", "<$0>")', "<a><b><c>"),
    ("1.0", "String", 'sub("ab", "(a)(b)", "\\\\2\\\\1")', "ba"),
    ("1.0", "String", 'sub("ab", "(a)(b)", "$2$1")', "ba"),  # as Java, which Cromwell's is
    ("1.0", "String", 'sub("cost", "cost", "$5")', "$5"),
    ("1.0", "String", 'sub("", "^", "x")', "x"),
    ("1.0", "String", 'sub("h\u00e9llo", "\u00e9", "\U0001f600")', "h\U0001f600llo"),
    ("1.0", "String", 'sub("ab", "a|ab", "")', ""),  # POSIX: the longest
    ("1.2", "String?", 'find("hello world", "w[a-z]+")', "world"),
    ("1.2", "String?", 'find("hello", "z")', None),
    ("1.2", "Array[Boolean]", '[matches("abc", "b"), matches("abc", "^b")]', [True, False]),
    ("1.0", "String", 'basename("/a/b/c.txt")', "c.txt"),
    ("1.0", "String", 'basename("s3://b/x y.bam", ".bam")', "x y"),
    ("1.0", "String", 'basename("c.txt", ".bam")', "c.txt"),
    ("1.0", "String", 'basename("https://h/p/%C3%A9.txt")', "%C3%A9.txt"),
    ("1.1", "String", 'sep(", ", ["a", "b"])', "a, b"),
    ("1.1", "String", 'sep(",", [1, 2])', "1,2"),
    ("draft-2", "String", "\"${sep=', ' [1, 2]}|${default='d' 'x'}\"", "1, 2|x"),
    ("1.0", "String", "\"~{sep=', ' [1, 2]} ~{true='y' false='n' false}\"", "1, 2 n"),
    ("1.1", "String", "\"~{sep=', ' [1, 2]} ~{sep=':' range(0)}|\"", "1, 2 |"),
    ("1.1", "Array[String]", 'prefix("-f ", [1, 2])', ["-f 1", "-f 2"]),
    ("1.1", "Array[String]", 'suffix(".txt", ["a"])', ["a.txt"]),
    ("1.1", "Array[String]", "quote([1, 2])", ['"1"', '"2"']),
    ("1.1", "Array[String]", 'squote(["it"])', ["'it'"]),
    ("1.2", "String", 'join_paths("/usr", "lib")', "/usr/lib"),
    ("1.2", "String", 'join_paths(["/usr", "lib", "x"])', "/usr/lib/x"),
    ("1.2", "String", 'join_paths("s3://b/dir", ["x", "y"])', "s3://b/dir/x/y"),
    ("1.1", "String", "\"~{true='y' false='n' true} ~{default='d' 'x'}\"", "y x"),
    ("1.1", "String", "\"~{default='d' None}|~{None}|~{'-n ' + None}\"", "d||"),
    ("1.0", "Map[String,Float]", '{"a": 0.5, "b": 1}', {"a": 0.5, "b": 1.0}),
    ("1.0", "Map[String,String]", '{"a": 1, "b": "x"}', {"a": "1", "b": "x"}),
    ("1.0", "Array[Map[String,String]]", '[{"a": "x", "b": true}]', [{"a": "x", "b": "true"}]),
    ("1.0", "String", '"~{1.5} ~{true} ~{-1}"', "1.500000 true -1"),
    ("1.0", "String", '"a" + 1 + "b" + 2.5', "a1b2.500000"),
    # arrays
    ("1.0", "Array[Int]", "range(0)", []),
    ("1.0", "Array[Int]", "range(3)", [0, 1, 2]),
    ("1.0", "Int", "length([])", 0),
    ("1.0", "Array[Array[Int]]", "transpose([[1, 2, 3], [4, 5, 6]])", [[1, 4], [2, 5], [3, 6]]),
    ("1.0", "Array[Array[Int]]", "transpose([])", []),
    ("1.0", "Array[Int]", "flatten([[1], [], [2, 3]])", [1, 2, 3]),
    ("1.0", "Array[Int]", "flatten([])", []),
    ("1.1", "Array[Int]", "select_all([1, None, 3])", [1, 3]),
    ("1.1", "Int", "select_first([None, 2, 3])", 2),
    ("1.2", "Int", "select_first([None], 5)", 5),
    (
        "1.0",
        "Array[Pair[Int, String]]",
        'zip([1, 2], ["a", "b"])',
        [{"left": 1, "right": "a"}, {"left": 2, "right": "b"}],
    ),
    ("1.0", "Int", 'length(cross([1, 2], ["a", "b", "c"]))', 6),
    (
        "1.1",
        "Pair[Array[Int], Array[String]]",
        'unzip([(1, "a"), (2, "b")])',
        {"left": [1, 2], "right": ["a", "b"]},
    ),
    ("1.2", "Array[Array[Int]]", "chunk([1, 2, 3], 2)", [[1, 2], [3]]),
    ("1.2", "Boolean", "contains([1, 2], 2)", True),
    ("1.2", "Boolean", "contains([1, None], None)", True),
    # maps
    ("1.1", "Array[String]", 'keys({"b": 1, "a": 2})', ["b", "a"]),
    ("1.2", "Array[Int]", 'values({"b": 1, "a": 2})', [1, 2]),
    ("1.1", "Map[String, Int]", 'as_map([("a", 1), ("b", 2)])', {"a": 1, "b": 2}),
    (
        "1.1",
        "Array[Pair[String, Int]]",
        'as_pairs({"a": 1})',
        [{"left": "a", "right": 1}],
    ),
    (
        "1.1",
        "Map[String, Array[Int]]",
        'collect_by_key([("a", 1), ("b", 2), ("a", 3)])',
        {"a": [1, 3], "b": [2]},
    ),
    ("1.2", "Boolean", 'contains_key({"a": 1}, "a")', True),
    ("1.0", "Int", '{"a": 1, "b": 2}["b"]', 2),
    ("1.1", "Array[Boolean]", "[defined(None), defined(1)]", [False, True]),
    # size
    ("1.0", "Float", f"size({f('kilo')})", 1500.0),
    ("1.0", "Float", f'size({f("kilo")}, "K")', 1.5),
    ("1.0", "Float", f'size({f("kilo")}, "KB")', 1.5),
    ("1.0", "Float", f'size({f("kilo")}, "KiB")', 1500 / 1024),
    ("1.0", "Float", f'size({f("empty")}, "GiB")', 0.0),
    ("1.0", "Float", f"size([{f('kilo')}, {f('kilo')}])", 3000.0),
    ("1.2", "Float", 'size(Places { d: "s3://in/dir", f: "s3://in/kilo" })', 1530.0),
    # read
    ("1.0", "Array[String]", f"read_lines({f('empty')})", []),
    ("1.0", "Array[String]", f"read_lines({f('newline')})", [""]),
    ("1.0", "Array[String]", f"read_lines({f('lines')})", ["a", "b b", "", "c"]),
    ("1.0", "Array[String]", f"read_lines({f('no-last-newline')})", ["a", "b"]),
    ("1.0", "Array[String]", f"read_lines({f('crlf')})", ["a", "b"]),
    ("1.0", "Array[String]", f"read_lines({f('bom')})", ["x"]),
    (
        "draft-2",
        "Array[String]",
        f"read_lines({f('unicode')})",
        ["h\u00e9", "\u65e5\u672c \U0001f600"],
    ),
    ("1.0", "String", f"read_string({f('empty')})", ""),
    ("1.0", "String", f"read_string({f('padded')})", "word"),  # as Cromwell; see the setting
    ("1.0", "String", f"read_string({f('crlf')})", "a\nb"),
    ("1.0", "Int", f"read_int({f('int')})", -42),
    ("1.0", "Int", f"read_int({f('plus')})", 7),
    ("1.0", "Float", f"read_float({f('float')})", 1500.0),
    ("1.0", "Float", f"read_float({f('int')})", -42.0),
    ("1.0", "Boolean", f"read_boolean({f('true')})", True),
    ("1.0", "Array[Array[String]]", f"read_tsv({f('tsv')})", [["a", "b"], ["1", ""]]),
    ("1.0", "Array[Array[String]]", f"read_tsv({f('empty')})", []),
    (
        "1.2",
        "Array[Map[String, String]]",
        f"read_tsv({f('objects')}, true)",
        [{"name": "Jo", "age": "5"}, {"name": "Mo", "age": "6"}],
    ),
    (
        "1.2",
        "Array[Map[String, String]]",
        f'read_tsv({f("object")}, true, ["n", "a"])',
        [{"n": "Jo", "a": "5"}],
    ),
    (
        "1.2",
        "Array[Map[String, String]]",
        f'read_tsv({f("object")}, false, ["n", "a"])',
        [{"n": "name", "a": "age"}, {"n": "Jo", "a": "5"}],
    ),
    ("1.0", "Map[String, String]", f"read_map({f('map')})", {"k1": "v1", "k2": "v 2"}),
    ("1.0", "Map[String, String]", f"read_map({f('empty')})", {}),
    ("1.0", "Person", f"read_object({f('object')})", {"name": "Jo", "age": 5}),
    (
        "1.0",
        "Array[Person]",
        f"read_objects({f('objects')})",
        [{"name": "Jo", "age": 5}, {"name": "Mo", "age": 6}],
    ),
    ("1.0", "Array[Person]", f"read_objects({f('header-only')})", []),
    ("1.0", "Array[Map[String, String]]", f"read_objects({f('empty')})", []),
    (
        "1.0",
        "Array[Person]",
        f"read_json({f('json-array')})",
        [{"name": "Jo", "age": 5}, {"name": "Mo", "age": 6}],
    ),
    ("1.0", "Array[String]", f"read_json({f('json-strings')})", ["\u00e9", "x"]),
    ("1.0", "Int", f"read_json({f('json-number')})", 3),
    ("1.0", "Int?", f"read_json({f('json-null')})", None),
    ("1.0", "Map[String, String]", f"read_json({f('json-map')})", {"a": "b"}),
]

# what write_* wrote, read again
ROUND_TRIPS: list[tuple[str, str, str, Any]] = [
    ("1.0", "Array[String]", "read_lines(write_lines([]))", []),
    ("1.0", "Array[String]", 'read_lines(write_lines(["\u00e9", "", "x"]))', ["\u00e9", "", "x"]),
    ("1.0", "String", 'read_string(write_lines(["a", "b"]))', "a\nb"),
    (
        "1.0",
        "Array[Array[String]]",
        'read_tsv(write_tsv([["a", "b"], ["c"]]))',
        [["a", "b"], ["c"]],
    ),
    (
        "1.0",
        "Map[String, String]",
        'read_map(write_map({"a": "1", "b": "2"}))',
        {"a": "1", "b": "2"},
    ),
    ("1.0", "Map[String, Int]", 'read_json(write_json({"a": 1}))', {"a": 1}),
    ("1.0", "String", "read_string(write_json([1, 2]))", "[1, 2]"),
    ("1.1", "String", "read_string(write_json(None))", "null"),
    (
        "1.0",
        "String",
        'read_string(write_object({"name": "Jo", "age": "5"}))',
        "name\tage\nJo\t5",
    ),
    (
        "1.0",
        "Array[Person]",
        'read_objects(write_objects([{"name": "Jo", "age": "5"}, {"name": "Mo", "age": "6"}]))',
        [{"name": "Jo", "age": 5}, {"name": "Mo", "age": 6}],
    ),
    (
        "1.1",
        "String",
        'read_string(write_object(Person { name: "Jo", age: 5 }))',
        "name\tage\nJo\t5",
    ),
    ("1.0", "Float", 'size(write_lines(["abc"]))', 4.0),
]

# version, expression, what the error says
WRONG: list[tuple[str, str, str]] = [
    ("1.0", "1 / 0", "division by zero"),
    ("1.0", "1 % 0", "division by zero"),
    ("1.0", "[1][1]", "out of bounds"),
    ("1.0", '{"a": 1}["b"]', "no key 'b'"),
    ("1.1", 'select_first([if false then "a" else None])', "select_first"),
    ("1.0", "zip([1], [1, 2])[0].left", "equal length"),
    ("1.0", "transpose([[1], [1, 2]])[0][0]", "ragged"),
    ("1.1", 'as_map([("a", 1), ("a", 2)])["a"]', "duplicate keys"),
    ("1.2", "chunk([1], 0)[0][0]", "greater than zero"),
    ("1.0", 'size("s3://in/kilo", "parsec")', "'parsec' is not one of the units"),
    ("1.0", 'sub("a", "(", "")', r"sub\(\): the regular expression '\(' is wrong"),
    ("1.0", 'sub("a", "((a{999}){999}){999}", "")', "repeats its parts"),
    ("1.0", f"read_int({f('float')})", r"read_int\(\): s3://in/float: '1.5e3' is not an Int"),
    ("1.0", f"read_int({f('underscore')})", "'1_000' is not an Int"),
    ("1.0", f"read_int({f('long')})", "is not an Int"),
    ("1.0", f"read_int({f('empty')})", "'' is not an Int"),
    ("1.0", f"read_float({f('yes')})", "'yes' is not a Float"),
    ("1.0", f"read_boolean({f('yes')})", "neither true nor false"),
    ("1.0", f"read_string({f('latin1')})", "s3://in/latin1: it is not UTF-8 text"),
    ("1.0", f'read_map({f("lines")})["a"]', "line 1 has 1 columns, not 2"),
    ("1.0", f'read_map({f("map-twice")})["k"]', "line 2 has the key 'k' once more"),
    ("1.0", f'read_objects({f("ragged")})[0]["a"]', "line 2 has 1 columns, not 2"),
    ("1.0", f'read_objects({f("same-names")})[0]["a"]', "two columns are called 'a'"),
    ("1.0", f'read_object({f("objects")})["name"]', "2 lines of values, not 1"),
    ("1.0", f"read_json({f('json-bad')})", r"read_json\(\): s3://in/json-bad: it is not JSON"),
    (
        "1.0",
        f"read_boolean({f('kilo')})",
        r"1,500 bytes; at most 7 are read \(system.input-read-limits.bool\)",
    ),
    ("1.0", 'write_object({"a\tb": "c"})', "must not contain tabs"),
    ("1.0", 'write_objects([{"a": "1"}, {"b": "1"}])', "object 1 has other members"),
]


@pytest.mark.parametrize(("version", "type_", "expression", "value"), [*CASES, *ROUND_TRIPS])
def test_in_a_workflow(version: str, type_: str, expression: str, value: Any) -> None:
    assert in_workflow(version, type_, expression) == value


@pytest.mark.parametrize(("version", "type_", "expression", "value"), CASES)
def test_in_the_outputs_of_a_task(version: str, type_: str, expression: str, value: Any) -> None:
    assert in_task(version, type_, expression) == value


@pytest.mark.parametrize(("version", "expression", "says"), WRONG)
def test_what_is_wrong_is_said_with_its_place(version: str, expression: str, says: str) -> None:
    for evaluate in (in_workflow, in_task):
        with pytest.raises(errors.EvaluationFailed, match=says) as raised:
            evaluate(version, "String", expression)
        assert raised.value.place is not None


def evaluated(rules: Rules, expression: str, type_: str = "Float") -> Any:
    source = f"version 1.1\nworkflow w {{ output {{ {type_} o = {expression} }} }}\n"
    graph = start(dataclasses.replace(load(source), rules=rules), {}, facts())
    while graph.outputs is None:
        graph.advance()
    return graph.outputs["w.o"]


@pytest.mark.parametrize(
    ("unit", "by_specification", "by_cromwell"),
    [("K", 1000, 1024), ("KB", 1000, 1024), ("KiB", 1024, 1024), ("G", 10**9, 2**30), ("B", 1, 1)],
)
def test_units_of_sizes_are_decimal_or_cromwells(
    unit: str, by_specification: int, by_cromwell: int
) -> None:
    expression = f'size("s3://in/kilo", "{unit}")'
    assert evaluated(Rules(), expression) == 1500 / by_specification
    assert evaluated(Rules(binary_sizes=True), expression) == 1500 / by_cromwell


def test_read_string_trims_as_cromwell_or_as_specified() -> None:
    expression = 'read_string("s3://in/padded")'
    assert evaluated(Rules(), expression, "String") == "word"
    specified = evaluated(Rules(trimmed_strings=False), expression, "String")
    assert specified == "  \t word "


def test_read_limits_can_be_set() -> None:
    expression = 'length(read_lines("s3://in/lines"))'
    assert evaluated(Rules(read_limits={"lines": 9}), expression, "Int") == 4
    with pytest.raises(errors.EvaluationFailed, match=r"at most 8 are read \(system\.input-read"):
        evaluated(Rules(read_limits={"lines": 8}), expression, "Int")


def test_rules_hold_in_tasks_and_in_workflows_below() -> None:
    source = """version 1.1
    workflow w { call t }
    task t { command <<< ~{size("s3://in/kilo", "K")} >>>
      output { Float o = size("s3://in/kilo", "K")  String s = read_string("s3://in/padded") } }
    """
    rules = Rules(binary_sizes=True, trimmed_strings=False)
    known = facts()
    graph = start(dataclasses.replace(load(source), rules=rules), {}, known)
    (call,) = graph.advance().calls
    prepared = prepare(graph.task(call), known)
    assert prepared.script.strip() == "1.464844"
    assert prepared.result(manifest(), known) == {"o": 1500 / 1024, "s": "  \t word "}
