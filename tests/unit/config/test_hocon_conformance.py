"""HOCON's own rules, case by case (HOCON.md of lightbend/config and its known issues)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator import errors
from orchestrator.config import hocon

REFUSED: Any = object()
BUNDLED: Any = object()  # our reference configuration, and a = 1

CASES: list[tuple[str, str, Any]] = [
    ("comments_slash_hash", "// c\n# d\na=1 // x\nb=2 # y", {"a": 1, "b": 2}),
    ("unquoted_concat", "a = hello big world", {"a": "hello big world"}),
    ("obj_merge", "a{b:1}\na{c:2}", {"a": {"b": 1, "c": 2}}),
    ("dotted_key", "a.b.c=1\na.b.d=2", {"a": {"b": {"c": 1, "d": 2}}}),
    ("quoted_key_with_dot", '"a.b" = 1\nc."d.e" = 2', {"a.b": 1, "c": {"d.e": 2}}),
    ("plus_eq", "a=[1]\na+=2", {"a": [1, 2]}),
    ("plus_eq_path", "a.b.c=[1]\na.b.c+=2", {"a": {"b": {"c": [1, 2]}}}),
    ("plus_eq_undefined", "a.b += foo", {"a": {"b": ["foo"]}}),
    ("self_ref_path", "a.b.c=[x]\na.b.c=${a.b.c} [y]", {"a": {"b": {"c": ["x", "y"]}}}),
    ("self_ref_opt", "a=${?a}foo", {"a": "foo"}),
    ("self_ref_lookback", "foo:{a:{c:1}}\nfoo:${foo.a}\nfoo:{a:2}", {"foo": {"a": 2, "c": 1}}),
    ("self_ref_path_string", 'path="a:b"\npath=${path}":c"', {"path": "a:b:c"}),
    ("obj_concat", "a={x:1}\nb=${a}{y:2}", {"a": {"x": 1}, "b": {"x": 1, "y": 2}}),
    ("array_concat", "a=[1,2]\nb=${a} [3]", {"a": [1, 2], "b": [1, 2, 3]}),
    ("late_binding", "a=${b}\nb=1\nb=2", {"a": 2, "b": 2}),
    ("nested_late", "bar:{foo:42,baz:${bar.foo}}\nbar:{foo:43}", {"bar": {"foo": 43, "baz": 43}}),
    ("delayed_merge", "a=${b}\na={c:1}\nb={d:2}", {"a": {"c": 1, "d": 2}, "b": {"d": 2}}),
    ("opt_missing_in_array", "a=[1,${?nope},2]", {"a": [1, 2]}),
    ("opt_missing_str", "a=x${?nope}y", {"a": "xy"}),
    ("opt_missing_field", "a=1\nb=${?nope}", {"a": 1}),
    ("opt_override", "a=1\na=${?nope}", {"a": 1}),
    ("missing_required", "a=${nope}", REFUSED),
    ("cycle", "a=${b}\nb=${a}", REFUSED),
    ("env", "a=${HOCON_T_ENV}", {"a": "envval"}),
    ("env_opt_override", "a=dflt\na=${?HOCON_T_ENV}", {"a": "envval"}),
    ("null_override", "a={b:1}\na=null", {"a": None}),
    ("null_kept", "a=null", {"a": None}),
    ("triple_quote", 'a="""x\n"y" """', {"a": 'x\n"y" '}),
    ("triple_quote_4", 'a="""foo""""', {"a": 'foo"'}),
    ("triple_backslash", 'a="""a\\nb"""', {"a": "a\\nb"}),
    ("escape_unicode", 'a="\\u00e9\\t"', {"a": "é\t"}),
    ("trailing_comma", "a=[1,2,]\nb={c:1,}", {"a": [1, 2], "b": {"c": 1}}),
    ("newline_sep", "a=[\n1\n2\n]", {"a": [1, 2]}),
    ("root_braces_missing_close", "{a:1", REFUSED),
    ("unquoted_colon_url", "a=http://x", REFUSED),
    ("num_formats", "a=1.5\nb=1e3\nc=-2", {"a": 1.5, "b": 1000, "c": -2}),
    ("bool_yes", "a=true\nb=yes", {"a": True, "b": "yes"}),
    ("num_str", "a=10 Gb", {"a": "10 Gb"}),
    ("key_number", "1.2 = x", {"1": {"2": "x"}}),
    ("include_rel", 'include "inc1.conf"\nb=2', {"a": 1, "b": 2}),
    ("include_in_obj", 'x { include "inc1.conf" }', {"x": {"a": 1}}),
    ("include_subst_relative", 'x { include "incsub.conf" }', {"x": {"p": 5, "q": 5}}),
    (
        "include_subst_relative_override",
        'x { include "incsub.conf" }\nx.p=9',
        {"x": {"p": 9, "q": 9}},
    ),
    ("include_missing_ok", 'include "nope.conf"\na=1', {"a": 1}),
    ("include_required_missing", 'include required("nope.conf")\na=1', REFUSED),
    ("include_required_file", 'include required(file("<conf dir>/inc1.conf"))', {"a": 1}),
    ("include_noext", 'include "inc1"', {"a": 1}),
    ("include_classpath_missing_ok", 'include classpath("application")\na=1', {"a": 1}),
    ("include_required_classpath", 'include required(classpath("application"))\na=1', BUNDLED),
    (
        "nested_321",
        "foo{fi{pre=1\nsub=${foo.fi.pre}${foo.fi.bar}}}\nbar{bi{sub=${foo.fi.sub}}}\nfoo{fi{bar=1}}",
        {"foo": {"fi": {"pre": 1, "sub": "11", "bar": 1}}, "bar": {"bi": {"sub": "11"}}},
    ),
    ("dash_keys", "slow-job-warning-time: 24 hours", {"slow-job-warning-time": "24 hours"}),
    ("subst_in_path_quoted", '"a-b"{c=1}\nd=${a-b.c}', {"a-b": {"c": 1}, "d": 1}),
    (
        "array_of_obj_merge",
        "a=[{x:1}]\nb=${a}[{y:2}]",
        {"a": [{"x": 1}], "b": [{"x": 1}, {"y": 2}]},
    ),
    ("value_concat_space", "a=1 2 3", {"a": "1 2 3"}),
    ("subst_str_concat_ws", "a=x\nb=${a} ${a}", {"a": "x", "b": "x x"}),
    ("dup_key_type_change", "a=1\na={b:2}", {"a": {"b": 2}}),
    ("obj_over_str_then_merge", "a={x:1}\na=1\na={y:2}", {"a": {"y": 2}}),
    ("empty_file", "", {}),
    ("crlf", "a=1\r\nb=2\r\n", {"a": 1, "b": 2}),
    ("bom", "\ufeffa=1", {"a": 1}),
    (
        "duration_is_text",
        'a = 7 days\nb = "7 days"\nc = [10 seconds]',
        {"a": "7 days", "b": "7 days", "c": ["10 seconds"]},
    ),
    ("empty_string_in_list", 'a = ["", "x", ""]', {"a": ["", "x", ""]}),
    ("leading_zero_is_text", "a = 012345678901", {"a": "012345678901"}),
    ("number_as_written", "a = 1.10\nb = ${a}x", {"a": 1.1, "b": "1.10x"}),
    ("exponent_with_plus", "a = 1e+2", {"a": 100}),
    ("plus_eq_twice", "a += x\na += y", {"a": ["x", "y"]}),
    ("plus_eq_object", "a += {x:1}\na += {y:2}", {"a": [{"x": 1}, {"y": 2}]}),
    ("plus_eq_after_reference", "a = ${z}\nz=[1]\na += 2", {"a": [1, 2], "z": [1]}),
    ("self_merge", "x {a=1,b=${x.a}}\nx=${x}{c:2}", {"x": {"a": 1, "b": 1, "c": 2}}),
    (
        "merge_through_reference",
        "a={x:0}\na=${b}{x:1}\nb={y:${a.x}}",
        {"a": {"x": 1, "y": 1}, "b": {"y": 1}},
    ),
    ("overridden_is_not_resolved", "a=${nope}\na=1", {"a": 1}),
    ("overridden_deep_is_not_resolved", "a={b:${nope}}\na={b:1}", {"a": {"b": 1}}),
    ("optional_alone_in_concatenation", "a=${?x}${?y}", {}),
    ("undefined_in_text", "a = x ${?nope} y", {"a": "x  y"}),
    ("null_in_text", "a = null x", {"a": "null x"}),
    ("substitution_in_quotes_is_text", 'a = "${b}"', {"a": "${b}"}),
    ("substitution_in_triple_quotes_is_text", 'a = """${b}"""', {"a": "${b}"}),
    ("key_with_spaces", "a b c = 5", {"a b c": 5}),
    ("key_quoted_parts", 'a."b.c"."d" = 1', {"a": {"b.c": {"d": 1}}}),
    ("empty_key_quoted", '"" = 1', {"": 1}),
    ("value_on_next_line", "a =\n  5\nb\n{ c = 1 }", {"a": 5, "b": {"c": 1}}),
    ("comment_in_list", "a = [ // x\n 1 # y\n 2 ]", {"a": [1, 2]}),
    ("url_in_quotes", 'a = "http://x/y" // z', {"a": "http://x/y"}),
    ("includes_is_a_key", 'includes = 1\n"include" = 2', {"includes": 1, "include": 2}),
    ("nested_lists", "a = [[], [[1]], [{b:[2]}]]", {"a": [[], [[1]], [{"b": [2]}]]}),
    ("list_elements_are_words", "a = [one two, three]", {"a": ["one two", "three"]}),
    ("block_in_list_refers", "p = 1\na = [{b = ${p}}]", {"p": 1, "a": [{"b": 1}]}),
    (
        "reference_into_list_element_value",
        "a = [${b}]\nb = {c:1}",
        {"a": [{"c": 1}], "b": {"c": 1}},
    ),
    ("chain", "a=${b}\nb=${c}\nc=${d}\nd=1", {"a": 1, "b": 1, "c": 1, "d": 1}),
    ("no_value", "a =\n}", REFUSED),
    ("no_value_at_all", "a = ", REFUSED),
    ("double_comma", "a=[1,,2]", REFUSED),
    ("leading_comma", ",a=1", REFUSED),
    ("stray_brace", "a=1\n}", REFUSED),
    ("list_not_closed", "a=[1\n2", REFUSED),
    ("list_closed_by_brace", "a={b=[1}", REFUSED),
    ("string_not_closed", 'a="x\nb=1', REFUSED),
    ("bad_escape", 'a="\\q"', REFUSED),
    ("star_unquoted", "a = b*c", REFUSED),
    ("empty_key_part", "a..b=1", REFUSED),
    ("cycle_of_one", "a=${a}", REFUSED),
    ("cycle_into_itself", "a { b = ${a} }", REFUSED),
    ("cycle_of_text", "a=${b}x\nb=${a}y", REFUSED),
    ("text_and_list", "a = x [1]", REFUSED),
    ("list_and_block", "a = [1] {b:1}", REFUSED),
    ("text_and_block_by_reference", "b={c:1}\na = x ${b}", REFUSED),
    ("include_url", 'include url("http://127.0.0.1:9/x.conf")', REFUSED),
    ("include_url_bare", 'include "https://127.0.0.1:9/x.conf"', REFUSED),
    ("include_properties", 'include "x.properties"', REFUSED),
    ("include_package", 'include package("json:x")', REFUSED),
    ("list_substitution", "a = ${X[]}", REFUSED),
    ("root_list", "[1]", REFUSED),
    ("nul", 'a = "\\u0000"', REFUSED),
]


@pytest.mark.parametrize(
    ("text", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_case(tmp_path: Path, text: str, expected: Any, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "inc1.conf").write_text("a=1")
    (tmp_path / "incsub.conf").write_text("p=5\nq=${p}")
    text = text.replace("<conf dir>", str(tmp_path))

    def read() -> dict[str, Any]:
        return hocon.loads(text, tmp_path, environment={"HOCON_T_ENV": "envval"})

    if expected is REFUSED:
        with pytest.raises(errors.InvalidConfig) as caught:
            read()
        assert caught.value.place is not None
        assert caught.value.place.line is not None
    elif expected is BUNDLED:
        assert read() == {**hocon.load(hocon.REFERENCE), "a": 1}
    else:
        assert read() == expected
    assert capfd.readouterr() == ("", "")
