"""Template parameters, and the values given for them.

Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.local_aws.cloudformation.errors import ValidationError

_SSM_VALUE = re.compile(r"AWS::SSM::Parameter::Value<(.+)>")
_AWS_TYPE = re.compile(r"AWS::(EC2|Route53|SSM)::[A-Za-z0-9:]+")
_KEYS = frozenset(
    {
        "AllowedPattern",
        "AllowedValues",
        "ConstraintDescription",
        "Default",
        "Description",
        "MaxLength",
        "MaxValue",
        "MinLength",
        "MinValue",
        "NoEcho",
        "Type",
    }
)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a stack. `given` is the text that was handed in or the default."""

    name: str
    given: str
    value: Any
    secret: bool
    resolved: str | None

    def as_json(self) -> dict[str, Any]:
        """As DescribeStacks shows it: NoEcho values as ****."""
        shown = {
            "ParameterKey": self.name,
            "ParameterValue": "****" if self.secret else self.given,
        }
        return shown | ({"ResolvedValue": self.resolved} if self.resolved is not None else {})


def given(request: list[Mapping[str, Any]], previous: Mapping[str, Parameter]) -> dict[str, str]:
    """The values of a request's Parameters list. Raises ValidationError."""
    values: dict[str, str] = {}
    for item in request:
        name = item["ParameterKey"]
        if item.get("UsePreviousValue"):
            if "ParameterValue" in item:
                raise ValidationError(
                    f"Invalid input for parameter key {name}. Cannot specify usePreviousValue "
                    "as true and nonempty value for a parameter"
                )
            # AWS: a parameter that is new in the template has no previous value: its default then.
            if name in previous:
                values[name] = previous[name].given
        elif "ParameterValue" in item:
            values[name] = item["ParameterValue"]
        else:
            raise ValidationError(f"Parameter value for {name} is missing")
    return values


def resolve(
    declared: Mapping[str, Any], values: Mapping[str, str], ssm: Callable[[str], str]
) -> dict[str, Parameter]:
    """Every declared parameter with its value. `ssm` reads an SSM parameter.

    Raises ValidationError for an undeclared, a missing or a forbidden value.
    """
    extra = sorted(values.keys() - declared.keys())
    if extra:
        raise ValidationError(f"Parameters: [{', '.join(extra)}] do not exist in the template")
    missing = sorted(n for n, d in declared.items() if n not in values and "Default" not in d)
    if missing:
        raise ValidationError(f"Parameters: [{', '.join(missing)}] must have values")
    return {
        name: _resolve(name, declaration, values.get(name), ssm)
        for name, declaration in declared.items()
    }


def _resolve(
    name: str, declaration: Mapping[str, Any], value: str | None, ssm: Callable[[str], str]
) -> Parameter:
    unknown = sorted(declaration.keys() - _KEYS)
    if unknown:
        raise ValidationError(f"Template format error: Invalid parameter property {unknown[0]!r}")
    text = str(declaration["Default"]) if value is None else value
    _check(name, declaration, text)
    kind, resolved = declaration.get("Type", ""), None
    through_ssm = _SSM_VALUE.fullmatch(kind)
    if through_ssm:
        kind, resolved = through_ssm[1], ssm(text)
    return Parameter(
        name=name,
        given=text,
        value=_typed(name, kind, text if resolved is None else resolved),
        secret=str(declaration.get("NoEcho", False)).lower() == "true",
        resolved=resolved,
    )


def _typed(name: str, kind: str, text: str) -> Any:
    if kind == "String" or _AWS_TYPE.fullmatch(kind):
        return text
    if kind == "Number":
        return _number(name, text)
    if kind == "CommaDelimitedList" or kind.startswith("List<"):
        items = [item.strip() for item in text.split(",")] if text else []
        return [_number(name, item) for item in items] if kind == "List<Number>" else items
    raise ValidationError(f"Template format error: Unrecognized parameter type: {kind}")


def _number(name: str, text: str) -> str:
    """Numbers stay text, as in CloudFormation, where Ref of 1.10 is not 1.1."""
    try:
        float(text)
    except ValueError:
        raise ValidationError(f"Parameter '{name}' must be a number.") from None
    return text


def _check(name: str, declaration: Mapping[str, Any], text: str) -> None:
    allowed = [str(item) for item in declaration.get("AllowedValues", [])]
    items = text.split(",") if declaration.get("Type") == "CommaDelimitedList" else [text]
    if allowed and any(item.strip() not in allowed for item in items):
        raise _forbidden(name, declaration, f"must be one of AllowedValues {allowed}")
    pattern = declaration.get("AllowedPattern")
    if pattern is not None and not re.fullmatch(pattern, text):
        raise _forbidden(name, declaration, f"must match pattern {pattern}")
    if len(text) < int(declaration.get("MinLength", 0)):
        raise _forbidden(name, declaration, f"must have {declaration['MinLength']} or more letters")
    if len(text) > int(declaration.get("MaxLength", len(text))):
        raise _forbidden(name, declaration, f"must have at most {declaration['MaxLength']} letters")
    for bound, wrong in (("MinValue", float.__lt__), ("MaxValue", float.__gt__)):
        if bound in declaration and wrong(float(_number(name, text)), float(declaration[bound])):
            raise _forbidden(name, declaration, f"breaks its {bound} {declaration[bound]}")


def _forbidden(name: str, declaration: Mapping[str, Any], detail: str) -> ValidationError:
    reason = declaration.get("ConstraintDescription")
    return ValidationError(
        f"Parameter '{name}' {detail}" if reason is None else f"Parameter {name} {reason}"
    )
