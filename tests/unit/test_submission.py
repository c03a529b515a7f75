"""Inputs on their way in. A directory stands for the bucket: uploading is copying."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator import errors, submission
from orchestrator.assembly import Assembly
from orchestrator.backends.fake import FakeBackend
from orchestrator.filesystems.local import LocalFilesystem
from orchestrator.model.options import Allowed
from orchestrator.wdl import document
from orchestrator.wdl.bundle import Bundle
from orchestrator.wdl.input_files import Given

from .test_assembly import assembled, made_file

SOURCE = """version 1.2
workflow w { input { Array[File] f = []  Directory? d } }
"""


@pytest.fixture
def made(tmp_path: Path) -> Assembly:
    backends = {name: FakeBackend(lambda s, i: None, name=name) for name in ("local", "batch")}
    roots = {"batch": f"{tmp_path}/bucket"}
    return dataclasses.replace(assembled(), backends=backends, upload_roots=roots)


def placed(values: Mapping[str, Any], name: str) -> Given:
    """As a file has them, one a line."""
    return Given(
        dict(values),
        {key: errors.Place(name, line, 1) for line, key in enumerate(values, 2)},
    )


def submit(
    made: Assembly, values: Mapping[str, Any], backend: str = "batch", folder: Path | None = None
) -> dict[str, Any]:
    """The inputs as they are kept."""
    root_id = submission.submit(
        made,
        document.load(Bundle("w.wdl", {"w.wdl": SOURCE})),
        input_files=[((folder or Path.cwd()) / "inputs.json", Given(dict(values)))],
        options=Given({"backend": backend}),
    )
    kept: dict[str, Any] = json.loads(made.store.workflow(root_id).inputs)
    return kept


def test_files_of_one_directory_stay_together_and_names_of_two_are_kept_apart(
    made: Assembly, tmp_path: Path
) -> None:
    data, index = made_file(tmp_path / "a/x.bam", "1"), made_file(tmp_path / "a/x.bai", "2")
    other = made_file(tmp_path / "b/x.bam", "3")
    kept = [Path(path) for path in submit(made, {"w.f": [data, index, other]})["w.f"]]
    assert [path.read_text() for path in kept] == ["1", "2", "3"]
    assert [path.name for path in kept] == ["x.bam", "x.bai", "x.bam"]
    assert kept[0].parent == kept[1].parent != kept[2].parent


def test_every_way_to_write_a_path_is_uploaded(made: Assembly, tmp_path: Path) -> None:
    made_file(tmp_path / "a/x y", "1")
    ways = [f"{tmp_path}//a/x y", f"{tmp_path}/a/./x y", f"{tmp_path}/a/../a/x y", "a/x y"]
    ways.append(f"file://{tmp_path}/a/x%20y")
    kept = submit(made, {"w.f": ways}, folder=tmp_path)["w.f"]
    assert len(set(kept)) == 1
    assert kept[0].startswith(f"{tmp_path}/bucket/")
    assert Path(kept[0]).read_text() == "1"


def test_a_link_keeps_its_name(made: Assembly, tmp_path: Path) -> None:
    made_file(tmp_path / "store/5f3c", "1")
    (tmp_path / "ref.fa").symlink_to("store/5f3c")
    for backend in ("batch", "local"):
        (kept,) = submit(made, {"w.f": ["ref.fa"]}, backend, tmp_path)["w.f"]
        assert Path(kept).name == "ref.fa"
        assert Path(kept).read_text() == "1"


def test_a_directory_is_uploaded_with_what_its_links_lead_to(
    made: Assembly, tmp_path: Path
) -> None:
    made_file(tmp_path / "d/one", "1")
    made_file(tmp_path / "elsewhere/two", "2")
    (tmp_path / "d/linked").symlink_to(tmp_path / "elsewhere")
    kept = Path(submit(made, {"w.d": str(tmp_path / "d")})["w.d"])
    assert kept.name == "d"
    assert (kept / "one").read_text() == "1"
    assert (kept / "linked/two").read_text() == "2"


def test_the_chosen_backend_says_whether_files_are_uploaded(made: Assembly, tmp_path: Path) -> None:
    path = made_file(tmp_path / "x", "1")
    assert submit(made, {"w.f": [path]}, "local")["w.f"] == [path]
    assert not (tmp_path / "bucket").exists()


def test_an_unknown_backend_is_told_before_anything_is_uploaded(
    made: Assembly, tmp_path: Path
) -> None:
    with pytest.raises(errors.InvalidOptions, match="elsewhere"):
        submit(made, {"w.f": [made_file(tmp_path / "x", "1")]}, "elsewhere")
    assert not (tmp_path / "bucket").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_must_not_be_read_is_named(made: Assembly, tmp_path: Path) -> None:
    path = made_file(tmp_path / "x", "1")
    Path(path).chmod(0)
    with pytest.raises(errors.InvalidInputs, match=path):
        submit(made, {"w.f": [path]})


def test_a_file_that_vanishes_is_named(
    made: Assembly, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made_file(tmp_path / "x", "1")
    check = submission._missing_files

    def check_then_lose(*arguments: Any) -> list[errors.Finding]:
        found = check(*arguments)
        Path(path).unlink()
        return found

    monkeypatch.setattr(submission, "_missing_files", check_then_lose)
    with pytest.raises(errors.InvalidInputs, match=path):
        submit(made, {"w.f": [path]})


def test_a_file_that_changes_while_it_is_uploaded_is_refused_and_not_kept(
    made: Assembly, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made_file(tmp_path / "x", "before")
    upload = LocalFilesystem.upload

    def write_and_upload(self: LocalFilesystem, source: str, uri: str) -> None:
        Path(source).write_text("after!")
        upload(self, source, uri)

    monkeypatch.setattr(LocalFilesystem, "upload", write_and_upload)
    with pytest.raises(errors.InvalidInputs, match="changed"):
        submit(made, {"w.f": [path]})
    left: Iterable[Path] = (tmp_path / "bucket").rglob("x")
    assert list(left) == []


def test_all_that_is_wrong_is_told_at_once_and_where_it_stands(
    made: Assembly, tmp_path: Path
) -> None:
    """Names, types, files, attributes, options and labels: one run tells all."""
    source = """version 1.2
workflow w { input { File f  File g  Int n  Int m  Int o } call t { input: n = n } }
task t { input { Int n } command <<< x >>> runtime { docker: "d" cpu: 0 } }
"""
    inputs = placed({"w.f": "/gone", "g": 1, "w.t.runtime.memory": "much", "w.no": 1}, "in.json")
    warned: list[errors.Finding] = []
    with pytest.raises(errors.Invalid) as raised:
        submission.submit(
            made,
            document.load(Bundle("w.wdl", {"w.wdl": source})),
            input_files=[(Path("in.json"), inputs)],
            assignments=["n=x", "o=3"],
            options=placed({"memory_retry_multiplier": 0, "hog_group": "x"}, "options.json"),
            labels=placed({"a": "b", "c": 1}, "labels.json"),
            warn=warned.append,
        )
    assert type(raised.value) is errors.Invalid
    told = [
        (str(finding.place), finding.message.split(":")[0]) for finding in raised.value.findings
    ]
    assert told == [
        ("labels.json:3:1", "label 'c'"),
        ("options.json:2:1", "memory_retry_multiplier is 0; expected a number from 1.0 to 99.0"),
        ("w.wdl:3:71", "task t"),
        ("w.wdl:2:38", "w.n"),
        ("in.json:3:1", "g"),
        ("in.json:5:1", "workflow w has no input w.no"),
        ("w.wdl:2:45", "w.m (Int) is missing"),
        ("in.json:2:1", "input w.f"),
        ("in.json:4:1", "input w.t.runtime.memory"),
    ]
    assert kept_nothing(made)


def test_one_kind_of_error_keeps_its_code(made: Assembly) -> None:
    loaded = document.load(Bundle("w.wdl", {"w.wdl": SOURCE}))
    wrong = placed({"w.f": 1, "w.d": 2}, "in.json")
    with pytest.raises(errors.InvalidInputs) as raised:
        submission.submit(
            made, loaded, input_files=[(Path("in.json"), wrong)], assignments=["d=/no"]
        )
    told = [str(finding.place) for finding in raised.value.findings]
    assert told == ["in.json:2:1", "w.wdl:2:42"]  # the latter was given on the command line
    with pytest.raises(errors.InvalidOptions) as refused:
        submission.submit(
            made,
            loaded,
            options=placed({"backend": "moon"}, "o.json"),
            labels=placed({"a": 1}, "l.json"),
        )
    assert [str(finding.place) for finding in refused.value.findings] == [
        "l.json:2:1",
        "o.json:2:1",
    ]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
_OPTIONS = ["backend", "default_runtime_attributes", "workflow_failure_mode", "aws_s3_root"]
_OPTIONS += ["final_workflow_outputs_dir", "memory_retry_multiplier", "hogGroup", "zz"]


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    values=st.dictionaries(st.sampled_from(["w.f", "f", "w.d", "x", ""]), _JSON, max_size=3),
    options=st.dictionaries(st.sampled_from(_OPTIONS), _JSON, max_size=3),
    labels=st.dictionaries(st.text(max_size=3), st.text(max_size=3) | st.integers(), max_size=2),
    assignments=st.lists(st.text(max_size=6) | st.sampled_from(["f=/", "f=\0", "=", "d="])),
)
def test_whatever_is_handed_in_becomes_a_workflow_or_an_error_and_no_half_of_one(
    made: Assembly,
    values: dict[str, Any],
    options: dict[str, Any],
    labels: dict[str, Any],
    assignments: list[str],
) -> None:
    before = len(made.store.matching(""))
    created = 0
    try:
        submission.submit(
            made,
            document.load(Bundle("w.wdl", {"w.wdl": SOURCE})),
            input_files=[(Path("in.json"), Given(values))],
            assignments=assignments,
            options=Given(options),
            labels=Given(labels),
        )
        created = 1
    except errors.Invalid as error:
        assert error.findings or error.message  # noqa: PT017
    assert len(made.store.matching("")) == before + created


TASK = """version 1.1
workflow w { call t }
task t { command <<< x >>> runtime { docker: "d" %s } }
"""


def handed_in(
    made: Assembly,
    attributes: str = "",
    values: Mapping[str, Any] | None = None,
    **options: Any,
) -> tuple[Any, list[str]]:
    """The record as it is kept, and what was said."""
    said: list[str] = []
    root_id = submission.submit(
        made,
        document.load(Bundle("w.wdl", {"w.wdl": TASK % attributes})),
        input_files=[(Path("inputs.json").absolute(), Given(dict(values or {})))],
        options=Given({"backend": "batch", **options}),
        warn=lambda finding: said.append(str(finding)),
    )
    return made.store.workflow(root_id), said


def kept_nothing(made: Assembly) -> bool:
    return not made.store.matching("")


def test_a_wrong_attribute_is_an_error_with_its_place_before_anything_is_created(
    made: Assembly,
) -> None:
    with pytest.raises(errors.InvalidRuntimeAttribute) as caught:
        handed_in(made, 'memory: "much"')
    assert "w.wdl:3:" in str(caught.value)
    assert kept_nothing(made)


def test_a_wrong_override_among_the_inputs_is_an_error_too(made: Assembly) -> None:
    with pytest.raises(errors.InvalidRuntimeAttribute, match="not valid") as caught:
        handed_in(made, values={"w.t.runtime.cpu": 0})
    assert "w.t.runtime.cpu" in str(caught.value)
    assert kept_nothing(made)


def test_unknown_attributes_and_options_are_warnings(made: Assembly) -> None:
    _, said = handed_in(made, "memroy: 5", hog_group="x")
    assert ["memroy" in text for text in said].count(True) == 1
    assert ["hog_group" in text for text in said].count(True) == 1
    assert any("w.wdl:3:" in text for text in said)


def test_wrong_options_are_an_error_before_anything_is_created(made: Assembly) -> None:
    with pytest.raises(errors.InvalidOptions):
        handed_in(made, memory_retry_multiplier=0)
    assert kept_nothing(made)


def test_halves_of_characters_are_refused_where_names_are_made_of_them(made: Assembly) -> None:
    loaded = document.load(Bundle("w.wdl", {"w.wdl": SOURCE}))
    for name in ("final_workflow_outputs_dir", "hogGroup"):
        with pytest.raises(errors.InvalidOptions):
            submission.submit(made, loaded, options=Given({name: "a\ud800"}))
    for labels in ({"a\ud800": "b"}, {"a": "\ud800"}):
        with pytest.raises(errors.InvalidOptions):
            submission.submit(made, loaded, labels=Given(labels))
    assert kept_nothing(made)


def test_options_lie_over_those_of_the_configuration(made: Assembly) -> None:
    made.default_options = {
        "workflow_failure_mode": "ContinueWhilePossible",
        "memory_retry_multiplier": 2,
    }
    record, _ = handed_in(made, memory_retry_multiplier=3)
    kept = json.loads(record.options)
    assert kept["workflow_failure_mode"] == "ContinueWhilePossible"
    assert kept["memory_retry_multiplier"] == 3


def test_directories_of_options_are_meant_from_here(
    made: Assembly, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    record, _ = handed_in(
        made, final_workflow_outputs_dir="out", final_call_logs_dir="s3://bucket/c"
    )
    kept = json.loads(record.options)
    assert kept["final_workflow_outputs_dir"] == f"{tmp_path}/out"
    assert kept["final_call_logs_dir"] == "s3://bucket/c"


def test_a_root_of_its_own_places_the_workflow(made: Assembly) -> None:
    made.allowed = {"batch": Allowed(("s3://bucket/root",), ())}
    record, _ = handed_in(made, aws_s3_root="s3://bucket/root/team/")
    assert record.directory == f"s3://bucket/root/team/w/{record.id}"
    with pytest.raises(errors.InvalidOptions, match="cannot be used"):
        handed_in(made, aws_s3_root="s3://elsewhere")


def test_a_root_of_its_own_means_nothing_to_a_backend_on_this_machine(made: Assembly) -> None:
    record, said = handed_in(made, aws_s3_root="s3://bucket/root")
    assert record.directory == f"w/{record.id}"
    assert any("aws_s3_root" in text for text in said)


def test_deleting_has_to_be_allowed_by_the_configuration(made: Assembly) -> None:
    record, said = handed_in(made, delete_intermediate_output_files=True)
    assert "delete_intermediate_output_files" not in json.loads(record.options)
    assert any("delete-workflow-files" in text for text in said)
    made.deletes_files = True
    record, said = handed_in(made, delete_intermediate_output_files=True)
    assert json.loads(record.options)["delete_intermediate_output_files"] is True
    assert not said
