"""Notices: the topic by which people hear of what goes wrong."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

_SENDERS = ("cloudwatch.amazonaws.com", "events.amazonaws.com")


class Notices(Construct):
    """Encrypted with a key that its senders can use. AWS's own (`alias/aws/sns`) is not one: with
    it CloudWatch and EventBridge fail in silence.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: str,
        emails: Sequence[str],
        key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, id)
        self.topic = sns.Topic(
            self,
            "Topic",
            display_name=f"orchestrator {environment}",
            enforce_ssl=True,
            master_key=key or self._key(environment),
        )
        # A policy of ours takes the place of the default one, which lets the account's own alarms
        # in.
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="SendersOfThisAccount",
                principals=[iam.ServicePrincipal(name) for name in _SENDERS],
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": Stack.of(self).account}},
            )
        )
        for email in emails:
            self.topic.add_subscription(subscriptions.EmailSubscription(email))

    def _key(self, environment: str) -> kms.Key:
        key = kms.Key(
            self,
            "Key",
            description=f"Notices of {environment}",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.DESTROY,  # of what has been read there is nothing to keep
        )
        key.add_to_resource_policy(
            iam.PolicyStatement(
                sid="SendersOfThisAccount",
                principals=[iam.ServicePrincipal(name) for name in _SENDERS],
                actions=["kms:Decrypt", "kms:GenerateDataKey*"],
                resources=["*"],
                conditions={"StringEquals": {"aws:SourceAccount": Stack.of(self).account}},
            )
        )
        return key
