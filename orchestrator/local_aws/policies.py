"""What a resource policy says about one request of this account: principals, actions, conditions.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

_Principal = tuple[str, frozenset[str]]
"""Under which key a policy names it, and the names that mean it."""


class Decision(enum.Enum):
    """Whether the policy allows, denies, or says nothing."""

    ALLOWED = "allowed"
    DENIED = "denied"
    NEUTRAL = "neutral"


class UnknownOperator(ValueError):
    """A condition operator that IAM does not have."""


def decide(
    document: Mapping[str, Any],
    account: str,
    action: str,
    resource: str,
    context: Mapping[str, str],
    *,
    service: str | None = None,
) -> Decision:
    """One request of the account's root, or of an AWS `service` (`events.amazonaws.com`).

    A key that is not in `context` is absent.
    """
    principal = _account(account) if service is None else ("Service", frozenset({"*", service}))
    decision = Decision.NEUTRAL
    for statement in _listed(document.get("Statement", [])):
        if not _applies(statement, principal, action, resource, context):
            continue
        if statement["Effect"] == "Deny":
            return Decision.DENIED
        decision = Decision.ALLOWED
    return decision


def _applies(
    statement: Mapping[str, Any],
    principal: _Principal,
    action: str,
    resource: str,
    context: Mapping[str, str],
) -> bool:
    return (
        _principal(statement, principal)
        and _matches(statement, "Action", action, ignore_case=True)
        and _matches(statement, "Resource", resource, ignore_case=False)
        and _conditions(statement.get("Condition", {}), context)
    )


def _account(account: str) -> _Principal:
    return "AWS", frozenset({"*", account, f"arn:aws:iam::{account}:root"})


def _principal(statement: Mapping[str, Any], principal: _Principal) -> bool:
    kind, ours = principal
    if "NotPrincipal" in statement:
        return not _named(statement["NotPrincipal"], kind) & ours
    return bool(_named(statement.get("Principal", "*"), kind) & ours)


def _named(principal: Any, kind: str) -> set[str]:
    if isinstance(principal, Mapping):
        return set(_listed(principal.get(kind, [])))
    return set(_listed(principal))


def _matches(statement: Mapping[str, Any], name: str, value: str, *, ignore_case: bool) -> bool:
    negated = f"Not{name}" in statement
    patterns = _listed(statement[f"Not{name}"] if negated else statement.get(name, "*"))
    return negated != any(_like(value, pattern, ignore_case=ignore_case) for pattern in patterns)


def _like(value: str, pattern: str, *, ignore_case: bool = False) -> bool:
    """`*` and `?` only: a bracket is a bracket in a policy."""
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
    return re.fullmatch(expression, value, flags) is not None


def _conditions(conditions: Mapping[str, Any], context: Mapping[str, str]) -> bool:
    """All operators, and all keys of each, must hold."""
    known = {key.lower(): value for key, value in context.items()}
    return all(
        _holds(operator, known.get(key.lower()), [str(v) for v in _listed(wanted)])
        for operator, keys in conditions.items()
        for key, wanted in keys.items()
    )


def _holds(operator: str, value: str | None, wanted: list[str]) -> bool:
    # ForAllValues holds for an absent key, ForAnyValue does not; a key here has one value.
    qualifier, _, name = operator.rpartition(":")
    if_exists = name.endswith("IfExists")
    name = name.removesuffix("IfExists")
    if name == "Null":
        return (value is None) == (wanted[0].lower() == "true")
    if name not in _OPERATORS:
        raise UnknownOperator(operator)
    compare, negated = _OPERATORS[name]
    if value is None:
        return if_exists or negated or qualifier == "ForAllValues"
    return negated != any(compare(value, each) for each in wanted)


def _number(compare: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    return lambda value, wanted: compare(float(value), float(wanted))


def _date(compare: Callable[[datetime, datetime], bool]) -> Callable[[str, str], bool]:
    return lambda value, wanted: compare(
        datetime.fromisoformat(value), datetime.fromisoformat(wanted)
    )


def _address(value: str, wanted: str) -> bool:
    return ipaddress.ip_address(value) in ipaddress.ip_network(wanted, strict=False)


_OPERATORS: dict[str, tuple[Callable[[str, str], bool], bool]] = {
    "ArnEquals": (_like, False),
    "ArnLike": (_like, False),
    "ArnNotEquals": (_like, True),
    "ArnNotLike": (_like, True),
    "BinaryEquals": (str.__eq__, False),
    "Bool": (lambda value, wanted: value.lower() == wanted.lower(), False),
    "DateEquals": (_date(datetime.__eq__), False),
    "DateGreaterThan": (_date(datetime.__gt__), False),
    "DateGreaterThanEquals": (_date(datetime.__ge__), False),
    "DateLessThan": (_date(datetime.__lt__), False),
    "DateLessThanEquals": (_date(datetime.__le__), False),
    "DateNotEquals": (_date(datetime.__eq__), True),
    "IpAddress": (_address, False),
    "NotIpAddress": (_address, True),
    "NumericEquals": (_number(float.__eq__), False),
    "NumericGreaterThan": (_number(float.__gt__), False),
    "NumericGreaterThanEquals": (_number(float.__ge__), False),
    "NumericLessThan": (_number(float.__lt__), False),
    "NumericLessThanEquals": (_number(float.__le__), False),
    "NumericNotEquals": (_number(float.__eq__), True),
    "StringEquals": (str.__eq__, False),
    "StringEqualsIgnoreCase": (lambda value, wanted: value.lower() == wanted.lower(), False),
    "StringLike": (_like, False),
    "StringNotEquals": (str.__eq__, True),
    "StringNotEqualsIgnoreCase": (lambda value, wanted: value.lower() == wanted.lower(), True),
    "StringNotLike": (_like, True),
}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
