"""miniwdl's errors -> ours: findings with file, line and column, evaluation errors with a place."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any

import WDL.Error

from orchestrator import errors
from orchestrator.errors import Finding, Place


class Refused(Exception):
    """An import that is not followed; the message says why, the hint what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def behind(error: BaseException, kinds: type[Exception] | tuple[type[Exception], ...]) -> Any:
    """The error of one of these kinds that `error` wraps, however deep, or None."""
    seen: BaseException | None = error
    for _ in range(100):
        if seen is None or isinstance(seen, kinds):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def place(position: Any) -> Place | None:
    """The place of a `SourcePosition`; None where there is none."""
    if position is None:
        return None
    return Place(position.abspath or position.uri, max(1, position.line), max(1, position.column))


def closest(name: str, known: Iterable[str]) -> str:
    """`did you mean x?`, or nothing."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean {found[0]}?" if found else ""


def findings(error: BaseException) -> Iterator[Finding]:
    """Everything that is wrong, innermost import first told at its own place."""
    match error:
        case WDL.Error.MultipleValidationErrors():
            for part in error.exceptions:
                yield from findings(part)
        case WDL.Error.ImportError():
            yield from _import_findings(error)
        case WDL.Error.SyntaxError():
            yield Finding(_sentence(error), place(error.pos), _syntax_hint(error))
        case WDL.Error.ValidationError():
            yield Finding(_sentence(error), place(error.pos))
        case _:
            yield Finding(_sentence(error))


def _import_findings(error: WDL.Error.ImportError) -> Iterator[Finding]:
    cause = error.__cause__
    match cause:
        case None:
            yield Finding(_sentence(error), place(error.pos))
        case Refused():
            yield Finding(str(cause), place(error.pos), cause.hint)
        case RecursionError():
            yield Finding(f"{_sentence(error)}: it nests too deeply", place(error.pos))
        case _:
            inner = list(findings(cause))
            if any(finding.place is None for finding in inner):
                yield Finding(_sentence(error), place(error.pos))
            else:
                yield from inner


def _sentence(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    if "Token('$END'" in text:
        return "the document ends here, in the middle of something"
    token = re.match(r"Unexpected token Token\('\w+', (.+)\) at line", text)
    if token:
        return f"unexpected {_unquoted(token[1])!r}"
    # lark explains itself over several lines, the first of which says what is wrong.
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _unquoted(literal: str) -> str:
    try:
        return str(ast.literal_eval(literal)).strip()
    except (ValueError, SyntaxError):
        return literal


def _syntax_hint(error: WDL.Error.SyntaxError) -> str:
    if error.declared_wdl_version is None and error.wdl_version == "draft-2":
        return 'read as draft-2; newer documents begin with a line such as "version 1.1"'
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    expected = [line.removeprefix("* ") for line in lines if line.startswith("* ")]
    shown = sorted({words for name in expected if (words := _terminal(name))})
    return f"expected here: {', '.join(shown[:12])}" if shown else ""


_TERMINALS = {
    "CNAME": "a name",
    "COMMA": ",",
    "COLON": ":",
    "DOT": ".",
    "EQUAL": "=",
    "LBRACE": "{",
    "RBRACE": "}",
    "LPAR": "(",
    "RPAR": ")",
    "LSQB": "[",
    "RSQB": "]",
    "QMARK": "?",
    "BANG": "!",
    "NONE": "None",
    "MINUS": "-",
    "PLUS": "+",
    "INT": "a number",
    "FLOAT": "a number",
    "SIGNED_INT": "a number",
    "SIGNED_FLOAT": "a number",
    "_EITHER_DELIM": "the end of the string or command",
}
_KEYWORDS = frozenset(
    [
        "AFTER",
        "ALIAS",
        "AS",
        "CALL",
        "COMMAND",
        "DEFAULT",
        "ELSE",
        "FALSE",
        "HINTS",
        "IF",
        "IMPORT",
        "IN",
        "INPUT",
        "META",
        "OBJECT",
        "OUTPUT",
        "PARAMETER_META",
        "REQUIREMENTS",
        "RUNTIME",
        "SCATTER",
        "SEP",
        "STRUCT",
        "TASK",
        "THEN",
        "TRUE",
        "VERSION",
        "WORKFLOW",
    ]
)


def _terminal(name: str) -> str:
    """The grammar's name of what may stand somewhere, in words; empty for names without meaning."""
    if name in _KEYWORDS:
        return name.lower()
    return _TERMINALS.get(name, "" if name.startswith("_") else name)


def evaluation_failed(
    error: BaseException, subject: str, fallback: Any = None
) -> errors.EvaluationFailed:
    """An EvaluationFailed that names `subject` (what was evaluated) and the place in the source."""
    position = getattr(error, "pos", None) or fallback
    message = str(error) or type(error).__name__
    if isinstance(error, FileNotFoundError):
        message = "null where a file is needed"
    return errors.EvaluationFailed(f"{subject}: {message}", place=place(position))
