from __future__ import annotations

import pytest

from orchestrator import errors
from orchestrator.model import runtime


@pytest.mark.parametrize(
    ("written", "mib"),
    [
        ("2 GB", 2048),
        ("2GiB", 2048),
        ("512 MB", 512),
        ("1.5 G", 1536),
        ("4096 KB", 4),
        (2 * 1024**3, 2048),
        ("1073741824", 1024),
        ("1 TB", 1024**2),
        (1, 4),
    ],
)
def test_memory_is_read_in_powers_of_1024_as_cromwell_reads_it(written: object, mib: int) -> None:
    assert runtime.parse({"memory": written}).shape.memory_mib == mib


@pytest.mark.parametrize("wrong", ["much", "2 XB", "", "-1 GB", -5, 0, True, ["2 GB"]])
def test_a_wrong_memory_is_refused_by_name(wrong: object) -> None:
    with pytest.raises(errors.InvalidRuntimeAttribute, match="runtime section") as caught:
        runtime.parse({"memory": wrong})
    assert "memory" in str(caught.value)


def test_every_wrong_attribute_is_told_at_once() -> None:
    with pytest.raises(errors.InvalidRuntimeAttribute) as caught:
        runtime.parse({"memory": "much", "cpu": 0, "maxRetries": -1, "failOnStderr": "maybe"})
    assert len(caught.value.findings) == 4


def test_nearer_layers_win_and_null_means_not_given() -> None:
    parsed = runtime.parse(
        {"cpu": 4, "docker": None}, {"cpu": 2, "docker": "near"}, {"docker": "far"}
    )
    assert (parsed.shape.cpu, parsed.shape.image) == (4, "")
    assert runtime.parse({}, {"cpu": 2}, {"cpu": 8}).shape.cpu == 2


def test_container_may_be_a_list_of_alternatives_and_have_a_scheme() -> None:
    assert runtime.parse({"container": ["docker://a:1", "b"]}).shape.image == "a:1"


@pytest.mark.parametrize("hostile", ["--privileged", "a b", "a\n--rm"])
def test_an_image_is_never_an_option(hostile: str) -> None:
    with pytest.raises(errors.InvalidRuntimeAttribute):
        runtime.parse({"docker": hostile})


@pytest.mark.parametrize(
    ("attributes", "accepted", "refused"),
    [
        ({}, [0], [1]),
        ({"continueOnReturnCode": True}, [0, 1, 255], []),
        ({"continueOnReturnCode": [0, 3]}, [0, 3], [1]),
        ({"continueOnReturnCode": 4}, [4], [0]),
        ({"returnCodes": "*"}, [0, 9], []),
        ({"continueOnReturnCode": False}, [0], [2]),
    ],
)
def test_return_codes(
    attributes: dict[str, object], accepted: list[int], refused: list[int]
) -> None:
    parsed = runtime.parse(attributes)
    assert all(parsed.accepts(code) for code in accepted)
    assert not any(parsed.accepts(code) for code in refused)


def test_a_timeout_below_what_batch_knows_is_refused() -> None:
    assert runtime.parse({"jobTimeout": 0}).shape.timeout_seconds == 0
    assert runtime.parse({"jobTimeout": 60}).shape.timeout_seconds == 60
    with pytest.raises(errors.InvalidRuntimeAttribute):
        runtime.parse({"jobTimeout": 59})


@pytest.mark.parametrize(
    ("disks", "gib"),
    [("local-disk 20 SSD", 20), (["local-disk 20 SSD", "/mnt/x 5 HDD"], 25), ("local-disk", 0)],
)
def test_disks_add_up(disks: object, gib: int) -> None:
    assert runtime.parse({"disks": disks}).shape.disk_gib == gib
