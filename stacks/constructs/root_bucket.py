"""The bucket that holds everything a workflow leaves behind."""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_s3 as s3
from constructs import Construct

from stacks.settings import Storage


class RootBucket(Construct):
    """Private, encrypted, TLS only. Nothing expires by age but short-lived objects under scratch.

    Outputs and intermediates of a call lie side by side, so a rule on call directories would
    delete results.
    """

    def __init__(
        self, scope: Construct, id: str, *, storage: Storage, removal_policy: RemovalPolicy
    ) -> None:
        super().__init__(scope, id)
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            removal_policy=removal_policy,
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="abort-incomplete-uploads",
                    abort_incomplete_multipart_upload_after=Duration.days(7),
                ),
                s3.LifecycleRule(
                    id="expire-scratch",
                    prefix=f"{storage.scratch_prefix}/",
                    expiration=Duration.days(storage.scratch_expiry_days),
                ),
            ],
        )
        self.root = f"s3://{self.bucket.bucket_name}/{storage.root_prefix}"
        self.scratch_root = f"s3://{self.bucket.bucket_name}/{storage.scratch_prefix}"
