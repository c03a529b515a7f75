"""What is added to miniwdl's standard library and to its placeholders, for the whole process.

- `write_object()` and `write_objects()`, which miniwdl lacks, are known to the type checker.
- The entries of a Map literal have the types that were found for all of them, as those of an Array
  literal have: `{"a": 0.5, "b": 1}` holds Floats.
- Text that placeholders make is measured before it is made (`bounds`), array by array and in all:
  the library that evaluates is told of every placeholder's text.

Importing this module does it. Uses miniwdl's private names, as `miniwdl_private` does.
"""

from __future__ import annotations

from typing import Any

from WDL import Error, Expr, StdLib, Type, Value

from orchestrator.wdl import bounds

_original_init = StdLib.Base.__init__
_original_map_eval = Expr.Map._eval
_original_eval_impl = Expr.Placeholder._eval_impl


class _WriteObject(StdLib.StaticFunction):
    """Takes what has named members: a struct, an Object, a Map of texts; or an array of them."""

    def __init__(self, name: str, several: bool) -> None:
        argument: Type.Base = Type.Array(Type.Any()) if several else Type.Any()
        super().__init__(name, [argument], Type.File(), _unavailable)
        self._several = several

    def infer_type(self, expr: Any) -> Any:
        if len(expr.arguments) != 1:
            raise Error.WrongArity(expr, 1)
        type_ = expr.arguments[0].type
        item = type_.item_type if self._several and isinstance(type_, Type.Array) else type_
        if (self._several and not isinstance(type_, Type.Array)) or not (
            isinstance(item, Type.StructInstance | Type.Object | Type.Any)
            or (isinstance(item, Type.Map) and item.item_type[0].coerces(Type.String()))
        ):
            raise Error.StaticTypeMismatch(
                expr.arguments[0],
                self.argument_types[0],
                type_,
                f"{self.name}() takes structs, Objects or Maps",
            )
        return Type.File()


def _unavailable(*_: Any) -> Any:
    raise ValueError("not available here")


def _init(self: Any, *args: Any, **kwargs: Any) -> None:
    _original_init(self, *args, **kwargs)
    self.write_object = _WriteObject("write_object", several=False)
    self.write_objects = _WriteObject("write_objects", several=True)


def _eval_impl(self: Any, env: Any, stdlib: Any) -> Any:
    if "sep" in self.options:
        value = self.expr.eval(env, stdlib)
        if isinstance(value, Value.Array):
            parts = (item.coerce(Type.String()).value for item in value.value)
            text = Value.String(bounds.joined("a placeholder", self.options["sep"], parts))
        else:  # null
            text = Value.String(self.options.get("default", ""))
    else:
        text = _original_eval_impl(self, env, stdlib)
    stdlib.interpolated(len(text.value))
    return text


def _map_eval(self: Any, env: Any, stdlib: Any) -> Any:
    made: Any = _original_map_eval(self, env, stdlib)
    key_type, item_type = made.type.item_type
    entries = [(key.coerce(key_type), item.coerce(item_type)) for key, item in made.value]
    return Value.Map(made.type.item_type, entries)


StdLib.Base.__init__ = _init  # type: ignore[method-assign]
StdLib.Base.interpolated = lambda self, characters: None  # type: ignore[attr-defined]
Expr.Map._eval = _map_eval  # type: ignore[method-assign]
Expr.Placeholder._eval_impl = _eval_impl  # type: ignore[method-assign]
