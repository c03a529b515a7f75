"""Storage: the root bucket."""

from __future__ import annotations

from constructs import Construct

from stacks.constructs import retention
from stacks.constructs.environment_stack import EnvironmentStack
from stacks.constructs.root_bucket import RootBucket
from stacks.settings import Settings


class StorageStack(EnvironmentStack):
    """Everything a workflow leaves behind."""

    def __init__(self, scope: Construct, *, settings: Settings) -> None:
        super().__init__(
            scope, "storage", settings=settings, description="the root bucket", holds_data=True
        )
        self.root = RootBucket(
            self, "Root", storage=settings.storage, removal_policy=retention.bucket(settings)
        )
