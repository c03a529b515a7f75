"""Documents made to take time, memory or depth are refused, in bounded time, with a place."""

from __future__ import annotations

import resource
import time
from typing import Any

import pytest

from orchestrator import errors
from orchestrator.wdl import document, loading, miniwdl_checking
from orchestrator.wdl.bundle import Bundle

HELLO = "version 1.0\nworkflow w { Int x = 1 }\n"


def doubling_structs(count: int) -> Bundle:
    lines = ["version 1.0", "struct S0 { Int a }"]
    lines += [f"struct S{n} {{ S{n - 1} a  S{n - 1} b }}" for n in range(1, count)]
    lines += [f"workflow w {{ input {{ S{count - 1} s }} }}"]
    return Bundle("w.wdl", {"w.wdl": "\n".join(lines)})


def doubling_imports(count: int, each: str) -> Bundle:
    """Each document imports the one before twice; `each` is its body."""
    files = {"0.wdl": "version 1.0\ntask t { input { Int? n } command {} output { Int o = 1 } }\n"}
    for n in range(1, count):
        name = "t" if n == 1 else f"w{n - 1}"
        files[f"{n}.wdl"] = (
            f'version 1.0\nimport "{n - 1}.wdl" as a\nimport "./{n - 1}.wdl" as b\n'
            f"workflow w{n} {{ {each.format(name=name)} output {{ Int o = 1 }} }}\n"
        )
    return Bundle(f"{count - 1}.wdl", files)


def nested(open_: str, close: str, count: int = 2_000) -> Bundle:
    text = f"version 1.0\nworkflow w {{ Int x = {open_ * count}1{close * count} }}\n"
    return Bundle("w.wdl", {"w.wdl": text})


BOMBS = {
    "structs of structs": doubling_structs(60),
    "inputs of sub-workflows of sub-workflows": doubling_imports(
        19, "call a.{name} as c  call b.{name} as d"
    ),
    "arrays": nested("[", "]"),
    "negations": nested("!", ""),
    "conditions": nested("if true then 1 else ", ""),
    "a long sum": nested("1 + ", "", 20_000),
    "sections": Bundle(
        "w.wdl",
        {"w.wdl": "version 1.0\nworkflow w { " + "if (true) { " * 1_500 + "} " * 1_500 + "}"},
    ),
    "types": Bundle(
        "w.wdl",
        {"w.wdl": f"version 1.0\nworkflow w {{ {'Array[' * 1_500}Int{']' * 1_500} x = [] }}"},
    ),
    "meta": Bundle(
        "w.wdl",
        {"w.wdl": f"version 1.0\nworkflow w {{ meta {{ {'a: {' * 1_500}{'}' * 1_500} }} }}"},
    ),
    "a long chain of imports": Bundle(
        "0.wdl",
        {f"{n}.wdl": f'version 1.0\nimport "{n + 1}.wdl" as x\n' for n in range(50)}
        | {"50.wdl": HELLO},
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_document_made_to_burst_is_refused_with_a_place(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(miniwdl_checking, "MOST_INPUTS", 1_000)
    began = time.monotonic()
    with pytest.raises(errors.InvalidWdl) as raised:
        loading.bounded(BOMBS[name])
    assert raised.value.place is not None
    assert time.monotonic() - began < 30


def test_one_document_that_is_imported_on_many_ways_is_loaded_once() -> None:
    bundle = doubling_imports(19, "")
    assert document.load(bundle).workflow_name == "w18"


def test_loading_that_takes_too_long_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(bundle: Bundle, *, strict: bool) -> Any:
        while True:
            try:
                time.sleep(60)
            except Exception:
                continue  # nothing in between may hold it up

    monkeypatch.setattr(document, "load", slow)
    with pytest.raises(errors.InvalidWdl, match=r"longer than 0\.2 s") as raised:
        loading.bounded(Bundle("w.wdl", {"w.wdl": HELLO}), seconds=0.2)
    assert str(raised.value.place) == "w.wdl"


def test_loading_that_takes_too_much_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def hungry(bundle: Bundle, *, strict: bool) -> Any:
        return bytearray(64 * 2**30)

    monkeypatch.setattr("orchestrator.wdl.linking.link", hungry)
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(errors.InvalidWdl, match="too large"):
        loading.bounded(Bundle("w.wdl", {"w.wdl": HELLO}))
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_another_process_says_what_is_wrong_with_a_document() -> None:
    loading.check(Bundle("w.wdl", {"w.wdl": HELLO}))
    with pytest.raises(errors.InvalidWdl) as raised:
        loading.check(
            Bundle("w.wdl", {"w.wdl": "version 1.0\nworkflow w { Int x = y  Int z = q }"})
        )
    assert [str(finding.place) for finding in raised.value.findings] == ["w.wdl:2:22", "w.wdl:2:33"]


def test_another_process_that_dies_or_hangs_is_an_error_of_the_document(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = Bundle("w.wdl", {"w.wdl": HELLO})
    monkeypatch.setattr(loading, "_CHILD", "import os; os.abort()")
    with pytest.raises(errors.InvalidWdl, match="more than a process may"):
        loading.check(bundle)
    monkeypatch.setattr(loading, "_CHILD", "import time; time.sleep(600)")
    with pytest.raises(errors.InvalidWdl, match="longer than"):
        loading.check(bundle, seconds=-9.5)
