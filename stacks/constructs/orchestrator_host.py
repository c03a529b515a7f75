"""The machine that the orchestrator runs on."""

from __future__ import annotations

from aws_cdk import Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3_assets as s3_assets
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from stacks import assets
from stacks.assets import bundle
from stacks.constructs import boot, workflow_database
from stacks.settings import Host

_NOT_SHIPPED = ["**/__pycache__", "**/*.pyc", "**/.*"]


class OrchestratorHost(Construct):
    """Cattle: all it knows is in the database and the bucket. A new one boots the same.

    Nobody comes in from the network; people use Session Manager.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        host: Host,
        environment: str,
        contract: ssm.StringParameter,
        vpc: ec2.IVpc,
        subnets: ec2.SubnetSelection,
        role: iam.IRole,
        database_security_group: ec2.ISecurityGroup,
        database_secret_arn: str,
    ) -> None:
        super().__init__(scope, id)
        security_group = ec2.SecurityGroup(
            self, "SecurityGroup", vpc=vpc, description="Orchestrator: nobody comes in"
        )
        # In this stack, not the database's: the rule names both groups, references go one way.
        ec2.CfnSecurityGroupIngress(
            self,
            "ToDatabase",
            description="From the orchestrator's host",
            group_id=database_security_group.security_group_id,
            source_security_group_id=security_group.security_group_id,
            ip_protocol="tcp",
            from_port=workflow_database.PORT,
            to_port=workflow_database.PORT,
        )
        archives = {
            "lib": s3_assets.Asset(self, "Packages", path=str(bundle.find(host.architecture))),
            "app/orchestrator": self._source("orchestrator"),
            "app/config_templates": self._source("config_templates"),
        }
        policy = iam.Policy(
            self,
            "Policy",
            roles=[role],
            statements=[
                iam.PolicyStatement(
                    sid="ReadOrchestrator",
                    actions=["s3:GetObject"],
                    resources=[
                        a.bucket.arn_for_objects(a.s3_object_key) for a in archives.values()
                    ],
                ),
                iam.PolicyStatement(
                    sid="ReadContract",
                    actions=["ssm:GetParameter"],
                    resources=[contract.parameter_arn],
                ),
                iam.PolicyStatement(
                    sid="ReadDatabaseSecret",
                    actions=["secretsmanager:GetSecretValue"],
                    resources=[database_secret_arn],
                ),
            ],
        )
        variables = {
            "ENVIRONMENT": environment,
            "ARCHIVES": "\n".join(
                f"{name} {a.s3_bucket_name} {a.s3_object_key}" for name, a in archives.items()
            ),
        }
        instance = ec2.Instance(
            self,
            "Instance",
            vpc=vpc,
            vpc_subnets=subnets,
            security_group=security_group,
            role=role,
            instance_type=ec2.InstanceType(host.instance_type),
            machine_image=ec2.MachineImage.latest_amazon_linux2023(
                cpu_type=(
                    ec2.AmazonLinuxCpuType.ARM_64
                    if host.architecture == "arm64"
                    else ec2.AmazonLinuxCpuType.X86_64
                )
            ),
            user_data=ec2.UserData.custom(
                boot.render(Stack.of(self), variables, "fetch.sh", "host/install.sh")
            ),
            # What runs on it changed: a new host, not an old one that half knows.
            user_data_causes_replacement=True,
            http_tokens=ec2.HttpTokens.REQUIRED,
            http_put_response_hop_limit=1,
            detailed_monitoring=True,
            block_devices=[
                ec2.BlockDevice(
                    device_name="/dev/xvda",
                    volume=ec2.BlockDeviceVolume.ebs(
                        host.volume_gib,
                        volume_type=ec2.EbsDeviceVolumeType.GP3,
                        encrypted=True,
                        delete_on_termination=True,
                    ),
                )
            ],
        )
        instance.node.add_dependency(policy, contract)

    def _source(self, package: str) -> s3_assets.Asset:
        return s3_assets.Asset(
            self, f"Source-{package}", path=str(assets.ROOT / package), exclude=_NOT_SHIPPED
        )
