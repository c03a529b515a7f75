"""AWS::SQS: queues and their policies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from orchestrator.local_aws.cloudformation.resources.base import Made, Request, ResourceType

_ATTRIBUTES = frozenset(
    {
        "ContentBasedDeduplication",
        "DeduplicationScope",
        "DelaySeconds",
        "FifoThroughputLimit",
        "KmsDataKeyReusePeriodSeconds",
        "KmsMasterKeyId",
        "MaximumMessageSize",
        "MessageRetentionPeriod",
        "ReceiveMessageWaitTimeSeconds",
        "RedriveAllowPolicy",
        "RedrivePolicy",
        "SqsManagedSseEnabled",
        "VisibilityTimeout",
    }
)
_DEFAULTS = {
    "DelaySeconds": "0",
    "MaximumMessageSize": "1048576",
    "MessageRetentionPeriod": "345600",
    "ReceiveMessageWaitTimeSeconds": "0",
    "VisibilityTimeout": "30",
}


class Queue(ResourceType):
    type = "AWS::SQS::Queue"
    name_property = "QueueName"
    updatable = _ATTRIBUTES | {"Tags"}
    replacing = frozenset({"FifoQueue", "QueueName"})

    def create(self, request: Request) -> Made:
        attributes = {name: _text(request.get(name)) for name in self._given(request)}
        if "FifoQueue" in request.properties:
            attributes["FifoQueue"] = _text(request.get("FifoQueue"))
        answer = request.client("sqs").create_queue(
            QueueName=request.name("QueueName", 80), Attributes=attributes, tags=request.tags()
        )
        return self._made(request, answer["QueueUrl"])

    def update(self, request: Request) -> Made:
        sqs, url = request.client("sqs"), request.physical_id
        changed = {name for name in _ATTRIBUTES if request.changed(name)}
        # What is no longer said goes back to its default; an empty text removes the others.
        attributes = {
            name: _text(request.get(name, _DEFAULTS.get(name, ""))) for name in sorted(changed)
        }
        if attributes:
            sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
        if dropped := request.dropped_tags():
            sqs.untag_queue(QueueUrl=url, TagKeys=dropped)
        if tags := request.tags():
            sqs.tag_queue(QueueUrl=url, Tags=tags)
        return self._made(request, url)

    def delete(self, request: Request) -> None:
        sqs = request.client("sqs")
        try:
            sqs.delete_queue(QueueUrl=request.physical_id)
        except sqs.exceptions.QueueDoesNotExist:
            return

    @staticmethod
    def _given(request: Request) -> list[str]:
        return sorted(_ATTRIBUTES & request.properties.keys())

    @staticmethod
    def _made(request: Request, url: str) -> Made:
        answer = request.client("sqs").get_queue_attributes(
            QueueUrl=url, AttributeNames=["QueueArn"]
        )
        arn = answer["Attributes"]["QueueArn"]
        return Made(url, {"Arn": arn, "QueueName": arn.rpartition(":")[2], "QueueUrl": url})


class QueuePolicy(ResourceType):
    type = "AWS::SQS::QueuePolicy"
    updatable = frozenset({"PolicyDocument", "Queues"})

    def create(self, request: Request) -> Made:
        self._put(request, request.get("Queues", []), json.dumps(request.get("PolicyDocument")))
        name = request.name("")
        return Made(name, {"Id": name})

    def update(self, request: Request) -> Made:
        now, before = request.get("Queues", []), (request.old or {}).get("Queues", [])
        self._put(request, [url for url in before if url not in now], "")
        self._put(request, now, json.dumps(request.get("PolicyDocument")))
        return Made(request.physical_id, {"Id": request.physical_id})

    def delete(self, request: Request) -> None:
        self._put(request, request.get("Queues", []), "")

    @staticmethod
    def _put(request: Request, queues: list[str], document: str) -> None:
        sqs = request.client("sqs")
        for url in queues:
            try:
                sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document})
            except sqs.exceptions.QueueDoesNotExist:
                if document:
                    raise


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


TYPES: tuple[ResourceType, ...] = (Queue(), QueuePolicy())
