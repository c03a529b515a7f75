"""Batch's events: what became of jobs, for the orchestrator to hear."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from stacks import naming

# A rule for each, for CloudWatch counts what each rule matched: that is the rate of failures.
_STATUSES = ("RUNNING", "SUCCEEDED", "FAILED")


class BatchEvents(Construct):
    """A queue of hints. What a job is, Batch itself says: an event that is lost loses nothing, so
    old ones are dropped.

    Both queues are encrypted by SQS itself: EventBridge cannot use the key `alias/aws/sqs`.
    """

    def __init__(
        self, scope: Construct, id: str, *, environment: str, job_queues: Sequence[str]
    ) -> None:
        super().__init__(scope, id)
        refused = sqs.Queue(
            self,
            "Refused",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(4),
            removal_policy=RemovalPolicy.DESTROY,
        )
        queue = sqs.Queue(
            self,
            "Queue",
            queue_name=naming.event_queue(environment),
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.hours(4),
            visibility_timeout=Duration.seconds(60),
            receive_message_wait_time=Duration.seconds(20),
            dead_letter_queue=sqs.DeadLetterQueue(queue=refused, max_receive_count=5),
            removal_policy=RemovalPolicy.DESTROY,
        )
        for status in _STATUSES:
            events.Rule(
                self,
                status.title(),
                rule_name=naming.event_rule(environment, status),
                description=f"{environment}: jobs that are {status}, for the orchestrator",
                event_pattern=events.EventPattern(
                    source=["aws.batch"],
                    detail_type=["Batch Job State Change"],
                    detail={"status": [status], "jobQueue": list(job_queues)},
                ),
                targets=[targets.SqsQueue(queue)],
            )
