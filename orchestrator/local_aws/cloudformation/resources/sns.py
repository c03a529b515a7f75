"""AWS::SNS: topics, their policies, subscriptions."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from orchestrator.local_aws.cloudformation.resources.base import Made, Request, ResourceType

_TOPIC = frozenset(
    {"DisplayName", "KmsMasterKeyId", "SignatureVersion", "TracingConfig"}
    | {"ContentBasedDeduplication"}
)
_SUBSCRIPTION = frozenset(
    {"DeliveryPolicy", "FilterPolicy", "FilterPolicyScope", "RawMessageDelivery", "RedrivePolicy"}
)


@contextlib.contextmanager
def _absent_is_fine() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if "NotFound" not in error.response["Error"]["Code"]:
            raise


class Topic(ResourceType):
    type = "AWS::SNS::Topic"
    name_property = "TopicName"
    updatable = _TOPIC | {"Subscription", "Tags"}
    replacing = frozenset({"FifoTopic", "TopicName"})

    def create(self, request: Request) -> Made:
        sns = request.client("sns")
        given = sorted((_TOPIC | {"FifoTopic"}) & request.properties.keys())
        arn = sns.create_topic(
            Name=request.name("TopicName", 256),
            Attributes={name: _text(request.get(name)) for name in given},
            Tags=request.tag_list(),
        )["TopicArn"]
        request.begun.append(arn)
        for each in request.get("Subscription", []):
            sns.subscribe(TopicArn=arn, Protocol=each["Protocol"], Endpoint=each["Endpoint"])
        return self._made(arn)

    def update(self, request: Request) -> Made:
        sns, arn = request.client("sns"), request.physical_id
        for name in sorted(_TOPIC):
            if request.changed(name):
                sns.set_topic_attributes(
                    TopicArn=arn, AttributeName=name, AttributeValue=_text(request.get(name, ""))
                )
        if request.changed("Subscription"):
            self._resubscribe(request)
        if dropped := request.dropped_tags():
            sns.untag_resource(ResourceArn=arn, TagKeys=dropped)
        if tags := request.tag_list():
            sns.tag_resource(ResourceArn=arn, Tags=tags)
        return self._made(arn)

    def delete(self, request: Request) -> None:
        with _absent_is_fine():
            request.client("sns").delete_topic(TopicArn=request.physical_id)

    @staticmethod
    def _resubscribe(request: Request) -> None:
        sns, arn = request.client("sns"), request.physical_id
        wanted = {(s["Protocol"], s["Endpoint"]) for s in request.get("Subscription", [])}
        before = (request.old or {}).get("Subscription", [])
        dropped = {(s["Protocol"], s["Endpoint"]) for s in before} - wanted
        pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=arn)
        for found in [s for page in pages for s in page["Subscriptions"]]:
            about = (found["Protocol"], found["Endpoint"])
            wanted.discard(about)
            if about in dropped:
                sns.unsubscribe(SubscriptionArn=found["SubscriptionArn"])
        for protocol, endpoint in sorted(wanted):
            sns.subscribe(TopicArn=arn, Protocol=protocol, Endpoint=endpoint)

    @staticmethod
    def _made(arn: str) -> Made:
        return Made(arn, {"TopicArn": arn, "TopicName": arn.rpartition(":")[2]})


class Subscription(ResourceType):
    type = "AWS::SNS::Subscription"
    updatable = _SUBSCRIPTION
    replacing = frozenset({"Endpoint", "Protocol", "TopicArn"})

    def create(self, request: Request) -> Made:
        given = sorted(_SUBSCRIPTION & request.properties.keys())
        arn = request.client("sns").subscribe(
            **request.pick("Endpoint", "Protocol", "TopicArn"),
            Attributes={name: _text(request.get(name)) for name in given},
            ReturnSubscriptionArn=True,
        )["SubscriptionArn"]
        return Made(arn, {"Arn": arn})

    def update(self, request: Request) -> Made:
        for name in sorted(_SUBSCRIPTION):
            if request.changed(name):
                request.client("sns").set_subscription_attributes(
                    SubscriptionArn=request.physical_id,
                    AttributeName=name,
                    AttributeValue=_text(request.get(name, "")),
                )
        return Made(request.physical_id, {"Arn": request.physical_id})

    def delete(self, request: Request) -> None:
        with _absent_is_fine():
            request.client("sns").unsubscribe(SubscriptionArn=request.physical_id)


class TopicPolicy(ResourceType):
    """A topic whose policy goes is left with AWS's default: its own account only."""

    type = "AWS::SNS::TopicPolicy"
    updatable = frozenset({"PolicyDocument", "Topics"})

    def create(self, request: Request) -> Made:
        self._put(request, request.get("Topics", []), request.get("PolicyDocument"))
        name = request.name("")
        return Made(name, {"Id": name})

    def update(self, request: Request) -> Made:
        now, before = request.get("Topics", []), (request.old or {}).get("Topics", [])
        self._reset(request, [arn for arn in before if arn not in now])
        self._put(request, now, request.get("PolicyDocument"))
        return Made(request.physical_id, {"Id": request.physical_id})

    def delete(self, request: Request) -> None:
        self._reset(request, request.get("Topics", []))

    @staticmethod
    def _put(request: Request, topics: list[str], document: Any) -> None:
        for arn in topics:
            request.client("sns").set_topic_attributes(
                TopicArn=arn, AttributeName="Policy", AttributeValue=json.dumps(document)
            )

    def _reset(self, request: Request, topics: list[str]) -> None:
        for arn in topics:
            statement = {
                "Sid": "__default_statement_ID",
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": ["SNS:Publish", "SNS:Subscribe", "SNS:GetTopicAttributes"],
                "Resource": arn,
                "Condition": {"StringEquals": {"AWS:SourceOwner": request.account}},
            }
            with _absent_is_fine():
                self._put(request, [arn], {"Version": "2008-10-17", "Statement": [statement]})


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


TYPES: tuple[ResourceType, ...] = (Subscription(), Topic(), TopicPolicy())
