"""JSON in pieces is the JSON that it would be in one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.wdl import json_text

_scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=30
)


@given(_values)
@pytest.mark.parametrize(
    "encoder",
    [json_text.PLAIN, json_text.COMPACT, json_text.CANONICAL],
    ids=["plain", "compact", "canonical"],
)
def test_the_text_is_the_same(encoder: json.JSONEncoder, value: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "_AT_ONCE", 3)
        assert json_text.text(value, encoder) == encoder.encode(value)


def test_no_piece_is_made_of_many_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    class Counting(json.JSONEncoder):
        def encode(self, o: Any) -> str:
            seen.append(len(o) if isinstance(o, list | dict) else 1)
            return super().encode(o)

    long = list(range(20_000))
    value = {"one": long, "several": [long, [long, {"x": long}]], "many": {str(n): n for n in long}}
    encoder = Counting()
    assert json_text.text(value, encoder) == json.dumps(value)
    assert max(seen) <= 2_000
