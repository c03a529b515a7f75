from __future__ import annotations

import pytest

from orchestrator import errors
from orchestrator.model.job import InlineFile, InputFile
from orchestrator.wdl.facts import Facts, NeedFacts, Want
from tests.unit.wdl.drive import WHERE, content, load, manifest, prepare, start, stat, task


def test_commands_see_inputs_beside_the_directory_they_run_in() -> None:
    call = task(
        """task t {
          input { File bam  File bai  Array[File] more  String label }
          command <<<
            tool ~{bam} ~{bai} ~{sep=" " more} '~{label}'
              indented
          >>>
        }""",
        {
            "bam": "s3://in/a/x.bam",
            "bai": "s3://in/a/x.bam.bai",
            "more": ["s3://in/b/x.bam", "/local/y"],
            "label": "s3://in/not-localized",
        },
    )
    prepared = prepare(call)
    assert prepared.script == (
        "\ntool /w/a1/inputs/0/x.bam /w/a1/inputs/0/x.bam.bai /w/a1/inputs/1/x.bam "
        "/w/a1/inputs/2/y 's3://in/not-localized'\n  indented\n"
    )
    assert prepared.inputs == (
        InputFile("s3://in/a/x.bam", "/w/a1/inputs/0/x.bam", size=10, etag="etag-10"),
        InputFile("s3://in/a/x.bam.bai", "/w/a1/inputs/0/x.bam.bai", size=10, etag="etag-10"),
        InputFile("s3://in/b/x.bam", "/w/a1/inputs/1/x.bam", size=10, etag="etag-10"),
        InputFile("/local/y", "/w/a1/inputs/2/y", size=10, etag="etag-10"),
    )
    assert not prepared.is_empty


def test_everything_that_is_lacking_is_asked_for_at_once() -> None:
    call = task(
        """task t {
          input { File a  File b  File c }
          Int mib = ceil(size(a, "MiB") + size([b])) + read_int(c)
          Int later = mib + 1
          command <<< ~{later} ~{read_string(b)} >>>
          runtime { disks: "local-disk ~{mib} SSD"  memory: read_string(a) }
        }""",
        {name: f"s3://in/{name}" for name in "abc"},
    )
    facts = Facts()
    with pytest.raises(NeedFacts) as raised:
        call.prepare(WHERE, 1, facts)
    assert raised.value.wants == {Want("stat", f"s3://in/{name}") for name in "abc"} | {
        Want("content", f"s3://in/{name}") for name in "abc"
    }
    for name in "abc":
        facts.add(stat(f"s3://in/{name}", 2 if name == "c" else 2 * 1024**2))
        facts.add(content(f"s3://in/{name}", {"a": "4 GB\n", "b": "text\n", "c": " 7\n"}[name]))
    prepared = call.prepare(WHERE, 1, facts)
    assert prepared.runtime == {"disks": f"local-disk {2 + 2 * 1024**2 + 7} SSD", "memory": "4 GB"}
    assert prepared.script.strip() == f"{2 + 2 * 1024**2 + 8} text"


def test_an_input_that_is_not_there_is_named() -> None:
    call = task("task t { input { Array[File] fs } command {} }", {"fs": ["s3://in/a"]})
    facts = Facts()
    facts.add(stat("s3://in/a", None))
    with pytest.raises(errors.EvaluationFailed) as raised:
        call.prepare(WHERE, 1, facts)
    assert raised.value.message == "input fs of task t: there is no file s3://in/a"


def test_relative_inputs_are_refused_by_name() -> None:
    call = task("task t { input { File f } command {} }", {"f": "data/x"})
    with pytest.raises(errors.EvaluationFailed, match="input f of task t: the relative path"):
        call.prepare(WHERE, 1, Facts())


def test_the_neighbour_of_an_input_is_localized_and_a_default_uri_too() -> None:
    call = task(
        """task t {
          input {
            File bam
            File bai = bam + ".bai"
            File ref = "s3://ref/genome.fa"
            File dict = sub(ref, "\\\\.fa$", ".dict")
          }
          File out = "made-by-the-command"
          command <<< ~{bai} ~{ref} ~{dict} ~{out} >>>
        }""",
        {"bam": "s3://in/x.bam"},
    )
    prepared = prepare(call)
    assert [item.uri for item in prepared.inputs] == [
        "s3://in/x.bam",
        "s3://in/x.bam.bai",
        "s3://ref/genome.fa",
        "s3://ref/genome.dict",
    ]
    assert prepared.script.split() == [
        "/w/a1/inputs/0/x.bam.bai",
        "/w/a1/inputs/1/genome.fa",
        "/w/a1/inputs/1/genome.dict",
        "made-by-the-command",
    ]


def test_an_optional_neighbour_that_is_not_there_is_null_since_1_2() -> None:
    source = """task t {
      input { File bam  File? bai = bam + ".bai" }
      command <<< ~{if defined(bai) then "with ~{bai}" else "without"} >>>
    }"""
    facts = Facts()
    facts.add(stat("s3://in/x.bam", 1))
    facts.add(stat("s3://in/x.bam.bai", None))
    prepared = task(source, {"bam": "s3://in/x.bam"}, version="1.2").prepare(WHERE, 1, facts)
    assert prepared.script.strip() == "without"
    assert [item.uri for item in prepared.inputs] == ["s3://in/x.bam"]
    with pytest.raises(errors.EvaluationFailed, match=r"no file s3://in/x\.bam\.bai"):
        task(source, {"bam": "s3://in/x.bam"}).prepare(WHERE, 1, facts)


def test_directories_are_localized_whole() -> None:
    call = task(
        """task t {
          input { Directory d }
          File f = join_paths(d, "deep/x.txt")
          command <<< ls ~{d} ~{f} >>>
          output { File same = f  Directory all = d }
        }""",
        {"d": "s3://in/dir/"},
        version="1.2",
    )
    prepared = prepare(call)
    assert prepared.inputs == (InputFile("s3://in/dir", "/w/a1/inputs/0/dir", directory=True),)
    assert prepared.script.split() == ["ls", "/w/a1/inputs/0/dir", "/w/a1/inputs/0/dir/deep/x.txt"]
    assert prepared.outputs.files == ()
    outputs = prepared.result(manifest(), Facts())
    assert outputs == {"same": "s3://in/dir/deep/x.txt", "all": "s3://in/dir"}


def test_files_that_expressions_write_travel_with_the_script() -> None:
    source = """task t {
      input { Array[String] xs  Map[String, String] m }
      File lines = write_lines(xs)
      command <<< cat ~{lines} ~{write_map(m)} ~{write_tsv([xs])} ~{write_json(m)} >>>
      output { Int n = length(read_lines(lines)) }
    }"""
    call = task(source, {"xs": ["p", "q"], "m": {"k": "v"}})
    prepared = prepare(call)
    paths = prepared.script.split()[1:]
    assert [path.rsplit("/", 1)[0] for path in paths] == ["/w/a1/inputs/written"] * 4
    kinds = ["lines", "map", "tsv", "json"]
    for path, kind in zip(paths, kinds, strict=True):
        assert path.rsplit("/", 1)[1].startswith(f"write_{kind}_")
    assert prepared.inline_files == tuple(
        InlineFile(path, text)
        for path, text in zip(paths, [b"p\nq\n", b"k\tv\n", b"p\tq\n", b'{"k": "v"}'], strict=True)
    )
    assert prepare(task(source, {"xs": ["p", "q"], "m": {"k": "v"}})).script == prepared.script
    assert prepared.result(manifest(), Facts()) == {"n": 2}


def test_declarations_evaluate_in_order_of_dependence() -> None:
    call = task(
        """task t {
          input { Int b = a + 1  Int a = 1 }
          Int d = c * 2
          Int c = b + a
          command <<< ~{d} >>>
        }""",
        {"a": 5},
    )
    assert prepare(call).script.strip() == "22"


def test_null_means_the_default_unless_the_input_is_optional() -> None:
    call = task(
        """task t {
          input { Int a = 1  Int? b = 2 }
          command <<< ~{a} ~{default="none" b} >>>
        }""",
        {"a": None, "b": None},
    )
    assert prepare(call).script.strip() == "1 none"


def test_runtime_attributes_are_plain_values_and_the_inputs_override_them() -> None:
    call = task(
        """task t {
          input { Int n }
          command <<< >>>
          runtime {
            docker: ["a", "b"]
            cpu: n
            memory: "~{n * 2} GB"
            preemptible: true
            maxRetries: 1
          }
        }""",
        {"n": 3, "runtime.memory": "1 GB", "runtime.maxRetries": 5, "runtime.zones": ["x"]},
    )
    assert prepare(call).runtime == {
        "docker": ["a", "b"],
        "cpu": 3,
        "memory": "1 GB",
        "preemptible": True,
        "maxRetries": 5,
        "zones": ["x"],
    }


def test_requirements_of_1_2_are_runtime_attributes() -> None:
    call = task(
        """task t {
          command <<< ~{task.name} ~{task.attempt} ~{task.cpu} ~{task.memory} ~{task.container}
            ~{task.meta.who} >>>
          requirements { container: "img:1"  cpu: 2  memory: "4 GiB" }
          meta { who: "me" }
          output { Int code = task.return_code  Int again = task.attempt }
        }""",
        {"requirements.cpu": 8},
        version="1.2",
    )
    assert call.name == "t"
    assert call.meta == {"who": "me"}
    prepared = prepare(call, attempt=3)
    assert prepared.runtime == {"container": "img:1", "cpu": 8, "memory": "4 GiB"}
    assert prepared.script.split() == ["t", "2", "8.000000", str(4 * 1024**3), "img:1", "me"]
    assert prepared.result(manifest(return_code=4), Facts()) == {"code": 4, "again": 2}


def test_a_failing_expression_has_its_place() -> None:
    call = task(
        """task t {
          input { Array[Int] xs }
          command <<<
            echo ~{xs[3]}
          >>>
        }""",
        {"xs": [1]},
    )
    with pytest.raises(errors.EvaluationFailed) as raised:
        prepare(call)
    assert raised.value.message == "t: Array index out of bounds"
    assert str(raised.value.place) == "main.wdl:5:23"


def test_reading_what_is_no_input_before_the_command_runs_is_an_error() -> None:
    call = task('task t { command <<< ~{read_string("made-later")} >>> }')
    with pytest.raises(errors.EvaluationFailed, match="cannot be read before it runs"):
        prepare(call)


def test_an_empty_command_needs_no_job() -> None:
    call = task("task t { input { Int n } command <<<\n   >>> output { Int m = n + 1 } }", {"n": 1})
    prepared = prepare(call)
    assert prepared.is_empty
    assert prepared.result(manifest(), Facts()) == {"m": 2}


def test_an_empty_command_whose_output_must_be_kept_needs_one() -> None:
    call = task('task t { command <<< >>> output { File f = write_lines(["a"]) } }')
    prepared = prepare(call)
    (inline,) = prepared.inline_files
    assert prepared.outputs.files == (inline.path,)
    assert not prepared.is_empty
    outputs = prepared.result(manifest({inline.path: "a\n"}), Facts())
    assert outputs["f"].startswith("s3://")


def test_ten_thousand_files_in_a_command() -> None:
    loaded = load(
        """version 1.1
        workflow w { input { Array[File] fs } call t { input: fs = fs } }
        task t { input { Array[File] fs } command <<< cat ~{sep=" " fs} >>> }
        """
    )
    uris = [f"s3://in/{number}.txt" for number in range(10_000)]
    graph = start(loaded, {"fs": uris})
    (call,) = graph.advance().calls
    facts = Facts()
    for uri in uris:
        facts.add(stat(uri, 1))
    prepared = graph.task(call).prepare(WHERE, 1, facts)
    assert len(prepared.script.split()) == 10_001
    assert len(prepared.inputs) == 10_000


def test_draft_2_tasks_declare_inputs_anywhere() -> None:
    loaded = load(
        """
        task t {
          File f
          String s = basename(f)
          command { echo ${s} ${f} }
          output { String o = read_string(stdout()) }
          runtime { docker: "img" }
        }
        workflow w { call t }
        """
    )
    graph = start(loaded, {"w.t.f": "s3://in/x.txt"})
    (call,) = graph.advance().calls
    prepared = prepare(graph.task(call))
    assert prepared.script.split() == ["echo", "x.txt", "/w/a1/inputs/0/x.txt"]
    assert prepared.result(manifest(stdout="hi\n"), Facts()) == {"o": "hi"}


@pytest.mark.parametrize(
    ("expression", "type_"),
    [("'--name ' + s", "String"), ("s", "String"), ("n + 1", "Int"), ("n < 1", "Boolean")],
)
def test_null_is_never_taken_for_empty_text_outside_placeholders(
    expression: str, type_: str
) -> None:
    """miniwdl would run the command with half an argument."""
    call = task(
        f"task t {{ input {{ String? s  Int? n }} {type_} x = {expression}\n"
        "  command <<< ~{x} >>> }"
    )
    with pytest.raises(errors.EvaluationFailed, match="is null") as raised:
        prepare(call)
    assert raised.value.place is not None


def test_optional_values_in_placeholders_vanish_where_they_are_null() -> None:
    source = """task t {
      input { String? s  Int? n  Array[String]? a  File? f  Boolean? b }
      command <<<[~{s}|~{"-n " + n}|~{default="x" s}|~{sep="," a}|~{f}|~{true="T" false="F" b}]>>>
    }"""
    assert prepare(task(source)).script == "[||x|||]"
    given = {"s": "S", "n": 3, "a": ["p", "q"], "f": "s3://in/f", "b": True}
    assert prepare(task(source, given)).script == "[S|-n 3|S|p,q|/w/a1/inputs/0/f|T]"


@pytest.mark.parametrize("version", ["draft-2", "1.0", "1.1", "1.2"])
def test_options_of_placeholders_may_be_numbers(version: str) -> None:
    source = """task t {
      Int? n  Boolean b = false  Array[Int] a = [1, 2]
      command <<<
        é ${default=0 n}|${default=0.50 n}|${true=1 false=2.5 b}|${sep=0 a}
      >>>
    }"""
    if version != "draft-2":
        source = source.replace("$", "~").replace("Int? n", "input { Int? n }")
    assert prepare(task(source, version=version)).script.strip() == "é 0|0.50|2.5|102"


def test_commands_written_on_windows_run_on_linux() -> None:
    call = task("task t {\r\n  command <<<\r\n    echo a\r\n    echo b\r\n  >>>\r\n}")
    assert prepare(call).script == "\necho a\necho b\n"


def test_an_output_path_that_leaves_the_directory_has_its_place() -> None:
    call = task('task t { command <<< x >>>\n  output { File f = "../../up" } }')
    with pytest.raises(errors.EvaluationFailed, match="leaves the directory") as raised:
        prepare(call)
    assert str(raised.value.place) == "main.wdl:3:12"
