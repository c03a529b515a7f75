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
    tags = names.tags(Submission(handle("x"), Shape(), (), labels), "prod")
    assert len(tags) <= 45
    assert tags[names.SUBMISSION_TAG] == ID
    assert tags[names.ROOT_WORKFLOW_TAG] == "root"
    assert tags["odd_key_"] == "odd_value___"
    assert tags["k" * 128] == "v" * 256
    assert not [key for key in tags if key.lower().startswith("aws:")]


def test_tags_say_what_a_job_is() -> None:
    def tags(*attempts: AttemptRef) -> dict[str, str]:
        job = SubmissionHandle(ID, "n", "b", "", 0, attempts)
        shape = Shape(tags=(("team", "blue"), ("project", "x")))
        return names.tags(Submission(job, shape, (), (("project", "label"),)), "prod")

    shard = AttemptRef("root", "w", "d", "call-align-3.1", "align", (3, 1), 2)
    common = {
        "orchestrator:submission": ID,
        "orchestrator:workflow": "root",
        "orchestrator:environment": "prod",
        "orchestrator:call": "align",
        "team": "blue",
        "project": "label",
    }
    assert tags(shard) == common | {"orchestrator:shard": "3.1", "orchestrator:attempt": "2"}
    assert tags(shard, shard) == common
    plain = AttemptRef("root", "w", "d", "call-align", "align")
    assert tags(plain) == common | {"orchestrator:attempt": "1"}


def of(shares: names.Shares, group: str, root_id: str = "root") -> str:
    attempt = AttemptRef(root_id, "w", "d", "c", "c")
    job = SubmissionHandle(ID, "n", "b", "", 0, (attempt,))
    return shares.of(Submission(job, Shape(), (), share=group))


@pytest.mark.parametrize("group", ["team7", "a b", "ü", "x" * 300, "", "root"])
def test_a_share_is_letters_and_digits_and_lasts(group: str) -> None:
    shares = names.Shares()
    found = of(shares, group)
    assert re.fullmatch(r"[A-Za-z0-9]{1,255}", found)
    assert of(shares, group) == found
    assert found == "team7" or group != "team7"


def test_a_queue_never_sees_500_shares_whatever_groups_are_called() -> None:
    shares = names.Shares()
    plain = {of(shares, f"root{i}", f"root{i}") for i in range(2000)}
    named = {of(shares, f"group{i}") for i in range(2000)}
    odd = {of(shares, f"a group, {i}") for i in range(2000)}
    assert len(plain) > 90
    assert 100 < len(plain | named | odd) <= 300
    assert of(shares, "group5") == "group5"  # it came early: its weight counts
