"""Environments with all that stacks can build: deployed, changed and destroyed by the real `cdk`.

The resources are asked of their services: a stack's status says nothing of what is there.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest

from orchestrator import deployment, errors
from orchestrator.local_aws import process
from stacks import settings as stack_settings
from stacks.assets import fetch
from stacks.lifecycle import images, removal
from stacks.lifecycle.cdk import Cdk

from . import inventory

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("update-and-destroy"),
    pytest.mark.timeout(600),
]

FULL = Path(__file__).with_name("full.toml")


@dataclass
class Account:
    """An AWS on this machine that is ready for CDK, and environments in it by their settings."""

    state: Path
    aws: process.LocalAws
    lock: int
    pinned: frozenset[str] = field(default_factory=frozenset)
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service,  # type: ignore[call-overload]
                endpoint_url=self.aws.endpoint,
                region_name="us-east-1",
                aws_access_key_id="local",
                aws_secret_access_key="local",
            )
        return self._clients[service]

    def inventory(self) -> frozenset[str]:
        return inventory.take(self.client)

    def cdk(self, context: dict[str, str]) -> Cdk:
        variables = {"CDK_VALIDATION": "false", "HOME": str(self.state)}
        return Cdk(
            self.state, context, self.aws.environment() | variables, lambda _: None, self.lock
        )

    def deploy(self, context: dict[str, str]) -> deployment.Deployment:
        """Deploy these settings; the contract that is published then."""
        chosen = stack_settings.from_context(context)
        fetch.fetch_for(chosen, lambda _: None)
        ssm = self.client("ssm")
        before = self.inventory()
        images.pin(ssm, chosen)  # bootstrap's, not the stacks': they stay
        self.pinned |= self.inventory() - before
        self.cdk(context).deploy()
        return deployment.read(ssm, chosen.environment)

    def destroy(self, context: dict[str, str]) -> None:
        """As `orchestrator bootstrap --destroy` does it."""
        chosen = stack_settings.from_context(context)
        removal.destroy(self.cdk(context), chosen, self.client, lambda _: None)


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    state = tmp_path_factory.mktemp("account")
    aws = process.start(state, jobs="process")
    lock = os.open(state / "deploying", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
    made = Account(state, aws, lock)
    try:
        made.cdk(context_of(FULL)).bootstrap(process.ACCOUNT, process.REGION)
        yield made
    finally:
        os.close(lock)
        process.stop(state, destroy=True)


def context_of(path: Path, changes: Mapping[str, str] | None = None) -> dict[str, str]:
    return {"settings": str(path)} | {f"set.{key}": text for key, text in (changes or {}).items()}


def kinds(found: frozenset[str]) -> set[str]:
    return {one.partition(":")[0] for one in found}


def test_a_full_environment_lives_from_its_deployment_to_its_end(account: Account) -> None:
    """Built, not harmed by a change that fails, changed, changed by nothing, destroyed."""
    empty = account.inventory()
    built = context_of(FULL)
    first = account.deploy(built)
    full = account.inventory() - empty - account.pinned
    # Every kind of resource that is counted was made by these settings.
    assert {kind for kind in inventory._KINDS if kind not in kinds(full)} <= {
        "database snapshot",  # of an environment whose data is kept
        "key alias",  # keys are named by their ARN
        "policy",  # inline ones only
    }
    _check_built(account, first)
    _check_a_bad_change_changes_nothing(account)

    changes = {
        "compute.instance_types": '["c7i", "m7i"]',
        "compute.arm64.on_demand_max_vcpus": "32",
        "compute.capacity_limit_minutes": "60",
        "log_retention_days": "90",
        "storage.access_log_days": "30",
        "database.backup_days": "14",
        "monitoring.emails": '["ops@example.com", "lab@example.com"]',
        "monitoring.monthly_budget_usd": "900",
        "host.instance_type": '"t3.large"',
    }
    changed = context_of(FULL, changes)
    second = account.deploy(changed)
    after = account.inventory() - empty - account.pinned
    _check_changed(account, first, second)
    # What holds data or has a name that others know is the same, by its identity.
    for kind in ("bucket", "database cluster", "job queue", "vpc", "subnet", "key", "secret"):
        assert {one for one in full if one.startswith(f"{kind}:")} <= after, kind
    # Nothing that was replaced is left beside its replacement.
    for kind in ("compute environment", "auto-scaling group", "instance", "budget", "rule"):
        count = [len([o for o in found if o.startswith(f"{kind}:")]) for found in (full, after)]
        more = 1 if kind == "compute environment" else 0  # that of the new queue
        assert count[1] == count[0] + more, kind

    again = account.inventory()
    account.deploy(changed)
    assert account.inventory() == again

    account.destroy(changed)
    assert account.inventory() - account.pinned == empty


def _check_a_bad_change_changes_nothing(account: Account) -> None:
    """One that only AWS finds wrong, when half of it is made: somebody has the prefix."""
    ecr = account.client("ecr")
    secret = "arn:aws:secretsmanager:us-east-1:123456789012:secret:ecr-pullthroughcache/gh-AbCdEf"
    ecr.create_pull_through_cache_rule(
        ecrRepositoryPrefix="github", upstreamRegistryUrl="ghcr.io", credentialArn=secret
    )
    before, facts = account.inventory(), _facts(account)
    rules = tomllib.loads(FULL.read_text())["registries"]["pull_through"]
    rules.append({"registry": "ghcr.io", "prefix": "github", "secret": secret})
    shown = ", ".join(
        "{" + ", ".join(f'{key} = "{value}"' for key, value in rule.items()) + "}" for rule in rules
    )
    with pytest.raises(errors.EnvironmentProblem, match="already exists"):
        account.deploy(context_of(FULL, {"registries.pull_through": f"[{shown}]"}))
    assert account.inventory() == before
    assert _facts(account) == facts
    ecr.delete_pull_through_cache_rule(ecrRepositoryPrefix="github")


def _check_built(account: Account, contract: deployment.Deployment) -> None:
    batch, logs = account.client("batch"), account.client("logs")
    queues = batch.describe_job_queues()["jobQueues"]
    assert {q["jobQueueArn"] for q in queues} == {q.arn for q in contract.queues}
    assert all(q["schedulingPolicyArn"] and q["jobStateTimeLimitActions"] for q in queues)
    spot = next(q for q in queues if q["jobQueueName"] == "full-spot")
    assert len(spot["computeEnvironmentOrder"]) == 2  # it falls back
    groups = {g["logGroupName"]: g for g in logs.describe_log_groups()["logGroups"]}
    assert groups[contract.log_group]["retentionInDays"] == 30
    s3, bucket = account.client("s3"), contract.bucket
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    encryption = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]
    default = encryption["Rules"][0]["ApplyServerSideEncryptionByDefault"]
    assert default["SSEAlgorithm"] == "aws:kms"
    assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
    assert s3.get_bucket_logging(Bucket=bucket)["LoggingEnabled"]
    (cluster,) = account.client("rds").describe_db_clusters()["DBClusters"]
    assert len(cluster["DBClusterMembers"]) == 2
    assert cluster["StorageEncrypted"]
    # Made by the stack's function, with nothing but `cdk deploy`.
    answer = account.client("rds-data").execute_statement(
        resourceArn=cluster["DBClusterArn"],
        secretArn=cluster["MasterUserSecret"]["SecretArn"],
        database="orchestrator",
        sql="SELECT rolcanlogin, pg_has_role('orchestrator', 'rds_iam', 'member') "
        "FROM pg_roles WHERE rolname = 'orchestrator'",
    )
    assert answer["records"] == [[{"booleanValue": True}, {"booleanValue": True}]]
    (host,) = account.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    assert len(host["Instances"]) == 1
    for role in account.client("iam").list_roles(PathPrefix="/genomics/")["Roles"]:
        assert role["Path"] == "/genomics/"


def _check_changed(
    account: Account, before: deployment.Deployment, after: deployment.Deployment
) -> None:
    batch = account.client("batch")
    new = {q.arn for q in after.queues} - {q.arn for q in before.queues}
    assert [arn.rpartition("/")[2] for arn in new] == ["full-on-demand-arm64"]
    queues = {q["jobQueueName"]: q for q in batch.describe_job_queues()["jobQueues"]}
    assert queues["full-on-demand-arm64"]["state"] == "ENABLED"
    limits = queues["full-spot"]["jobStateTimeLimitActions"]
    capacity = [one for one in limits if one["reason"].startswith("CAPACITY")]
    assert [one["maxTimeSeconds"] for one in capacity] == [3600]
    environments = {
        e["computeEnvironmentArn"]: e
        for e in batch.describe_compute_environments()["computeEnvironments"]
    }
    order = queues["full-spot"]["computeEnvironmentOrder"]
    for entry in order:
        resources = environments[entry["computeEnvironment"]]["computeResources"]
        assert resources["instanceTypes"] == ["c7i", "m7i"]
    groups = {
        g["logGroupName"]: g for g in account.client("logs").describe_log_groups()["logGroups"]
    }
    assert groups[after.log_group]["retentionInDays"] == 90
    (cluster,) = account.client("rds").describe_db_clusters()["DBClusters"]
    assert cluster["BackupRetentionPeriod"] == 14
    (budget,) = account.client("budgets").describe_budgets(AccountId=process.ACCOUNT)["Budgets"]
    assert float(budget["BudgetLimit"]["Amount"]) == 900
    endpoints = {s["Endpoint"] for s in account.client("sns").list_subscriptions()["Subscriptions"]}
    assert {"ops@example.com", "lab@example.com"} <= endpoints
    (host,) = account.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    (instance,) = host["Instances"]
    assert instance["InstanceType"] == "t3.large"


SMALL = {
    "network.egress": '"nat_single"',
    "database.readers": "0",
    "compute.priority_max_vcpus": "0",
    "monitoring.emails": "[]",
    "monitoring.monthly_budget_usd": "0",
}


def _facts(account: Account) -> Any:
    batch = account.client("batch")
    return (
        batch.describe_compute_environments()["computeEnvironments"],
        batch.describe_job_queues()["jobQueues"],
        account.client("ecr").describe_pull_through_cache_rules()["pullThroughCacheRules"],
    )


def test_the_way_out_is_changed_while_all_is_in_use(account: Account) -> None:
    """From NAT to public addresses to endpoints and back; subnets and database stay."""
    empty = account.inventory() - account.pinned
    only_ecr = {"set.registries.pull_through": "[]", "set.registries.job_secrets": "{}"}
    stays: set[str] = set()
    for egress in ("nat_single", "public", "endpoints", "nat_single"):
        context = context_of(FULL, SMALL | {"network.egress": f'"{egress}"'}) | only_ecr
        account.deploy(context)
        built = account.inventory() - empty
        endpoints = [one for one in built if one.startswith("endpoint:")]
        assert ("nat gateway" in kinds(built)) == (egress == "nat_single")
        assert (len(endpoints) > 1) == (egress == "endpoints")
        ec2 = account.client("ec2")
        hosts = [s for s in ec2.describe_subnets()["Subnets"] if "hosts" in str(s.get("Tags"))]
        assert len(hosts) == 2
        assert {s["MapPublicIpOnLaunch"] for s in hosts} == {egress == "public"}
        now = {s["SubnetId"] for s in hosts} | {o for o in built if o.startswith("database c")}
        assert now == (stays or now)
        stays = now
        for subnet in hosts:
            assert _way_out(ec2, subnet["SubnetId"]) == {
                "nat_single": "NatGatewayId",
                "public": "GatewayId",
                "endpoints": "",
            }.get(egress)
    account.destroy(context)
    assert account.inventory() - account.pinned == empty


def _way_out(ec2: Any, subnet: str) -> str:
    """What the default route of a subnet leads to."""
    (table,) = ec2.describe_route_tables(
        Filters=[{"Name": "association.subnet-id", "Values": [subnet]}]
    )["RouteTables"]
    for route in table["Routes"]:
        if route.get("DestinationCidrBlock") == "0.0.0.0/0":
            return next(name for name in ("NatGatewayId", "GatewayId") if route.get(name))
    return ""


def test_a_network_a_bucket_and_a_key_that_are_there_are_used_and_left(account: Account) -> None:
    ec2, s3, kms = (account.client(service) for service in ("ec2", "s3", "kms"))
    vpc = ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    subnets = [
        ec2.create_subnet(
            VpcId=vpc, CidrBlock=f"10.77.{number}.0/24", AvailabilityZone=f"us-east-1{zone}"
        )["Subnet"]["SubnetId"]
        for number, zone in enumerate("abab")
    ]
    associations = [
        ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)["AssociationId"]
        for subnet in subnets[:2]
    ]
    s3.create_bucket(Bucket="of-the-lab")
    s3.put_object(Bucket="of-the-lab", Key="theirs", Body=b"1")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    before = account.inventory()
    settings = ("get_bucket_versioning", "get_bucket_encryption", "get_bucket_ownership_controls")
    theirs = [_of_bucket(s3, verb) for verb in settings]

    def listed(names: list[str]) -> str:
        return "[" + ", ".join(f'"{name}"' for name in names) + "]"

    changes = SMALL | {
        "network.egress": '"existing"',
        "network.existing.vpc_id": f'"{vpc}"',
        "network.existing.host_subnets": listed(subnets[:2]),
        "network.existing.database_subnets": listed(subnets[2:]),
        "network.existing.route_tables": listed([table]),
        "encryption.kms_key": f'"{key}"',
        "storage.existing_bucket": '"of-the-lab"',
        "storage.versioning": "false",
    }
    context = context_of(FULL, changes)
    contract = account.deploy(context)
    assert contract.bucket == "of-the-lab"
    built = account.inventory() - before
    assert not {"vpc", "subnet", "nat gateway", "route table", "key"} & kinds(built)
    (cluster,) = account.client("rds").describe_db_clusters()["DBClusters"]
    assert cluster["KmsKeyId"] == key
    resources = [
        e["computeResources"]
        for e in account.client("batch").describe_compute_environments()["computeEnvironments"]
    ]
    assert resources
    assert all(set(r["subnets"]) == set(subnets[:2]) for r in resources)
    endpoints = ec2.describe_vpc_endpoints(Filters=[{"Name": "vpc-id", "Values": [vpc]}])
    assert [e["RouteTableIds"] for e in endpoints["VpcEndpoints"]] == [[table]]
    for name, version in _worker_templates(account):
        for disk in version["BlockDeviceMappings"]:
            assert disk["Ebs"]["KmsKeyId"] == key, name
    account.destroy(context)
    assert account.inventory() - account.pinned == before - account.pinned
    assert [_of_bucket(s3, verb) for verb in settings] == theirs
    assert s3.get_object(Bucket="of-the-lab", Key="theirs")["Body"].read() == b"1"
    s3.delete_object(Bucket="of-the-lab", Key="theirs")
    s3.delete_bucket(Bucket="of-the-lab")
    kms.schedule_key_deletion(KeyId=key.rpartition("/")[2], PendingWindowInDays=7)
    for association in associations:
        ec2.disassociate_route_table(AssociationId=association)
    for subnet in subnets:
        ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_route_table(RouteTableId=table)
    ec2.delete_vpc(VpcId=vpc)


def _of_bucket(s3: Any, verb: str) -> Any:
    try:
        answer = getattr(s3, verb)(Bucket="of-the-lab")
    except s3.exceptions.ClientError as error:
        return error.response["Error"]["Code"]
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def _worker_templates(account: Account) -> list[tuple[str, dict[str, Any]]]:
    ec2 = account.client("ec2")
    found = []
    for template in ec2.describe_launch_templates()["LaunchTemplates"]:
        (version,) = ec2.describe_launch_template_versions(
            LaunchTemplateId=template["LaunchTemplateId"], Versions=["$Latest"]
        )["LaunchTemplateVersions"]
        found.append((template["LaunchTemplateName"], version["LaunchTemplateData"]))
    assert found
    return found


def test_what_is_to_be_kept_is_kept_and_the_rest_comes_back(account: Account) -> None:
    context = context_of(FULL, SMALL | {"retention": '"keep"'})
    contract = account.deploy(context)
    account.client("s3").put_object(Bucket=contract.bucket, Key="workflows/result", Body=b"7")
    account.destroy(context)
    assert not {"instance", "compute environment", "job queue"} & kinds(account.inventory())
    got = account.client("s3").get_object(Bucket=contract.bucket, Key="workflows/result")
    assert got["Body"].read() == b"7"
    (cluster,) = account.client("rds").describe_db_clusters()["DBClusters"]
    assert cluster["DeletionProtection"]
    again = account.deploy(context)
    assert (again.bucket, again.database) == (contract.bucket, contract.database)
    # As it is told: the protection is lifted first.
    lifted = context_of(FULL, SMALL | {"retention": '"destroy"'})
    account.deploy(lifted)
    account.destroy(lifted)
    assert not account.client("rds").describe_db_clusters()["DBClusters"]


def test_the_full_environment_says_every_section() -> None:
    written = tomllib.loads(FULL.read_text())
    sections = {
        name
        for name, about in stack_settings.Settings.model_fields.items()
        if hasattr(about.annotation, "model_fields")
    }
    assert sections - written.keys() == {"worker", "host"}  # all of it by default
