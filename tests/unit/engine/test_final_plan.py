"""Where final outputs go, by their paths alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from orchestrator import errors
from orchestrator.engine import final_plan
from orchestrator.engine.final_plan import Finished
from orchestrator.model import options
from orchestrator.model.records import CallRecord, WorkflowRecord
from orchestrator.model.states import CallState, WorkflowState
from orchestrator.wdl import document
from orchestrator.wdl.bundle import Bundle

ID = "11111111-2222-3333-4444-555555555555"
SUB = "aaaaaaaa-2222-3333-4444-555555555555"
HOME = f"s3://bucket/root/w/{ID}"


def finished(
    source: str | Mapping[str, str],
    outputs: Mapping[str, Any],
    workflows: Mapping[str, WorkflowRecord] | None = None,
    **given: Any,
) -> Finished:
    files = {"main.wdl": source} if isinstance(source, str) else dict(source)
    root = WorkflowRecord(ID, ID, "w", WorkflowState.RUNNING, "", directory=f"w/{ID}")
    return Finished(
        root,
        HOME,
        options.parse({"final_workflow_outputs_dir": "s3://final/dir", **given}),
        document.load(Bundle("main.wdl", files)),
        outputs,
        workflows or {ID: root},
    )


def planned(
    end: Finished,
    listings: Mapping[str, Iterable[str]] | None = None,
    calls: Iterable[CallRecord] = (),
) -> final_plan.FinalPlan:
    return final_plan.plan(
        end,
        listing=lambda uri: (listings or {})[uri],
        attempts=lambda workflow_id: (),
        calls=lambda workflow_id: [c for c in calls if c.workflow_id == workflow_id],
    )


FILES = """version 1.2
workflow w {
  input { Array[File] f = [] Directory? d }
  output { Array[File] o = f Directory? p = d }
}
"""


@pytest.mark.parametrize(
    ("below", "relative"),
    [
        ("call-a/x.txt", "x.txt"),
        ("call-a/shard-3/x.txt", "x.txt"),
        ("call-a/shard-3/attempt-2/sub/x.txt", "sub/x.txt"),
        ("call-a/execution/call-b/x.txt", "call-b/x.txt"),
        (f"call-s/shard-1/shard-2/inner/{SUB}/call-a/shard-0/attempt-2/d/x.txt", "d/x.txt"),
        ("call-a/cacheCopy/x.txt", "x.txt"),
        ("written/5f/lines.tmp", "lines.tmp"),
    ],
)
def test_the_directories_of_calls_are_left_out(below: str, relative: str) -> None:
    end = finished(FILES, {}, use_relative_output_paths=True)
    assert final_plan.place(end, f"{HOME}/{below}") == relative
    whole = finished(FILES, {})
    assert final_plan.place(whole, f"{HOME}/{below}") == f"w/{ID}/{below}"


def test_files_of_other_places_keep_their_path_or_their_name() -> None:
    uri = "s3://elsewhere/reads/a.bam"
    assert final_plan.place(finished(FILES, {}), uri) == f"w/{ID}/elsewhere/reads/a.bam"
    end = finished(FILES, {}, use_relative_output_paths=True)
    assert final_plan.place(end, uri) == "a.bam"


def test_the_secret_of_a_presigned_url_is_no_part_of_a_name() -> None:
    urls = [f"https://reads.example/{name}/a.bam?X-Amz-Signature=secret" for name in "xy"]
    plan = planned(finished(FILES, {"w.o": urls}))
    assert [copy.source for copy in plan.copies] == urls
    assert plan.copies[0].target == f"s3://final/dir/w/{ID}/reads.example/x/a.bam"
    with pytest.raises(errors.NotAllowed) as caught:
        planned(finished(FILES, {"w.o": urls}, use_relative_output_paths=True))
    assert "secret" not in str(caught.value) + str(caught.value.findings)


def test_a_directory_is_copied_file_by_file_and_told_as_one() -> None:
    folder = f"{HOME}/call-a/d"
    end = finished(
        FILES,
        {"w.o": [], "w.p": folder},
        use_relative_output_paths=True,
        final_workflow_outputs_dir_metadata="destination",
    )
    plan = planned(end, {folder: [f"{folder}/x", f"{folder}/e/y z"]})
    assert [(copy.source, copy.target) for copy in plan.copies] == [
        (f"{folder}/x", "s3://final/dir/d/x"),
        (f"{folder}/e/y z", "s3://final/dir/d/e/y z"),
    ]
    assert plan.outputs == {"w.o": [], "w.p": "s3://final/dir/d"}


def test_a_file_of_a_directory_may_collide_with_another_output() -> None:
    folder, file = f"{HOME}/call-a/d", f"{HOME}/call-b/d/x"
    end = finished(FILES, {"w.o": [file], "w.p": folder}, use_relative_output_paths=True)
    with pytest.raises(errors.NotAllowed, match="overwrite each other") as caught:
        planned(end, {folder: [f"{folder}/x"]})
    assert f"{file} and {folder}/x" in caught.value.findings[0].message


def test_a_file_where_a_directory_has_to_be_collides_only_on_a_disk() -> None:
    outputs = {"w.o": [f"{HOME}/call-a/d", f"{HOME}/call-b/d/x"], "w.p": None}
    on_s3 = finished(FILES, outputs, use_relative_output_paths=True)
    assert len(planned(on_s3).copies) == 2
    on_disk = finished(
        FILES, outputs, use_relative_output_paths=True, final_workflow_outputs_dir="/final"
    )
    with pytest.raises(errors.NotAllowed):
        planned(on_disk)


def test_one_file_that_is_two_outputs_is_one_copy() -> None:
    file = f"{HOME}/call-a/x"
    plan = planned(finished(FILES, {"w.o": [file, file], "w.p": None}))
    assert len(plan.copies) == 1


def test_what_would_be_copied_onto_itself_is_left_alone() -> None:
    file = f"{HOME}/call-a/x"
    end = finished(
        FILES,
        {"w.o": [file], "w.p": None},
        final_workflow_outputs_dir="s3://bucket/root",
        final_workflow_outputs_mode="move",
    )
    plan = planned(end)
    assert (plan.copies, plan.delete) == ((), ())
    assert plan.outputs == {"w.o": [file], "w.p": None}


def test_no_name_leads_out_of_the_directory() -> None:
    end = finished(
        FILES, {"w.o": [f"{HOME}/call-a/../../../x"], "w.p": None}, use_relative_output_paths=True
    )
    with pytest.raises(errors.NotAllowed, match="outside"):
        planned(end)


def test_many_collisions_are_told_in_a_few_lines() -> None:
    files = [f"{HOME}/call-a/shard-{shard}/x" for shard in range(100)]
    end = finished(FILES, {"w.o": files, "w.p": None}, use_relative_output_paths=True)
    with pytest.raises(errors.NotAllowed) as caught:
        planned(end)
    assert len(caught.value.findings) == 21
    assert caught.value.findings[-1].message == "and 79 more"


NESTED = {
    "main.wdl": """version 1.2
import "sub.wdl" as lib
workflow w { call lib.inner as first  output { File o = first.o } }
""",
    "sub.wdl": """version 1.2
workflow inner { call t  output { File o = t.o } }
task t {
  command <<< x >>>
  output { File o = "o" File rest = "rest" Directory d = "d" String s = "x" }
  runtime { docker: "d" }
}
""",
}


def test_intermediate_files_of_sub_workflows_are_found_by_their_types() -> None:
    root = WorkflowRecord(ID, ID, "w", WorkflowState.RUNNING, "", directory=f"w/{ID}")
    directory = f"w/{ID}/call-first/inner/{SUB}"
    sub = WorkflowRecord(
        SUB, ID, "inner", WorkflowState.SUCCEEDED, "",
        parent_id=ID, parent_call_id="call-first", directory=directory,
    )  # fmt: skip
    call = f"s3://bucket/root/{directory}/call-t"
    outputs = (
        f'{{"o": "{call}/o", "rest": "{call}/rest", "d": "{call}/d", "s": "{call}/script", '
        f'"unknown": "{call}/u"}}'
    )
    calls = [
        CallRecord(ID, ID, "call-first", "first", (), CallState.DONE, "", outputs='{"o": "x"}',
                   sub_workflow_id=SUB),
        CallRecord(SUB, ID, "call-t", "t", (), CallState.DONE, "", outputs=outputs),
    ]  # fmt: skip
    end = finished(
        NESTED,
        {"w.o": f"{call}/o"},
        {ID: root, SUB: sub},
        delete_intermediate_output_files=True,
        final_workflow_outputs_dir=None,
    )
    plan = planned(end, {f"{call}/d": [f"{call}/d/1", f"{call}/d/2"]}, calls)
    assert plan.delete == (f"{call}/rest", f"{call}/d/1", f"{call}/d/2")


def test_files_below_a_directory_that_is_an_output_are_kept() -> None:
    source = """version 1.2
workflow w { call t output { Directory d = t.d } }
task t { command <<< x >>> output { Directory d = "d" File inside = "d/1" File other = "other" }
  runtime { docker: "d" } }
"""
    call = f"{HOME}/call-t"
    outputs = f'{{"d": "{call}/d", "inside": "{call}/d/1", "other": "{call}/other"}}'
    record = CallRecord(ID, ID, "call-t", "t", (), CallState.DONE, "", outputs=outputs)
    end = finished(
        source,
        {"w.d": f"{call}/d"},
        delete_intermediate_output_files=True,
        final_workflow_outputs_dir=None,
    )
    plan = planned(end, {f"{call}/d": [f"{call}/d/1"]}, [record])
    assert plan.delete == (f"{call}/other",)
