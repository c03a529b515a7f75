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
    assert (parsed.shape.cpu, parsed.shape.image) == (4, "near")
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
    [
        ("local-disk 20 SSD", 20),
        (["local-disk 20 SSD", "/mnt/x 5 HDD"], 25),
        ("local-disk 20 SSD, /mnt/x 5 HDD", 25),
        ("local-disk", 0),
        ("/mnt/efs", 0),
        ("20", 20),
        ("20 GiB", 20),
        ("1536 MiB", 2),
        ("local-disk 1 TiB", 1024),
        ("/mnt/x 5 GiB", 5),
        ("/mnt/x 5 GiB SSD", 5),
        (["10", "/mnt/x 5"], 15),
        (7, 7),
        (0.5, 1),
    ],
)
def test_disks_add_up(disks: object, gib: int) -> None:
    assert runtime.parse({"disks": disks}).shape.disk_gib == gib


def test_the_mounts_of_disks_are_told() -> None:
    parsed = runtime.parse({"disks": "local-disk 20 SSD, /mnt/x 5 HDD, /mnt/efs/"})
    assert parsed.shape.mounts == ("/mnt/x", "/mnt/efs")


@pytest.mark.parametrize(
    "disks",
    [
        "local-disk many SSD", "mnt 5", "/mnt/../etc 5", "/ 5", "/mnt/x 5, /mnt/x 5", [5, None],
        {"a": 1}, -1, True, "local-disk -5 SSD", "/mnt/x:/etc 5", "9" * 400, [" "],
        "/mnt/x 5 GiB SSD more", float("nan"),
    ],
)  # fmt: skip
def test_wrong_disks_are_refused(disks: object) -> None:
    with pytest.raises(errors.InvalidRuntimeAttribute) as caught:
        runtime.parse({"disks": disks})
    assert "disks is" in str(caught.value)


GOOD: dict[str, object] = {
    "docker": "ubuntu:22.04",
    "cpu": "4",
    "memory": "2 GB",
    "gpuCount": 1,
    "gpu": True,
    "disks": "local-disk 1 SSD",
    "queueArn": "arn:aws:batch:eu-west-1:123456789012:job-queue/dev-spot",
    "jobTimeout": 60,
    "sharedMemorySize": "64 MB",
    "ulimits": [{"name": "nofile", "softLimit": "1024", "hardLimit": "4096"}],
    "fuseMount": True,
    "logGroupName": "/aws/batch/job",
    "additionalTags": {"project": "x"},
    "awsBatchRetryAttempts": 10,
    "awsBatchEvaluateOnExit": [{"Action": "retry", "onExitCode": "137"}],
    "maxRetries": 2,
    "continueOnReturnCode": [0, 1],
    "failOnStderr": "true",
    "scriptBucketName": "my-bucket",
    "zones": "a b",
    "noAddress": False,
    "fpga": False,
    "efsDelocalize": False,
    "efsMakeMD5": True,
    "tagResources": True,
    "tagHardware": False,
}


def test_every_attribute_of_cromwells_aws_backend_is_read() -> None:
    parsed = runtime.parse(GOOD)
    shape = parsed.shape
    assert shape.queue == GOOD["queueArn"]
    assert shape.ulimits == (("nofile", 1024, 4096),)
    assert (shape.fuse, shape.log_group, shape.tags) == (
        True,
        "/aws/batch/job",
        (("project", "x"),),
    )
    assert (shape.gpu_count, shape.cpu, shape.timeout_seconds) == (1, 4, 60)
    assert (parsed.max_retries, parsed.fail_on_stderr) == (2, True)
    assert parsed.effective == GOOD
    hash(shape)  # attempts of one array share it


@pytest.mark.parametrize("name", sorted(GOOD))
def test_every_attribute_is_validated(name: str) -> None:
    wrong = {"unexpected": [3.5, {"a": None}]}
    findings = runtime.check({name: wrong})
    assert [found for found, _ in findings] == [name]
    with pytest.raises(errors.InvalidRuntimeAttribute):
        runtime.parse({name: wrong})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("queueArn", "dev-spot"),
        ("queueArn", "arn:aws:batch:eu-west-1:12:job-queue/dev-spot"),
        ("awsBatchRetryAttempts", 11),
        ("awsBatchEvaluateOnExit", [{"onExitCode": "1"}]),
        ("awsBatchEvaluateOnExit", [{"action": "again", "onExitCode": "1"}]),
        ("awsBatchEvaluateOnExit", [{"action": "RETRY", "onMonday": "1"}]),
        ("ulimits", [{"name": "nofile", "softLimit": "5"}]),
        ("ulimits", [{"name": "nofile", "softLimit": "5", "hardLimit": "4"}]),
        ("ulimits", [{"name": "--privileged", "softLimit": "4", "hardLimit": "4"}]),
        ("additionalTags", {"aws:x": "y"}),
        ("additionalTags", {"x": "y" * 257}),
        ("sharedMemorySize", "big"),
        ("logGroupName", "a b"),
        ("scriptBucketName", "My_Bucket"),
        ("continueOnReturnCode", []),
        ("continueOnReturnCode", [True]),
        ("continueOnReturnCode", "some"),
        ("returnCodes", [1.5]),
        ("maxRetries", 1.5),
        ("maxRetries", float("inf")),
        ("cpu", float("nan")),
        ("memory", float("inf")),
        ("memory", "9" * 400 + " GB"),
        ("memory", "1 1 GB"),
        ("docker", []),
        ("container", ["a", "b c"]),
        ("container", "a\u0000b"),
        ("fpga", True),
    ],
)
def test_what_the_service_would_refuse_is_refused_here(name: str, value: object) -> None:
    assert [found for found, _ in runtime.check({name: value})] == [name]


def test_empty_maps_of_cromwells_defaults_are_nothing() -> None:
    parsed = runtime.parse({"ulimits": [{}], "awsBatchEvaluateOnExit": [{}]})
    assert parsed.shape.ulimits == ()


def test_a_gpu_that_is_required_is_asked_for() -> None:
    assert runtime.parse({"gpu": True}).shape.gpu_count == 1
    assert runtime.parse({"gpu": False}).shape.gpu_count == 0
    assert runtime.parse({"gpu": True, "gpuCount": 4}).shape.gpu_count == 4
    assert runtime.check({"gpu": True, "gpuCount": 0})


def test_both_names_of_the_image_are_one_too_many() -> None:
    ((name, finding),) = runtime.check({"container": "a", "docker": "b"})
    assert name == "container"
    assert "two names" in finding.message


def test_a_nearer_image_hides_the_farther_one_under_its_other_name() -> None:
    assert runtime.parse({"docker": "near"}, {"container": "far"}).shape.image == "near"
    assert runtime.parse({"container": "near"}, {"docker": "far"}).shape.image == "near"


def test_return_codes_win_over_continue_on_return_code() -> None:
    parsed = runtime.parse({"returnCodes": 3, "continueOnReturnCode": 4})
    assert parsed.accepts(3)
    assert not parsed.accepts(4)


def test_names_of_wdl_1_2_mean_the_same() -> None:
    parsed = runtime.parse({"max_retries": 3, "return_codes": "*"})
    assert (parsed.max_retries, parsed.accept_return_codes) == (3, None)


def test_layers_of_a_task_from_the_override_to_the_section() -> None:
    section = {
        "cpu": 1,
        "memory": "1 GB",
        "docker": "section",
        "aws": {"cpu": 2, "memory": "2 GB", "queueArn": "q"},
        "gcp": {"cpu": 9},
        "zones": None,
    }
    merged = runtime.of_task(section, {"cpu": 3, "container": "override"})
    assert merged == {
        "cpu": 3,
        "memory": "2 GB",
        "container": "override",
        "queueArn": "q",
    }


def test_what_is_effective_is_told_whole() -> None:
    parsed = runtime.parse({"container": "a", "x": 1}, {"cpu": 2}, {"cpu": 4, "memory": "1 GB"})
    assert parsed.effective == {
        "docker": "a",
        "x": 1,
        "cpu": 2,
        "memory": "1 GB",
        "maxRetries": 0,
        "continueOnReturnCode": 0,
        "failOnStderr": False,
    }


@pytest.mark.parametrize("memory", ["2 GB", 2 * 1024**3, "2147483648", None])
def test_memory_grows_however_it_was_written(memory: object) -> None:
    grown = runtime.parse({"memory": memory}).with_memory_grown(1.5)
    assert grown.shape.memory_mib == 3072
    assert grown.effective["memory"] == "3072 MB"
    assert runtime.parse_mib(grown.effective["memory"]) == 3072


def test_unknown_attributes_and_those_without_effect_are_told() -> None:
    told = dict(runtime.advice(["cpu", "memroy", "preemptible", "container", "aws", "maxCpu"]))
    assert set(told) == {"memroy", "preemptible"}
    assert "unknown" in told["memroy"]
    assert "spot" in told["preemptible"]


def test_a_wrong_value_in_the_aws_object_is_told() -> None:
    ((name, finding),) = runtime.check({"aws": {"cpu": 0}, "gcp": {"cpu": 0}})
    assert name == "aws"
    assert "cpu is 0" in finding.message
    assert runtime.check({"aws": 5})
