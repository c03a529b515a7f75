from __future__ import annotations

import hashlib
import json
import random

import pytest

from orchestrator import errors
from orchestrator.wdl import bounds
from orchestrator.wdl.facts import Facts, Want
from orchestrator.wdl.graph import Graph, ReadyCall
from tests.unit.wdl.drive import content, lines_run, load, pin, run, start, stat

ADD = "task add { input { Int a  Int b = 1 } command {} output { Int sum = a + b } }\n"


def added(call: ReadyCall) -> dict[str, int]:
    given = json.loads(call.inputs)
    return {"sum": given["a"] + given.get("b", 1)}


def test_a_chain_runs_in_order_and_outputs_have_full_names_in_source_order() -> None:
    graph = start(
        load(
            f"""version 1.1
            workflow w {{
              call add as two {{ input: a = one.sum }}
              call add as one {{ input: a = 0 }}
              output {{ Int z = two.sum  Int a = one.sum + z }}
            }}
            {ADD}"""
        )
    )
    (first,) = graph.advance().calls
    assert (first.id, first.name, first.callee, first.shards) == ("call-one", "one", "add", ())
    assert json.loads(first.inputs) == {"a": 0}
    assert graph.advance().calls == ()
    graph.finish(first.id, added(first))
    (second,) = graph.advance().calls
    assert graph.outputs is None
    graph.finish(second.id, added(second))
    graph.advance()
    assert list((graph.outputs or {}).items()) == [("w.z", 2), ("w.a", 3)]


def test_shards_are_numbered_outermost_first_and_gathered_in_order() -> None:
    graph = start(
        load(
            f"""version 1.1
            workflow w {{
              scatter (i in range(11)) {{
                scatter (j in [10, 20]) {{
                  if (i != 1) {{ call add {{ input: a = i, b = j }} }}
                }}
              }}
              output {{ Array[Array[Int?]] sums = add.sum }}
            }}
            {ADD}"""
        )
    )
    outputs, calls = run(graph, added, random.Random(3))
    assert outputs["w.sums"] == [[None, None] if i == 1 else [i + 10, i + 20] for i in range(11)]
    assert calls["call-add-10-1"].shards == (10, 1)
    assert len(calls) == 20
    assert all(call.name == "add" for call in calls.values())


def test_conditionals_give_null_where_they_are_not_taken() -> None:
    loaded = load(
        f"""version 1.1
        workflow w {{
          input {{ Boolean go }}
          if (go) {{ call add {{ input: a = 1 }}  Int y = add.sum }}
          output {{ Int? sum = add.sum  Int n = select_first([y, -1]) }}
        }}
        {ADD}"""
    )
    assert run(start(loaded, {"go": False}), added)[0] == {"w.sum": None, "w.n": -1}
    assert run(start(loaded, {"go": True}), added)[0] == {"w.sum": 2, "w.n": 2}


def test_after_holds_a_call_back_although_no_value_flows() -> None:
    graph = start(
        load(
            f"""version 1.1
            workflow w {{
              call add as late after early {{ input: a = 2 }}
              call add as early {{ input: a = 1 }}
            }}
            {ADD}"""
        )
    )
    (early,) = graph.advance().calls
    assert early.name == "early"
    graph.finish(early.id, added(early))
    (late,) = graph.advance().calls
    assert late.name == "late"


def test_sub_workflows_are_graphs_of_their_own() -> None:
    graph = start(
        load(
            """version 1.1
            import "sub.wdl" as sub
            workflow w {
              scatter (i in [1, 2]) { call sub.twice as s { input: n = i } }
              output { Array[Int] r = s.r }
            }
            """,
            sub=f"""version 1.1
            workflow twice {{
              input {{ Int n }}
              call add {{ input: a = n, b = n }}
              output {{ Int r = add.sum }}
            }}
            {ADD}""",
        )
    )
    ready = graph.advance().calls
    assert [(call.id, call.callee, call.is_workflow) for call in ready] == [
        ("call-s-0", "twice", True),
        ("call-s-1", "twice", True),
    ]
    inner = graph.subgraph(ready[0])
    (call,) = inner.advance().calls
    inner.finish(call.id, added(call))
    inner.advance()
    assert inner.outputs == {"r": 2}
    graph.finish(ready[0].id, inner.outputs)
    graph.finish(ready[1].id, {"r": 4})
    graph.advance()
    assert graph.outputs == {"w.r": [2, 4]}


def test_a_finished_sub_workflow_is_never_stepped_again_by_its_outputs_alone() -> None:
    graph = start(
        load(
            """version 1.1
            import "sub.wdl" as sub
            struct P { File f  Int n }
            workflow w { call sub.s  output { P p = s.p  Array[File] fs = s.fs } }
            """,
            sub="""version 1.1
            struct P { File f  Int n }
            workflow s { output { P p = P { f: "s3://a", n: 1 }  Array[File] fs = ["s3://b"] } }
            """,
        )
    )
    (call,) = graph.advance().calls
    graph.finish(call.id, {"p": {"f": "s3://x", "n": 5}, "fs": ["s3://y"]})
    graph.advance()
    assert graph.outputs == {"w.p": {"f": "s3://x", "n": 5}, "w.fs": ["s3://y"]}


def test_draft_2_outputs_by_identifier_keep_their_names() -> None:
    graph = start(
        load(
            """
            task t { String s command { echo ${s} } output { String o = s } }
            workflow w { call t call t as u { input: s = t.o } output { t.o u.* } }
            """
        ),
        {"w.t.s": "x"},
    )
    outputs, _ = run(graph, lambda call: {"o": json.loads(call.inputs)["s"] + "!"})
    assert outputs == {"w.t.o": "x!", "w.u.o": "x!!"}


def test_a_workflow_without_an_output_section_gives_all_call_outputs() -> None:
    graph = start(load(f"version 1.1\nworkflow w {{ call add {{ input: a = 1 }} }}\n{ADD}"))
    assert run(graph, added)[0] == {"w.add.sum": 2}


def test_inputs_of_calls_come_from_the_inputs_file_too() -> None:
    loaded = load(
        f"version 1.1\nworkflow w {{ scatter (i in [1]) {{ call add {{ input: a = i }} }} }}\n{ADD}"
    )
    (call,) = start(loaded, {"w.add.b": 7, "w.add.runtime.cpu": 4}).advance().calls
    assert json.loads(call.inputs) == {"a": 1, "b": 7, "runtime.cpu": 4}


def test_null_for_an_input_with_a_default_means_the_default() -> None:
    loaded = load(
        "version 1.1\nworkflow w { input { Int n = 3  Int? m = 4 } "
        "output { Int a = n  Int? b = m } }\n"
    )
    assert run(start(loaded, {"n": None, "m": None}), added)[0] == {"w.a": 3, "w.b": None}


SCRAMBLED = f"""version 1.1
import "sub.wdl" as sub
workflow w {{
  input {{ Array[Int] xs }}
  scatter (x in xs) {{
    call add as first {{ input: a = x }}
    if (first.sum > 3) {{ call add as second {{ input: a = first.sum, b = x }} }}
    Int kept = select_first([second.sum, first.sum])
    call sub.s as deep {{ input: n = kept }}
  }}
  File list = write_lines(prefix("n", deep.r))
  call add as last {{ input: a = length(read_lines(list)), b = deep.r[0] }}
  output {{ Int total = last.sum  Array[Int?] seconds = second.sum }}
}}
{ADD}"""
SUB = f"""version 1.1
workflow s {{
  input {{ Int n }}
  scatter (i in range(2)) {{ call add {{ input: a = n, b = i }} }}
  output {{ Int r = add.sum[0] + add.sum[1] }}
}}
{ADD}"""


def test_ids_inputs_and_digests_are_the_same_in_whatever_order_calls_finish() -> None:
    loaded = load(SCRAMBLED, sub=SUB)
    runs = [
        run(start(loaded, {"xs": list(range(12))}), added, random.Random(seed)) for seed in range(5)
    ]
    outputs = [result for result, _ in runs]
    assert outputs[1:] == outputs[:-1]
    journals = [
        {call_id: (call.shards, call.inputs, call.inputs_digest) for call_id, call in calls.items()}
        for _, calls in runs
    ]
    assert journals[1:] == journals[:-1]
    assert len(journals[0]) == 12 + 9 + 12 + 24 + 1
    again = run(start(load(SCRAMBLED, sub=SUB), {"xs": list(range(12))}), added)
    assert {i: c.inputs_digest for i, c in again[1].items()} == {
        i: digest for i, (_, _, digest) in journals[0].items()
    }


def test_the_digest_covers_inputs_and_the_source_of_the_callee() -> None:
    def digest(body: str, n: int) -> str:
        source = "version 1.1\nworkflow w { input { Int n } call t { input: n = n } }\n"
        (call,) = (
            start(load(source + f"task t {{ input {{ Int n }} command {{ {body} }} }}\n"), {"n": n})
            .advance()
            .calls
        )
        return call.inputs_digest

    assert digest("a", 1) == digest("a", 1)
    assert len({digest("a", 1), digest("a", 2), digest("b", 1)}) == 3


def test_nodes_that_lack_facts_wait_and_the_others_go_on() -> None:
    facts = Facts()
    graph = start(
        load(
            f"""version 1.1
            workflow w {{
              input {{ File a  File b  File c }}
              Float total = size(a) + size([b, c]) + read_int(c)
              call add as slow {{ input: a = ceil(total) }}
              call add as quick {{ input: a = 0 }}
            }}
            {ADD}"""
        ),
        {name: f"s3://in/{name}" for name in "abc"},
        facts,
    )
    advance = graph.advance()
    assert [call.name for call in advance.calls] == ["quick"]
    assert advance.wants == {
        Want("stat", "s3://in/a"),
        Want("stat", "s3://in/b"),
        Want("stat", "s3://in/c"),
        Want("content", "s3://in/c"),
    }
    assert graph.advance().wants == frozenset()  # they are told once
    pin(facts, a=1, b=2, c=3)
    assert graph.advance().calls == ()
    facts.add(content("s3://in/c", "40\n"))
    (call,) = graph.advance().calls
    assert json.loads(call.inputs) == {"a": 46}
    assert graph.advance().wants == frozenset()


def test_facts_of_scatter_sections_and_call_inputs_are_waited_for() -> None:
    facts = Facts()
    graph = start(
        load(
            f"""version 1.1
            workflow w {{
              input {{ File f }}
              scatter (line in read_lines(f)) {{ call add {{ input: a = ceil(size(line)) }} }}
            }}
            {ADD}"""
        ),
        {"f": "s3://in/f"},
        facts,
    )
    assert graph.advance().wants == {Want("content", "s3://in/f")}
    facts.add(content("s3://in/f", "s3://in/a\ns3://in/b\n"))
    assert graph.advance().wants == {Want("stat", "s3://in/a"), Want("stat", "s3://in/b")}
    pin(facts, b=20)
    (call,) = graph.advance().calls
    assert (call.id, json.loads(call.inputs)) == ("call-add-1", {"a": 20})
    pin(facts, a=10)
    (call,) = graph.advance().calls
    assert (call.id, json.loads(call.inputs)) == ("call-add-0", {"a": 10})


def test_a_file_that_is_not_there_fails_the_expression_that_reads_it() -> None:
    facts = Facts()
    facts.add(content("s3://in/f", None))
    facts.add(stat("s3://in/f", None))
    for expression in ("read_int(f)", "size(f)"):
        graph = start(
            load(f"version 1.1\nworkflow w {{ input {{ File f }}\n  Float x = {expression} }}\n"),
            {"f": "s3://in/f"},
            facts,
        )
        with pytest.raises(errors.EvaluationFailed) as raised:
            graph.advance()
        assert "there is no file s3://in/f" in raised.value.message
        assert str(raised.value.place) == "main.wdl:3:13"


def test_files_written_by_expressions_are_named_by_content_and_handed_out_once() -> None:
    facts = Facts()
    source = """version 1.1
    workflow w {
      input { Array[String] xs }
      File a = write_lines(xs)
      File b = write_lines(xs)
      File c = write_json(xs)
      Array[String] back = read_lines(a)
      output { File oa = a  File ob = b  Float n = size(c)  Array[String] ys = back }
    }
    """
    graph = start(load(source), {"xs": ["p", "q"]}, facts)
    writes = graph.advance().writes
    assert sorted(write.content for write in writes) == [b'["p", "q"]', b"p\nq\n"]
    assert all(write.uri.startswith("s3://scratch/write_") for write in writes)
    outputs = graph.outputs or {}
    assert outputs["w.oa"] == outputs["w.ob"]
    assert outputs["w.n"] == 10.0
    assert outputs["w.ys"] == ["p", "q"]
    assert graph.advance().writes == ()
    again = start(load(source), {"xs": ["p", "q"]}, Facts())
    assert again.advance().writes == writes


def test_written_files_that_are_pinned_are_read_from_facts() -> None:
    facts = Facts()
    graph = start(
        load(
            f"""version 1.1
            workflow w {{
              File a = write_lines(["1"])
              call add {{ input: a = 1 }}
              Int n = read_lines(a)[0] + add.sum
              output {{ Int o = n }}
            }}
            {ADD}"""
        ),
        {},
        facts,
    )
    advance = graph.advance()
    (write,) = advance.writes
    facts.add(content(write.uri, "1\n"))
    graph.finish("call-add", {"sum": 2})
    graph.advance()
    assert graph.outputs == {"w.o": 12}


def test_a_failing_expression_is_told_once_with_shard_and_place_and_the_rest_goes_on() -> None:
    graph = start(
        load(
            f"""version 1.1
            workflow w {{
              scatter (i in range(3)) {{
                Int x = 6 / (i - 1)
                call add {{ input: a = x }}
              }}
            }}
            {ADD}"""
        )
    )
    told: list[errors.EvaluationFailed] = []
    calls: list[str] = []
    while True:
        try:
            advance = graph.advance()
        except errors.EvaluationFailed as error:
            told.append(error)
            continue
        calls += [call.id for call in advance.calls]
        if not advance.more:
            break
    (only,) = told
    assert only.message.startswith("w [shard 1]: ")
    assert "division" in only.message
    assert str(only.place) == "main.wdl:4:25"
    assert calls == ["call-add-0", "call-add-2"]
    assert graph.outputs is None


def test_calls_that_were_ready_before_an_error_are_not_lost() -> None:
    graph = start(
        load(
            f"""version 1.1
            workflow w {{
              call add {{ input: a = 1 }}
              Int x = 1 / 0
            }}
            {ADD}"""
        )
    )
    advance = graph.advance()
    assert [call.name for call in advance.calls] == ["add"]
    assert advance.more
    with pytest.raises(errors.EvaluationFailed, match="division"):
        graph.advance()
    graph.finish("call-add", {"sum": 2})
    assert graph.advance().calls == ()


def test_a_null_file_in_a_declaration_that_needs_one_is_an_error_in_words() -> None:
    graph = start(load("version 1.0\nworkflow w { input { File? f } File g = f }\n"))
    with pytest.raises(errors.EvaluationFailed, match="g is null, but has to be File"):
        graph.advance()


def test_outputs_that_are_not_of_their_type_are_refused() -> None:
    graph = start(load(f"version 1.1\nworkflow w {{ call add {{ input: a = 1 }} }}\n{ADD}"))
    graph.advance()
    with pytest.raises(errors.EvaluationFailed, match="output sum of call-add"):
        graph.finish("call-add", {"sum": "x"})


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        (f"length(range({bounds.LONGEST_ARRAY + 1}))", "range\\(\\) would make"),
        ("length(cross(range(2000), range(2000)))", "cross\\(\\) would make 4,000,000"),
        ("length(range(-1))", "negative"),
        ("9223372036854775807 + 1", "64 bits"),
        ("10 ** 100", "64 bits"),
    ],
)
def test_growth_is_bounded(expression: str, says: str) -> None:
    graph = start(load(f'version 1.2\nworkflow w {{ String s = "x"\n Int n = {expression} }}\n'))
    with pytest.raises(errors.EvaluationFailed, match=says) as raised:
        graph.advance()
    assert raised.value.place is not None
    assert raised.value.place.line == 3


def test_strings_do_not_double_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "LONGEST_STRING", 1000)
    doubling = "\n".join(f'String s{i + 1} = "~{{s{i}}}~{{s{i}}}"' for i in range(40))
    for body in (doubling, doubling.replace('"~{', "").replace("}~{", " + ").replace('}"', "")):
        graph = start(load(f'version 1.1\nworkflow w {{ String s0 = "xxxxxxxx"\n{body}\n}}\n'))
        with pytest.raises(errors.EvaluationFailed, match="1,000 are allowed"):
            graph.advance()


def test_a_regex_that_never_ends_is_ended() -> None:
    graph = start(
        load('version 1.1\nworkflow w { String s = sub("' + "a" * 9999 + '!", "(a|aa)+$", "") }\n')
    )
    with pytest.raises(errors.EvaluationFailed, match="takes too long"):
        graph.advance()


def test_a_budget_ends_a_turn_and_nothing_is_lost() -> None:
    loaded = load(
        "version 1.1\nworkflow w { scatter (i in range(3000)) { call add { input: a = i } } }\n"
        + ADD
    )
    graph = start(loaded)
    turns, calls = 0, 0
    while True:
        advance = graph.advance(budget_seconds=0.005)
        turns += 1
        calls += len(advance.calls)
        if not advance.more:
            break
    assert calls == 3000
    assert turns > 10


def test_many_shards_cost_what_few_do() -> None:
    """Linear, counted and not timed: miniwdl's own machine takes twice as many lines a shard at
    8 times the shards, as `test_equivalence` shows."""
    loaded = load(
        f"""version 1.1
        workflow w {{
          input {{ Array[File] fs }}
          scatter (i in range(length(fs))) {{
            File f = fs[i]
            call add {{ input: a = i }}
            call add as more {{ input: a = add.sum }}
          }}
          output {{ Array[Int] o = more.sum }}
        }}
        {ADD}"""
    )

    def lines_a_shard(shards: int) -> float:
        graph: Graph = start(loaded, {"fs": [f"s3://in/{i}" for i in range(shards)]})
        waiting: list[ReadyCall] = []

        def all_of_it() -> None:
            while graph.outputs is None:
                waiting.extend(graph.advance().calls)
                if waiting:  # as the engine does: step after every completion
                    call = waiting.pop()
                    graph.finish(call.id, {"sum": 1})

        return lines_run(all_of_it) / shards

    lines_a_shard(2)  # what is made once and kept
    few, many = lines_a_shard(50), lines_a_shard(400)
    assert many < 1.1 * few


def test_a_large_input_is_rendered_once_and_named_by_its_content() -> None:
    graph = start(
        load(
            """version 1.1
            workflow w {
              input { Array[String] xs  String small = "s" }
              scatter (i in range(50)) { call t { input: xs = xs, s = small, i = i } }
            }
            task t { input { Array[String] xs  String s  Int i } command {} }
            """
        ),
        {"xs": [f"s3://bucket/sample-{i}" for i in range(500)]},
    )
    calls: list[ReadyCall] = []
    while len(calls) < 50:
        calls += graph.advance().calls
    assert all(json.loads(call.inputs).keys() == {"s", "i"} for call in calls)
    (first, *others) = [call.shared for call in calls]
    ((name, digest, text),) = first
    assert (name, digest) == ("xs", hashlib.sha256(text.encode()).hexdigest())
    assert all(shared[0][2] is text for shared in others)
    assert len(json.loads(text)) == 500
    assert calls[0].all_inputs == {"xs": json.loads(text), "s": "s", "i": 0}
    assert len({call.inputs_digest for call in calls}) == 50
