"""Plans: what is carried, what is refused, how names are told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import errors
from orchestrator.backends.wrapper import plan
from orchestrator.model.attempt import AttemptRef
from orchestrator.model.job import InlineFile, InputFile, JobSpec, OutputPlan, WorkDir

WHERE = WorkDir(
    "/scratch/tok/execution", "s3://b/r/call-t", *(f"s3://b/r/call-t/{n}" for n in "abcde")
)


def job(**parts: object) -> JobSpec:
    attempt = AttemptRef("w", "w", "flow/w", "call-t", "t")
    return JobSpec(attempt, WHERE, "true", **parts)  # type: ignore[arg-type]


def render(**parts: object) -> dict[str, bytes]:
    return plan.render(job(**parts), "5" * 32, plan.Setting(plan.Keep.UPLOAD))


@pytest.mark.parametrize(
    ("pattern", "expanded"),
    [
        ("*.txt", ["*.txt"]),
        ("a.{b,c}", ["a.b", "a.c"]),
        ("{a,b}{1,2}", ["a1", "a2", "b1", "b2"]),
        ("{a,{b,c}d}e", ["ae", "bde", "cde"]),
        ("{a,}", ["a", ""]),
        ("{a}", ["{a}"]),
        ("{", ["{"]),
        ("{a,b", ["{a,b"]),
        ("a}", ["a}"]),
        (r"\{a,b}", [r"\{a,b}"]),
        (r"{a\,b,c}", [r"a\,b", "c"]),
        ("x{a}{b,c}", ["x{a}b", "x{a}c"]),
    ],
)
def test_braces_are_expanded_as_bash_does(pattern: str, expanded: list[str]) -> None:
    assert plan.expand_braces(pattern) == expanded


def test_braces_that_explode_are_refused() -> None:
    with pytest.raises(errors.InvalidInputs, match="more than 1000"):
        plan.expand_braces("{a,b}" * 30)


@given(st.text(alphabet="{},ab\\", max_size=12))
def test_braces_never_break(pattern: str) -> None:
    assert plan.expand_braces(pattern, limit=10_000)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a", "a"),
        ("./a//b/../c", "a/c"),
        ("/scratch/tok/execution/x", "x"),
        ("../tmp/x", "/scratch/tok/tmp/x"),
        ("/etc/x", "/etc/x"),
        ("//etc/x", "/etc/x"),
    ],
)
def test_names_are_relative_to_the_work_dir_or_absolute(path: str, name: str) -> None:
    assert plan.normalise(path, WHERE.path) == name


@pytest.mark.parametrize(
    "path", ["/etc/x", "/scratch/other/x", "/scratch/tok/../x", "relative", "/scratch/tok/a\0b"]
)
def test_inputs_may_only_come_into_the_attempts_directory(path: str) -> None:
    with pytest.raises(errors.InvalidInputs):
        render(inputs=(InputFile("s3://b/k", path),))
    with pytest.raises(errors.InvalidInputs):
        render(inline_files=(InlineFile(path, b""),))


def test_a_plan_without_inputs_and_outputs_is_small() -> None:
    files = render()
    assert sorted(files) == ["plan", "script"]
    assert len(files["plan"]) < 2500


def test_pinned_identities_are_written_as_the_s3_client_prints_them() -> None:
    item = InputFile('s3://b/a<&>"é', "/scratch/tok/inputs/x", size=1, etag='"e-2"')
    files = render(inputs=(item,))
    key = '"s3://b/a\\u003c\\u0026\\u003e\\"é"'
    assert files["pinned"].decode() == f"{key}\ne-2\n{item.path}\n"
    assert files["heads"].decode() == "head --raw 's3://b/a<&>\"é'\n"


def test_without_pinned_identities_nothing_is_looked_at_twice() -> None:
    files = render(inputs=(InputFile("s3://b/k", "/scratch/tok/inputs/x"),))
    assert "heads" not in files
    assert "sized" not in files


def test_rendering_is_deterministic() -> None:
    parts = {"outputs": OutputPlan(files=("b", "a/"), globs=("*",), reads=("b",))}
    assert render(**parts) == render(**parts)


def test_no_command_of_a_plan_grows_with_the_inputs() -> None:
    """All words of one command together have a limit; shell functions and builtins have none."""
    inputs = tuple(
        InputFile(f"s3://b/{number}/k", f"/scratch/tok/inputs/{number}/k") for number in range(2000)
    )
    lines = render(inputs=inputs)["plan"].decode().splitlines()
    making = [line for line in lines if line.startswith("mkdir ")]
    assert sum(line.count("/scratch/tok/inputs/") for line in making) == 2000
    assert max(map(len, making)) < 4000
