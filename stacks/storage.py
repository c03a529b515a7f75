"""Storage: the root bucket, and the key that encrypts the environment."""

from __future__ import annotations

from constructs import Construct

from stacks.constructs import environment_key, published, retention
from stacks.constructs.environment_stack import EnvironmentStack
from stacks.constructs.root_bucket import RootBucket
from stacks.settings import Settings


class StorageStack(EnvironmentStack):
    """Everything a workflow leaves behind. `key` is None where AWS's own keys encrypt."""

    def __init__(self, scope: Construct, *, settings: Settings) -> None:
        super().__init__(
            scope, "storage", settings=settings, description="the root bucket", holds_data=True
        )
        self.key = environment_key.find(
            self,
            "Key",
            kms_key=settings.encryption.kms_key,
            removal_policy=retention.bucket(settings),
        )
        self.root = RootBucket(
            self,
            "Root",
            storage=settings.storage,
            key=self.key,
            removal_policy=retention.bucket(settings),
        )
        if settings.storage.existing_bucket is not None:
            # A stack needs a resource: one that says which bucket it is.
            published.publish(self, settings.environment, "bucket", self.root.bucket.bucket_name)
