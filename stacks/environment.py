"""One environment: its stacks, wired."""

from __future__ import annotations

from constructs import Construct

from stacks.compute import ComputeStack
from stacks.database import DatabaseStack
from stacks.host import HostStack
from stacks.identity import IdentityStack
from stacks.network import NetworkStack
from stacks.settings import Settings
from stacks.storage import StorageStack


def build(scope: Construct, settings: Settings) -> None:
    """All stacks of an environment. References go from later ones to earlier ones only."""
    network = NetworkStack(scope, settings=settings)
    storage = StorageStack(scope, settings=settings)
    identity = IdentityStack(scope, settings=settings, bucket=storage.root.bucket)
    database = DatabaseStack(scope, settings=settings, vpc=network.vpc)
    compute = ComputeStack(
        scope,
        settings=settings,
        vpc=network.vpc,
        subnets=network.hosts,
        worker_role=identity.worker,
    )
    HostStack(
        scope,
        settings=settings,
        network=network,
        storage=storage,
        identity=identity,
        database=database,
        compute=compute,
    )
