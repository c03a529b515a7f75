"""Good documents, broken at random: whatever comes of it is a document or an error with a place."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from orchestrator import errors
from orchestrator.wdl import document, loading
from orchestrator.wdl.bundle import Bundle

PIPELINES = Path(__file__).parent / "pipelines"
SOURCES = {
    name: {
        path.relative_to(PIPELINES / name).as_posix(): path.read_text()
        for path in (PIPELINES / name).rglob("*.wdl")
    }
    for name in ("warp", "viral", "centaur")
}
MAIN = {"warp": "JointQC.wdl", "viral": "assemble_denovo.wdl", "centaur": "lookup.wdl"}
TOKEN = re.compile(r"\w+|\s+|[^\w\s]")
ODD = [*"{}()[]<>~$\"'=:;,.#+-*/!?&|%@\\\0\n", "<<<", ">>>", "version 1.0\n", "é", "\u2028", "if"]
ODD += ["Object", "object", "left", "None", "call", "scatter", "99999999999999999999", "task", "as"]


def broken(text: str, chance: random.Random) -> str:
    tokens = TOKEN.findall(text)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(tokens))
        match chance.randrange(5):
            case 0:
                del tokens[at : at + chance.choice([1, 1, 5, 100])]
            case 1:
                tokens.insert(at, chance.choice(ODD))
            case 2:
                tokens[at] = chance.choice(tokens)
            case 3:
                other = chance.randrange(len(tokens))
                tokens[at], tokens[other] = tokens[other], tokens[at]
            case _:
                tokens[at:at] = tokens[at : at + chance.choice([2, 30, 200])]
        tokens = tokens or ["x"]
    return "".join(tokens)


def check(seed: int) -> None:
    chance = random.Random(seed)
    name = chance.choice(list(SOURCES))
    files = dict(SOURCES[name])
    victim = chance.choice(list(files))
    files[victim] = broken(files[victim], chance)
    error: errors.InvalidWdl | None = None
    try:
        loaded = document.load(Bundle(MAIN[name], files))
    except errors.InvalidWdl as raised:
        error = raised
    if error is None:
        assert all(warning.place for warning in loaded.warnings), seed
        assert loaded.inputs_template() is not None
        return
    findings = error.findings or [errors.Finding(error.message, error.place)]
    assert all(finding.place for finding in findings), (seed, error)
    assert "object at 0x" not in str(error), (seed, error)
    vague = {"AssertionError", "KeyError", "StopIteration", "IndexError", "TypeError", ""}
    assert not vague & {finding.message for finding in findings}, (seed, error)


@pytest.mark.parametrize("part", range(4))
def test_a_broken_document_is_read_or_refused_with_a_place(part: int) -> None:
    for seed in range(part * 10, part * 10 + 10):
        check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_many_broken_documents_are_read_or_refused_with_a_place(part: int) -> None:
    for seed in range(1_000 + part * 100, 1_100 + part * 100):
        check(seed)


def test_the_process_that_checks_for_servers_says_the_same() -> None:
    bundle = Bundle("x.wdl", {"x.wdl": broken(SOURCES["centaur"]["lookup.wdl"], random.Random(3))})
    with pytest.raises(errors.InvalidWdl) as here:
        document.load(bundle)
    with pytest.raises(errors.InvalidWdl) as there:
        loading.check(bundle)
    assert there.value.as_json() == here.value.as_json()
