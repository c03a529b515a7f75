"""The reference of all settings, made from the schema: `python -m stacks.settings.reference`."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from stacks.settings.schema import Settings

PATH = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
_HEAD = """# Settings of an environment

Made from `stacks/settings/schema.py` by `python -m stacks.settings.reference`; a test compares.

One file per environment, `environments/NAME.toml`, chosen by `-c environment=NAME` or
`./bootstrap --environment NAME`. Account and region are pinned there. Unknown keys are refused with
a suggestion; everything that is wrong is told at once, with its line. `-c set.SECTION.KEY=VALUE`
changes one value for one run of `cdk`.
"""


def render() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *_section(Settings, "")])


def _section(model: type[BaseModel], name: str) -> Iterator[str]:
    title = f"`[{name}]`" if name else "At the top of the file"
    yield f"## {title}\n"
    yield _prose(model)
    yield "| key | value | default |\n|---|---|---|"
    inner = []
    for key, field in model.model_fields.items():
        section = _model_in(field.annotation)
        if section is None:
            yield f"| `{key}` | {_type(field.annotation, field)} | {_default(field)} |"
        else:
            path = f"{name}.{key}" if name else key
            is_list = typing.get_origin(field.annotation) is tuple
            inner.append((f"[{path}]" if is_list else path, section))
    yield ""
    for path, section in inner:
        yield from _section(section, path)


def _prose(model: type[BaseModel]) -> str:
    text = inspect.cleandoc(model.__doc__ or "")
    return text + "\n"


def _type(annotation: Any, field: FieldInfo | None = None) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is typing.Literal:
        return ", ".join(f"`{_toml(value)}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type(a) for a in arguments if a is not type(None))
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return f"table of {_type(arguments[1])}"
    name = {str: "text", int: "whole number", float: "number", bool: "`true`, `false`"}
    return name.get(annotation, str(annotation)) + _limits(field)


def _limits(field: FieldInfo | None) -> str:
    limits = {
        kind: getattr(constraint, kind)
        for constraint in (field.metadata if field else ())
        for kind in ("ge", "le")
        if getattr(constraint, kind, None) is not None
    }
    return f", {limits['ge']} to {limits['le']}" if len(limits) == 2 else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be given"
    value = field.default
    return "" if value is None or value is PydanticUndefined else f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(argument) for argument in typing.get_args(annotation))
    return next((model for model in found if model), None)


if __name__ == "__main__":
    PATH.write_text(render() + "\n", encoding="utf-8")
