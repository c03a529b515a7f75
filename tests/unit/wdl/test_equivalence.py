"""miniwdl's own state machine and ours give the same calls, inputs and outputs."""

from __future__ import annotations

import json
import logging
import random
from typing import Any

import pytest
import WDL
from WDL.runtime import config
from WDL.runtime._workflow_state import StateMachine

from orchestrator.wdl import inputs
from orchestrator.wdl.document import Document
from orchestrator.wdl.facts import Facts
from orchestrator.wdl.graph import Graph, ReadyCall, _WorkflowScope
from orchestrator.wdl.library import Library
from tests.unit.wdl.drive import lines_run, load, run

TASKS = """
task add { input { Int a  Int b = 1 } command {} output { Int sum = a + b } }
task name {
  input { String s  File? f  Array[Int] xs = [] }
  command {}
  output { String o = s  File g = "x" }
}
"""
WORKFLOWS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "chain": ("call add { input: a = 1 } call add as b { input: a = add.sum }", "", {}),
    "nested": (
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
        {},
    ),
    "conditionals": (
        """if (length(fs) > 1) {
             call name { input: s = "many", f = fs[0] }
             if (n > 5) { call add { input: a = n } }
           }
           if (!defined(maybe)) { call add as other { input: a = 2 } }
           Int r = select_first([add.sum, other.sum, 0])""",
        "String? o = name.o  File? g = name.g  Int? s = add.sum  Int chosen = r",
        {"fs": ["s3://in/a", "s3://in/b"]},
    ),
    "empty scatter": (
        """scatter (f in fs) { call name { input: s = basename(f), f = f, xs = [1, 2] } }
           scatter (p in zip(name.o, name.g)) {
             call name as again { input: s = p.left, f = p.right }
           }""",
        "Array[File] gs = again.g  Int k = length(name.o)",
        {},
    ),
    "structs and maps": (
        """Map[String, Int] sizes = {"a": 1, "b": 2}
           scatter (pair in as_pairs(sizes)) {
             call add { input: a = pair.right, b = sizes[pair.left] }
           }
           call name after add { input: s = "end", xs = add.sum }""",
        "Array[Int] out = add.sum  Map[String, Int] m = sizes  File? none = maybe",
        {"w.name.runtime.cpu": 4},
    ),
}


def document(name: str) -> tuple[Document, dict[str, Any]]:
    body, outputs, given = WORKFLOWS[name]
    section = f"output {{ {outputs} }}" if outputs else ""
    source = (
        f"version 1.1\nworkflow w {{ input {{ Array[File] fs = []  Int n = 9  File? maybe }}\n"
        f"{body}\n{section} }}\n{TASKS}"
    )
    return load(source), given


def answer(callee: str, given: dict[str, Any], call_id: str) -> dict[str, Any]:
    if callee == "add":
        return {"sum": given["a"] + given.get("b", 1)}
    return {"o": given["s"] + "!", "g": f"s3://out/{call_id}"}


def stock(loaded: Document, given: dict[str, Any], shuffle: random.Random) -> Any:
    cfg = config.Loader(logging.getLogger("test"))
    cfg.override({"scheduler": {"scatter_tag_max": 0}})
    bound = inputs.bind(loaded, given)
    machine = StateMachine("test.stock", "/nonexistent", loaded.workflow, bound.values)
    functions = Library("1.1", _WorkflowScope(Facts(), "s3://scratch"))
    waiting: list[Any] = []
    seen: dict[str, str] = {}
    while machine.outputs is None:
        while (call := machine.step(cfg, functions)) is not None:
            waiting.append(call)
            seen[call.id] = json.dumps(
                WDL.values_to_json(call.inputs), sort_keys=True, separators=(",", ":")
            )
        if not waiting:
            break
        shuffle.shuffle(waiting)
        call = waiting.pop()
        values = WDL.values_from_json(
            answer(call.callee.name, WDL.values_to_json(call.inputs), call.id),
            call.callee.effective_outputs,
        )
        machine.call_finished(call.id, values)
    assert machine.outputs is not None
    return WDL.values_to_json(machine.outputs, namespace="w"), seen


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", WORKFLOWS)
def test_both_machines_give_the_same(name: str, seed: int) -> None:
    loaded, given = document(name)
    expected_outputs, expected_calls = stock(loaded, given, random.Random(seed))

    def behave(call: ReadyCall) -> dict[str, Any]:
        return answer(call.callee, call.all_inputs, call.id)

    graph = Graph(loaded, inputs.bind(loaded, given), Facts(), "s3://scratch")
    outputs, calls = run(graph, behave, random.Random(seed + 100))
    assert outputs == expected_outputs
    assert {call_id: call.inputs for call_id, call in calls.items()} == expected_calls


def test_the_count_of_lines_sees_a_machine_that_scans_all_that_waits() -> None:
    loaded = load(
        f"""version 1.1
        workflow w {{
          input {{ Int n }}
          scatter (i in range(n)) {{
            call add {{ input: a = i }}
            call add as more {{ input: a = add.sum }}
          }}
        }}
        {TASKS}"""
    )

    def lines_a_shard(shards: int) -> float:
        return lines_run(lambda: stock(loaded, {"n": shards}, random.Random(1))) / shards

    lines_a_shard(2)
    assert lines_a_shard(400) > 1.5 * lines_a_shard(50)
