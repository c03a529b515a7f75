"""Resource policies: principals, actions, resources, conditions."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.local_aws import policies
from orchestrator.local_aws.policies import Decision

CONTEXT = {"aws:SecureTransport": "true", "aws:SourceIp": "127.0.0.1"}
OBJECT = "arn:aws:s3:::bucket/a/b"


def decide(*statements: dict[str, Any], action: str = "s3:GetObject") -> Decision:
    defaults = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*"}
    document = {"Statement": [defaults | statement for statement in statements]}
    return policies.decide(document, "123456789012", action, OBJECT, CONTEXT)


def test_no_statement_says_nothing() -> None:
    assert decide() is Decision.NEUTRAL


def test_deny_without_tls_does_not_deny_the_loopback_interface() -> None:
    condition = {"Bool": {"aws:SecureTransport": "false"}}
    assert decide({"Condition": condition}) is Decision.NEUTRAL


def test_a_deny_comes_before_an_allow() -> None:
    assert decide({"Effect": "Allow"}, {}) is Decision.DENIED
    assert decide({"Effect": "Allow"}) is Decision.ALLOWED


@pytest.mark.parametrize(
    ("principal", "expected"),
    [
        ("*", Decision.DENIED),
        ({"AWS": "*"}, Decision.DENIED),
        ({"AWS": ["arn:aws:iam::999999999999:root", "123456789012"]}, Decision.DENIED),
        ({"AWS": "arn:aws:iam::999999999999:root"}, Decision.NEUTRAL),
        ({"Service": "logging.s3.amazonaws.com"}, Decision.NEUTRAL),
    ],
)
def test_only_our_own_account_is_meant(principal: Any, expected: Decision) -> None:
    assert decide({"Principal": principal}) is expected


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ({"Action": "s3:getobject"}, Decision.DENIED),
        ({"Action": ["s3:Put*", "s3:Get*"]}, Decision.DENIED),
        ({"Action": "s3:PutObject"}, Decision.NEUTRAL),
        ({"Resource": "arn:aws:s3:::bucket/*"}, Decision.DENIED),
        ({"Resource": "arn:aws:s3:::bucket"}, Decision.NEUTRAL),
        ({"Resource": "arn:aws:s3:::bucket/[a]/b"}, Decision.NEUTRAL),
    ],
)
def test_actions_and_resources_match_by_their_wildcards(
    statement: dict[str, Any], expected: Decision
) -> None:
    assert decide(statement) is expected


def test_not_action_is_everything_else() -> None:
    defaults = {"Effect": "Deny", "Principal": "*", "NotAction": "s3:PutObject", "Resource": "*"}
    document = {"Statement": defaults}
    for action, expected in (("s3:GetObject", Decision.DENIED), ("s3:PutObject", Decision.NEUTRAL)):
        assert policies.decide(document, "1", action, OBJECT, CONTEXT) is expected


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"StringEquals": {"aws:SourceVpce": "vpce-1"}}, False),
        ({"StringNotEquals": {"aws:SourceVpce": "vpce-1"}}, True),
        ({"StringEqualsIfExists": {"aws:SourceVpce": "vpce-1"}}, True),
        ({"Null": {"aws:SourceVpce": "true"}}, True),
        ({"Null": {"aws:SecureTransport": "true"}}, False),
        ({"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "127.0.0.0/8"]}}, True),
        ({"NotIpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, False),
        ({"Bool": {"AWS:securetransport": "true"}}, True),
        ({"Bool": {"aws:SecureTransport": "true"}, "IpAddress": {"aws:SourceIp": "::1"}}, False),
        ({"NumericLessThan": {"s3:TlsVersion": "1.2"}}, False),
    ],
)
def test_conditions_hold_as_iam_says(condition: dict[str, Any], holds: bool) -> None:
    assert (decide({"Condition": condition}) is Decision.DENIED) is holds


def test_an_operator_that_iam_does_not_have_is_an_error() -> None:
    with pytest.raises(policies.UnknownOperator):
        decide({"Condition": {"StringMatches": {"aws:SourceIp": "x"}}})
