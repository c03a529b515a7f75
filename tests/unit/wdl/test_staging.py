"""Inputs from web servers, and inputs that are not brought in at all."""

from __future__ import annotations

import pytest

from orchestrator import errors
from orchestrator.model.job import InputFile
from orchestrator.model.records import FactRecord
from orchestrator.wdl.facts import Facts, NeedFacts, Want
from tests.unit.wdl.drive import WHERE, content, load, manifest, prepare, start, stat, task

URL = "https://example.org/data/x.bam"
COPY = "s3://scratch/staged/d1/x.bam"


def staged(uri: str, copy: str | None, size: int = 10) -> FactRecord:
    if copy is None:
        return FactRecord("root", "stage", uri, False)
    return FactRecord("root", "stage", uri, True, size, "etag-copy", copy.encode())


def test_a_url_is_copied_first_and_fetched_from_there() -> None:
    call = task(
        "task t { input { File f } command <<< cat ~{f} >>> output { File same = f } }", {"f": URL}
    )
    facts = Facts()
    with pytest.raises(NeedFacts) as raised:
        call.prepare(WHERE, 1, facts)
    (want,) = raised.value.wants
    assert (want.kind, want.uri, want.place) == ("stage", URL, "s3://scratch/staged")
    facts.add(staged(URL, COPY))
    prepared = call.prepare(WHERE, 1, facts)
    assert prepared.inputs == (InputFile(COPY, "/w/a1/inputs/0/x.bam", size=10, etag="etag-copy"),)
    assert prepared.result(manifest(), facts) == {"same": URL}


def test_a_url_s_content_is_that_of_its_copy() -> None:
    """What the task sees, and what expressions say of it, is one and the same."""
    call = task(
        """task t { input { File f } command <<< ~{size(f)} ~{read_string(f)} >>>
           output { Float s = size(f)  Array[String] again = read_lines(f) } }""",
        {"f": URL},
    )
    facts = Facts()
    facts.add(staged(URL, COPY, size=3))
    with pytest.raises(NeedFacts) as raised:
        call.prepare(WHERE, 1, facts)
    assert raised.value.wants == {Want("content", COPY)}
    facts.add(content(COPY, "abc"))
    prepared = call.prepare(WHERE, 1, facts)
    assert prepared.script.split() == ["3.000000", "abc"]
    assert prepared.result(manifest(), facts) == {"s": 3.0, "again": ["abc"]}


def test_neighbours_on_a_web_server_lie_side_by_side() -> None:
    call = task(
        'task t { input { File f  File i = f + ".bai" } command <<< ~{f} ~{i} >>> }', {"f": URL}
    )
    facts = Facts()
    facts.add(staged(URL, COPY))
    facts.add(staged(f"{URL}.bai", "s3://scratch/staged/d2/x.bam.bai"))
    prepared = call.prepare(WHERE, 1, facts)
    assert prepared.script.split() == ["/w/a1/inputs/0/x.bam", "/w/a1/inputs/0/x.bam.bai"]


def test_urls_that_differ_in_their_query_only_are_two_files() -> None:
    call = task(
        "task t { input { Array[File] fs } command <<< ~{sep=' ' fs} >>> }",
        {"fs": [f"{URL}?v=1", f"{URL}?v=2"]},
    )
    facts = Facts()
    facts.add(staged(f"{URL}?v=1", COPY))
    facts.add(staged(f"{URL}?v=2", "s3://scratch/staged/d2/x.bam"))
    prepared = call.prepare(WHERE, 1, facts)
    first, second = prepared.script.split()
    assert first != second
    assert {first.rpartition("/")[2], second.rpartition("/")[2]} == {"x.bam"}


def test_a_url_with_nothing_behind_it_is_named_without_its_secrets() -> None:
    call = task("task t { input { File f } command {} }", {"f": f"{URL}?X-Amz-Signature=secret"})
    facts = Facts()
    facts.add(staged(f"{URL}?X-Amz-Signature=secret", None))
    with pytest.raises(errors.EvaluationFailed, match="input f of task t: there is no") as raised:
        call.prepare(WHERE, 1, facts)
    assert "secret" not in raised.value.message


def test_an_optional_url_with_nothing_behind_it_is_null_since_1_2() -> None:
    call = task(
        'task t { input { File f  File? i = f + ".bai" } command <<< ~{defined(i)} >>> }',
        {"f": URL},
        version="1.2",
    )
    facts = Facts()
    facts.add(staged(URL, COPY))
    facts.add(staged(f"{URL}.bai", None))
    assert call.prepare(WHERE, 1, facts).script.strip() == "false"


@pytest.mark.parametrize(
    ("version", "where"),
    [
        ("1.0", "parameter_meta { f: {localization_optional: true} }"),
        ("1.1", "parameter_meta { f: {localizationOptional: true, help: 'x'} }"),
        ("1.1", "runtime { localizationOptional: true }"),
        ("1.2", "hints { localization_optional: true }"),
    ],
)
@pytest.mark.parametrize("uri", ["s3://in/x.bam", URL])
def test_what_need_not_be_localized_stays_where_it_is(version: str, where: str, uri: str) -> None:
    call = task(
        f"""task t {{
          input {{ File f  File? none }}
          command <<< tool ~{{f}} ~{{none}} >>>
          {where}
          output {{ File same = f  String name = basename(f) }}
        }}""",
        {"f": uri},
        version=version,
    )
    prepared = call.prepare(WHERE, 1, Facts())  # nothing has to be looked up
    assert prepared.script.split() == ["tool", uri]
    assert prepared.inputs == ()
    assert prepared.result(manifest(), Facts()) == {"same": uri, "name": "x.bam"}


def test_others_are_localized_all_the_same_and_so_are_local_paths() -> None:
    call = task(
        """task t {
          input { File f  Array[File] gs  File h = "s3://in/h" }
          command <<< ~{f} ~{sep=" " gs} ~{h} >>>
          parameter_meta {
            gs: {localization_optional: true}
            h: {localization_optional: false}
          }
        }""",
        {"f": "s3://in/f", "gs": ["s3://in/g", "/local/g"]},
    )
    prepared = prepare(call)
    assert prepared.script.split() == [
        "/w/a1/inputs/0/f",
        "s3://in/g",
        "/w/a1/inputs/1/g",
        "/w/a1/inputs/0/h",
    ]


def test_draft_2_may_say_it_too() -> None:
    loaded = load(
        """
        task t {
          File f
          command { tool ${f} }
          parameter_meta { f: {localization_optional: true} }
        }
        workflow w { call t }
        """
    )
    graph = start(loaded, {"w.t.f": "s3://in/x"})
    (call,) = graph.advance().calls
    assert prepare(graph.task(call)).script.split() == ["tool", "s3://in/x"]


def test_the_size_of_what_stays_is_looked_up() -> None:
    call = task(
        """task t { input { File f } command <<< ~{size(f)} >>>
           parameter_meta { f: {localization_optional: true} } }""",
        {"f": "s3://in/x"},
    )
    facts = Facts()
    facts.add(stat("s3://in/x", 7))
    assert call.prepare(WHERE, 1, facts).script.strip() == "7.000000"


def test_meta_tells_whether_a_task_is_volatile() -> None:
    source = "task t {{ command <<< date >>> meta {{ {meta} }} }}"
    assert task(source.format(meta="volatile: true")).is_volatile
    assert not task(source.format(meta='volatile: "true"')).is_volatile
    assert not task(source.format(meta="author: 'me'")).is_volatile
