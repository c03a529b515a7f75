"""CDK's context and an environment's file -> settings, or all that is wrong with them at once."""

from __future__ import annotations

import copy
import difflib
import re
import tomllib
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from orchestrator import errors
from stacks import validators
from stacks.settings import places
from stacks.settings.schema import Settings

ROOT = Path(__file__).resolve().parent.parent.parent
DEFAULT_ENVIRONMENT = "dev"
_OVERRIDE = "set."
# What a setting that is wrong or missing is taken for, so that all others can be judged.
_STAND_INS = {"environment": "unnamed", "account": "000000000000", "region": "us-east-1"}
_DEPTH = 4  # of sections in sections: each round takes out one


@dataclass(frozen=True, slots=True)
class Report:
    """What came of reading one environment. `settings` is None where `defects` has some."""

    environment: str
    settings: Settings | None
    defects: tuple[errors.Finding, ...] = ()
    warnings: tuple[errors.Finding, ...] = ()
    notes: tuple[errors.Finding, ...] = ()

    def valid(self) -> Settings:
        """The settings. Raises InvalidConfig with all defects where there are any."""
        if self.settings is None:
            raise errors.InvalidConfig(
                f"the settings of environment {self.environment!r} are not valid",
                findings=self.defects,
            )
        return self.settings


def from_context(context: Mapping[str, Any], root: Path = ROOT) -> Settings:
    """The settings that a CDK context chooses. Raises InvalidConfig with all findings."""
    return check(context, root).valid()


def check(context: Mapping[str, Any], root: Path = ROOT) -> Report:
    """The settings that a CDK context chooses, with every finding of every level.

    Raises InvalidConfig where there is nothing to judge: no such environment, or not TOML.
    """
    path_given = context.get("settings")
    environment = str(
        context.get("environment") or (Path(path_given).stem if path_given else DEFAULT_ENVIRONMENT)
    )
    path = root / (path_given or f"environments/{environment}.toml")
    source = _Source.read(path, environment, root)
    wrong = [_mistyped(key) for key in context if _near_miss(key)]
    for key, value in context.items():
        if key.startswith(_OVERRIDE):
            source.override(key.removeprefix(_OVERRIDE), value)
    if source.values.setdefault("environment", environment) != environment:
        wrong.append(
            errors.Finding(
                f"environment is {source.values['environment']!r} here, "
                f"but {environment!r} was chosen",
                source.place(("environment",)),
                "choose it by its name: -c environment=NAME",
            )
        )
    settings, broken = _validate(source.values)
    wrong += [source.finding(error) for error in broken]
    judged = settings or _with_stand_ins(source.values, broken)
    found = list(validators.findings(judged)) if judged else []
    keys = {_dotted(_path(error)) for error in broken}
    by_level = {
        level: [
            errors.Finding(f.sentence, source.place(*f.paths), f.hint)
            for f in found
            if f.level is level and not any(_related(a, b) for a in f.keys for b in keys)
        ]
        for level in validators.Level
    }
    wrong += by_level[validators.Level.ERROR]
    return Report(
        environment,
        None if wrong else settings,
        tuple(wrong),
        tuple(by_level[validators.Level.WARNING]),
        tuple(by_level[validators.Level.INFO]),
    )


class _Source:
    """The values of a file with what the context changed, and where each comes from."""

    def __init__(self, name: str, text: str, values: dict[str, Any]) -> None:
        self.values = values
        self._name = name
        self._lines = places.lines(text)
        self._overridden: dict[places.Path, str] = {}

    @classmethod
    def read(cls, path: Path, environment: str, root: Path) -> _Source:
        name = str(path.relative_to(root) if path.is_relative_to(root) else path)
        try:
            text = path.read_text(encoding="utf-8")
            return cls(name, text, tomllib.loads(text))
        except FileNotFoundError:
            known = sorted(p.stem for p in (root / "environments").glob("*.toml"))
            raise errors.InvalidConfig(
                f"there is no environment {environment!r}: {path} does not exist",
                hint=f"environments here: {', '.join(known) or 'none'}"
                f"{_did_you_mean(environment, known)}",
            ) from None
        except OSError as error:
            raise errors.InvalidConfig(f"{path} cannot be read: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise errors.InvalidConfig(
                f"not valid TOML: {error}", place=errors.Place(str(path))
            ) from None

    def override(self, dotted: str, value: Any) -> None:
        """Set one value; the text is read as TOML where it is TOML (`12`, `true`, `["a"]`)."""
        *sections, key = dotted.split(".")
        values = self.values
        for section in sections:
            values = values.setdefault(section, {})
            if not isinstance(values, dict):
                raise errors.InvalidConfig(f"-c {_OVERRIDE}{dotted}: {section} is not a section")
        values[key] = _toml_value(value) if isinstance(value, str) else value
        self._overridden[(*sections, key)] = f"-c {_OVERRIDE}{dotted}"

    def place(self, *paths: places.Path) -> errors.Place:
        """The override that set a key, or the file with the line of the key or of its section.

        Of several, the first that stands anywhere.
        """
        for path in paths:
            for length in range(len(path), 0, -1):
                if path[:length] in self._overridden:
                    return errors.Place(self._overridden[path[:length]])
            line = places.nearest(self._lines, path)
            if line is not None:
                return errors.Place(self._name, line)
        return errors.Place(self._name)

    def finding(self, error: Any) -> errors.Finding:
        path = _path(error)
        dotted, place = _dotted(path), self.place(path)
        if error["type"] == "extra_forbidden":
            *parents, key = path
            return errors.Finding(f"{dotted}: unknown key", place, _suggestion(str(key), parents))
        if error["type"] == "missing":
            return errors.Finding(f"{dotted}: must be given", place)
        message = error["msg"].removeprefix("Value error, ")
        message = message.replace("Input should be", "must be").replace("Input must", "must")
        compound = isinstance(error["input"], dict | BaseModel)
        given = "" if compound else f" (given: {_shown(error['input'])})"
        return errors.Finding(f"{dotted}: {message}{given}", place)


def _validate(values: Mapping[str, Any]) -> tuple[Settings | None, Sequence[Any]]:
    try:
        return Settings.model_validate(values), ()
    except ValidationError as error:
        return None, error.errors()


def _with_stand_ins(values: Mapping[str, Any], broken: Sequence[Any]) -> Settings | None:
    """Settings without what is broken, for the rules that do not depend on it."""
    rest: dict[str, Any] = copy.deepcopy(dict(values))
    for _ in range(_DEPTH):
        for error in broken:
            _take_out(rest, _path(error))
        for key, stand_in in _STAND_INS.items():
            rest.setdefault(key, stand_in)
        settings, broken = _validate(rest)
        if settings is not None:
            return settings
    return None


def _take_out(values: dict[str, Any], path: places.Path) -> None:
    """Remove a key; where it is not there, what lacks it. A list goes whole: indices are places."""
    inner: Any = values
    removable: tuple[dict[Any, Any], Any] = (values, path[0])
    for part in path[:-1]:
        if isinstance(inner, dict) and part in inner:
            removable, inner = (inner, part), inner[part]
        elif isinstance(inner, list) and isinstance(part, int) and part < len(inner):
            inner = inner[part]
        else:
            break
    if isinstance(inner, dict) and path[-1] in inner:
        del inner[path[-1]]
    else:
        removable[0].pop(removable[1], None)


def _path(error: Any) -> places.Path:
    return tuple(part for part in error["loc"] if part != "[key]")


def _dotted(path: Iterable[str | int]) -> str:
    return ".".join(str(part) for part in path)


def _related(one: str, other: str) -> bool:
    """Whether two keys are the same, or one lies in the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _toml_value(text: str) -> Any:
    if re.fullmatch(r"\d{12}", text):  # an account is a string of digits
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _near_miss(key: str) -> bool:
    """A context key that was meant for us but is not ours (CDK's own contain `:` or `/`)."""
    if ":" in key or "/" in key or key in ("environment", "settings") or key.startswith(_OVERRIDE):
        return False
    first = key.split(".")[0]
    return ("." in key and first in Settings.model_fields) or bool(
        difflib.get_close_matches(key, ("environment", "settings"), cutoff=0.75)
    )


def _mistyped(key: str) -> errors.Finding:
    if "." in key:
        return errors.Finding(f"-c {key} has no effect", hint=f"did you mean -c {_OVERRIDE}{key}?")
    near = _did_you_mean(key, ["environment", "settings"])
    return errors.Finding(f"-c {key} has no effect", hint=near.lstrip("; "))


def _suggestion(key: str, parents: Sequence[str | int]) -> str:
    """The key that was meant: of this section, or one of that very name in another."""
    near = _did_you_mean(key, list(_fields(_model(parents)))).lstrip("; ")
    if near:
        return near
    others = [path for path in _all_keys(Settings) if path.rpartition(".")[2] == key]
    return f"did you mean {others[0]!r}?" if others else ""


def _model(parents: Iterable[str | int]) -> type[BaseModel] | None:
    model: type[BaseModel] | None = Settings
    for parent in parents:
        if isinstance(parent, str) and model is not None:
            field = model.model_fields.get(parent)
            model = _model_in(field.annotation) if field else None
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The section that `Section`, `Section | None` or `tuple[Section, ...]` is about."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_model_in(argument) for argument in typing.get_args(annotation))
    return next((model for model in inner if model), None)


def _fields(model: type[BaseModel] | None) -> Iterable[str]:
    return model.model_fields if model else ()


def _all_keys(model: type[BaseModel], prefix: str = "") -> Iterable[str]:
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        section = _model_in(field.annotation)
        if section is not None:
            yield from _all_keys(section, f"{prefix}{name}.")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _did_you_mean(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
