from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aws_cdk.assertions import Match, Template


def _bucket(template: Template) -> dict[str, Any]:
    (bucket,) = template.find_resources("AWS::S3::Bucket").values()
    return dict(bucket)


def test_the_bucket_is_private_encrypted_and_owned(templates: Mapping[str, Template]) -> None:
    properties = _bucket(templates["storage"])["Properties"]
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


def test_requests_without_tls_are_denied(templates: Mapping[str, Template]) -> None:
    templates["storage"].has_resource_properties(
        "AWS::S3::BucketPolicy",
        {
            "PolicyDocument": {
                "Statement": Match.array_with(
                    [
                        Match.object_like(
                            {
                                "Effect": "Deny",
                                "Action": "s3:*",
                                "Principal": {"AWS": "*"},
                                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                            }
                        )
                    ]
                )
            }
        },
    )


def test_only_scratch_expires_and_call_directories_never_do(
    templates: Mapping[str, Template],
) -> None:
    rules = _bucket(templates["storage"])["Properties"]["LifecycleConfiguration"]["Rules"]
    expiring = [
        rule
        for rule in rules
        if any(key.startswith(("Expiration", "Transition", "Noncurrent")) for key in rule)
    ]
    assert [rule["Prefix"] for rule in expiring] == ["scratch/"]
    assert not "workflows/".startswith(expiring[0]["Prefix"])


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
