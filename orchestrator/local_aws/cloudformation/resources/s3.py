"""AWS::S3: buckets and their policies."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ClientError

from orchestrator.local_aws.cloudformation.errors import ResourceFailed
from orchestrator.local_aws.cloudformation.resources.base import (
    Made,
    Request,
    ResourceType,
)

Setting = Callable[[Any, str, Any], None]
"""Puts one property onto a bucket: (client, bucket, value or None to remove it)."""


@contextlib.contextmanager
def _absent_is_fine() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("NoSuchBucket", "NoSuchBucketPolicy", "404"):
            raise


def _encryption(s3: Any, bucket: str, value: Any) -> None:
    if value is None:
        s3.delete_bucket_encryption(Bucket=bucket)
        return
    rules = [
        _renamed(rule, {"ServerSideEncryptionByDefault": "ApplyServerSideEncryptionByDefault"})
        for rule in value["ServerSideEncryptionConfiguration"]
    ]
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})


def _versioning(s3: Any, bucket: str, value: Any) -> None:
    # Versioning cannot be removed again, only suspended.
    s3.put_bucket_versioning(
        Bucket=bucket, VersioningConfiguration=value or {"Status": "Suspended"}
    )


def _public_access(s3: Any, bucket: str, value: Any) -> None:
    if value is None:
        s3.delete_public_access_block(Bucket=bucket)
    else:
        s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=value)


def _ownership(s3: Any, bucket: str, value: Any) -> None:
    if value is None:
        s3.delete_bucket_ownership_controls(Bucket=bucket)
    else:
        s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=value)


def _lifecycle(s3: Any, bucket: str, value: Any) -> None:
    if not value or not value.get("Rules"):
        s3.delete_bucket_lifecycle(Bucket=bucket)
        return
    unknown = sorted(value.keys() - {"Rules", "TransitionDefaultMinimumObjectSize"})
    if unknown:
        raise ResourceFailed(f"the local AWS does not support {unknown} of LifecycleConfiguration")
    s3.put_bucket_lifecycle_configuration(
        Bucket=bucket,
        LifecycleConfiguration={"Rules": [_lifecycle_rule(rule) for rule in value["Rules"]]},
    )


_RULE_KEYS = frozenset(
    {
        "AbortIncompleteMultipartUpload",
        "ExpirationDate",
        "ExpirationInDays",
        "ExpiredObjectDeleteMarker",
        "Id",
        "NoncurrentVersionExpiration",
        "NoncurrentVersionExpirationInDays",
        "NoncurrentVersionTransition",
        "NoncurrentVersionTransitions",
        "ObjectSizeGreaterThan",
        "ObjectSizeLessThan",
        "Prefix",
        "Status",
        "TagFilters",
        "Transition",
        "Transitions",
    }
)


def _lifecycle_rule(rule: dict[str, Any]) -> dict[str, Any]:
    """CloudFormation's form of a rule -> that of PutBucketLifecycleConfiguration."""
    unknown = sorted(rule.keys() - _RULE_KEYS)
    if unknown:
        raise ResourceFailed(f"the local AWS does not support {unknown} of a lifecycle rule")
    out: dict[str, Any] = {"Status": rule["Status"], "Filter": _lifecycle_filter(rule)}
    if "Id" in rule:
        out["ID"] = rule["Id"]
    expiration = _renamed(
        {k: v for k, v in rule.items() if k.startswith("Expir")},
        {"ExpirationInDays": "Days", "ExpirationDate": "Date"},
    )
    if expiration:
        out["Expiration"] = expiration
    if "AbortIncompleteMultipartUpload" in rule:
        out["AbortIncompleteMultipartUpload"] = rule["AbortIncompleteMultipartUpload"]
    if "NoncurrentVersionExpiration" in rule:
        out["NoncurrentVersionExpiration"] = rule["NoncurrentVersionExpiration"]
    elif "NoncurrentVersionExpirationInDays" in rule:
        days = rule["NoncurrentVersionExpirationInDays"]
        out["NoncurrentVersionExpiration"] = {"NoncurrentDays": days}
    for singular, days_name in (("Transition", "Days"),
                                ("NoncurrentVersionTransition", "NoncurrentDays")):  # fmt: skip
        given = [*rule.get(f"{singular}s", []), *([rule[singular]] if singular in rule else [])]
        names = {"TransitionInDays": days_name, "TransitionDate": "Date"}
        if given:
            out[f"{singular}s"] = [_renamed(item, names) for item in given]
    return out


def _lifecycle_filter(rule: dict[str, Any]) -> dict[str, Any]:
    parts: dict[str, Any] = {
        name: rule[name]
        for name in ("ObjectSizeGreaterThan", "ObjectSizeLessThan", "Prefix")
        if name in rule
    }
    tags = [{"Key": tag["Key"], "Value": tag["Value"]} for tag in rule.get("TagFilters", [])]
    if len(parts) + len(tags) > 1:
        return {"And": parts | ({"Tags": tags} if tags else {})}
    if tags:
        return {"Tag": tags[0]}
    return parts or {"Prefix": ""}


def _logging(s3: Any, bucket: str, value: Any) -> None:
    status = {}
    if value is not None:
        names = {"DestinationBucketName": "TargetBucket", "LogFilePrefix": "TargetPrefix"}
        status = {"LoggingEnabled": {"TargetPrefix": ""} | _renamed(value, names)}
        status["LoggingEnabled"].setdefault("TargetBucket", bucket)
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus=status)


def _cors(s3: Any, bucket: str, value: Any) -> None:
    if value is None:
        s3.delete_bucket_cors(Bucket=bucket)
        return
    names = {"ExposedHeaders": "ExposeHeaders", "MaxAge": "MaxAgeSeconds", "Id": "ID"}
    rules = [_renamed(rule, names) for rule in value["CorsRules"]]
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": rules})


def _renamed(value: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names.get(key, key): item for key, item in value.items()}


_SETTINGS: dict[str, Setting] = {
    # Ownership first: it decides what else may be set.
    "OwnershipControls": _ownership,
    "BucketEncryption": _encryption,
    "VersioningConfiguration": _versioning,
    "PublicAccessBlockConfiguration": _public_access,
    "LifecycleConfiguration": _lifecycle,
    "LoggingConfiguration": _logging,
    "CorsConfiguration": _cors,
}


class Bucket(ResourceType):
    """Objects in it keep it from being deleted, as on AWS."""

    type = "AWS::S3::Bucket"
    name_property = "BucketName"
    updatable = frozenset({"AccessControl", "Tags", *_SETTINGS})
    replacing = frozenset({"BucketName"})

    def create(self, request: Request) -> Made:
        name = request.name("BucketName", 63, lower=True)
        arguments: dict[str, Any] = {"Bucket": name}
        if request.region != "us-east-1":
            arguments["CreateBucketConfiguration"] = {"LocationConstraint": request.region}
        s3 = request.client("s3")
        # In us-east-1 creating one's own bucket again succeeds: a template's must be new.
        with contextlib.suppress(ClientError):
            s3.head_bucket(Bucket=name)
            raise ResourceFailed(f"{name} already exists")
        s3.create_bucket(**arguments)
        request.begun.append(name)
        for prop, put in _SETTINGS.items():
            if prop in request.properties:
                put(s3, name, request.get(prop))
        self._set_access(request, name)
        self._set_tags(request, name)
        return self._made(request, name)

    def update(self, request: Request) -> Made:
        s3, name = request.client("s3"), request.physical_id
        for prop, put in _SETTINGS.items():
            if request.changed(prop):
                put(s3, name, request.get(prop))
        if request.changed("AccessControl"):
            self._set_access(request, name)
        self._set_tags(request, name)
        return self._made(request, name)

    def delete(self, request: Request) -> None:
        with _absent_is_fine():
            request.client("s3").delete_bucket(Bucket=request.physical_id)

    @staticmethod
    def _set_access(request: Request, name: str) -> None:
        control = request.get("AccessControl")
        if control is None and request.old is None:
            return
        # CloudFormation's LogDeliveryWrite is S3's log-delivery-write.
        words = "".join(f"-{c.lower()}" if c.isupper() else c for c in control or "Private")
        request.client("s3").put_bucket_acl(Bucket=name, ACL=words.removeprefix("-"))

    @staticmethod
    def _set_tags(request: Request, name: str) -> None:
        s3, tags = request.client("s3"), request.tag_list()
        if tags:
            s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": tags})
        elif request.old is not None:
            s3.delete_bucket_tagging(Bucket=name)

    @staticmethod
    def _made(request: Request, name: str) -> Made:
        region = request.region
        return Made(
            name,
            {
                "Arn": f"arn:aws:s3:::{name}",
                "DomainName": f"{name}.s3.amazonaws.com",
                "DualStackDomainName": f"{name}.s3.dualstack.{region}.amazonaws.com",
                "RegionalDomainName": f"{name}.s3.{region}.amazonaws.com",
                "WebsiteURL": f"http://{name}.s3-website-{region}.amazonaws.com",
            },
        )


class BucketPolicy(ResourceType):
    type = "AWS::S3::BucketPolicy"
    updatable = frozenset({"PolicyDocument"})
    replacing = frozenset({"Bucket"})

    def create(self, request: Request) -> Made:
        self._put(request)
        return Made(request.get("Bucket"), {})

    def update(self, request: Request) -> Made:
        self._put(request)
        return Made(request.physical_id, {})

    def delete(self, request: Request) -> None:
        with _absent_is_fine():
            request.client("s3").delete_bucket_policy(Bucket=request.get("Bucket"))

    @staticmethod
    def _put(request: Request) -> None:
        document = request.get("PolicyDocument")
        text = document if isinstance(document, str) else json.dumps(document)
        request.client("s3").put_bucket_policy(Bucket=request.get("Bucket"), Policy=text)


TYPES: tuple[ResourceType, ...] = (Bucket(), BucketPolicy())
