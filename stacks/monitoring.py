"""Monitoring: what people see, and what they are told of."""

from __future__ import annotations

from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct

from stacks import naming, queues
from stacks.constructs.alarms import Alarms
from stacks.constructs.dashboard import Dashboard
from stacks.constructs.environment_stack import EnvironmentStack
from stacks.constructs.notices import Notices
from stacks.constructs.readings import Readings
from stacks.constructs.roles.statements import ENVIRONMENT_TAG
from stacks.database import DatabaseStack
from stacks.settings import Settings


def is_wanted(settings: Settings) -> bool:
    """Whether the settings ask for anything that this stack holds."""
    monitoring = settings.monitoring
    return monitoring.alarms or monitoring.dashboard or monitoring.monthly_budget_usd > 0


class MonitoringStack(EnvironmentStack):
    """Dashboard, alarms, notices and a budget. The last stack: it looks at all the others."""

    def __init__(
        self,
        scope: Construct,
        *,
        settings: Settings,
        database: DatabaseStack,
        key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, "monitoring", settings=settings, description="alarms, dashboard")
        environment, monitoring = settings.environment, settings.monitoring
        if monitoring.alarms or monitoring.dashboard:
            readings = Readings(
                self,
                "Readings",
                environment=environment,
                database=database.database.identifier,
                has_host=settings.host.enabled,
            )
            alarms = self._alarms(settings, readings, key) if monitoring.alarms else []
            if monitoring.dashboard:
                groups = [naming.worker_log_group(environment)]
                if settings.host.enabled:
                    groups.append(naming.host_log_group(environment))
                Dashboard(
                    self,
                    "Overview",
                    environment=environment,
                    readings=readings,
                    alarms=alarms,
                    log_groups=groups,
                )
        if monitoring.monthly_budget_usd:
            self._budget(settings)

    def _alarms(
        self, settings: Settings, readings: Readings, key: kms.IKey | None
    ) -> list[cloudwatch.Alarm]:
        topic = Notices(
            self,
            "Notices",
            environment=settings.environment,
            emails=settings.monitoring.emails,
            key=key,
        ).topic
        self._tell_of_blocked_queues(settings, topic)
        return Alarms(
            self,
            "Alarms",
            environment=settings.environment,
            monitoring=settings.monitoring,
            readings=readings,
            topic=topic,
        ).all

    def _tell_of_blocked_queues(self, settings: Settings, topic: sns.ITopic) -> None:
        """Batch says it when a job at a queue's head cannot run."""
        arns = [
            f"arn:{self.partition}:batch:{self.region}:{self.account}:job-queue/{plan.name}"
            for plan in queues.planned(settings)
        ]
        job, reason = (
            events.EventField.from_path(f"$.detail.{f}") for f in ("jobId", "statusReason")
        )
        queue = events.EventField.from_path("$.detail.jobQueue")
        events.Rule(
            self,
            "QueueBlocked",
            rule_name=naming.event_rule(settings.environment, "BLOCKED"),
            description=f"{settings.environment}: a queue that its first job blocks",
            event_pattern=events.EventPattern(
                source=["aws.batch"],
                detail_type=["Batch Job Queue Blocked"],
                detail={"jobQueue": arns},
            ),
            targets=[
                targets.SnsTopic(
                    topic,
                    message=events.RuleTargetInput.from_text(
                        f"{settings.environment}: job {job} blocks queue {queue}: {reason}. "
                        "It is cancelled after the time limits of its queue."
                    ),
                )
            ],
        )

    def _budget(self, settings: Settings) -> None:
        """By the environment's tag, which must be active as a cost allocation tag."""
        limit = settings.monitoring.monthly_budget_usd
        people = [
            budgets.CfnBudget.SubscriberProperty(subscription_type="EMAIL", address=email)
            for email in settings.monitoring.emails
        ]
        budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                # No name: other recipients make a new budget, which must stand beside the old one.
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(amount=limit, unit="USD"),
                cost_filters={"TagKeyValue": [f"user:{ENVIRONMENT_TAG}${settings.environment}"]},
            ),
            notifications_with_subscribers=[
                budgets.CfnBudget.NotificationWithSubscribersProperty(
                    notification=budgets.CfnBudget.NotificationProperty(
                        notification_type=kind,
                        comparison_operator="GREATER_THAN",
                        threshold=percent,
                        threshold_type="PERCENTAGE",
                    ),
                    subscribers=people,
                )
                for kind, percent in (("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100))
            ],
        )
