"""Names and tags that AWS Batch accepts."""

from __future__ import annotations

import re

import pytest

from orchestrator.backends.aws_batch import names
from orchestrator.model.attempt import AttemptRef
from orchestrator.model.job import Shape, Submission, SubmissionHandle

ID = "0123456789abcdef" * 2


def handle(name: str) -> SubmissionHandle:
    return SubmissionHandle(ID, name, "b", "", 0, (AttemptRef("root", "w", "d", "c", "c"),))


@pytest.mark.parametrize(
    "name", [f"flow-t-{ID}", ID, f"_x-{ID}", f"{'long' * 60}-{ID}", f"é ü.*-{ID}", f"--{ID}", "odd"]
)
def test_a_job_name_is_valid_and_ends_with_the_id(name: str) -> None:
    found = names.job_name(handle(name))
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}", found)
    assert found.endswith(ID)


def test_a_valid_name_stays_as_it_is() -> None:
    assert names.job_name(handle(f"flow-t-{ID}")) == f"flow-t-{ID}"


def test_tags_are_cleaned_bounded_and_ours_win() -> None:
    labels = (
        ("aws:reserved", "x"),
        ("AWS:reserved", "x"),
        ("", "x"),
        (names.SUBMISSION_TAG, "forged"),
        ("odd,key;", "odd<value>?\n"),
        ("k" * 200, "v" * 300),
        *((f"label-{i}", "v") for i in range(80)),
    )
    tags = names.tags(Submission(handle("x"), Shape(), (), labels))
    assert len(tags) <= 45
    assert tags[names.SUBMISSION_TAG] == ID
    assert tags[names.ROOT_WORKFLOW_TAG] == "root"
    assert tags["odd_key_"] == "odd_value___"
    assert tags["k" * 128] == "v" * 256
    assert not [key for key in tags if key.lower().startswith("aws:")]


@pytest.mark.parametrize("group", ["team7", "a b", "ü", "x" * 300, "", "root"])
def test_a_share_is_letters_and_digits(group: str) -> None:
    found = names.share(Submission(handle("x"), Shape(), (), share=group))
    assert re.fullmatch(r"[A-Za-z0-9]{1,255}", found)
    assert found == names.share(Submission(handle("y"), Shape(), (), share=group))


def test_workflows_of_no_group_share_few_identifiers() -> None:
    found = {
        names.share(
            Submission(
                SubmissionHandle(ID, "n", "b", "", 0, (AttemptRef(f"r{i}", "w", "d", "c", "c"),)),
                Shape(),
                (),
                share=f"r{i}",
            )
        )
        for i in range(2000)
    }
    assert 200 < len(found) <= 256
