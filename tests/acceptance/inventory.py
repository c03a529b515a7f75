"""What is in an AWS account, asked of each service itself: not of CloudFormation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Client = Callable[[str], Any]

_DEAD = ("deleted", "deleting", "terminated", "shutting-down", "PendingDeletion", "INACTIVE")
# Account-wide, made by moto or by `cdk bootstrap`.
_OTHERS = ("AWSServiceRole", "cdk-hnb659fds-", "alias/aws/")


def take(client: Client) -> frozenset[str]:
    """`service kind: name` of everything that environments are made of and that still lives."""
    return frozenset(
        f"{kind}: {name}"
        for kind, names in _KINDS.items()
        for name in names(client)
        if not any(other in name for other in _OTHERS)
    )


def _pages(client: Any, verb: str, member: str, **arguments: Any) -> Iterator[dict[str, Any]]:
    if client.can_paginate(verb):
        for page in client.get_paginator(verb).paginate(**arguments):
            yield from page.get(member, ())
    else:
        yield from getattr(client, verb)(**arguments).get(member, ())


def _all(
    service: str, verb: str, member: str, name: str, *, state: str = "", **arguments: Any
) -> Callable[[Client], Iterator[str]]:
    """Names of one kind; `state` is the member that says whether it lives."""

    def names(client: Client) -> Iterator[str]:
        for found in _pages(client(service), verb, member, **arguments):
            value: Any = found if not state else found.get(state, "")
            value = value.get("Name") if state and isinstance(value, dict) else value
            if not state or value not in _DEAD:
                yield str(found[name]) if isinstance(found, dict) else str(found)

    return names


def _instances(client: Client) -> Iterator[str]:
    for reservation in _pages(client("ec2"), "describe_instances", "Reservations"):
        for instance in reservation["Instances"]:
            if instance["State"]["Name"] not in _DEAD:
                yield instance["InstanceId"]


def _keys(client: Client) -> Iterator[str]:
    kms = client("kms")
    aliases = _pages(kms, "list_aliases", "Aliases")
    # AWS's own keys, which moto takes for a customer's.
    of_aws = {a.get("TargetKeyId") for a in aliases if a["AliasName"].startswith("alias/aws/")}
    for key in _pages(kms, "list_keys", "Keys"):
        about = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
        if about["KeyState"] not in _DEAD and key["KeyId"] not in of_aws:
            yield key["KeyId"]


def _queues(client: Client) -> list[str]:
    found: list[str] = client("sqs").list_queues().get("QueueUrls", [])
    return found


def _budgets(client: Client) -> list[str]:
    found = client("budgets").describe_budgets(AccountId="123456789012").get("Budgets", [])
    return [budget["BudgetName"] for budget in found]


_KINDS: dict[str, Callable[[Client], Any]] = {
    "auto-scaling group": _all(
        "autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups", "AutoScalingGroupName"
    ),
    "budget": _budgets,
    "compute environment": _all(
        "batch",
        "describe_compute_environments",
        "computeEnvironments",
        "computeEnvironmentName",
    ),
    "job queue": _all("batch", "describe_job_queues", "jobQueues", "jobQueueName"),
    "scheduling policy": _all("batch", "list_scheduling_policies", "schedulingPolicies", "arn"),
    "alarm": _all("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
    "dashboard": _all("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
    "address": _all("ec2", "describe_addresses", "Addresses", "AllocationId"),
    "endpoint": _all(
        "ec2", "describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId", state="State"
    ),
    "flow log": _all("ec2", "describe_flow_logs", "FlowLogs", "FlowLogId"),
    "instance": _instances,
    "internet gateway": _all(
        "ec2", "describe_internet_gateways", "InternetGateways", "InternetGatewayId"
    ),
    "launch template": _all(
        "ec2", "describe_launch_templates", "LaunchTemplates", "LaunchTemplateId"
    ),
    "nat gateway": _all(
        "ec2", "describe_nat_gateways", "NatGateways", "NatGatewayId", state="State"
    ),
    "route table": _all("ec2", "describe_route_tables", "RouteTables", "RouteTableId"),
    "security group": _all("ec2", "describe_security_groups", "SecurityGroups", "GroupId"),
    "subnet": _all("ec2", "describe_subnets", "Subnets", "SubnetId"),
    "vpc": _all("ec2", "describe_vpcs", "Vpcs", "VpcId"),
    "pull-through rule": _all(
        "ecr",
        "describe_pull_through_cache_rules",
        "pullThroughCacheRules",
        "ecrRepositoryPrefix",
    ),
    "repository template": _all(
        "ecr", "describe_repository_creation_templates", "repositoryCreationTemplates", "prefix"
    ),
    "rule": _all("events", "list_rules", "Rules", "Name"),
    "function": _all("lambda", "list_functions", "Functions", "FunctionName"),
    "instance profile": _all(
        "iam", "list_instance_profiles", "InstanceProfiles", "InstanceProfileName"
    ),
    "policy": _all("iam", "list_policies", "Policies", "PolicyName", Scope="Local"),
    "role": _all("iam", "list_roles", "Roles", "RoleName"),
    "key": _keys,
    "key alias": _all("kms", "list_aliases", "Aliases", "AliasName"),
    "log group": _all("logs", "describe_log_groups", "logGroups", "logGroupName"),
    "database cluster": _all("rds", "describe_db_clusters", "DBClusters", "DBClusterIdentifier"),
    "database instance": _all(
        "rds", "describe_db_instances", "DBInstances", "DBInstanceIdentifier"
    ),
    "database parameters": _all(
        "rds",
        "describe_db_cluster_parameter_groups",
        "DBClusterParameterGroups",
        "DBClusterParameterGroupName",
    ),
    "database snapshot": _all(
        "rds",
        "describe_db_cluster_snapshots",
        "DBClusterSnapshots",
        "DBClusterSnapshotIdentifier",
    ),
    "database subnets": _all(
        "rds", "describe_db_subnet_groups", "DBSubnetGroups", "DBSubnetGroupName"
    ),
    "bucket": _all("s3", "list_buckets", "Buckets", "Name"),
    "secret": _all("secretsmanager", "list_secrets", "SecretList", "Name"),
    "topic": _all("sns", "list_topics", "Topics", "TopicArn"),
    "subscription": _all("sns", "list_subscriptions", "Subscriptions", "SubscriptionArn"),
    "queue": _queues,
    "parameter": _all(
        "ssm",
        "describe_parameters",
        "Parameters",
        "Name",
        # AWS's own, of which there are thousands, are not asked for.
        ParameterFilters=[
            {"Key": "Name", "Option": "BeginsWith", "Values": ["/orchestrator", "full"]}
        ],
    ),
}
