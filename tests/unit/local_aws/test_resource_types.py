"""Every resource type: what a template says is what the service then has; changes change it."""

from __future__ import annotations

import base64
import json
from typing import Any

import psycopg
import pytest
from botocore.exceptions import ClientError

from tests.unit.local_aws.conftest import Cloud
from tests.unit.local_aws.deployed import Deployed, as_map, att, of, ref, tags

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ec2.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


def policy(action: str) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": action, "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [statement]}


NETWORK: dict[str, Any] = {
    "Vpc": of("EC2::VPC", CidrBlock="10.1.0.0/16", EnableDnsHostnames=True, Tags=tags(Name="v")),
    "A": of(
        "EC2::Subnet",
        VpcId=ref("Vpc"),
        CidrBlock="10.1.0.0/24",
        AvailabilityZone={"Fn::Select": [0, {"Fn::GetAZs": ""}]},
        MapPublicIpOnLaunch=True,
    ),
    "B": of(
        "EC2::Subnet",
        VpcId=ref("Vpc"),
        CidrBlock="10.1.1.0/24",
        AvailabilityZone={"Fn::Select": [1, {"Fn::GetAZs": ""}]},
    ),
    "Group": of("EC2::SecurityGroup", GroupDescription="g", VpcId=ref("Vpc")),
}


def test_a_network(cloud: Cloud, deploy: Deployed) -> None:
    declared = {
        **NETWORK,
        "Igw": of("EC2::InternetGateway", Tags=tags(Name="igw")),
        "Attached": of("EC2::VPCGatewayAttachment", VpcId=ref("Vpc"), InternetGatewayId=ref("Igw")),
        "Table": of("EC2::RouteTable", VpcId=ref("Vpc"), Tags=tags(Name="t")),
        "Out": {
            **of(
                "EC2::Route",
                RouteTableId=ref("Table"),
                DestinationCidrBlock="0.0.0.0/0",
                GatewayId=ref("Igw"),
            ),
            "DependsOn": ["Attached"],
        },
        "ATable": of(
            "EC2::SubnetRouteTableAssociation", SubnetId=ref("A"), RouteTableId=ref("Table")
        ),
        "Ip": of("EC2::EIP", Domain="vpc", Tags=tags(Name="ip")),
        "Nat": of("EC2::NatGateway", SubnetId=ref("A"), AllocationId=att("Ip", "AllocationId")),
        "Private": of("EC2::RouteTable", VpcId=ref("Vpc")),
        "PrivateOut": of(
            "EC2::Route",
            RouteTableId=ref("Private"),
            DestinationCidrBlock="0.0.0.0/0",
            NatGatewayId=ref("Nat"),
        ),
        "BTable": of(
            "EC2::SubnetRouteTableAssociation", SubnetId=ref("B"), RouteTableId=ref("Private")
        ),
        "S3": of(
            "EC2::VPCEndpoint",
            VpcId=ref("Vpc"),
            ServiceName={"Fn::Sub": "com.amazonaws.${AWS::Region}.s3"},
            VpcEndpointType="Gateway",
            RouteTableIds=[ref("Table")],
        ),
        "Log": of("Logs::LogGroup"),
        "LogRole": of("IAM::Role", AssumeRolePolicyDocument=TRUST),
        "Flow": of(
            "EC2::FlowLog",
            ResourceId=ref("Vpc"),
            ResourceType="VPC",
            TrafficType="ALL",
            LogDestinationType="cloud-watch-logs",
            LogGroupName=ref("Log"),
            DeliverLogsPermissionArn=att("LogRole", "Arn"),
        ),
    }
    deploy(
        declared,
        Outputs={"Default": {"Value": att("Vpc", "DefaultSecurityGroup")}},
    )
    ec2 = cloud.client("ec2")
    vpc = deploy["Vpc"]
    answer = ec2.describe_vpc_attribute(VpcId=vpc, Attribute="enableDnsHostnames")
    assert answer["EnableDnsHostnames"]["Value"]
    assert ec2.describe_subnets(SubnetIds=[deploy["A"]])["Subnets"][0]["MapPublicIpOnLaunch"]
    tables = ec2.describe_route_tables(RouteTableIds=[deploy["Table"], deploy["Private"]])
    by_id = {table["RouteTableId"]: table for table in tables["RouteTables"]}
    gateways = {route.get("GatewayId") for route in by_id[deploy["Table"]]["Routes"]}
    assert deploy["Igw"] in gateways
    nats = {route.get("NatGatewayId") for route in by_id[deploy["Private"]]["Routes"]}
    assert deploy["Nat"] in nats
    assert cloud.outputs(deploy.name)["Default"].startswith("sg-")
    assert ec2.describe_flow_logs(FlowLogIds=[deploy["Flow"]])["FlowLogs"][0]["ResourceId"] == vpc

    vpc_changed = of(
        "EC2::VPC", CidrBlock="10.1.0.0/16", EnableDnsHostnames=False, Tags=tags(Owner="o")
    )
    s3_changed = {
        **declared["S3"],
        "Properties": {
            **declared["S3"]["Properties"],
            "RouteTableIds": [ref("Table"), ref("Private")],
        },
    }
    before = deploy["S3"]
    deploy({**declared, "Vpc": vpc_changed, "S3": s3_changed})
    answer = ec2.describe_vpc_attribute(VpcId=vpc, Attribute="enableDnsHostnames")
    assert not answer["EnableDnsHostnames"]["Value"]
    assert as_map(ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["Tags"]) == {"Owner": "o"}
    endpoint = ec2.describe_vpc_endpoints(VpcEndpointIds=[before])["VpcEndpoints"][0]
    assert set(endpoint["RouteTableIds"]) == {deploy["Table"], deploy["Private"]}


def test_security_groups_and_their_rules(cloud: Cloud, deploy: Deployed) -> None:
    def declared(port: int, egress: list[dict[str, Any]]) -> dict[str, Any]:
        rules = [{"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "CidrIp": "10.0.0.0/8"}]
        return {
            **NETWORK,
            "Web": of(
                "EC2::SecurityGroup",
                GroupDescription="web",
                VpcId=ref("Vpc"),
                SecurityGroupIngress=rules,
                SecurityGroupEgress=egress,
            ),
            "FromGroup": of(
                "EC2::SecurityGroupIngress",
                GroupId=att("Web", "GroupId"),
                IpProtocol="tcp",
                FromPort=port,
                ToPort=port,
                SourceSecurityGroupId=ref("Group"),
            ),
            "ToGroup": of(
                "EC2::SecurityGroupEgress",
                GroupId=att("Web", "GroupId"),
                IpProtocol="tcp",
                FromPort=9,
                ToPort=9,
                DestinationSecurityGroupId=ref("Group"),
            ),
        }

    def found() -> tuple[set[Any], set[Any]]:
        answer = cloud.client("ec2").describe_security_groups(GroupIds=[deploy["Web"]])
        group = answer["SecurityGroups"][0]
        ways = (group["IpPermissions"], group["IpPermissionsEgress"])
        inward, outward = (
            {
                (permission.get("FromPort"), peer)
                for permission in permissions
                for peer in [
                    *(r["CidrIp"] for r in permission["IpRanges"]),
                    *(p["GroupId"] for p in permission["UserIdGroupPairs"]),
                ]
            }
            for permissions in ways
        )
        return inward, outward

    https = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "0.0.0.0/0"}
    deploy(declared(80, [https]))
    group = deploy["Group"]
    assert found() == ({(80, "10.0.0.0/8"), (80, group)}, {(443, "0.0.0.0/0"), (9, group)})
    deploy(declared(81, []))
    assert found() == ({(81, "10.0.0.0/8"), (81, group)}, {(None, "0.0.0.0/0"), (9, group)})


def test_a_launch_template_gets_a_new_version(cloud: Cloud, deploy: Deployed) -> None:
    def declared(size: Any) -> dict[str, Any]:
        volume = {"VolumeSize": size, "VolumeType": "gp3", "Encrypted": "true"}
        disk = {"DeviceName": "/dev/xvda", "Ebs": volume}
        data = {
            "BlockDeviceMappings": [disk],
            "UserData": {"Fn::Base64": "#!/bin/sh"},
            "MetadataOptions": {"HttpTokens": "required"},
        }
        return {"T": of("EC2::LaunchTemplate", LaunchTemplateData=data)}

    outputs = {"Latest": {"Value": att("T", "LatestVersionNumber")}}
    deploy(declared("30"), Outputs=outputs)
    before = deploy["T"]
    assert cloud.outputs(deploy.name) == {"Latest": "1"}
    deploy(declared(40), Outputs=outputs)
    assert deploy["T"] == before
    assert cloud.outputs(deploy.name) == {"Latest": "2"}
    versions = cloud.client("ec2").describe_launch_template_versions(
        LaunchTemplateId=before, Versions=["$Latest"]
    )["LaunchTemplateVersions"]
    data = versions[0]["LaunchTemplateData"]
    assert data["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] == 40
    assert base64.b64decode(data["UserData"]) == b"#!/bin/sh"


def test_an_instance(cloud: Cloud, deploy: Deployed) -> None:
    ami = cloud.client("ec2").describe_images()["Images"][0]["ImageId"]

    def declared(kind: str, data: str) -> dict[str, Any]:
        return {
            **NETWORK,
            "Role": of("IAM::Role", AssumeRolePolicyDocument=TRUST),
            "Profile": of("IAM::InstanceProfile", Roles=[ref("Role")]),
            "Host": of(
                "EC2::Instance",
                ImageId=ami,
                InstanceType=kind,
                SubnetId=ref("A"),
                SecurityGroupIds=[att("Group", "GroupId")],
                IamInstanceProfile=ref("Profile"),
                MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
                UserData={"Fn::Base64": data},
                Tags=tags(Name=kind),
            ),
        }

    def user_data() -> str:
        answer = cloud.client("ec2").describe_instance_attribute(
            InstanceId=deploy["Host"], Attribute="userData"
        )
        return base64.b64decode(answer["UserData"]["Value"]).decode()

    deploy(declared("m6i.large", "one"))
    before = deploy["Host"]
    assert user_data() == "one"
    deploy(declared("m6i.xlarge", "two"))
    assert deploy["Host"] == before
    answer = cloud.client("ec2").describe_instances(InstanceIds=[before])
    instance = answer["Reservations"][0]["Instances"][0]
    assert instance["InstanceType"] == "m6i.xlarge"
    assert instance["State"]["Name"] == "running"
    assert as_map(instance["Tags"])["Name"] == "m6i.xlarge"
    assert user_data() == "two"


def test_roles_and_policies(cloud: Cloud, deploy: Deployed) -> None:
    aws = "arn:aws:iam::aws:policy/"

    def declared(action: str, managed: list[str]) -> dict[str, Any]:
        return {
            "R": of(
                "IAM::Role",
                AssumeRolePolicyDocument=TRUST,
                Description=action,
                ManagedPolicyArns=[f"{aws}{name}" for name in managed],
                Policies=[{"PolicyName": action[-3:], "PolicyDocument": policy(action)}],
                Tags=tags(for_=action[-3:]),
            ),
            "P": of(
                "IAM::Policy",
                PolicyName="extra",
                PolicyDocument=policy(action),
                Roles=[ref("R")],
            ),
            "M": of(
                "IAM::ManagedPolicy", PolicyDocument=policy(action), Roles=[ref("R")], Path="/x/"
            ),
        }

    deploy(declared("s3:Get", ["AmazonSSMManagedInstanceCore"]))
    iam, role = cloud.client("iam"), deploy["R"]

    def attached() -> set[str]:
        answer = iam.list_attached_role_policies(RoleName=role)
        return {p["PolicyArn"] for p in answer["AttachedPolicies"]}

    assert attached() == {f"{aws}AmazonSSMManagedInstanceCore", deploy["M"]}
    deploy(declared("s3:Put", ["AmazonS3ReadOnlyAccess"]))
    assert deploy["R"] == role
    assert attached() == {f"{aws}AmazonS3ReadOnlyAccess", deploy["M"]}
    assert set(iam.list_role_policies(RoleName=role)["PolicyNames"]) == {"Put", "extra"}
    inline = iam.get_role_policy(RoleName=role, PolicyName="extra")["PolicyDocument"]
    assert inline == policy("s3:Put")
    managed = iam.get_policy(PolicyArn=deploy["M"])["Policy"]["DefaultVersionId"]
    version = iam.get_policy_version(PolicyArn=deploy["M"], VersionId=managed)["PolicyVersion"]
    assert version["Document"] == policy("s3:Put")
    found = iam.get_role(RoleName=role)["Role"]
    assert found["Description"] == "s3:Put"
    assert as_map(found["Tags"]) == {"for_": "Put"}


def test_a_bucket_with_every_setting(cloud: Cloud, deploy: Deployed) -> None:
    def declared(days: int, versioned: str, **more: Any) -> dict[str, Any]:
        rules = [
            {
                "Id": "scratch",
                "Status": "Enabled",
                "Prefix": "scratch/",
                "TagFilters": [{"Key": "k", "Value": "v"}],
                "ExpirationInDays": days,
            },
            {
                "Id": "all",
                "Status": "Enabled",
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
                "NoncurrentVersionExpiration": {"NoncurrentDays": "3"},
                "Transitions": [{"StorageClass": "GLACIER", "TransitionInDays": 90}],
            },
        ]
        return {
            "B": of(
                "S3::Bucket",
                BucketEncryption={
                    "ServerSideEncryptionConfiguration": [
                        {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
                    ]
                },
                LifecycleConfiguration={"Rules": rules},
                VersioningConfiguration={"Status": versioned},
                OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
                PublicAccessBlockConfiguration={
                    "BlockPublicAcls": "true",
                    "BlockPublicPolicy": True,
                    "IgnorePublicAcls": True,
                    "RestrictPublicBuckets": True,
                },
                Tags=tags(days=str(days)),
                **more,
            ),
            "Policy": of(
                "S3::BucketPolicy",
                Bucket=ref("B"),
                PolicyDocument={
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Deny",
                            "Principal": {"AWS": "*"},
                            "Action": "s3:*",
                            "Resource": {"Fn::Sub": "${B.Arn}/*"},
                            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                        },
                        {
                            "Effect": "Deny",
                            "Principal": "*",
                            "Action": "s3:PutObject",
                            "Resource": {"Fn::Sub": "${B.Arn}/locked/*"},
                        },
                    ],
                },
            ),
        }

    deploy(declared(30, "Enabled"))
    s3, bucket = cloud.client("s3"), deploy["B"]

    def rules() -> dict[str, Any]:
        answer = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
        return {rule["ID"]: rule for rule in answer["Rules"]}

    assert rules()["scratch"]["Expiration"] == {"Days": 30}
    assert rules()["scratch"]["Filter"]["And"]["Prefix"] == "scratch/"
    assert rules()["all"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 3}
    assert rules()["all"]["Transitions"] == [{"Days": 90, "StorageClass": "GLACIER"}]
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    encryption = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]
    default = encryption["Rules"][0]["ApplyServerSideEncryptionByDefault"]
    assert default["SSEAlgorithm"] == "aws:kms"
    block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert all(block.values())
    ownership = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]
    assert ownership["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]

    s3.put_object(Bucket=bucket, Key="open/k", Body=b"1")
    with pytest.raises(ClientError, match="403"):
        s3.put_object(Bucket=bucket, Key="locked/k", Body=b"1")

    changed = declared(7, "Suspended")
    del changed["B"]["Properties"]["BucketEncryption"]
    changed["Policy"]["Properties"]["PolicyDocument"]["Statement"].pop()
    deploy(changed)
    assert deploy["B"] == bucket
    assert rules()["scratch"]["Expiration"] == {"Days": 7}
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Suspended"
    assert as_map(s3.get_bucket_tagging(Bucket=bucket)["TagSet"]) == {"days": "7"}
    s3.put_object(Bucket=bucket, Key="locked/k", Body=b"1")

    without = declared(7, "Suspended")
    del without["B"]["Properties"]["LifecycleConfiguration"]
    del without["Policy"]
    deploy(without)
    with pytest.raises(ClientError, match="NoSuchLifecycleConfiguration"):
        rules()
    with pytest.raises(ClientError, match="NoSuchBucketPolicy"):
        s3.get_bucket_policy(Bucket=bucket)
    for version in s3.list_object_versions(Bucket=bucket)["Versions"]:
        s3.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])


def test_secrets(cloud: Cloud, deploy: Deployed) -> None:
    def declared(length: int) -> dict[str, Any]:
        return {
            "S": of(
                "SecretsManager::Secret",
                Description="d",
                GenerateSecretString={
                    "SecretStringTemplate": '{"username": "u"}',
                    "GenerateStringKey": "password",
                    "PasswordLength": length,
                    "ExcludePunctuation": "true",
                },
                Tags=tags(a="b"),
            ),
            "Plain": of("SecretsManager::Secret", SecretString=f"text {length}"),
        }

    def value(logical: str) -> str:
        answer = cloud.client("secretsmanager").get_secret_value(SecretId=deploy[logical])
        text: str = answer["SecretString"]
        return text

    deploy(declared(20))
    first = json.loads(value("S"))
    assert first["username"] == "u"
    assert len(first["password"]) == 20
    assert first["password"].isalnum()
    deploy(declared(40))
    assert len(json.loads(value("S"))["password"]) == 40
    assert value("Plain") == "text 40"


def test_log_groups_and_parameters(cloud: Cloud, deploy: Deployed) -> None:
    def declared(days: int | None, value: str) -> dict[str, Any]:
        retention = {} if days is None else {"RetentionInDays": days}
        return {
            "L": of("Logs::LogGroup", **retention, Tags=tags(v=value)),
            "P": of("SSM::Parameter", Type="String", Value=value, Tags={"v": value}),
        }

    def retention() -> int | None:
        answer = cloud.client("logs").describe_log_groups(logGroupNamePrefix=deploy["L"])
        days: int | None = answer["logGroups"][0].get("retentionInDays")
        return days

    deploy(declared(7, "one"))
    assert retention() == 7
    deploy(declared(30, "two"))
    assert retention() == 30
    parameter = cloud.client("ssm").get_parameter(Name=deploy["P"])["Parameter"]
    assert (parameter["Value"], parameter["Version"]) == ("two", 2)
    found = cloud.client("ssm").list_tags_for_resource(
        ResourceType="Parameter", ResourceId=deploy["P"]
    )
    assert as_map(found["TagList"]) == {"v": "two"}
    deploy(declared(None, "two"))
    assert retention() is None


def batch_environment(kinds: list[str], vcpus: int, replace: bool = False) -> dict[str, Any]:
    return {
        **NETWORK,
        "Role": of("IAM::Role", AssumeRolePolicyDocument=TRUST),
        "Profile": of("IAM::InstanceProfile", Roles=[ref("Role")]),
        "Template": of("EC2::LaunchTemplate", LaunchTemplateData={"EbsOptimized": True}),
        "Env": of(
            "Batch::ComputeEnvironment",
            Type="managed",
            ReplaceComputeEnvironment=replace,
            ComputeResources={
                "Type": "SPOT",
                "AllocationStrategy": "SPOT_PRICE_CAPACITY_OPTIMIZED",
                "InstanceTypes": kinds,
                "InstanceRole": att("Profile", "Arn"),
                "MinvCpus": 0,
                "MaxvCpus": vcpus,
                "Subnets": [ref("A"), ref("B")],
                "SecurityGroupIds": [att("Group", "GroupId")],
                "LaunchTemplate": {
                    "LaunchTemplateId": ref("Template"),
                    "Version": att("Template", "LatestVersionNumber"),
                },
            },
            UpdatePolicy={"TerminateJobsOnUpdate": False},
        ),
    }


def queue(priority: int = 1, **more: Any) -> dict[str, Any]:
    order = {"Order": 1, "ComputeEnvironment": att("Env", "ComputeEnvironmentArn")}
    return of("Batch::JobQueue", Priority=priority, ComputeEnvironmentOrder=[order], **more)


def test_a_compute_environment_and_its_queue_change_in_place(
    cloud: Cloud, deploy: Deployed
) -> None:
    deploy({**batch_environment(["m6i"], 16), "Queue": queue()})
    batch = cloud.client("batch")
    environment, first_queue = deploy["Env"], deploy["Queue"]

    def described() -> dict[str, Any]:
        answer = batch.describe_compute_environments(computeEnvironments=[environment])
        found: dict[str, Any] = answer["computeEnvironments"][0]
        return found

    assert described()["type"] == "MANAGED"
    assert described()["computeResources"]["launchTemplate"]["version"] == "1"
    assert "AWSServiceRoleForBatch" in described()["serviceRole"]

    limit = {
        "Action": "CANCEL",
        "MaxTimeSeconds": 600,
        "Reason": "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
        "State": "RUNNABLE",
    }
    changed = batch_environment(["c6i", "r6i"], 64)
    changed["Template"] = of("EC2::LaunchTemplate", LaunchTemplateData={"EbsOptimized": False})
    deploy({**changed, "Queue": queue(9, JobStateTimeLimitActions=[limit]), "Second": queue()})
    assert (deploy["Env"], deploy["Queue"]) == (environment, first_queue)
    resources = described()["computeResources"]
    assert resources["instanceTypes"] == ["c6i", "r6i"]
    assert resources["maxvCpus"] == 64
    assert resources["launchTemplate"]["version"] == "2"
    queues = batch.describe_job_queues(jobQueues=[first_queue])["jobQueues"]
    assert queues[0]["priority"] == 9
    assert queues[0]["jobStateTimeLimitActions"][0]["maxTimeSeconds"] == 600
    assert batch.describe_job_queues(jobQueues=[deploy["Second"]])["jobQueues"]


def test_a_compute_environment_is_replaced_where_aws_replaces_it(
    cloud: Cloud, deploy: Deployed
) -> None:
    deploy({**batch_environment(["m6i"], 16, replace=True), "Queue": queue()})
    first, line = deploy["Env"], deploy["Queue"]
    deploy({**batch_environment(["m6i"], 32, replace=True), "Queue": queue()})
    assert deploy["Env"] == first
    deploy({**batch_environment(["c6i"], 32, replace=True), "Queue": queue()})
    assert deploy["Env"] != first
    batch = cloud.client("batch")
    order = batch.describe_job_queues(jobQueues=[line])["jobQueues"][0]["computeEnvironmentOrder"]
    assert [item["computeEnvironment"] for item in order] == [deploy["Env"]]
    gone = batch.describe_compute_environments(computeEnvironments=[first])
    assert gone["computeEnvironments"] == []


def test_job_definitions_and_scheduling_policies(cloud: Cloud, deploy: Deployed) -> None:
    def declared(command: str, share: float) -> dict[str, Any]:
        return {
            "D": of(
                "Batch::JobDefinition",
                Type="container",
                Parameters={"CamelCase": "kept"},
                Timeout={"AttemptDurationSeconds": 60},
                PropagateTags=True,
                ContainerProperties={
                    "Image": "busybox",
                    "Command": [command],
                    "ResourceRequirements": [
                        {"Type": "VCPU", "Value": 1},
                        {"Type": "MEMORY", "Value": 64},
                    ],
                    "LogConfiguration": {
                        "LogDriver": "awslogs",
                        "Options": {"awslogs-group": "g"},
                    },
                },
            ),
            "S": of(
                "Batch::SchedulingPolicy",
                FairsharePolicy={
                    "ShareDecaySeconds": 60,
                    "ShareDistribution": [{"ShareIdentifier": "a", "WeightFactor": share}],
                },
            ),
        }

    batch = cloud.client("batch")
    deploy(declared("one", 0.5))
    first, policy_arn = deploy["D"], deploy["S"]
    deploy(declared("two", 0.25))
    second = deploy["D"]
    assert (first.rpartition(":")[0], second.rpartition(":")[2]) == (
        second.rpartition(":")[0],
        str(int(first.rpartition(":")[2]) + 1),
    )
    found = batch.describe_job_definitions(jobDefinitions=[first, second])["jobDefinitions"]
    by_arn = {d["jobDefinitionArn"]: d for d in found}
    assert by_arn[first]["status"] == "INACTIVE"
    assert by_arn[second]["containerProperties"]["command"] == ["two"]
    assert by_arn[second]["parameters"] == {"CamelCase": "kept"}
    assert by_arn[second]["timeout"] == {"attemptDurationSeconds": 60}
    policies = batch.describe_scheduling_policies(arns=[policy_arn])["schedulingPolicies"]
    assert policies[0]["fairsharePolicy"]["shareDistribution"][0]["weightFactor"] == 0.25


def database(**cluster: Any) -> dict[str, Any]:
    return {
        **NETWORK,
        "Subnets": of(
            "RDS::DBSubnetGroup", DBSubnetGroupDescription="d", SubnetIds=[ref("A"), ref("B")]
        ),
        "Parameters": of(
            "RDS::DBClusterParameterGroup",
            Family="aurora-postgresql16",
            Description="p",
            Parameters={"rds.force_ssl": "1"},
        ),
        "Cluster": {
            **of(
                "RDS::DBCluster",
                Engine="aurora-postgresql",
                EngineVersion="16.8",
                DatabaseName="orchestrator",
                MasterUsername="master",
                DBSubnetGroupName=ref("Subnets"),
                DBClusterParameterGroupName=ref("Parameters"),
                VpcSecurityGroupIds=[att("Group", "GroupId")],
                **cluster,
            ),
            "DeletionPolicy": "Delete",
        },
        "Writer": of(
            "RDS::DBInstance",
            DBClusterIdentifier=ref("Cluster"),
            DBInstanceClass="db.serverless",
            Engine="aurora-postgresql",
        ),
    }


def connect(host: str, port: str, user: str, password: str) -> Any:
    return psycopg.connect(
        host=host, port=int(port), user=user, password=password, dbname="orchestrator"
    )


def test_an_aurora_cluster_is_a_real_postgresql(cloud: Cloud, deploy: Deployed) -> None:
    outputs = {
        "Host": {"Value": att("Cluster", "Endpoint.Address")},
        "Port": {"Value": att("Cluster", "Endpoint.Port")},
        "Reader": {"Value": att("Cluster", "ReadEndpoint.Address")},
        "WriterPort": {"Value": att("Writer", "Endpoint.Port")},
        "Secret": {"Value": att("Cluster", "MasterUserSecret.SecretArn")},
    }

    def declared(minimum: float, days: int) -> dict[str, Any]:
        capacity = {"MinCapacity": minimum, "MaxCapacity": 4}
        return database(
            ManageMasterUserPassword=True,
            BackupRetentionPeriod=days,
            EnableIAMDatabaseAuthentication=days > 1,
            ServerlessV2ScalingConfiguration=capacity,
        )

    deploy(declared(0, 1), Outputs=outputs)
    found = cloud.outputs(deploy.name)
    assert found["WriterPort"] == found["Port"]
    answer = cloud.client("secretsmanager").get_secret_value(SecretId=found["Secret"])
    secret = json.loads(answer["SecretString"])
    assert secret["username"] == "master"
    with connect(found["Host"], found["Port"], **as_login(secret)) as connection:
        connection.execute("CREATE TABLE t (a int)")
        who = connection.execute(
            "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert who == (False,)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(found["Host"], found["Port"], "master", "wrong")

    deploy(declared(0.5, 7), Outputs=outputs)
    cluster = cloud.client("rds").describe_db_clusters(DBClusterIdentifier=deploy["Cluster"])
    described = cluster["DBClusters"][0]
    assert described["ServerlessV2ScalingConfiguration"]["MinCapacity"] == 0.5
    assert described["BackupRetentionPeriod"] == 7
    assert described["IAMDatabaseAuthenticationEnabled"]
    assert cloud.outputs(deploy.name)["Port"] == found["Port"]
    with connect(found["Host"], found["Port"], **as_login(secret)) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)

    cloud.update(deploy.name, NETWORK)
    with pytest.raises(psycopg.OperationalError, match="refused"):
        connect(found["Host"], found["Port"], **as_login(secret))


def as_login(secret: dict[str, str]) -> dict[str, str]:
    return {"user": secret["username"], "password": secret["password"]}


def test_a_secret_is_attached_to_its_cluster_and_a_new_password_is_real(
    cloud: Cloud, deploy: Deployed
) -> None:
    def declared(password: str) -> dict[str, Any]:
        return {
            **database(MasterUserPassword=password),
            "Secret": of(
                "SecretsManager::Secret",
                SecretString=json.dumps({"username": "master", "password": password}),
            ),
            "Attached": of(
                "SecretsManager::SecretTargetAttachment",
                SecretId=ref("Secret"),
                TargetId=ref("Cluster"),
                TargetType="AWS::RDS::DBCluster",
            ),
        }

    deploy(declared("first-password"))
    answer = cloud.client("secretsmanager").get_secret_value(SecretId=deploy["Secret"])
    secret = json.loads(answer["SecretString"])
    assert secret["dbname"] == "orchestrator"
    assert secret["engine"] == "postgres"
    connect(secret["host"], secret["port"], **as_login(secret)).close()

    cluster = declared("second-password")["Cluster"]
    deploy({**declared("first-password"), "Cluster": cluster})
    connect(secret["host"], secret["port"], "master", "second-password").close()
    with pytest.raises(psycopg.OperationalError):
        connect(secret["host"], secret["port"], "master", "first-password")


def test_a_cluster_is_kept_as_a_snapshot_when_nothing_else_is_said(cloud: Cloud) -> None:
    declared = database(MasterUserPassword="a-password")
    del declared["Cluster"]["DeletionPolicy"]
    name = cloud.create(declared)
    cluster = cloud.physical(name, "Cluster")
    cloud.delete(name)
    assert not cloud.exists(name)
    snapshots = cloud.client("rds").describe_db_cluster_snapshots()["DBClusterSnapshots"]
    kinds = [s["SnapshotType"] for s in snapshots if s["DBClusterIdentifier"] == cluster]
    assert kinds == ["manual"]  # automated ones go with the cluster


def test_a_protected_cluster_stops_the_deletion(cloud: Cloud) -> None:
    name = cloud.create(database(MasterUserPassword="a-password", DeletionProtection=True))
    cloud.delete(name)
    assert cloud.status(name) == "DELETE_FAILED"
    assert "disable deletion protection" in cloud.reasons(name)
    cloud.client("rds").modify_db_cluster(
        DBClusterIdentifier=cloud.physical(name, "Cluster"), DeletionProtection=False
    )
    cloud.delete(name)
    assert not cloud.exists(name)


def test_keys_and_repositories(cloud: Cloud, deploy: Deployed) -> None:
    def declared(text: str, mutable: str) -> dict[str, Any]:
        rule = {
            "rulePriority": 1,
            "selection": {
                "tagStatus": "untagged",
                "countType": "imageCountMoreThan",
                "countNumber": 1,
            },
            "action": {"type": "expire"},
        }
        return {
            "K": of("KMS::Key", Description=text, EnableKeyRotation=text == "two"),
            "Alias": of("KMS::Alias", AliasName=alias, TargetKeyId=ref("K")),
            "R": of(
                "ECR::Repository",
                ImageTagMutability=mutable,
                LifecyclePolicy={"LifecyclePolicyText": json.dumps({"rules": [rule]})},
            ),
        }

    alias = f"alias/{cloud.name('key')}"
    deploy(declared("one", "MUTABLE"))
    deploy(declared("two", "IMMUTABLE"))
    kms = cloud.client("kms")
    assert kms.describe_key(KeyId=alias)["KeyMetadata"]["Description"] == "two"
    assert kms.get_key_rotation_status(KeyId=deploy["K"])["KeyRotationEnabled"]
    found = cloud.client("ecr").describe_repositories(repositoryNames=[deploy["R"]])
    assert found["repositories"][0]["imageTagMutability"] == "IMMUTABLE"


def data_api(cloud: Cloud, deploy: Deployed, **more: Any) -> Any:
    """A cluster, and a function that runs a statement on it through the Data API."""
    declared = database(ManageMasterUserPassword=True, EnableHttpEndpoint=True, **more)
    deploy(declared)
    (cluster,) = cloud.client("rds").describe_db_clusters(DBClusterIdentifier=deploy["Cluster"])[
        "DBClusters"
    ]

    def run(sql: str, **arguments: Any) -> Any:
        return cloud.client("rds-data").execute_statement(
            **{
                "resourceArn": cluster["DBClusterArn"],
                "secretArn": cluster["MasterUserSecret"]["SecretArn"],
                "database": "orchestrator",
                "sql": sql,
                **arguments,
            }
        )

    return run


def test_the_data_api_runs_statements_on_the_database(cloud: Cloud, deploy: Deployed) -> None:
    run = data_api(cloud, deploy)
    run("CREATE TABLE t (a int, b text)")
    parameters = [
        {"name": "a", "value": {"longValue": 7}},
        {"name": "b", "value": {"stringValue": "it's 100% :a"}},
    ]
    done = run("INSERT INTO t VALUES (:a, :b), (8, NULL)", parameters=parameters)
    assert done["numberOfRecordsUpdated"] == 2
    found = run("SELECT a, b, a > 7, ':a', '1'::int FROM t ORDER BY a")["records"]
    assert found == [
        [
            {"longValue": 7},
            {"stringValue": "it's 100% :a"},
            {"booleanValue": False},
            {"stringValue": ":a"},
            {"longValue": 1},
        ],
        [
            {"longValue": 8},
            {"isNull": True},
            {"booleanValue": True},
            {"stringValue": ":a"},
            {"longValue": 1},
        ],
    ]


def test_the_login_is_made_through_the_data_api(cloud: Cloud, deploy: Deployed) -> None:
    from stacks.assets import database_login

    run = data_api(cloud, deploy)
    (cluster,) = cloud.client("rds").describe_db_clusters(DBClusterIdentifier=deploy["Cluster"])[
        "DBClusters"
    ]
    about = {
        "Cluster": cluster["DBClusterArn"],
        "Secret": cluster["MasterUserSecret"]["SecretArn"],
        "Database": "orchestrator",
        "User": "worker",
    }
    assert database_login.ensure(cloud.client("rds-data"), about)
    assert not database_login.ensure(cloud.client("rds-data"), about)
    (member,) = run("SELECT pg_has_role('worker', 'rds_iam', 'member')")["records"]
    assert member == [{"booleanValue": True}]


def test_what_the_data_api_cannot_do_is_named(cloud: Cloud, deploy: Deployed) -> None:
    run = data_api(cloud, deploy)
    for arguments, code in (
        ({"sql": "SELECT * FROM nothing"}, "DatabaseErrorException"),
        ({"database": "nowhere"}, "DatabaseErrorException"),
        ({"transactionId": "t"}, "BadRequestException"),
        ({"secretArn": "arn:aws:secretsmanager:us-east-1:1:secret:x"}, "SecretsErrorException"),
        ({"resourceArn": "arn:aws:rds:us-east-1:1:cluster:x"}, "DatabaseNotFoundException"),
    ):
        with pytest.raises(ClientError) as caught:
            run(**{"sql": "SELECT 1", **arguments})
        assert caught.value.response["Error"]["Code"] == code


def test_the_route_tables_of_a_gateway_endpoint_change(cloud: Cloud) -> None:
    def resources(*tables: str) -> dict[str, Any]:
        return {
            "Vpc": of("EC2::VPC", CidrBlock="10.3.0.0/16"),
            **{name: of("EC2::RouteTable", VpcId=ref("Vpc")) for name in ("One", "Two")},
            "S3": of(
                "EC2::VPCEndpoint",
                VpcId=ref("Vpc"),
                ServiceName={"Fn::Sub": "com.amazonaws.${AWS::Region}.s3"},
                VpcEndpointType="Gateway",
                RouteTableIds=[ref(table) for table in tables],
            ),
        }

    name = cloud.create(resources("One"))
    cloud.update(name, resources("Two"))
    ec2 = cloud.client("ec2")
    endpoint = cloud.physical(name, "S3")
    tables = {table: cloud.physical(name, table) for table in ("One", "Two")}

    def leads_there(table: str) -> bool:
        (found,) = ec2.describe_route_tables(RouteTableIds=[tables[table]])["RouteTables"]
        return any(route.get("GatewayId") == endpoint for route in found["Routes"])

    assert not leads_there("One")
    assert leads_there("Two")
    cloud.delete(name)
    states = {
        e["State"]
        for e in ec2.describe_vpc_endpoints()["VpcEndpoints"]
        if e["VpcEndpointId"] == endpoint
    }
    assert states <= {"deleted"}
