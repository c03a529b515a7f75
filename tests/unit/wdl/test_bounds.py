"""Poison: expressions that would take the server's memory or time."""

from __future__ import annotations

import pytest

from orchestrator import errors
from orchestrator.wdl import bounds, patterns, reading
from orchestrator.wdl.facts import Facts
from orchestrator.wdl.patterns import Matcher
from tests.unit.wdl.drive import content, load, prepare, start, stat, task


def evaluate(body: str, version: str = "1.2") -> object:
    graph = start(load(f"version {version}\nworkflow w {{\n{body}\n}}\n"))
    while graph.outputs is None:
        graph.advance()
    return graph.outputs


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("length(prefix(big, range(2000)))", r"prefix\(\) would make a text"),
        ("length(suffix(big, range(2000)))", r"suffix\(\) would make a text"),
        ("length(sep(big, range(2000)))", r"sep\(\) would make a text"),
        ("length(sub(big, '.', big))", r"sub\(\) would make a text"),
        ("length(sub(big, '(.*)', '$1$1$1$1$1$1'))", r"sub\(\) would make a text"),
        ("length(big + big + big + big + big)", r"\+ would make a text"),
        ('length("~{big}~{big}~{big}~{big}~{big}")', "placeholders would make a text"),
        ("length(\"~{sep=', ' [big, big, big, big, big]}\")", "a placeholder would make a text"),
        ("length(flatten([many, many, many]))", r"flatten\(\) would make 3,000 elements"),
        ("length(range(1000000000000))", "range"),
        ("length(cross(many, many))", "cross"),
        ("length(read_lines(write_lines([big, big, big, big, big])))", r"write_lines\(\) would"),
        ("2 ** 64", "64 bits"),
    ],
)
def test_what_grows_is_stopped_before_it_is_made(
    expression: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "LONGEST_STRING", 4000)
    monkeypatch.setattr(bounds, "LONGEST_ARRAY", 2000)
    big = 'String big = "' + "x" * 999 + '"'
    with pytest.raises(errors.EvaluationFailed, match=says) as raised:
        evaluate(f"{big}\nArray[Int] many = range(1000)\nInt n = {expression}")
    assert raised.value.place is not None
    assert raised.value.place.line == 5


def test_a_file_may_have_as_many_lines_as_an_array_elements(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "LONGEST_ARRAY", 4)
    for text in ("a\nb\nc\nd\n", "a\nb\nc\nd", "\n\n\n\n", "a\r\nb\r\nc\r\nd\r\n"):
        assert len(reading.lines(reading.text(text.encode())).value) == 4
    for text in ("a\nb\nc\nd\ne", "\n\n\n\n\n", "a\nb\nc\nd\n\n"):
        with pytest.raises(bounds.TooLarge, match="5 elements"):
            reading.lines(text)


def test_values_made_of_values_do_not_double_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "LARGEST_VALUE", 100_000)
    doubling, type_ = "", "Array[Int]"
    for level in range(6):
        type_ = f"Pair[{type_}, {type_}]"
        doubling += f"{type_} p{level + 1} = (p{level}, p{level})\n"
    with pytest.raises(errors.EvaluationFailed, match="p4: the value holds more than 100,000"):
        evaluate(f"Array[Int] p0 = range(1000)\n{doubling}")


def test_a_command_is_bounded_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "LONGEST_STRING", 4000)
    source = "task t { input { String s } command <<< ~{s} ~{s} ~{s} ~{s} ~{s} >>> }"
    assert len(prepare(task(source, {"s": "x" * 700})).script) == 3505
    with pytest.raises(errors.EvaluationFailed, match="placeholders would make"):
        prepare(task(source, {"s": "x" * 900}))


def test_every_shard_has_the_whole_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds are an evaluation's, not a workflow's."""
    monkeypatch.setattr(bounds, "LONGEST_STRING", 4000)
    outputs = evaluate("scatter (i in range(20)) { String s = \"~{sep=',' range(500)}\" }")
    assert outputs is not None


@pytest.mark.parametrize(
    ("pattern", "text"),
    [("(x+x+)+y", "x" * 5000), ("(a|aa)+$", "a" * 5000 + "b"), ("^(([a-z])+.)+[A-Z]$", "a" * 5000)],
)
def test_a_match_that_never_ends_is_ended(pattern: str, text: str) -> None:
    matcher = Matcher()
    with pytest.raises(ValueError, match="takes too long"):
        matcher.find(text, pattern)
    with pytest.raises(ValueError, match="takes too long"):  # the budget is used up
        matcher.find("a", "b")
    matcher.renew()
    assert matcher.find("ab", "b") == "b"


def test_a_budget_is_of_the_time_of_its_own_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("orchestrator.wdl.patterns.time.thread_time", lambda: now)
    matcher = Matcher()
    given: list[float] = []

    def match(timeout: float) -> str:
        nonlocal now
        given.append(timeout)
        now += 0.4 * patterns.SECONDS
        return "found"

    assert [matcher._timed("p", "t", match) for _ in range(2)] == ["found", "found"]
    # The library's clock runs faster while others compute: it is not what ends an ordinary match.
    assert given[0] >= 2 * patterns.SECONDS
    with pytest.raises(ValueError, match="takes too long"):
        matcher._timed("p", "t", match)
    with pytest.raises(ValueError, match="takes too long"):
        matcher._timed("p", "t", match)
    assert len(given) == 3


@pytest.mark.parametrize(
    "pattern",
    ["(a{1000}){1000}", "((((a{99}){99}){99}){99}){99}", "a{,9999999}", "(?:[{]{999}){999}"],
)
def test_a_pattern_that_unfolds_is_refused_before_it_is_compiled(pattern: str) -> None:
    with pytest.raises(ValueError, match="repeats its parts"):
        Matcher().find("", pattern)


def test_ordinary_patterns_are_not_refused() -> None:
    for pattern in (
        "[{]{3}",
        r"\{9999999\}",
        "x{2,5}(a|b){3}",
        "{",
        "a{,}",
        "[]{9}]",
        "[[:alpha:]]{9}",
    ):
        assert Matcher().find("", f"({pattern})?") == ""


def test_patterns_that_are_too_long_or_deep_are_refused() -> None:
    with pytest.raises(ValueError, match="10,000 are allowed"):
        Matcher().find("", "a" * (patterns.LONGEST_PATTERN + 1))
    with pytest.raises(ValueError, match="nested groups"):
        Matcher().find("", "(" * 200 + ")" * 200)


def test_deep_json_is_refused() -> None:
    facts = Facts()
    text = "[" * 5000 + "]" * 5000
    facts.add(stat("s3://in/deep", len(text)))
    facts.add(content("s3://in/deep", text))
    graph = start(
        load('version 1.1\nworkflow w { Array[String] a = read_json("s3://in/deep") }'), {}, facts
    )
    with pytest.raises(errors.EvaluationFailed, match="nests"):
        graph.advance()
