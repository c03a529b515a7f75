"""The dashboard: jobs, hosts, database and server at a glance."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from stacks.constructs.readings import Readings

_HALF, _WHOLE = 12, 24


class Dashboard(Construct):
    """What the alarms look at, and how many jobs began and ended."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: str,
        readings: Readings,
        alarms: Sequence[cloudwatch.IAlarm],
        log_groups: Sequence[str],
    ) -> None:
        super().__init__(scope, id)
        jobs = [
            readings.events(status, Duration.minutes(5), label)
            for status, label in (
                ("RUNNING", "started"),
                ("SUCCEEDED", "succeeded"),
                ("FAILED", "failed"),
            )
        ]
        percent = cloudwatch.YAxisProps(min=0, max=100)
        rows: list[list[cloudwatch.IWidget]] = [
            [
                cloudwatch.GraphWidget(title="Jobs, every 5 minutes", left=jobs, width=_HALF),
                cloudwatch.GraphWidget(
                    title="Failed jobs of an hour, %",
                    left=[readings.failed_percent],
                    left_y_axis=percent,
                    width=_HALF,
                ),
            ],
            [
                cloudwatch.GraphWidget(
                    title="Fullest data disk of a worker, %",
                    left=[readings.worker_disk_used],
                    left_y_axis=percent,
                    width=_HALF,
                ),
                cloudwatch.GraphWidget(
                    title="Database, % of its largest capacity",
                    left=[readings.database_used],
                    left_y_axis=percent,
                    width=_HALF,
                ),
            ],
        ]
        if alarms:
            status = cloudwatch.AlarmStatusWidget(alarms=list(alarms), title="Alarms", width=_WHOLE)
            rows.insert(0, [status])
        if readings.host is not None:
            rows.append(
                [
                    cloudwatch.GraphWidget(
                        title="Longest wait at the head of a queue, minutes",
                        left=[readings.host.runnable_minutes],
                        width=_HALF,
                    ),
                    cloudwatch.GraphWidget(
                        title="Server answers; compute environments that are invalid",
                        left=[readings.host.healthy, readings.host.invalid_environments],
                        width=_HALF,
                    ),
                ]
            )
        rows.append(
            [
                cloudwatch.LogQueryWidget(
                    title="Errors that hosts report",
                    log_group_names=list(log_groups),
                    query_lines=[
                        "fields @timestamp, @logStream, @message",
                        "filter @message like /(?i)(error|cannot be used|gave up)/",
                        "sort @timestamp desc",
                        "limit 50",
                    ],
                    width=_WHOLE,
                    height=8,
                )
            ]
        )
        cloudwatch.Dashboard(
            self,
            "Dashboard",
            dashboard_name=f"{environment}-orchestrator",
            widgets=rows,
            default_interval=Duration.hours(12),
        )
