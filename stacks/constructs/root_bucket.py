"""The bucket that holds everything a workflow leaves behind."""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from stacks.settings import Storage

_INCOMPLETE_UPLOAD_DAYS = 7


class RootBucket(Construct):
    """Private, encrypted, TLS only, its requests logged; or one that is there already, untouched.

    Nothing expires by age but short-lived objects under scratch: outputs and intermediates of a
    call lie side by side, so a rule on call directories would delete results.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        storage: Storage,
        key: kms.IKey | None,
        removal_policy: RemovalPolicy,
    ) -> None:
        super().__init__(scope, id)
        if storage.existing_bucket is not None:
            self.bucket = s3.Bucket.from_bucket_name(self, "Existing", storage.existing_bucket)
        else:
            self.bucket = self._make(storage, key, removal_policy)
        self.root = f"s3://{self.bucket.bucket_name}/{storage.root_prefix}"
        self.scratch_root = f"s3://{self.bucket.bucket_name}/{storage.scratch_prefix}"

    def _make(
        self, storage: Storage, key: kms.IKey | None, removal_policy: RemovalPolicy
    ) -> s3.IBucket:
        return s3.Bucket(
            self,
            "Bucket",
            enforce_ssl=True,
            minimum_tls_version=1.2,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            removal_policy=removal_policy,
            encryption=s3.BucketEncryption.KMS if key else s3.BucketEncryption.S3_MANAGED,
            encryption_key=key,
            bucket_key_enabled=key is not None,  # one call of KMS for many objects
            versioned=storage.versioning,
            server_access_logs_bucket=self._access_logs(storage, removal_policy),
            server_access_logs_prefix="root/",
            lifecycle_rules=[
                _abort_incomplete_uploads(),
                s3.LifecycleRule(
                    id="expire-scratch",
                    prefix=f"{storage.scratch_prefix}/",
                    expiration=Duration.days(storage.scratch_expiry_days),
                    # Where versions are kept, what expired would stay as one.
                    noncurrent_version_expiration=Duration.days(1) if storage.versioning else None,
                ),
            ],
        )

    def _access_logs(self, storage: Storage, removal_policy: RemovalPolicy) -> s3.Bucket:
        return s3.Bucket(
            self,
            "AccessLogs",
            enforce_ssl=True,
            minimum_tls_version=1.2,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            removal_policy=removal_policy,
            # Log delivery writes with keys of S3 only (S3 User Guide, "Enabling access logging").
            encryption=s3.BucketEncryption.S3_MANAGED,
            lifecycle_rules=[
                _abort_incomplete_uploads(),
                s3.LifecycleRule(
                    id="expire-logs", expiration=Duration.days(storage.access_log_days)
                ),
            ],
        )


def _abort_incomplete_uploads() -> s3.LifecycleRule:
    return s3.LifecycleRule(
        id="abort-incomplete-uploads",
        abort_incomplete_multipart_upload_after=Duration.days(_INCOMPLETE_UPLOAD_DAYS),
    )
