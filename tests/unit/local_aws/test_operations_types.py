"""What operations need: queues, topics, rules, alarms, budgets, groups, registries' mirrors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.local_aws.conftest import Cloud
from tests.unit.local_aws.deployed import Deployed, as_map, att, of, ref, tags


def allowing(service: str, action: str, resource: Any) -> dict[str, Any]:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": action,
        "Resource": resource,
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def test_queues_change_in_place_and_what_is_no_longer_said_is_the_default(
    cloud: Cloud, deploy: Deployed
) -> None:
    def declared(**more: Any) -> dict[str, Any]:
        return {
            "Dead": of("SQS::Queue", MessageRetentionPeriod=1209600),
            "Q": of("SQS::Queue", SqsManagedSseEnabled=True, Tags=tags(a="1"), **more),
            "P": of(
                "SQS::QueuePolicy",
                Queues=[ref("Q")],
                PolicyDocument=allowing("events.amazonaws.com", "sqs:SendMessage", att("Q", "Arn")),
            ),
        }

    def attributes() -> dict[str, str]:
        answer = cloud.client("sqs").get_queue_attributes(
            QueueUrl=deploy["Q"], AttributeNames=["All"]
        )
        found: dict[str, str] = answer["Attributes"]
        return found

    redrive = {"deadLetterTargetArn": att("Dead", "Arn"), "maxReceiveCount": 5}
    deploy(declared(VisibilityTimeout=60, RedrivePolicy=redrive))
    url = deploy["Q"]
    found = attributes()
    assert found["VisibilityTimeout"] == "60"
    assert json.loads(found["RedrivePolicy"])["maxReceiveCount"] == 5
    assert json.loads(found["Policy"])["Statement"][0]["Action"] == "sqs:SendMessage"
    deploy(declared(MessageRetentionPeriod=600))
    found = attributes()
    assert deploy["Q"] == url
    assert (found["VisibilityTimeout"], found["MessageRetentionPeriod"]) == ("30", "600")
    assert "RedrivePolicy" not in found
    assert cloud.client("sqs").list_queue_tags(QueueUrl=url)["Tags"]["a"] == "1"
    only_dead = {"Dead": declared()["Dead"]}
    deploy(only_dead)
    urls = cloud.client("sqs").list_queues().get("QueueUrls", [])
    assert url not in urls
    assert deploy["Dead"] in urls


def test_a_topic_with_its_policy_and_its_subscribers(cloud: Cloud, deploy: Deployed) -> None:
    def declared(display: str, **subscription: Any) -> dict[str, Any]:
        return {
            "T": of("SNS::Topic", DisplayName=display, Tags=tags(a=display)),
            "P": of(
                "SNS::TopicPolicy",
                Topics=[ref("T")],
                PolicyDocument=allowing("cloudwatch.amazonaws.com", "sns:Publish", ref("T")),
            ),
            "S": of(
                "SNS::Subscription",
                TopicArn=ref("T"),
                Protocol="email",
                Endpoint="a@example.com",
                **subscription,
            ),
        }

    deploy(declared("one"))
    sns, topic = cloud.client("sns"), deploy["T"]
    first = deploy["S"]
    attributes = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert attributes["DisplayName"] == "one"
    statement = json.loads(attributes["Policy"])["Statement"][0]
    assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    deploy(declared("two", FilterPolicy={"a": ["b"]}))
    assert deploy["T"] == topic
    assert deploy["S"] == first
    assert sns.get_topic_attributes(TopicArn=topic)["Attributes"]["DisplayName"] == "two"
    assert as_map(sns.list_tags_for_resource(ResourceArn=topic)["Tags"])["a"] == "two"
    changed = sns.get_subscription_attributes(SubscriptionArn=first)["Attributes"]
    assert json.loads(changed["FilterPolicy"]) == {"a": ["b"]}
    moved = declared("two")
    moved["S"]["Properties"]["Endpoint"] = "b@example.com"
    deploy(moved)
    (left,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert left["Endpoint"] == "b@example.com"


def test_rules_with_targets(cloud: Cloud, deploy: Deployed) -> None:
    def declared(state: str, *targets: str) -> dict[str, Any]:
        return {
            **{name: of("SQS::Queue") for name in ("A", "B")},
            "R": of(
                "Events::Rule",
                EventPattern={"source": ["aws.batch"], "detail": {"status": ["FAILED"]}},
                State=state,
                Targets=[{"Id": name, "Arn": att(name, "Arn")} for name in targets],
            ),
        }

    events = cloud.client("events")
    deploy(declared("ENABLED", "A", "B"))
    rule = deploy["R"]
    assert len(events.list_targets_by_rule(Rule=rule)["Targets"]) == 2
    deploy(declared("DISABLED", "B"))
    assert deploy["R"] == rule
    assert events.describe_rule(Name=rule)["State"] == "DISABLED"
    (target,) = events.list_targets_by_rule(Rule=rule)["Targets"]
    assert target["Id"] == "B"


def test_a_rule_that_matches_nothing_is_refused(cloud: Cloud) -> None:
    name = cloud.create({"R": of("Events::Rule", Targets=[])})
    assert "EventPattern or ScheduleExpression" in cloud.reasons(name)


def test_alarms_and_dashboards(cloud: Cloud, deploy: Deployed) -> None:
    def declared(threshold: int, widget: str) -> dict[str, Any]:
        body = {"widgets": [{"type": "text", "properties": {"markdown": widget}}]}
        metric = {
            "Id": "rate",
            "Expression": "100*failed/MAX([all,1])",
            "ReturnData": True,
        }
        stats = [
            {
                "Id": name,
                "MetricStat": {
                    "Metric": {"Namespace": "Orchestrator", "MetricName": name},
                    "Period": 300,
                    "Stat": "Sum",
                },
                "ReturnData": False,
            }
            for name in ("failed", "all")
        ]
        return {
            "T": of("SNS::Topic"),
            "A": of(
                "CloudWatch::Alarm",
                ComparisonOperator="LessThanThreshold",
                EvaluationPeriods=3,
                Namespace="Orchestrator",
                MetricName="heartbeat",
                Dimensions=[{"Name": "Environment", "Value": "x"}],
                Period=60,
                Statistic="SampleCount",
                Threshold=threshold,
                TreatMissingData="breaching",
                AlarmActions=[ref("T")],
                Tags=tags(a=widget),
            ),
            "M": of(
                "CloudWatch::Alarm",
                ComparisonOperator="GreaterThanThreshold",
                EvaluationPeriods=1,
                Metrics=[metric, *stats],
                Threshold=threshold,
            ),
            "D": of(
                "CloudWatch::Dashboard", DashboardName=dashboard, DashboardBody=json.dumps(body)
            ),
        }

    cloudwatch, dashboard = cloud.client("cloudwatch"), cloud.name("dashboard")
    deploy(declared(1, "one"))
    name = deploy["A"]
    deploy(declared(2, "two"))
    assert deploy["A"] == name
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert alarm["Threshold"] == 2
    assert alarm["AlarmActions"] == [deploy["T"]]
    assert alarm["TreatMissingData"] == "breaching"
    assert as_map(cloudwatch.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"]) == {
        "a": "two"
    }
    (rate,) = cloudwatch.describe_alarms(AlarmNames=[deploy["M"]])["MetricAlarms"]
    assert len(rate["Metrics"]) == 3
    assert "two" in cloudwatch.get_dashboard(DashboardName=dashboard)["DashboardBody"]
    deploy({"T": of("SNS::Topic")})
    assert cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"] == []
    assert cloudwatch.list_dashboards(DashboardNamePrefix=dashboard)["DashboardEntries"] == []


def test_a_budget_and_its_notifications(cloud: Cloud, deploy: Deployed) -> None:
    def declared(amount: int, address: str) -> dict[str, Any]:
        notification = {
            "NotificationType": "ACTUAL",
            "ComparisonOperator": "GREATER_THAN",
            "Threshold": 80,
        }
        return {
            "B": of(
                "Budgets::Budget",
                ResourceTags=tags(amount=str(amount)),
                Budget={
                    "BudgetType": "COST",
                    "TimeUnit": "MONTHLY",
                    "BudgetLimit": {"Amount": amount, "Unit": "USD"},
                },
                NotificationsWithSubscribers=[
                    {
                        "Notification": notification,
                        "Subscribers": [{"SubscriptionType": "EMAIL", "Address": address}],
                    }
                ],
            )
        }

    budgets = cloud.client("budgets")

    def limits() -> dict[str, str]:
        found = budgets.describe_budgets(AccountId="123456789012").get("Budgets", [])
        return {budget["BudgetName"]: budget["BudgetLimit"]["Amount"] for budget in found}

    deploy(declared(100, "a@example.com"))
    first = deploy["B"]
    deploy(declared(200, "a@example.com"))
    assert deploy["B"] == first
    assert limits()[first] == "200"
    arn = f"arn:aws:budgets::123456789012:budget/{first}"
    assert as_map(budgets.list_tags_for_resource(ResourceARN=arn)["ResourceTags"]) == {
        "amount": "200"
    }
    deploy(declared(200, "b@example.com"))
    assert deploy["B"] != first
    assert limits() == {deploy["B"]: "200"}


LAUNCH: dict[str, Any] = {
    "Vpc": of("EC2::VPC", CidrBlock="10.9.0.0/16"),
    "Subnet": of("EC2::Subnet", VpcId=ref("Vpc"), CidrBlock="10.9.0.0/24"),
    "Role": of(
        "IAM::Role",
        AssumeRolePolicyDocument={
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "ec2.amazonaws.com"},
                    "Action": "sts:AssumeRole",
                }
            ],
        },
    ),
    "Profile": of("IAM::InstanceProfile", Roles=[ref("Role")]),
}


def group(kind: str, policy: str = "AutoScalingRollingUpdate", **more: Any) -> dict[str, Any]:
    return {
        **LAUNCH,
        "Template": of(
            "EC2::LaunchTemplate",
            LaunchTemplateData={
                "InstanceType": kind,
                "ImageId": "ami-12345678",
                "IamInstanceProfile": {"Arn": att("Profile", "Arn")},
                "UserData": "IyEvYmluL3NoCg==",
            },
        ),
        "Group": {
            **of(
                "AutoScaling::AutoScalingGroup",
                MinSize="1",
                MaxSize="1",
                LaunchTemplate={
                    "LaunchTemplateId": ref("Template"),
                    "Version": att("Template", "LatestVersionNumber"),
                },
                VPCZoneIdentifier=[ref("Subnet")],
                **more,
            ),
            "CreationPolicy": {"ResourceSignal": {"Count": 1, "Timeout": "PT15M"}},
            "UpdatePolicy": {policy: {"WaitOnResourceSignals": True, "PauseTime": "PT15M"}},
        },
    }


def test_a_group_of_one_rolls_to_the_new_version_of_its_template(
    cloud: Cloud, deploy: Deployed
) -> None:
    scaling, ec2 = cloud.client("autoscaling"), cloud.client("ec2")

    def instance() -> tuple[str, str, dict[str, str]]:
        (found,) = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[deploy["Group"]])[
            "AutoScalingGroups"
        ]
        (member,) = found["Instances"]
        (reservation,) = ec2.describe_instances(InstanceIds=[member["InstanceId"]])["Reservations"]
        about = reservation["Instances"][0]
        assert about["State"]["Name"] == "running"
        return about["InstanceId"], about["InstanceType"], as_map(about["Tags"])

    label = {"Key": "Name", "Value": "host", "PropagateAtLaunch": True}
    deploy(group("m6i.large", Tags=[label]))
    name, (first, kind, labels) = deploy["Group"], instance()
    assert kind == "m6i.large"
    assert labels["Name"] == "host"
    deploy(group("m6i.xlarge", Tags=[label]))
    second, kind, _ = instance()
    assert deploy["Group"] == name
    assert kind == "m6i.xlarge"
    assert second != first
    (old,) = ec2.describe_instances(InstanceIds=[first])["Reservations"]
    assert old["Instances"][0]["State"]["Name"] == "terminated"
    deploy(LAUNCH)
    assert not scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])[
        "AutoScalingGroups"
    ]
    (gone,) = ec2.describe_instances(InstanceIds=[second])["Reservations"]
    assert gone["Instances"][0]["State"]["Name"] == "terminated"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"policy": "AutoScalingReplacingUpdate"}, "UpdatePolicy AutoScalingReplacingUpdate"),
        ({"DesiredCapacity": "2"}, "Desired capacity:2 must be between"),
        ({"LaunchConfigurationName": "x"}, "property LaunchConfigurationName"),
    ],
)
def test_a_group_that_cannot_be_is_refused(
    cloud: Cloud, change: dict[str, Any], message: str
) -> None:
    assert message in cloud.reasons(cloud.create(group("m6i.large", **change)))


def test_rules_of_a_pull_through_cache(cloud: Cloud, deploy: Deployed) -> None:
    def declared(prefix: str) -> dict[str, Any]:
        return {
            "S": of(
                "SecretsManager::Secret",
                Name=secret,
                SecretString=json.dumps({"username": "u", "accessToken": "t"}),
            ),
            "D": of(
                "ECR::PullThroughCacheRule",
                EcrRepositoryPrefix=prefix,
                UpstreamRegistry="docker-hub",
                UpstreamRegistryUrl="registry-1.docker.io",
                CredentialArn=ref("S"),
            ),
            "Q": of(
                "ECR::PullThroughCacheRule",
                EcrRepositoryPrefix=f"{prefix}-quay",
                UpstreamRegistryUrl="quay.io",
            ),
        }

    def rules() -> dict[str, str]:
        found = cloud.client("ecr").describe_pull_through_cache_rules()["pullThroughCacheRules"]
        return {rule["ecrRepositoryPrefix"]: rule["upstreamRegistry"] for rule in found}

    secret = f"ecr-pullthroughcache/{cloud.name('hub')}"
    deploy(declared("one"))
    assert rules() == {"one": "docker-hub", "one-quay": "quay"}
    deploy(declared("two"))
    assert deploy["D"] == "two"
    assert rules() == {"two": "docker-hub", "two-quay": "quay"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"CredentialArn": None}, "credentialArn is required"),
        (
            {"CredentialArn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:mine-abcdef"},
            "must begin with ecr-pullthroughcache/",
        ),
        ({"UpstreamRegistryUrl": "docker.io"}, "isn't supported"),
        ({"EcrRepositoryPrefix": "Not_Valid_"}, "is not valid"),
    ],
)
def test_what_ecr_refuses_of_a_rule(cloud: Cloud, change: dict[str, Any], message: str) -> None:
    properties = {
        "EcrRepositoryPrefix": "refused",
        "UpstreamRegistryUrl": "registry-1.docker.io",
        "CredentialArn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:"
        "ecr-pullthroughcache/hub-abcdef",
        **change,
    }
    given = {key: value for key, value in properties.items() if value is not None}
    name = cloud.create({"R": of("ECR::PullThroughCacheRule", **given)})
    assert message in cloud.reasons(name)


def test_an_unsupported_type_is_refused_by_name(cloud: Cloud) -> None:
    name = cloud.create({"F": of("Lambda::Function")})
    assert "AWS::Lambda::Function" in cloud.reasons(name)
