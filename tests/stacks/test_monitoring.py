from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from aws_cdk.assertions import Template

from stacks import assets
from tests.stacks.text import render

MORE = {
    "set.monitoring.emails": '["people@example.org", "more@example.org"]',
    "set.monitoring.monthly_budget_usd": "500",
    "set.monitoring.heartbeat_minutes": "3",
    "set.encryption.kms_key": "create",
}


@pytest.fixture(scope="module")
def more(synthesise: Callable[..., Mapping[str, Template]]) -> Template:
    return synthesise(**MORE)["monitoring"]


def _alarms(template: Template) -> dict[str, dict[str, Any]]:
    found = template.find_resources("AWS::CloudWatch::Alarm").values()
    return {
        entry["Properties"]["AlarmName"].removeprefix("dev-"): entry["Properties"]
        for entry in found
    }


def test_there_is_an_alarm_for_each_thing_that_can_go_wrong(
    templates: Mapping[str, Template],
) -> None:
    monitoring = templates["monitoring"]
    alarms = _alarms(monitoring)
    (topic,) = monitoring.find_resources("AWS::SNS::Topic")
    assert set(alarms) == {
        "QueueBlocked",
        "FailedJobs",
        "ComputeEnvironmentInvalid",
        "RunnableTooLong",
        "WorkerDisk",
        "HostDisk",
        "DatabaseCapacity",
        "Heartbeat",
    }
    for name, alarm in alarms.items():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": topic}], name
        assert len(alarm["AlarmDescription"]) > 80, f"{name}: say what it means and what to do"
        missing = "breaching" if name == "Heartbeat" else "notBreaching"
        assert alarm["TreatMissingData"] == missing, name


def test_thresholds_are_settings(templates: Mapping[str, Template], more: Template) -> None:
    alarms = _alarms(templates["monitoring"])
    assert {name: alarm["Threshold"] for name, alarm in alarms.items()} == {
        "QueueBlocked": 1,
        "FailedJobs": 20,
        "ComputeEnvironmentInvalid": 1,
        "RunnableTooLong": 60,
        "WorkerDisk": 90,
        "HostDisk": 90,
        "DatabaseCapacity": 90,
        "Heartbeat": 1,
    }
    assert _alarms(more)["Heartbeat"]["EvaluationPeriods"] == 3
    assert alarms["Heartbeat"]["ComparisonOperator"] == "LessThanThreshold"
    assert alarms["Heartbeat"]["Period"] == 60


def test_what_alarms_read_is_what_filters_make_and_hosts_report(
    templates: Mapping[str, Template],
) -> None:
    filters = {
        (
            f["MetricTransformations"][0]["MetricNamespace"],
            f["MetricTransformations"][0]["MetricName"],
        ): f
        for entry in templates["monitoring"].find_resources("AWS::Logs::MetricFilter").values()
        for f in [entry["Properties"]]
    }
    read = {
        (alarm["Namespace"], alarm["MetricName"])
        for alarm in _alarms(templates["monitoring"]).values()
        if alarm.get("Namespace") == "Orchestrator/dev"
    }
    assert read == set(filters)
    groups = {f["LogGroupName"] for f in filters.values()}
    assert groups == {"/orchestrator/dev/workers", "/orchestrator/dev/host"}
    for one in filters.values():
        field = one["FilterPattern"].removeprefix("{ $.").removesuffix(" = * }")
        assert one["MetricTransformations"][0]["MetricValue"] == f"$.{field}"
        kind = "worker/report.sh" if one["LogGroupName"].endswith("workers") else "host/report.py"
        assert field in assets.script(kind)


def test_rates_are_of_the_rules_that_exist(templates: Mapping[str, Template]) -> None:
    named = {
        rule["Properties"]["Name"]
        for part in ("compute", "monitoring")
        for rule in templates[part].find_resources("AWS::Events::Rule").values()
    }
    alarms = _alarms(templates["monitoring"])
    asked = {
        dimension["Value"]
        for alarm in alarms.values()
        for metric in [
            alarm,
            *(m.get("MetricStat", {}).get("Metric", {}) for m in alarm.get("Metrics", [])),
        ]
        for dimension in metric.get("Dimensions", [])
        if dimension["Name"] == "RuleName"
    }
    assert asked == {"dev-jobs-blocked", "dev-jobs-failed", "dev-jobs-succeeded"}
    assert asked <= named


def test_a_blocked_queue_is_told_with_its_job_and_the_reason(
    templates: Mapping[str, Template],
) -> None:
    (rule,) = templates["monitoring"].find_resources("AWS::Events::Rule").values()
    properties = rule["Properties"]
    assert properties["EventPattern"]["detail-type"] == ["Batch Job Queue Blocked"]
    queues = [render(arn) for arn in properties["EventPattern"]["detail"]["jobQueue"]]
    assert [arn.rpartition("/")[2] for arn in queues] == ["dev-spot", "dev-on-demand"]
    (target,) = properties["Targets"]
    assert set(target["InputTransformer"]["InputPathsMap"].values()) == {
        "$.detail.jobId",
        "$.detail.jobQueue",
        "$.detail.statusReason",
    }


@pytest.mark.parametrize("own", [True, False])
def test_notices_are_encrypted_with_a_key_that_their_senders_can_use(
    own: bool, templates: Mapping[str, Template], more: Template
) -> None:
    """With AWS's own key, CloudWatch and EventBridge fail in silence."""
    monitoring = more if own else templates["monitoring"]
    (topic,) = monitoring.find_resources("AWS::SNS::Topic").values()
    keys = monitoring.find_resources("AWS::KMS::Key")
    if own:  # the environment's
        assert keys == {}
        assert "dev-storage" in str(topic["Properties"]["KmsMasterKeyId"])
        return
    ((name, key),) = keys.items()
    assert topic["Properties"]["KmsMasterKeyId"] == {"Fn::GetAtt": [name, "Arn"]}
    assert key["Properties"]["EnableKeyRotation"] is True
    ours = [
        statement
        for statement in key["Properties"]["KeyPolicy"]["Statement"]
        if statement.get("Sid") == "SendersOfThisAccount"
    ]
    assert [(one["Principal"]["Service"], one["Action"]) for one in ours] == [
        (
            ["cloudwatch.amazonaws.com", "events.amazonaws.com"],
            ["kms:Decrypt", "kms:GenerateDataKey*"],
        )
    ]


def test_alarms_and_events_may_publish_and_nobody_without_tls(
    templates: Mapping[str, Template],
) -> None:
    (policy,) = templates["monitoring"].find_resources("AWS::SNS::TopicPolicy").values()
    statements = policy["Properties"]["PolicyDocument"]["Statement"]
    assert {"Bool": {"aws:SecureTransport": "false"}} in [
        s.get("Condition") for s in statements if s["Effect"] == "Deny"
    ]
    senders = [s for s in statements if s["Effect"] == "Allow"]
    assert ["cloudwatch.amazonaws.com", "events.amazonaws.com"] in [
        s["Principal"]["Service"] for s in senders
    ]
    assert all("*" not in str(s["Principal"]) for s in senders)


def test_people_subscribe_by_email(more: Template) -> None:
    found = more.find_resources("AWS::SNS::Subscription").values()
    assert sorted(s["Properties"]["Endpoint"] for s in found) == [
        "more@example.org",
        "people@example.org",
    ]


def test_a_budget_is_optional_and_counts_this_environment(
    templates: Mapping[str, Template], more: Template
) -> None:
    templates["monitoring"].resource_count_is("AWS::Budgets::Budget", 0)
    (budget,) = more.find_resources("AWS::Budgets::Budget").values()
    properties = budget["Properties"]
    assert properties["Budget"]["BudgetLimit"] == {"Amount": 500, "Unit": "USD"}
    assert properties["Budget"]["CostFilters"] == {
        "TagKeyValue": ["user:orchestrator:environment$dev"]
    }
    told = properties["NotificationsWithSubscribers"]
    assert all(len(one["Subscribers"]) == 2 for one in told)


def test_the_dashboard_shows_alarms_jobs_hosts_and_database(
    templates: Mapping[str, Template],
) -> None:
    (entry,) = templates["monitoring"].find_resources("AWS::CloudWatch::Dashboard").values()
    assert entry["Properties"]["DashboardName"] == "dev-orchestrator"
    body = json.loads(render(entry["Properties"]["DashboardBody"]))
    kinds = [widget["type"] for widget in body["widgets"]]
    assert kinds.count("metric") == 6
    assert {"alarm", "log"} <= set(kinds)


def test_monitoring_can_be_left_out(synthesise: Callable[..., Mapping[str, Template]]) -> None:
    none = {"set.monitoring.alarms": "false", "set.monitoring.dashboard": "false"}
    assert "monitoring" not in synthesise(**none)
    only = synthesise(**{"set.monitoring.alarms": "false"})["monitoring"]
    only.resource_count_is("AWS::CloudWatch::Dashboard", 1)
    only.resource_count_is("AWS::CloudWatch::Alarm", 0)
    only.resource_count_is("AWS::SNS::Topic", 0)
