"""EventBridge: events reach SQS queues, SNS topics and log groups, where their policies allow it.

moto knows no topics as targets, looks at no policy, and fails all targets when one fails.

Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from orchestrator.local_aws import policies
from orchestrator.local_aws.moto_patches import replace

_log = logging.getLogger("orchestrator.local_aws.events")

_SERVICE = "events.amazonaws.com"


def apply() -> None:
    """Patch moto.events. Raises MotoChanged."""
    from moto.events.models import Rule

    replace(Rule, "send_to_targets", _send_to_targets)


def wanted(account: str, region: str, source: str, detail_type: str, status: str) -> bool:
    """Whether any rule could match: a cheap look before an event is made.

    `status` is that of the detail. Of 50,000 events of an array few are asked for.
    """
    known = {"source": source, "detail-type": detail_type}
    return any(_may_match(rule, known, status) for rule in _rules(account, region))


def emit(
    account: str,
    region: str,
    source: str,
    detail_type: str,
    resources: list[str],
    detail: Mapping[str, Any],
) -> None:
    """An event of an AWS service on the default bus."""
    event = {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": detail_type,
        "source": source,
        "account": account,
        "time": _iso(datetime.now(UTC)),
        "region": region,
        "resources": resources,
        "detail": detail,
    }
    known, status = {"source": source, "detail-type": detail_type}, detail.get("status", "")
    for rule in _rules(account, region):
        if _may_match(rule, known, status):
            rule.send_to_targets(event)


def _iso(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"


def _rules(account: str, region: str) -> Iterator[Any]:
    from moto.events.models import events_backends

    backend = events_backends[account][region]
    return iter(list(backend.event_buses["default"].rules.values()))


def _may_match(rule: Any, known: Mapping[str, str], status: str) -> bool:
    pattern = rule.event_pattern.get_pattern()
    if rule.state != "ENABLED" or not pattern:
        return False
    if not all(_may_be(pattern.get(name), value) for name, value in known.items()):
        return False
    return _may_be(pattern.get("detail", {}).get("status"), status)


def _may_be(allowed: Any, value: str) -> bool:
    """Anything but a list of other texts: those alone are cheap to look at."""
    plain = isinstance(allowed, list) and all(isinstance(one, str) for one in allowed)
    return not plain or value in allowed


def _send_to_targets(original: Any) -> Any:
    @functools.wraps(original)
    def send_to_targets(rule: Any, event: Any, transform_input: bool = True) -> None:
        if rule.state != "ENABLED" or not rule.event_pattern.get_pattern():  # on a schedule only
            return
        if not rule.event_pattern.matches_event(event):
            return
        for target in list(rule.targets):
            send = _targets(target["Arn"])
            try:
                if send is None:
                    with _only(rule, target) as alone:
                        original(alone, event, transform_input)
                else:
                    send(rule, target, _input(target, event))
            except Exception:  # the other targets get theirs; AWS tells nobody either
                _log.exception("rule %s: target %s", rule.name, target["Arn"])

    return send_to_targets


def _targets(arn: str) -> Any:
    return {"sqs": _send_to_queue, "sns": _send_to_topic}.get(arn.split(":")[2])


@contextlib.contextmanager
def _only(rule: Any, target: Any) -> Iterator[Any]:
    """moto's own way, for this one target."""
    import copy

    alone = copy.copy(rule)
    alone.targets = [target]
    yield alone


def _input(target: Mapping[str, Any], event: Mapping[str, Any]) -> str:
    """What the target gets: the event, or what its input settings make of it."""
    if "Input" in target:
        return str(target["Input"])
    if isinstance(event.get("time"), int | float):  # PutEvents leaves it as a number
        event = {
            **event,
            "time": f"{datetime.fromtimestamp(event['time'], UTC):%Y-%m-%dT%H:%M:%SZ}",
        }
    event = {key: value for key, value in event.items() if key != "ingestion-time"}
    if "InputPath" in target:
        return json.dumps(_at(event, target["InputPath"]))
    if "InputTransformer" in target:
        return _transformed(target["InputTransformer"], event)
    return json.dumps(event)


def _transformed(transformer: Mapping[str, Any], event: Mapping[str, Any]) -> str:
    """Inside quotes a text is put in as it is, elsewhere as JSON.

    Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
    """
    text = str(transformer["InputTemplate"])
    for name, path in transformer.get("InputPathsMap", {}).items():
        value = _at(event, path)
        plain = value if isinstance(value, str) else json.dumps(value)
        text = text.replace(f'"<{name}>"', json.dumps(plain)).replace(f"<{name}>", plain)
    return text


def _at(event: Any, path: str) -> Any:
    from jsonpath_ng import ext

    found = ext.parser.parse(path).find(event)
    return found[0].value if found else None


def _send_to_queue(rule: Any, target: Mapping[str, Any], body: str) -> None:
    from moto.sqs.models import Message, sqs_backends

    _, _, _, region, account, name = target["Arn"].split(":")
    backend = sqs_backends[account][region]
    queue = backend.get_queue(name)
    if not _allowed(rule, queue.policy, "sqs:SendMessage", target["Arn"]):
        return
    if queue.fifo_queue:
        group = target.get("SqsParameters", {}).get("MessageGroupId")
        backend.send_message(queue_name=name, message_body=body, group_id=group)
        return
    # moto's send_message counts all messages of the queue for each new one: 50,000 events of an
    # array that nobody fetches took minutes.
    message = Message(str(uuid.uuid4()), body, None)
    message.mark_sent(delay_seconds=queue.delay_seconds)  # type: ignore[attr-defined]
    queue.add_message(message)


def _send_to_topic(rule: Any, target: Mapping[str, Any], body: str) -> None:
    from moto.sns.models import sns_backends

    _, _, _, region, account, _ = target["Arn"].split(":")
    backend = sns_backends[account][region]
    topic = backend.get_topic(target["Arn"])
    if _allowed(rule, topic.policy, "sns:Publish", target["Arn"]):
        backend.publish(message=body, arn=target["Arn"])


@functools.lru_cache(maxsize=256)
def _decided(
    policy: str | None, account: str, rule_arn: str, action: str, resource: str
) -> policies.Decision:
    context = {
        "aws:SecureTransport": "true",
        "aws:SourceAccount": account,
        "aws:SourceArn": rule_arn,
    }
    document = json.loads(policy or "{}")
    return policies.decide(document, account, action, resource, context, service=_SERVICE)


def _allowed(rule: Any, policy: str | None, action: str, resource: str) -> bool:
    """A resource that does not let EventBridge in gets nothing, and nobody hears of it."""
    if _decided(policy, rule.account_id, rule.arn, action, resource) is policies.Decision.ALLOWED:
        return True
    _log.warning("rule %s: the policy of %s does not let %s in", rule.name, resource, _SERVICE)
    return False
