"""Workflows for the test that both machines give the same: written ones, real ones, made-up ones.

Their tasks are never run: `answer` gives every task outputs of the right types, the same for the
same call.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from WDL import Type

from orchestrator.model.records import FactRecord
from orchestrator.wdl import bundle, document
from orchestrator.wdl.document import Document
from orchestrator.wdl.facts import Facts, Kind
from tests.unit.wdl.drive import load

ROOT = Path(__file__).parents[3]
FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in (ROOT / "examples", Path(__file__).parent / "pipelines")
    for path in folder.rglob("*.wdl")
    if re.search(r"^workflow ", path.read_text(), re.MULTILINE)
)

TASKS = """
task add { input { Int a  Int b = 1 } command {} output { Int sum = a + b } }
task name {
  input { String s  File? f  Array[Int] xs = [] }
  command {}
  output { String o = s  File g = "x" }
}
"""
TASKS_OF_DRAFT_2 = """
task add { Int a  Int b = 1  command {} output { Int sum = a + b } }
task name {
  String s  File? f  Array[Int] xs = []
  command {}
  output { String o = s  File g = "x" }
}
"""
INPUTS = 'input { Array[File] fs = ["s3://in/a", "s3://in/b"]  Int n = 9  File? maybe }'

# name -> (version, what stands before the workflow, body, outputs)
WRITTEN: dict[str, tuple[str, str, str, str]] = {
    "chain": ("1.1", "", "call add { input: a = 1 } call add as b { input: a = add.sum }", ""),
    "nested scatters": (
        "1.1",
        "",
        """scatter (i in range(3)) {
             Int base = i * 10
             scatter (j in range(i)) {
               call add { input: a = base, b = j }
               if (j > 0) { call name { input: s = "~{i}.~{add.sum}" }  String label = name.o }
             }
             Int here = length(add.sum)
           }
           call add as total { input: a = length(flatten(add.sum)), b = here[2] }""",
        "Array[Array[Int]] sums = add.sum  Array[Array[String?]] labels = label Int t = total.sum",
    ),
    "three deep, eleven wide": (
        "1.0",
        "",
        """scatter (i in range(11)) { scatter (j in range(2)) { scatter (k in range(i % 3)) {
             call add { input: a = i * 100 + j * 10 + k }
             call add as more { input: a = add.sum }
           } Int width = length(more.sum) } }""",
        "Array[Array[Array[Int]]] all = more.sum  Array[Array[Int]] widths = width",
    ),
    "conditionals": (
        "1.1",
        "",
        """if (length(fs) > 1) {
             call name { input: s = "many", f = fs[0] }
             if (n > 5) { call add { input: a = n } }
           }
           if (!defined(maybe)) { call add as other { input: a = 2 } }
           Int r = select_first([add.sum, other.sum, 0])""",
        "String? o = name.o  File? g = name.g  Int? s = add.sum  Int chosen = r",
    ),
    "a scatter in a conditional in a scatter": (
        "1.1",
        "",
        """scatter (i in range(4)) {
             if (i % 2 == 0) {
               scatter (f in fs) { call name { input: s = "~{i}", f = f } }
               Int found = length(name.o)
             }
             if (i % 2 == 1) { call add { input: a = i } }
             Int either = select_first([found, add.sum])
           }
           call add as last { input: a = length(select_all(found)), b = either[3] }""",
        "Array[Array[String]?] o = name.o  Array[Int?] s = add.sum  Array[Int] e = either",
    ),
    "nothing to scatter over": (
        "1.1",
        "",
        """Array[Int] none = []
           scatter (i in none) { call add { input: a = i } scatter (j in [1]) { Int k = i + j } }
           call add as after_all { input: a = length(add.sum), b = length(flatten(k)) }""",
        "Array[Int] sums = add.sum  Array[Array[Int]] ks = k  Int x = after_all.sum",
    ),
    "gathered files go on": (
        "1.1",
        "",
        """scatter (f in fs) { call name { input: s = basename(f), f = f, xs = [1, 2] } }
           scatter (p in zip(name.o, name.g)) {
             call name as again { input: s = p.left, f = p.right }
           }""",
        "Array[File] gs = again.g  Int k = length(name.o)",
    ),
    "maps and after": (
        "1.1",
        "",
        """Map[String, Int] sizes = {"a": 1, "b": 2}
           scatter (pair in as_pairs(sizes)) {
             call add { input: a = pair.right, b = sizes[pair.left] }
           }
           call name after add { input: s = "end", xs = add.sum }""",
        "Array[Int] out = add.sum  Map[String, Int] m = sizes  File? none = maybe",
    ),
    "after a section, after what is not taken": (
        "1.1",
        "",
        """if (n < 0) { call add as never { input: a = 1 } }
           scatter (i in [1, 2]) { call add { input: a = i } }
           call add as x after never after add { input: a = 3 }
           scatter (j in [x.sum]) { call add as y after x { input: a = j } }""",
        "Int o = x.sum  Array[Int] p = y.sum",
    ),
    "structs": (
        "1.1",
        "struct Lane { Int number  Array[File] reads }\n"
        "struct Sample { String id  Lane? lane  Map[String, Int] counts }\n",
        """Array[Sample] samples = [
             Sample { id: "s", lane: Lane { number: 3, reads: fs }, counts: {"x": 1} },
             Sample { id: "t", counts: {} }]
           scatter (sample in samples) {
             if (defined(sample.lane)) {
               Lane lane = select_first([sample.lane])
               call name { input: s = sample.id, f = lane.reads[0], xs = [lane.number] }
             }
             Sample next = Sample { id: sample.id + "!", lane: sample.lane, counts: sample.counts }
           }""",
        "Array[Sample] out = next  Array[String?] o = name.o",
    ),
    "pairs, cross and nested literals": (
        "1.0",
        "",
        """scatter (p in cross([1, 2], ["a", "b"])) {
             call name { input: s = p.right, xs = [p.left, p.left] }
             Pair[Int, Pair[String, File]] q = (p.left, (name.o, name.g))
           }
           Map[String, Array[Int]] m = {"k": [1, 2], "l": []}
           scatter (x in q) { Int left = x.left  String inner = x.right.left }""",
        "Array[Pair[Int, Pair[String, File]]] qs = q  Array[Int] l = left  Array[String] i = inner",
    ),
    "optional inputs and null": (
        "1.1",
        "",
        """Int? nothing = if n > 100 then n else None
           call add { input: a = n, b = select_first([nothing, 4]) }
           call name { input: s = "x" + "~{nothing}", f = maybe }
           Array[Int?] mixed = [nothing, n]
           scatter (i in select_all(mixed)) { call add as each { input: a = i } }""",
        "Array[Int] o = each.sum  Array[Int?] m = mixed  Boolean d = defined(nothing)",
    ),
    "outputs that refer to each other": (
        "1.1",
        "",
        "call add { input: a = n }  scatter (i in range(2)) { Int d = i + add.sum }",
        'Int c = add.sum * 2  Int b = c + 1  Array[Int] ds = d  String s = "~{b}-~{c}"',
    ),
    "written files": (
        "1.1",
        "",
        """scatter (i in range(3)) { File list = write_lines(["~{i}", "x"]) }
           scatter (f in list) { call name { input: s = basename(f, ".tmp"), f = f } }
           File table = write_tsv([name.o, name.o])""",
        "Array[File] gs = name.g  File t = table  Array[Array[String]] back = read_tsv(table)",
    ),
    "sub-workflows": (
        "1.1",
        'import "sub.wdl" as lib\n',
        """scatter (i in range(3)) { call lib.sub { input: n = i } }
           if (n > 5) { call lib.sub as one { input: n = length(sub.out) } }
           call add { input: a = select_first([one.out]), b = length(flatten(sub.many)) }""",
        "Array[Int] o = sub.out  Array[Array[Int]] m = sub.many  Int? x = one.out",
    ),
    "draft-2": (
        "draft-2",
        "",
        """Int m = n + 1
           scatter (i in [1, 2, 3]) {
             call add { input: a = i, b = m }
             if (i > 1) { call name { input: s = "s" + add.sum } }
           }
           call add as total { input: a = length(add.sum) }""",
        "Array[Int] sums = add.sum  Array[String?] o = name.o  Int t = total.sum",
    ),
    "WDL 1.2": (
        "1.2",
        "",
        """Map[String, Array[Int]] m = {"a": [1, 2], "b": [3]}
           scatter (k in keys(m)) { scatter (x in m[k]) {
             call add { input: a = x ** 2 }
             if (contains(m["b"], x)) { call name { input: s = "~{k}" } }
           } }
           Array[Array[Int]] parts = chunk(range(5), 2)
           scatter (part in parts) { call name as joined { input: s = sep("-", part), xs = part } }
           """,
        "Array[Array[Int]] sums = add.sum  Array[String] j = joined.o  Array[Int] v = values(m)[0]",
    ),
}
SUB = f"""version 1.1
workflow sub {{
  input {{ Int n  Int more = n + 1 }}
  scatter (i in range(more)) {{ call add {{ input: a = i, b = n }} }}
  if (n > 0) {{ call add as last {{ input: a = add.sum[0] }} }}
  output {{ Int out = select_first([last.sum, 5])  Array[Int] many = add.sum }}
}}
{TASKS}
"""


class AllKnown(Facts):
    """Every file is there, and holds a line."""

    def get(self, kind: Kind, uri: str) -> FactRecord:
        known = self.peek(kind, uri)
        if known is not None:
            return known
        return FactRecord("r", kind, uri, True, 10, "etag", b"[]" if kind == "listing" else b"1\n")


def written(name: str) -> Document:
    """One of `WRITTEN`."""
    version, before, body, outputs = WRITTEN[name]
    tasks, given = TASKS, INPUTS
    if version == "draft-2":
        tasks, given = TASKS_OF_DRAFT_2, INPUTS.removeprefix("input {").removesuffix("}")
    section = f"output {{ {outputs} }}" if outputs else ""
    heading = "" if version == "draft-2" else f"version {version}\n"
    source = f"{heading}{before}workflow w {{ {given}\n{body}\n{section} }}\n{tasks}"
    return load(source, sub=SUB)


def on_disk(name: str) -> Document:
    """One of `FILES`."""
    return document.load(bundle.read(ROOT / name))


def made_up(seed: int) -> Document:
    """A workflow of sections within sections, that refer to whatever they can see."""
    return load(_MadeUp(random.Random(seed)).source(), sub=SUB)


class _MadeUp:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._number = 0

    def source(self) -> str:
        body, seen = self._body([("n", "Int")], 3)
        outputs = "  ".join(f"{type_} o{i} = {name}" for i, (name, type_) in enumerate(seen))
        return (
            f'version 1.1\nimport "sub.wdl" as lib\nworkflow w {{\n input {{ Int n = 3 }}\n{body}\n'
            f" output {{ {outputs} }}\n}}\n{TASKS}"
        )

    def _body(
        self, outside: list[tuple[str, str]], depth: int
    ) -> tuple[str, list[tuple[str, str]]]:
        """Text, and what it makes that can be seen: (name, type)."""
        lines: list[str] = []
        made: list[tuple[str, str]] = []
        calls: list[str] = []
        for _ in range(self._rng.randint(2, 4)):
            kind = self._rng.choice(
                ["call", "call", "int", "sub", "scatter", "if", "if", "scatter"]
            )
            self._number += 1
            name = f"{kind}{self._number}"
            value = self._int([*outside, *made])
            if kind == "int":
                lines.append(f"Int {name} = {value} + {self._int([*outside, *made])}")
                made.append((name, "Int"))
            elif kind == "call":
                after = (
                    f" after {self._rng.choice(calls)}"
                    if calls and self._rng.random() < 0.2
                    else ""
                )
                lines.append(f"call add as {name}{after} {{ input: a = {value} }}")
                made.append((f"{name}.sum", "Int"))
                calls.append(name)
            elif kind == "sub":
                lines.append(f"call lib.sub as {name} {{ input: n = ({value}) % 3 }}")
                made += [(f"{name}.out", "Int"), (f"{name}.many", "Array[Int]")]
                calls.append(name)
            elif depth:
                inner_names = [*outside, *made]
                if kind == "scatter":
                    inner_names.append((f"i{self._number}", "Int"))
                    head = f"scatter (i{self._number} in range(({value}) % 4))"
                else:
                    head = f"if (({value}) % 3 != 0)"
                text, inner = self._body(inner_names, depth - 1)
                lines.append(f"{head} {{\n{text}\n}}")
                for inner_name, type_ in inner:
                    if kind == "scatter":
                        made.append((inner_name, f"Array[{type_}]"))
                    else:
                        made.append((inner_name, type_.removesuffix("?") + "?"))
        return "\n".join(lines), made

    def _int(self, names: list[tuple[str, str]]) -> str:
        name, type_ = self._rng.choice(names)
        if type_ == "Int":
            return name
        if type_ == "Int?":
            return f"select_first([{name}, 7])"
        if type_.endswith("?"):
            return f"(if defined({name}) then length(select_first([{name}])) else 5)"
        return f"length({name})"


def of_type(type_: Any, seed: str) -> Any:
    """A JSON value of a type, the same for the same seed."""
    number = int(hashlib.sha256(seed.encode()).hexdigest()[:6], 16)
    match type_:
        case _ if type_.optional and number % 3 == 0:
            return None
        case Type.Boolean():
            return number % 2 == 0
        case Type.Int():
            return number % 4
        case Type.Float():
            return number % 100 / 4
        case Type.File():
            return f"s3://bucket/{seed}.txt"
        case Type.Directory():
            return f"s3://bucket/{seed}"
        case Type.Array():
            return [of_type(type_.item_type, f"{seed}-{i}") for i in range(1 + number % 3)]
        case Type.Pair():
            left, right = type_.left_type, type_.right_type
            return {"left": of_type(left, f"{seed}-l"), "right": of_type(right, f"{seed}-r")}
        case Type.Map():
            return {key: of_type(type_.item_type[1], f"{seed}-{key}") for key in ("keep", "other")}
        case Type.StructInstance():
            members: Mapping[str, Any] = type_.members or {}
            return {name: of_type(member, f"{seed}-{name}") for name, member in members.items()}
        case _:
            return f"text-{seed}"


def inputs_of(loaded: Document) -> dict[str, Any]:
    """What the workflow has to be given, and maps, whose keys expressions ask for."""
    workflow = loaded.workflow
    types = {binding.name: binding.value.type for binding in workflow.required_inputs}
    types |= {
        decl.name: decl.type for decl in workflow.inputs or () if isinstance(decl.type, Type.Map)
    }
    return {f"{workflow.name}.{name}": of_type(type_, name) for name, type_ in types.items()}


def answer(callee: Any, call_id: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Outputs of a task. The tasks of `TASKS` compute, so that wrong inputs show."""
    if callee.name == "add":
        return {"sum": given["a"] + given.get("b", 1)}
    return {
        binding.name: of_type(binding.value, f"{call_id}-{binding.name}")
        for binding in callee.effective_outputs
    }
