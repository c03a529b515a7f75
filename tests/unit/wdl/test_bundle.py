from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import errors
from orchestrator.wdl import bundle, document

MAIN = 'version 1.0\nimport "{uri}" as lib\nworkflow w {{ call lib.t }}\n'
LIB = "version 1.0\ntask t { command {} output { Int x = 1 } }\n"


def test_the_closure_of_relative_imports_is_read_and_loads(tmp_path: Path) -> None:
    (tmp_path / "flows").mkdir()
    (tmp_path / "tasks" / "deep").mkdir(parents=True)
    (tmp_path / "unrelated.wdl").write_text("never read")
    (tmp_path / "flows" / "main.wdl").write_text(
        'version 1.0\nimport "../tasks/a.wdl" as a\nworkflow w { call a.sub }\n'
    )
    (tmp_path / "tasks" / "a.wdl").write_text(
        'version 1.0\nimport "deep/b.wdl" as b\nworkflow sub { call b.t output { Int y = t.x } }\n'
    )
    (tmp_path / "tasks" / "deep" / "b.wdl").write_text(LIB)

    read = bundle.read(tmp_path / "flows" / "main.wdl")

    assert read.main == "flows/main.wdl"
    assert set(read.files) == {"flows/main.wdl", "tasks/a.wdl", "tasks/deep/b.wdl"}
    assert document.load(read).workflow_name == "w"


def test_imports_in_a_circle_are_read_once_and_refused_when_loaded(tmp_path: Path) -> None:
    (tmp_path / "a.wdl").write_text('version 1.0\nimport "b.wdl"\nworkflow w {}\n')
    (tmp_path / "b.wdl").write_text('version 1.0\nimport "a.wdl"\n')

    read = bundle.read(tmp_path / "a.wdl")

    assert set(read.files) == {"a.wdl", "b.wdl"}
    with pytest.raises(errors.InvalidWdl, match="circular"):
        document.load(read)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("https://example.org/x.wdl", "not fetched here"),
        ("HTTP://example.org/x.wdl", "not fetched here"),
        ("s3://bucket/x.wdl", "not followed"),
        ("file:///etc/passwd", "not followed"),
        ("/etc/passwd", "absolute path"),
        ("../../../../../../../../etc/passwd", "does not end with .wdl"),
        ("missing.wdl", "No such file"),
        (f"{'a' * 5000}.wdl", "File name too long"),
        ("a\0.wdl", "no name of a file"),
        ("http://[/x.wdl", "no URL"),
    ],
)
def test_an_import_that_is_not_followed_is_told_with_its_place(
    tmp_path: Path, uri: str, says: str
) -> None:
    main = tmp_path / "main.wdl"
    main.write_text(MAIN.format(uri=uri))

    with pytest.raises(errors.InvalidWdl) as raised:
        bundle.read(main)

    (finding,) = raised.value.findings
    assert says in finding.message
    assert finding.place == errors.Place(str(main), 2, 1)
    assert "root:" not in str(raised.value)


def test_a_main_document_whose_url_is_none_is_said() -> None:
    with pytest.raises(errors.InvalidWdl, match="no URL"):
        bundle.of_url("http://[/x.wdl", fetch=lambda url: b"")


def test_a_link_does_not_lead_to_a_file_that_is_no_wdl(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2")
    (tmp_path / "lib.wdl").symlink_to(tmp_path / "secret")
    (tmp_path / "main.wdl").write_text(MAIN.format(uri="lib.wdl"))

    with pytest.raises(errors.InvalidWdl) as raised:
        bundle.read(tmp_path / "main.wdl")

    assert "hunter2" not in str(raised.value)


def test_a_main_file_that_cannot_be_read_is_an_error_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidWdl, match="No such file"):
        bundle.read(tmp_path / "nothing.wdl")
    (tmp_path / "binary.wdl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(errors.InvalidWdl, match="not UTF-8"):
        bundle.read(tmp_path / "binary.wdl")
    with pytest.raises(errors.InvalidWdl):
        bundle.read(tmp_path)


def test_the_digest_is_that_of_the_content() -> None:
    one = bundle.Bundle("a.wdl", {"a.wdl": "x", "b.wdl": "y"})
    same = bundle.Bundle("a.wdl", {"b.wdl": "y", "a.wdl": "x"})
    other_main = bundle.Bundle("b.wdl", {"a.wdl": "x", "b.wdl": "y"})
    other_text = bundle.Bundle("a.wdl", {"a.wdl": "x", "b.wdl": "z"})

    assert one.digest == same.digest
    assert len({one.digest, other_main.digest, other_text.digest}) == 3
    assert len(one.digest) == 64


def test_the_main_file_is_in_the_bundle() -> None:
    with pytest.raises(errors.InvalidWdl, match=r"no file a\.wdl"):
        bundle.Bundle("a.wdl", {})


def test_imports_are_found_wherever_they_stand(tmp_path: Path) -> None:
    for name in "abcdef":
        (tmp_path / f"{name}.wdl").write_text(LIB)
    (tmp_path / "main.wdl").write_text(
        """# import "none.wdl"
version 1.0 # import "none.wdl"
import "a.wdl" as a import 'b.wdl' as b
  alias X as Y # a comment
import # another
  "c.wdl" as c
import "d\\.wdl" as d
task t {
  command <<<
import "not-there.js"
import "f.wdl"
  >>>
}
import "e.wdl" as e
workflow w { call a.t }
"""
    )
    read = bundle.read(tmp_path / "main.wdl")
    assert set(read.files) == {"main.wdl", *(f"{name}.wdl" for name in "abcdef")}


def test_no_text_makes_the_search_for_imports_slow() -> None:
    for text in (
        "import " + " #\n" * 300_000,
        "version 1.0\n" + "import " * 140_000,
        'import "' + "\\\\" * 400_000,
        "\n " * 500_000 + "import 'x",
        "as alias " * 100_000,
    ):
        assert bundle.of_text(text).files == {"workflow.wdl": text}
