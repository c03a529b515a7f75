"""Imports from URLs and from a zip: what is followed, and what is refused whatever it says."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Mapping

import pytest

from orchestrator import errors
from orchestrator.wdl import bundle, document, imports
from orchestrator.wdl.bundle import Bundle

TASK = "version 1.0\ntask t { command {} output { Int x = 1 } }\n"
MAIN = 'version 1.0\nimport "{uri}" as lib\nworkflow w {{ call lib.t }}\n'


def zipped(files: Mapping[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def web(pages: Mapping[str, str]) -> bundle.Fetch:
    allowed = imports.AllowList(["https://example.org/wdl"])

    def fetch(url: str) -> bytes:
        allowed.permit(url)
        if url not in pages:
            raise errors.NotFound(f"there is no {url} (HTTP 404)")
        return pages[url].encode()

    return fetch


# Zips


def test_a_zip_is_resolved_from_the_importer_then_from_its_root() -> None:
    archive = zipped(
        {
            "flows/a.wdl": 'version 1.0\nimport "b.wdl" as b\nimport "tasks/c.wdl" as c\n'
            "workflow a { call b.t call c.t as u }\n",
            "flows/b.wdl": TASK,
            "tasks/c.wdl": TASK,
            "unused.wdl": "never read",
            "README.md": b"\xff\xfe",
        }
    )
    text = 'version 1.0\nimport "flows/a.wdl" as a\nworkflow w { call a.a }\n'
    made = bundle.of_text(text, dependencies=archive)
    assert set(made.files) == {"workflow.wdl", "flows/a.wdl", "flows/b.wdl", "tasks/c.wdl"}
    assert document.load(made).workflow_name == "w"


def test_files_beside_the_main_document_come_before_those_of_a_zip(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("flows")
    (folder / "here.wdl").write_text(TASK)
    text = 'version 1.0\nimport "here.wdl" as a\nimport "lib/there.wdl" as b\n'
    (folder / "main.wdl").write_text(text + "workflow w { call a.t call b.t as u }\n")
    archive = zipped({"here.wdl": "broken", "lib/there.wdl": TASK})
    made = bundle.read(folder / "main.wdl", dependencies=archive)
    assert made.files["here.wdl"] == TASK
    assert document.load(made).workflow_name == "w"


@pytest.mark.parametrize(
    "name", ["../x.wdl", "a/../../x.wdl", "/etc/passwd", "C:\\x.wdl", "a\\..\\..\\x.wdl", "//x"]
)
def test_a_zip_with_names_that_lead_out_of_it_is_refused_as_a_whole(name: str) -> None:
    archive = zipped({"lib.wdl": TASK, name: TASK})
    with pytest.raises(errors.InvalidWdl) as raised:
        bundle.of_text(MAIN.format(uri="lib.wdl"), dependencies=archive)
    assert repr(name)[1:-1] in str(raised.value.findings[0])


def test_a_zip_with_links_duplicates_or_secrets_is_refused() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        link = zipfile.ZipInfo("link.wdl")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("twice.wdl", TASK)
        archive.writestr("./twice.wdl", TASK)
    with pytest.raises(errors.InvalidWdl) as raised:
        imports.Archive(out.getvalue())
    assert [finding.message for finding in raised.value.findings] == [
        "'link.wdl' is a link or a device",
        "'./twice.wdl' stands twice in the archive",
    ]


def test_a_zip_that_unpacks_to_too_much_is_refused_before_it_is_unpacked() -> None:
    bomb = zipped({f"{n}.txt": b"\0" * (8 * 1024**2) for n in range(9)})
    assert len(bomb) < 1_000_000
    with pytest.raises(errors.InvalidWdl, match="are refused"):
        imports.Archive(bomb)
    large = zipped({"lib.wdl": TASK + "#" * imports.LARGEST_SOURCE_BYTES})
    with pytest.raises(errors.InvalidWdl) as raised:
        bundle.of_text(MAIN.format(uri="lib.wdl"), dependencies=large)
    assert "lib.wdl is larger than" in str(raised.value)


def test_a_zip_that_lies_about_a_size_is_broken() -> None:
    archive = bytearray(zipped({"lib.wdl": TASK + "#" * 10_000}))
    # The central directory's uncompressed size, 24 bytes into its entry.
    struct.pack_into("<L", archive, archive.index(b"PK\x01\x02") + 24, 10)
    with pytest.raises(errors.InvalidWdl) as raised:
        bundle.of_text(MAIN.format(uri="lib.wdl"), dependencies=bytes(archive))
    assert "broken" in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip", zipped({"a.wdl": TASK})[:-10]])
def test_what_is_no_zip_is_said(content: bytes) -> None:
    with pytest.raises(errors.InvalidWdl, match="not a zip"):
        imports.Archive(content)


@pytest.mark.parametrize(
    "uri",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "../../../etc/passwd",
        "s3://b/x.wdl",
        "lib.wdl",
        "",
        ".",
    ],
)
def test_text_that_was_handed_in_sees_no_file_of_this_machine(uri: str) -> None:
    with pytest.raises(errors.InvalidWdl) as raised:
        bundle.of_text(MAIN.format(uri=uri), dependencies=zipped({"libs.wdl": TASK}))
    (finding,) = raised.value.findings
    assert str(finding.place) == "workflow.wdl:2:1"
    assert "root:" not in str(raised.value.as_json())


# URLs


def test_documents_are_fetched_and_load_again_without_a_network() -> None:
    pages = {
        "https://example.org/wdl/a/lib.wdl?token=sesame": 'version 1.0\nimport "../b/x.wdl" as x\n'
        "task t { command {} }\n",
        "https://example.org/wdl/b/x.wdl": 'version 1.0\nimport "/wdl/c.wdl"\n',
        "https://example.org/wdl/c.wdl": TASK,
    }
    text = MAIN.format(uri="https://example.org/wdl/a/lib.wdl?token=sesame")
    made = bundle.of_text(text, fetch=web(pages))
    assert set(made.files) == {
        "workflow.wdl",
        "https://example.org/wdl/a/lib.wdl",
        "https://example.org/wdl/b/x.wdl",
        "https://example.org/wdl/c.wdl",
    }
    assert document.load(Bundle(made.main, dict(made.files))).workflow_name == "w"


def test_the_main_document_is_fetched() -> None:
    pages = {
        "https://example.org/wdl/w.wdl": MAIN.format(uri="lib.wdl"),
        "https://example.org/wdl/lib.wdl": TASK,
    }
    made = bundle.of_url("https://example.org/wdl/w.wdl", fetch=web(pages))
    assert made.main == "https://example.org/wdl/w.wdl"
    assert document.load(made).workflow_name == "w"


def test_a_fetched_document_imports_nothing_but_urls(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("flows")
    (folder / "secret.wdl").write_text(TASK)
    page = MAIN.format(uri=f"file://{folder}/secret.wdl")
    with pytest.raises(errors.InvalidWdl) as raised:
        bundle.of_url("https://example.org/wdl/w.wdl", fetch=lambda url: page.encode())
    (finding,) = raised.value.findings
    assert "a URL leads to URLs only" in finding.message
    assert str(finding.place) == "https://example.org/wdl/w.wdl:2:1"


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/wdl/x.wdl",
        "https://example.org/x.wdl",
        "https://example.org/wdlx/x.wdl",
        "https://example.org/wdl/../x.wdl",
        "https://example.org/wdl/%2e%2e/x.wdl",
        "https://example.org:444/wdl/x.wdl",
        "https://me:sesame@example.org/wdl/x.wdl",
        "https://example.org.evil.test/wdl/x.wdl",
        "https://evil.test#example.org/wdl/x.wdl",
        "https://evil.test\\@example.org/wdl/x.wdl",
        "https://169.254.169.254/wdl/x.wdl",
        "https:///wdl/x.wdl",
        "https://[::1/wdl",
    ],
)
def test_what_is_not_on_the_list_is_not_fetched(url: str) -> None:
    with pytest.raises(errors.NotAllowed) as raised:
        imports.AllowList(["https://example.org/wdl"]).permit(url)
    assert "sesame" not in str(raised.value)


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("https://example.org", "https://example.org/x.wdl"),
        ("https://example.org/", "https://EXAMPLE.org:443/x.wdl"),
        ("https://example.org/wdl/", "https://example.org/wdl/a/x.wdl?a=b"),
        ("https://*.example.org", "https://raw.example.org/x.wdl"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/x.wdl"),
    ],
)
def test_an_entry_allows_what_lies_below_it(entry: str, url: str) -> None:
    imports.AllowList([entry]).permit(url)


def test_all_imports_that_are_refused_are_told_at_once_with_their_places() -> None:
    text = (
        'version 1.0\nimport "https://example.org/x.wdl" as a\n'
        'import "https://example.org/wdl/none.wdl" as b\nworkflow w {}\n'
    )
    with pytest.raises(errors.InvalidWdl) as raised:
        bundle.of_text(text, fetch=web({}))
    assert [str(finding.place) for finding in raised.value.findings] == [
        "workflow.wdl:2:1",
        "workflow.wdl:3:1",
    ]
    assert "orchestrator.imports.allow" in raised.value.findings[0].hint
    with pytest.raises(errors.InvalidWdl, match="cannot be loaded"):
        bundle.of_text(text)


def test_one_name_with_two_queries_is_refused() -> None:
    text = (
        'version 1.0\nimport "https://example.org/wdl/x.wdl?a=1" as a\n'
        'import "https://example.org/wdl/x.wdl?a=2" as b\nworkflow w {}\n'
    )
    with pytest.raises(errors.InvalidWdl) as raised:
        bundle.of_text(text, fetch=web({"https://example.org/wdl/x.wdl?a=1": TASK}))
    assert "differ in their query" in str(raised.value)


def test_a_server_that_does_not_answer_is_tried_later_and_the_import_named() -> None:
    def fetch(url: str) -> bytes:
        raise errors.TryLater(f"{url}: connection refused")

    with pytest.raises(errors.TryLater, match="refused") as raised:
        bundle.of_text(MAIN.format(uri="https://example.org/wdl/x.wdl"), fetch=fetch)
    assert str(raised.value.place) == "workflow.wdl:2:1"
