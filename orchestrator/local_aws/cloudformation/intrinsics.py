"""Intrinsic functions, conditions, rules and dynamic references of templates.

Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference.html
"""

from __future__ import annotations

import base64
import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from orchestrator.local_aws.cloudformation.errors import ValidationError

PSEUDO_PARAMETERS = frozenset(
    {
        "AWS::AccountId",
        "AWS::NoValue",
        "AWS::NotificationARNs",
        "AWS::Partition",
        "AWS::Region",
        "AWS::StackId",
        "AWS::StackName",
        "AWS::URLSuffix",
    }
)
NO_VALUE = object()
"""What `Ref: AWS::NoValue` gives: the property or item that holds it is as if not written."""

_SUBSTITUTION = re.compile(r"\$\{(!?)([^{}]*)\}")
_DYNAMIC = re.compile(r"\{\{resolve:(ssm|ssm-secure|secretsmanager):([^{}]+)\}\}")


class Scope(Protocol):
    """Where names of a template get their values from."""

    def ref(self, name: str) -> Any: ...
    def attribute(self, logical_id: str, name: str) -> Any: ...
    def condition(self, name: str) -> bool: ...
    def mapping(self, name: str) -> Mapping[str, Any]: ...
    def import_value(self, name: str) -> str: ...
    def zones(self, region: str) -> list[str]: ...


def evaluate(value: Any, scope: Scope) -> Any:
    """The value with every function in it applied. Raises ValidationError."""
    if isinstance(value, list):
        return [item for item in (evaluate(v, scope) for v in value) if item is not NO_VALUE]
    if not isinstance(value, dict):
        return value
    call = _call(value)
    if call is None:
        pairs = ((key, evaluate(item, scope)) for key, item in value.items())
        return {key: item for key, item in pairs if item is not NO_VALUE}
    name, argument = call
    function = _FUNCTIONS.get(name)
    if function is None:
        raise ValidationError(f"the local AWS does not support the function {name}")
    try:
        return function(argument, scope)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise ValidationError(
            f"Template error: {name} cannot be applied to {json.dumps(argument)[:200]}: {error}"
        ) from None


def test(value: Any, scope: Scope) -> bool:
    """A condition: Fn::Equals, And, Or, Not, Contains, Each..., or the name of another one."""
    call = _call(value) if isinstance(value, dict) else None
    if call is None:
        raise ValidationError(f"Template error: not a condition: {json.dumps(value)[:200]}")
    name, argument = call
    match name:
        case "Condition":
            return scope.condition(argument)
        case "Fn::Equals":
            left, right = evaluate(argument, scope)
            return _text(left) == _text(right)
        case "Fn::And":
            return all(test(item, scope) for item in argument)
        case "Fn::Or":
            return any(test(item, scope) for item in argument)
        case "Fn::Not":
            return not test(argument[0], scope)
        case "Fn::Contains":
            items, item = evaluate(argument, scope)
            return _text(item) in [_text(each) for each in items]
        case "Fn::EachMemberEquals":
            items, item = evaluate(argument, scope)
            return all(_text(each) == _text(item) for each in items)
        case "Fn::EachMemberIn":
            items, allowed = evaluate(argument, scope)
            return {_text(each) for each in items} <= {_text(each) for each in allowed}
        case _:
            raise ValidationError(f"the local AWS does not support {name} in conditions and rules")


def references(value: Any) -> set[str]:
    """Names that are referred to by Ref, Fn::GetAtt and Fn::Sub, anywhere inside."""
    return set(_references(value))


def conditions_used(value: Any) -> set[str]:
    """Names of conditions that Fn::If and Condition refer to, anywhere inside."""
    found: set[str] = set()
    for name, argument in _calls(value):
        if name == "Fn::If" and isinstance(argument, list) and argument:
            found.add(argument[0])
        elif name == "Condition" and isinstance(argument, str):
            found.add(argument)
    return found


def resolve_dynamic(value: Any, lookup: Callable[[str, str], str]) -> Any:
    """`{{resolve:service:reference}}` replaced by `lookup(service, reference)`, anywhere inside."""
    if isinstance(value, str):
        return _DYNAMIC.sub(lambda match: lookup(match[1], match[2]), value)
    if isinstance(value, list):
        return [resolve_dynamic(item, lookup) for item in value]
    if isinstance(value, dict):
        return {key: resolve_dynamic(item, lookup) for key, item in value.items()}
    return value


def _call(value: Mapping[str, Any]) -> tuple[str, Any] | None:
    if len(value) != 1:
        return None
    ((name, argument),) = value.items()
    if name == "Ref" or name.startswith("Fn::"):
        return name, argument
    # A policy statement has a key Condition too: there it holds an object.
    return (name, argument) if name == "Condition" and isinstance(argument, str) else None


def _calls(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        call = _call(value)
        if call is not None:
            yield call
        for item in value.values():
            yield from _calls(item)
    elif isinstance(value, list):
        for item in value:
            yield from _calls(item)


def _references(value: Any) -> Iterator[str]:
    for name, argument in _calls(value):
        if name == "Ref" and isinstance(argument, str):
            yield argument
        elif name == "Fn::GetAtt":
            yield (argument.split(".", 1) if isinstance(argument, str) else argument)[0]
        elif name == "Fn::Sub":
            text, own = (argument, {}) if isinstance(argument, str) else argument
            for literal, inner in _SUBSTITUTION.findall(text):
                if not literal and inner not in own:
                    yield inner.strip().split(".", 1)[0]


def _ref(argument: Any, scope: Scope) -> Any:
    return NO_VALUE if argument == "AWS::NoValue" else scope.ref(argument)


def _get_att(argument: Any, scope: Scope) -> Any:
    logical_id, name = argument.split(".", 1) if isinstance(argument, str) else argument
    return scope.attribute(logical_id, evaluate(name, scope))


def _sub(argument: Any, scope: Scope) -> str:
    text, own = (argument, {}) if isinstance(argument, str) else argument
    own = {key: evaluate(value, scope) for key, value in own.items()}

    def replace(match: re.Match[str]) -> str:
        literal, name = match[1], match[2].strip()
        if literal:
            return f"${{{match[2]}}}"
        if name in own:
            return _text(own[name])
        if name in PSEUDO_PARAMETERS or "." not in name:
            return _text(scope.ref(name))
        return _text(scope.attribute(*name.split(".", 1)))

    return _SUBSTITUTION.sub(replace, text)


def _join(argument: Any, scope: Scope) -> str:
    delimiter, items = argument
    return str(delimiter).join(_text(item) for item in _items(items, scope))


def _select(argument: Any, scope: Scope) -> Any:
    index, items = argument
    number = int(evaluate(index, scope))
    if number < 0:
        raise IndexError(number)
    return _items(items, scope)[number]


def _split(argument: Any, scope: Scope) -> list[str]:
    delimiter, text = argument
    return str(evaluate(text, scope)).split(delimiter)


def _if(argument: Any, scope: Scope) -> Any:
    name, yes, no = argument
    return evaluate(yes if scope.condition(name) else no, scope)


def _find_in_map(argument: Any, scope: Scope) -> Any:
    name, first, second = (evaluate(item, scope) for item in argument)
    return scope.mapping(name)[first][second]


def _cidr(argument: Any, scope: Scope) -> list[str]:
    block, count, *bits = (evaluate(item, scope) for item in argument)
    network = ipaddress.ip_network(block)
    host_bits = int(bits[0]) if bits else 8
    subnets = network.subnets(new_prefix=network.max_prefixlen - host_bits)
    found = [str(subnet) for subnet, _ in zip(subnets, range(int(count)), strict=False)]
    if len(found) < int(count):
        raise ValueError(f"{block} holds only {len(found)} blocks of {host_bits} bits")
    return found


def _import_value(argument: Any, scope: Scope) -> str:
    return scope.import_value(evaluate(argument, scope))


def _base64(argument: Any, scope: Scope) -> str:
    return base64.b64encode(str(evaluate(argument, scope)).encode()).decode()


def _get_azs(argument: Any, scope: Scope) -> list[str]:
    return scope.zones(evaluate(argument, scope) or scope.ref("AWS::Region"))


def _items(value: Any, scope: Scope) -> list[Any]:
    items = evaluate(value, scope)
    if not isinstance(items, list):
        raise TypeError("a list is needed")
    return items


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list) or value is NO_VALUE:
        raise TypeError("a string is needed")
    return str(value)


_FUNCTIONS: dict[str, Callable[[Any, Scope], Any]] = {
    "Condition": lambda argument, scope: scope.condition(argument),
    "Fn::Base64": _base64,
    "Fn::Cidr": _cidr,
    "Fn::FindInMap": _find_in_map,
    "Fn::GetAZs": _get_azs,
    "Fn::GetAtt": _get_att,
    "Fn::If": _if,
    "Fn::ImportValue": _import_value,
    "Fn::Join": _join,
    "Fn::Select": _select,
    "Fn::Split": _split,
    "Fn::Sub": _sub,
    "Ref": _ref,
}
