from __future__ import annotations

from typing import Any

import pytest

from orchestrator import errors
from orchestrator.model import options

GOOD: dict[str, Any] = {
    "backend": "AWSBatch",
    "default_runtime_attributes": {"docker": "ubuntu", "maxRetries": 2},
    "workflow_failure_mode": "ContinueWhilePossible",
    "memory_retry_multiplier": 1.5,
    "final_workflow_outputs_dir": "s3://bucket/final/",
    "use_relative_output_paths": True,
    "final_workflow_outputs_mode": "move",
    "final_workflow_outputs_dir_metadata": "destination",
    "final_workflow_log_dir": "/logs",
    "final_call_logs_dir": "file:///logs/calls/",
    "delete_intermediate_output_files": True,
    "hogGroup": "lab",
    "aws_s3_root": "s3://bucket/elsewhere",
    "aws_batch_job_role_arn": "arn:aws:iam::123456789012:role/path/jobs",
    "read_from_cache": False,
    "write_to_cache": False,
    "call_cache_hit_path_prefixes": ["s3://bucket/a"],
}


def test_every_option_is_read() -> None:
    read = options.parse(GOOD)
    assert read == options.WorkflowOptions(
        backend="AWSBatch",
        default_runtime_attributes={"docker": "ubuntu", "maxRetries": 2},
        failure_mode=options.FailureMode.CONTINUE_WHILE_POSSIBLE,
        memory_retry_multiplier=1.5,
        final_workflow_outputs_dir="s3://bucket/final",
        use_relative_output_paths=True,
        final_workflow_outputs_mode=options.OutputsMode.MOVE,
        destination_in_outputs=True,
        final_workflow_log_dir="/logs",
        final_call_logs_dir="/logs/calls",
        delete_intermediate_output_files=True,
        hog_group="lab",
        aws_s3_root="s3://bucket/elsewhere",
        aws_batch_job_role_arn="arn:aws:iam::123456789012:role/path/jobs",
        read_from_cache=False,
        write_to_cache=False,
        call_cache_hit_path_prefixes=("s3://bucket/a",),
        warnings=(),
    )


def test_what_is_not_given_or_null_is_cromwells_default() -> None:
    assert options.parse({}) == options.WorkflowOptions()
    assert options.parse(dict.fromkeys(GOOD)) == options.WorkflowOptions()


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_wrong_value_is_an_error_that_names_the_option(name: str) -> None:
    with pytest.raises(errors.InvalidOptions) as caught:
        options.parse({name: 7.5 if name != "memory_retry_multiplier" else 100})
    assert name in str(caught.value)
    assert "expected" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memory_retry_multiplier", 0.9),
        ("memory_retry_multiplier", "much"),
        ("memory_retry_multiplier", True),
        ("memory_retry_multiplier", float("nan")),
        ("workflow_failure_mode", "Whatever"),
        ("final_workflow_outputs_dir", ""),
        ("final_workflow_outputs_dir", "gs://bucket/x"),
        ("final_workflow_outputs_dir", "s3://"),
        ("final_workflow_outputs_dir", "s3://bucket/../other"),
        ("final_workflow_outputs_dir", "s3://bucket//x"),
        ("final_workflow_log_dir", "file://host/x"),
        ("aws_s3_root", "/somewhere"),
        ("aws_batch_job_role_arn", "jobs"),
        ("use_relative_output_paths", "maybe"),
        ("default_runtime_attributes", {"cpu": -1}),
        ("default_runtime_attributes", ["cpu"]),
        ("made_up", {"an": "object"}),
        ("aws_s3_root", {"iv": "x", "ciphertext": "y"}),
    ],
)
def test_wrong_values(name: str, value: object) -> None:
    with pytest.raises(errors.InvalidOptions):
        options.parse({name: value})


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(errors.InvalidOptions) as caught:
        options.parse(
            {
                "backend": 3,
                "default_runtime_attributes": {"cpu": 0, "memory": "big"},
                "made_up": {},
                "workflow_failure_mode": "x",
            }
        )
    assert len(caught.value.findings) == 5


def test_booleans_and_numbers_may_be_strings_as_cromwell_reads_them() -> None:
    read = options.parse(
        {
            "use_relative_output_paths": "true",
            "memory_retry_multiplier": "2.0",
            "workflow_failure_mode": "nonewcalls",
            "final_workflow_outputs_dir": "/d",
        }
    )
    assert (read.use_relative_output_paths, read.memory_retry_multiplier) == (True, 2.0)
    assert read.failure_mode is options.FailureMode.NO_NEW_CALLS


def test_an_unknown_option_is_a_warning_with_a_suggestion() -> None:
    (warning,) = options.parse({"final_workflow_output_dir": "/x"}).warnings
    assert "final_workflow_output_dir" in warning.message
    assert warning.hint == "did you mean final_workflow_outputs_dir?"


@pytest.mark.parametrize(
    "name", ["monitoring_script", "google_project", "jes_gcs_root", "workflow_callback_uri"]
)
def test_options_of_other_backends_are_named(name: str) -> None:
    (warning,) = options.parse({name: "x"}).warnings
    assert name in warning.message
    assert "no effect" in warning.message


def test_options_that_need_another_one_are_named() -> None:
    (warning,) = options.parse({"use_relative_output_paths": True}).warnings
    assert "without final_workflow_outputs_dir" in warning.message


def test_the_hog_group_may_be_another_option() -> None:
    assert options.parse({"lab": "x"}, hog_group_option="lab").hog_group == "x"


def test_unknown_default_attributes_are_warnings() -> None:
    (warning,) = options.parse({"default_runtime_attributes": {"memroy": "2 GB"}}).warnings
    assert "memroy" in warning.message


def test_a_root_or_a_role_that_is_not_allowed_is_an_error() -> None:
    allowed = options.Allowed(("s3://bucket/root",), ("arn:aws:iam::123456789012:role/jobs",))
    good = {
        "aws_s3_root": "s3://bucket/root/team",
        "aws_batch_job_role_arn": "arn:aws:iam::123456789012:role/jobs",
    }
    assert allowed.check(options.parse(good)) == ([], [])
    wrong, _ = allowed.check(
        options.parse(
            {
                "aws_s3_root": "s3://bucket/rootless",
                "aws_batch_job_role_arn": "arn:aws:iam::123456789012:role/admin",
            }
        )
    )
    assert len(wrong) == 2
    assert "s3://bucket/root" in wrong[0].hint


def test_a_root_and_a_role_mean_nothing_where_there_is_none_to_choose() -> None:
    read = options.parse(
        {
            "aws_s3_root": "s3://bucket/root",
            "aws_batch_job_role_arn": "arn:aws:iam::123456789012:role/jobs",
        }
    )
    wrong, advice = options.Allowed().check(read)
    assert not wrong
    assert len(advice) == 2
