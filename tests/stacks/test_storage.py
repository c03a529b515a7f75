from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from aws_cdk.assertions import Template


def _buckets(template: Template) -> dict[str, dict[str, Any]]:
    """The root bucket and the one of its access logs."""
    found = template.find_resources("AWS::S3::Bucket")
    assert len(found) == 2
    return {"logs" if "AccessLogs" in name else "root": dict(e) for name, e in found.items()}


def _bucket(template: Template) -> dict[str, Any]:
    return _buckets(template)["root"]


def test_buckets_are_private_encrypted_and_owned(templates: Mapping[str, Template]) -> None:
    for bucket in _buckets(templates["storage"]).values():
        properties = bucket["Properties"]
        assert properties["PublicAccessBlockConfiguration"] == {
            "BlockPublicAcls": True,
            "BlockPublicPolicy": True,
            "IgnorePublicAcls": True,
            "RestrictPublicBuckets": True,
        }
        assert properties["OwnershipControls"] == {
            "Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]
        }
        (rule,) = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
        assert "VersioningConfiguration" not in properties


def test_requests_are_logged_to_a_bucket_of_their_own(templates: Mapping[str, Template]) -> None:
    storage = templates["storage"]
    (name,) = [n for n in storage.find_resources("AWS::S3::Bucket") if "AccessLogs" in n]
    logging = _bucket(storage)["Properties"]["LoggingConfiguration"]
    assert logging == {"DestinationBucketName": {"Ref": name}, "LogFilePrefix": "root/"}
    assert "LoggingConfiguration" not in _buckets(storage)["logs"]["Properties"]
    policies = storage.find_resources("AWS::S3::BucketPolicy").values()
    (policy,) = [p for p in policies if p["Properties"]["Bucket"] == {"Ref": name}]
    (delivery,) = [
        statement
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]
    assert delivery["Principal"] == {"Service": "logging.s3.amazonaws.com"}
    assert delivery["Action"] == "s3:PutObject"
    assert "aws:SourceAccount" in str(delivery["Condition"])


def test_requests_without_modern_tls_are_denied(templates: Mapping[str, Template]) -> None:
    policies = templates["storage"].find_resources("AWS::S3::BucketPolicy")
    assert len(policies) == 2
    for policy in policies.values():
        denied = [
            statement
            for statement in policy["Properties"]["PolicyDocument"]["Statement"]
            if statement["Effect"] == "Deny"
        ]
        assert all(s["Principal"] == {"AWS": "*"} and s["Action"] == "s3:*" for s in denied)
        assert [s["Condition"] for s in denied] == [
            {"Bool": {"aws:SecureTransport": "false"}},
            {"NumericLessThan": {"s3:TlsVersion": 1.2}},
        ]


@pytest.mark.parametrize("versioning", [False, True])
def test_only_scratch_expires_and_call_directories_never_do(
    synthesise: Callable[..., Mapping[str, Template]], versioning: bool
) -> None:
    bucket = _bucket(synthesise(**{"set.storage.versioning": versioning})["storage"])["Properties"]
    rules = bucket["LifecycleConfiguration"]["Rules"]
    expiring = [
        rule
        for rule in rules
        if any(key.startswith(("Expiration", "Transition", "Noncurrent")) for key in rule)
    ]
    assert [rule["Prefix"] for rule in expiring] == ["scratch/"]
    assert not "workflows/".startswith(expiring[0]["Prefix"])
    # A version that scratch leaves behind would stay, and be paid for, for ever.
    assert ("NoncurrentVersionExpiration" in expiring[0]) is versioning
    assert ("VersioningConfiguration" in bucket) is versioning


def test_logs_expire_after_the_days_of_the_settings(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    made = synthesise(**{"set.storage.access_log_days": 400})
    rules = _buckets(made["storage"])["logs"]["Properties"]["LifecycleConfiguration"]["Rules"]
    assert [r["ExpirationInDays"] for r in rules if "ExpirationInDays" in r] == [400]


def test_incomplete_uploads_are_aborted(templates: Mapping[str, Template]) -> None:
    rules = _bucket(templates["storage"])["Properties"]["LifecycleConfiguration"]["Rules"]
    assert {"DaysAfterInitiation": 7} in [r.get("AbortIncompleteMultipartUpload") for r in rules]


def test_retention_decides_what_happens_to_bucket_and_database(
    templates: Mapping[str, Template], synthesise: Callable[..., Mapping[str, Template]]
) -> None:
    kept, destroyed = templates, synthesise(environment="local")
    for made, bucket, cluster, protected in (
        (kept, "Retain", "Snapshot", True),
        (destroyed, "Delete", "Delete", False),
    ):
        assert _bucket(made["storage"])["DeletionPolicy"] == bucket
        (database,) = made["database"].find_resources("AWS::RDS::DBCluster").values()
        assert database["DeletionPolicy"] == cluster
        assert database["UpdateReplacePolicy"] == cluster
        assert database["Properties"]["DeletionProtection"] is protected


def test_a_bucket_that_is_there_is_used_and_left_as_it_is(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    made = synthesise(**{"set.storage.existing_bucket": "lab-workflows"})
    for kind in ("AWS::S3::Bucket", "AWS::S3::BucketPolicy"):
        for template in made.values():
            template.resource_count_is(kind, 0)
    assert "lab-workflows/workflows" in str(made["contract"].to_json())
    assert "arn:aws:s3:::lab-workflows" in str(made["identity"].to_json())


def test_a_key_of_its_own_encrypts_everything_and_lets_in_what_aws_does_for_us(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    made = synthesise(**{"set.encryption.kms_key": "create"})
    (key,) = made["storage"].find_resources("AWS::KMS::Key").values()
    assert key["Properties"]["EnableKeyRotation"] is True
    assert key["DeletionPolicy"] == "Retain"
    statements = {s.get("Sid"): s for s in key["Properties"]["KeyPolicy"]["Statement"]}
    # Principals that may not be there yet would make the key impossible: AWS makes these two when
    # they are first needed.
    for sid in ("AwsStartsHosts", "AwsGivesDisksTheKey"):
        statement = statements[sid]
        condition = str(statement["Condition"])
        assert (
            "role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
            in condition
        )
        assert "role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot" in condition
        assert statement["Condition"]["StringEquals"] == {"kms:CallerAccount": "111122223333"}
    grant = statements["AwsGivesDisksTheKey"]
    assert grant["Action"] == "kms:CreateGrant"
    assert grant["Condition"]["Bool"] == {"kms:GrantIsForAWSResource": "true"}
    services = statements["NotificationsAreEncrypted"]["Principal"]["Service"]
    assert services == ["cloudwatch.amazonaws.com", "events.amazonaws.com", "sns.amazonaws.com"]
    (rule,) = _bucket(made["storage"])["Properties"]["BucketEncryption"][
        "ServerSideEncryptionConfiguration"
    ]
    assert rule["BucketKeyEnabled"] is True
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    (cluster,) = made["database"].find_resources("AWS::RDS::DBCluster").values()
    assert "KmsKeyId" in cluster["Properties"]
    for part in ("compute", "host"):
        for template in made[part].find_resources("AWS::EC2::LaunchTemplate").values():
            disks = template["Properties"]["LaunchTemplateData"]["BlockDeviceMappings"]
            assert all("KmsKeyId" in disk["Ebs"] for disk in disks)
