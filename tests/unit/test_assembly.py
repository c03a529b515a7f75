from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from orchestrator import errors
from orchestrator.assembly import Assembly
from orchestrator.assembly.outputs import Places
from orchestrator.engine import tenure
from orchestrator.engine.coordinator import EngineSettings
from orchestrator.engine.tenure import this_process
from orchestrator.filesystems.base import Filesystems
from orchestrator.filesystems.local import LocalFilesystem
from orchestrator.model.records import WorkflowRecord
from orchestrator.model.states import WorkflowState
from orchestrator.store.memory import MemoryStore
from orchestrator.wdl import document
from orchestrator.wdl.bundle import Bundle


def assembled() -> Assembly:
    return Assembly(
        store=MemoryStore(),
        backends={},
        filesystems=Filesystems(LocalFilesystem()),
        default_backend="local",
        upload_roots={},
        _engine_settings=EngineSettings("local", {}),
    )


def succeeded(made: Assembly, declarations: str, outputs: dict[str, Any]) -> WorkflowRecord:
    loaded = document.load(
        Bundle("w.wdl", {"w.wdl": f"version 1.2\nworkflow w {{ output {{ {declarations} }} }}"})
    )
    made.store.put_bundle(loaded.bundle.digest, {"": "w.wdl", **loaded.bundle.files})
    return WorkflowRecord(
        id="id",
        root_id="id",
        name="w",
        state=WorkflowState.SUCCEEDED,
        bundle=loaded.bundle.digest,
        outputs=json.dumps(outputs),
    )


def made_file(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def copied(made: Assembly, record: WorkflowRecord, target: Path) -> dict[str, Any]:
    made.copy_outputs(record, target)
    found: dict[str, Any] = json.loads((target / "outputs.json").read_text())
    return found


def test_files_of_one_name_are_all_copied_and_outputs_json_names_the_copies(tmp_path: Path) -> None:
    made = assembled()
    files = [made_file(tmp_path / f"call-t/shard-{i}/execution/o.txt", str(i)) for i in range(3)]
    files.append(made_file(tmp_path / "x/outputs.json", "not ours"))
    record = succeeded(made, 'Array[File] f = ["x"]', {"w.f": files})
    new = copied(made, record, tmp_path / "out")["w.f"]
    assert [Path(path).read_text() for path in new] == ["0", "1", "2", "not ours"]
    assert new[0] == str(tmp_path / "out/o.txt")
    assert new[1] == str(tmp_path / "out/shard-1/o.txt")


def test_a_file_is_never_put_where_a_directory_has_to_be(tmp_path: Path) -> None:
    made = assembled()
    paths = ("a/x", "b/y", "c/x/y", "d/x/z")
    files = [made_file(tmp_path / path, path) for path in paths]
    record = succeeded(made, 'Array[File] f = ["x"]', {"w.f": files})
    new = copied(made, record, tmp_path / "out")["w.f"]
    assert tuple(Path(path).read_text() for path in new) == paths


def test_directories_are_copied_with_all_that_is_in_them(tmp_path: Path) -> None:
    made = assembled()
    made_file(tmp_path / "made/d/one", "1")
    made_file(tmp_path / "made/d/deep/two", "2")
    record = succeeded(made, 'Directory d = "x"', {"w.d": str(tmp_path / "made/d")})
    new = Path(copied(made, record, tmp_path / "out")["w.d"])
    assert new == tmp_path / "out/d"
    assert (new / "one").read_text() == "1"
    assert (new / "deep/two").read_text() == "2"


def test_a_string_that_looks_like_a_file_is_not_copied(tmp_path: Path) -> None:
    made = assembled()
    secret = made_file(tmp_path / "secret", "x")
    outputs = {"w.s": secret, "w.u": "https://example.invalid/x", "w.f": secret}
    record = succeeded(made, 'String s = "" String u = "" File? f = "x"', outputs)
    new = copied(made, record, tmp_path / "out")
    assert new["w.s"] == secret
    assert new["w.u"] == "https://example.invalid/x"
    assert new["w.f"] == str(tmp_path / "out/secret")


def test_paths_that_climb_stay_below_the_target(tmp_path: Path) -> None:
    places = Places(tmp_path)
    uris = ("s3://b/in/x", "s3://b/in/../x", "s3://b/x", "s3://c/in/../../x", "/x", "/..", "s3://")
    taken = [places.take(uri) for uri in uris]
    assert len(set(taken)) == len(uris)
    assert all(place.resolve() == place and tmp_path in place.parents for place in taken)


def test_a_target_that_cannot_be_is_told_in_words(tmp_path: Path) -> None:
    made = assembled()
    made_file(tmp_path / "out", "a file")
    with pytest.raises(errors.NotAllowed, match="out"):
        made.copy_outputs(succeeded(made, "Int i = 1", {"w.i": 1}), tmp_path / "out")


def submitted(made: Assembly, state: WorkflowState = WorkflowState.SUBMITTED) -> None:
    made.store.create(WorkflowRecord("id", "id", "w", state, "bundle"))


def test_a_lease_that_is_given_back_while_it_is_asked_for_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = assembled()
    submitted(made)
    monkeypatch.setattr(made.store, "claim", lambda *_: ())  # held when it was asked for
    assert made.claim("id").root_id == "id"


def test_what_a_living_process_runs_is_left_to_it() -> None:
    made = assembled()
    submitted(made)
    parent = os.getppid()
    host, boot, _, _ = this_process().split("/")
    other = "/".join((host, boot, str(parent), tenure._started(parent)))
    assert made.store.claim(other, 60, 1, "id")
    with pytest.raises(errors.NotAllowed, match=f"by process {parent} on"):
        made.claim("id")


def test_what_is_on_hold_or_over_is_not_taken_up() -> None:
    for state in (WorkflowState.ON_HOLD, WorkflowState.FAILED):
        made = assembled()
        submitted(made, state)
        with pytest.raises(errors.NotAllowed, match=r"on hold|Failed already"):
            made.claim("id")


@pytest.mark.parametrize("prefix", ["", "x"])
def test_no_id_means_no_workflow(prefix: str) -> None:
    """`orchestrator abort "$ID"` with an unset variable must not end the only workflow here."""
    made = assembled()
    made.store.create(succeeded(made, "Int n = 1", {"w.n": 1}))
    assert made.find("i").id == "id"
    with pytest.raises(errors.NotFound, match=f"no workflow '{prefix}' here"):
        made.find(prefix)
