"""miniwdl's own state machine and ours give the same calls, inputs and outputs, in whatever order
calls finish."""

from __future__ import annotations

import logging
import random
from typing import Any

import pytest
import WDL
from WDL.runtime import config
from WDL.runtime._workflow_state import StateMachine

from orchestrator.wdl import inputs
from orchestrator.wdl.document import Document
from orchestrator.wdl.graph import Graph, ReadyCall, _WorkflowScope
from orchestrator.wdl.library import Library
from tests.unit.wdl import corpus
from tests.unit.wdl.drive import lines_run, load, run

Calls = dict[str, Any]  # call id -> inputs; calls in sub-workflows as `outer/inner`


def stock(workflow: Any, given: Any, shuffle: random.Random) -> tuple[Any, Calls]:
    """miniwdl's machine, sub-workflows and all: its outputs and the calls it made."""
    cfg = config.Loader(logging.getLogger("test"))
    cfg.override({"scheduler": {"scatter_tag_max": 0}})
    machine = StateMachine("test.stock", "/nonexistent", workflow, given)
    functions = Library(
        workflow.effective_wdl_version, _WorkflowScope(corpus.AllKnown(), "s3://scratch")
    )
    waiting: list[Any] = []
    seen: Calls = {}
    while machine.outputs is None:
        while (call := machine.step(cfg, functions)) is not None:
            waiting.append(call)
            seen[call.id] = WDL.values_to_json(call.inputs)
        if not waiting:
            break
        shuffle.shuffle(waiting)
        call = waiting.pop()
        if isinstance(call.callee, WDL.Workflow):
            values, inner = stock(call.callee, call.inputs, shuffle)
            seen |= {f"{call.id}/{name}": found for name, found in inner.items()}
        else:
            outputs = corpus.answer(call.callee, call.id, seen[call.id])
            values = WDL.values_from_json(outputs, call.callee.effective_outputs)
        machine.call_finished(call.id, values)
    assert machine.outputs is not None
    return machine.outputs, seen


def ours(loaded: Document, given: dict[str, Any], shuffle: random.Random) -> tuple[Any, Calls]:
    """The same of this project's machine."""

    def behave(call: ReadyCall) -> dict[str, Any]:
        return corpus.answer(call._callee, call.id, call.all_inputs)

    graph = Graph(loaded, inputs.bind(loaded, given), corpus.AllKnown(), "s3://scratch")
    outputs, calls = run(graph, behave, shuffle)
    return outputs, {call_id: call.all_inputs for call_id, call in calls.items()}


def compare(loaded: Document, seed: int) -> int:
    """How many calls there were, the same in both."""
    given = corpus.inputs_of(loaded)
    bound = inputs.bind(loaded, given)
    expected, expected_calls = stock(loaded.workflow, bound.values, random.Random(seed))
    outputs, calls = ours(loaded, given, random.Random(seed + 100))
    assert calls == expected_calls
    assert outputs == WDL.values_to_json(expected, namespace=loaded.workflow_name)
    return len(calls)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", corpus.WRITTEN)
def test_of_workflows_that_use_all_of_the_language(name: str, seed: int) -> None:
    assert compare(corpus.written(name), seed)


@pytest.mark.parametrize("name", corpus.FILES)
def test_of_real_pipelines(name: str) -> None:
    loaded = corpus.on_disk(name)
    for seed in range(3):
        assert compare(loaded, seed)


@pytest.mark.parametrize("part", range(10))
def test_of_made_up_workflows(part: int) -> None:
    calls = sum(compare(corpus.made_up(seed), seed) for seed in range(part * 10, part * 10 + 10))
    assert calls > 50


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
        {corpus.TASKS}"""
    )

    def lines_a_shard(shards: int) -> float:
        bound = inputs.bind(loaded, {"n": shards})
        work = lambda: stock(loaded.workflow, bound.values, random.Random(1))  # noqa: E731
        return lines_run(work) / shards

    lines_a_shard(2)
    assert lines_a_shard(400) > 1.5 * lines_a_shard(50)
