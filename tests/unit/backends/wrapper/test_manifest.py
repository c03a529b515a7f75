"""Manifests come from jobs, and jobs are not trusted."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.backends.wrapper.manifest import LIMIT_BYTES, ManifestRejected, parse
from orchestrator.model.failures import FailureCode
from orchestrator.model.job import InputFile

BASE = "s3://bucket/root/call-t"


def document(**changes: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "submission_id": "s" * 32,
        "attempt": "a" * 16,
        "job_id": "job:1",
        "return_code": 0,
        "peak_memory_bytes": None,
        "stdout": {"path": "/x/stdout", "uri": f"{BASE}/out.log", "size": 3},
        "stderr": {"path": "/x/stderr", "uri": f"{BASE}/err.log", "size": 0},
        "phases": [{"name": "command", "started_at": 1.5, "ended_at": 2.0}],
        **changes,
    }


def parsed(**changes: Any) -> Any:
    return parse(json.dumps(document(**changes)).encode(), kept_below=[BASE])


def file(path: str = "out", uri: str = f"{BASE}/out", size: Any = 1) -> dict[str, Any]:
    return {"path": path, "uri": uri, "size": size}


def test_a_good_manifest_is_read() -> None:
    found = parsed(
        files=[file()],
        directories=["d"],
        globs=[["*", ["out"]]],
        contents=[{"path": "out", "base64": base64.b64encode(b"\0").decode()}],
        listing=[{"key": f"{BASE}/out", "etag": "e", "size": 1, "type": "file"}],
        stderr_tail=base64.b64encode(b"oops\xff").decode(),
    )
    assert found.files["out"].content == b"\0"
    assert found.files["out"].etag == "e"
    assert found.globs == {"*": ("out",)}
    assert found.directories == ("d",)
    assert found.stderr_tail == "oops\ufffd"
    assert found.phases[0].ended_at == 2.0
    assert found.stdout.content is None
    assert found.stderr.content == b""


def test_an_output_that_arrived_with_another_size_fails_the_attempt() -> None:
    found = parsed(files=[file()], listing=[{"key": f"{BASE}/out", "etag": "e", "size": 2}])
    assert found.files["out"].etag is None
    assert found.failure is not None
    assert found.failure.code is FailureCode.DELOCALIZATION_FAILED
    assert f"{BASE}/out has 2" in found.failure.message
    aborted = {"code": "ABORTED", "base64": ""}
    listing = [{"key": f"{BASE}/out", "etag": "e", "size": 2}]
    found = parsed(files=[file()], listing=listing, failure=aborted)
    assert found.failure.code is FailureCode.ABORTED


def test_times_of_the_pull_become_a_phase() -> None:
    found = parsed(pull=["2026-01-02T03:04:05.25Z", "2026-01-02T03:04:15.202617438+00:00"])
    assert [phase.name for phase in found.phases] == ["pull", "command"]
    assert found.phases[0].started_at == 1767323045.25


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"unknown": 1},
        {"return_code": 256},
        {"return_code": -1},
        {"return_code": "0"},
        {"files": [file(size=-1)]},
        {"files": [file(size=2**63)]},
        {"files": [file(size=1.5)]},
        {"files": [file(path="x" * 5000)]},
        {"files": [file(path="")]},
        {"files": [file(path="a/../../b")]},
        {"files": [file(uri=f"{BASE}/../other/x")]},
        {"files": [file(uri="s3://other/x")]},
        {"files": [file(uri=f"{BASE}-other/x")]},
        {"files": [file(uri="/etc/passwd")]},
        {"stdout": file(uri="s3://other/x")},
        {"peak_memory_bytes": -1},
        {"peak_disk_bytes": 2**63},
        {"pull": ["2026-01-02T03:04:05", "2026-01-02T03:04:06"]},
        {"pull": ["yesterday", "today"]},
        {"pull": ["0001-01-01T00:00:00+23:59", "2026-01-02T03:04:06Z"]},
        {"pull": ["2026-01-02T03:04:05Z"]},
        {"phases": [{"name": "c", "started_at": -1, "ended_at": 1}]},
        {"phases": [{"name": "c", "started_at": 1, "ended_at": 1e300}]},
        {"phases": [{"name": "c", "started_at": 1, "ended_at": 1}] * 17},
        {"failure": {"code": "SPOT_LOSS", "base64": ""}},
        {"failure": {"code": "NONSENSE", "base64": ""}},
        {"contents": [{"path": "out", "base64": "%%%"}]},
        {"stderr_tail": "&"},
        {"submission_id": "x" * 65},
    ],
)
def test_a_forged_manifest_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ManifestRejected):
        parsed(**changes)


@pytest.mark.parametrize(
    "data",
    [b"", b"null", b"[]", b"{", b"[" * 100_000, b"9" * 10_000, b"\xff\xfe", b"{}", b"NaN"],
)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(ManifestRejected):
        parse(data, kept_below=[BASE])


def test_a_huge_manifest_is_refused() -> None:
    with pytest.raises(ManifestRejected, match="bytes"):
        parse(b" " * (LIMIT_BYTES + 1), kept_below=[BASE])


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(ManifestRejected):
        parse(data, kept_below=[BASE])


def test_inputs_may_be_outputs_and_are_only_asked_for_when_needed() -> None:
    asked = []

    def inputs() -> list[InputFile]:
        asked.append(1)
        return [InputFile("s3://in/x", "/x"), InputFile("s3://in/dir/", "/d", directory=True)]

    data = document(files=[file()])
    parse(json.dumps(data).encode(), kept_below=[BASE], inputs=inputs)
    assert not asked
    files = [file("a", "s3://in/x"), file("b", "s3://in/dir/y")]
    found = parse(json.dumps(document(files=files)).encode(), kept_below=[BASE], inputs=inputs)
    assert found.files["a"].uri == "s3://in/x"
    for uri in ("s3://in/x2", "s3://in/dirt", "s3://in/dir"):
        with pytest.raises(ManifestRejected):
            parse(
                json.dumps(document(files=[file("a", uri)])).encode(),
                kept_below=[BASE],
                inputs=inputs,
            )


def test_a_content_over_the_limit_is_left_out() -> None:
    content = base64.b64encode(b"x" * (64 * 1024 + 1)).decode()
    found = parsed(files=[file(size=70_000)], contents=[{"path": "out", "base64": content}])
    assert found.files["out"].content is None


def test_names_that_are_not_utf8_fail_in_words() -> None:
    text = json.dumps(document(files=[file(path="odd", uri=f"{BASE}/odd")]))
    data = text.encode().replace(b'"odd"', b'"o\xff"')
    found = parse(data, kept_below=[BASE])
    assert found.failure is not None
    assert found.failure.code is FailureCode.OUTPUT_REFUSED
    assert "UTF-8" in found.failure.message
