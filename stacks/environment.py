"""One environment: its stacks, wired."""

from __future__ import annotations

from constructs import Construct

from stacks import monitoring, registries
from stacks.compute import ComputeStack
from stacks.constructs import interface_endpoints, organisation
from stacks.constructs.environment_stack import EnvironmentStack
from stacks.contract import ContractStack
from stacks.database import DatabaseStack
from stacks.host import HostStack
from stacks.identity import IdentityStack
from stacks.network import NetworkStack
from stacks.registries import RegistriesStack
from stacks.settings import Settings
from stacks.storage import StorageStack


def build(scope: Construct, settings: Settings) -> None:
    """All stacks of an environment. References go from later ones to earlier ones only."""
    network = NetworkStack(scope, settings=settings)
    storage = StorageStack(scope, settings=settings)
    identity = IdentityStack(scope, settings=settings, bucket=storage.root.bucket, key=storage.key)
    database = DatabaseStack(scope, settings=settings, network=network, key=storage.key)
    compute = ComputeStack(
        scope, settings=settings, vpc=network.vpc, subnets=network.hosts, key=storage.key
    )
    if registries.is_wanted(settings):
        compute.add_stack_dependency(RegistriesStack(scope, settings=settings))
    contract = ContractStack(scope, settings=settings, storage=storage, database=database)
    # What goes from these to those goes through SSM, where no reference tells CDK of it. The
    # contract comes when all that it names is there.
    compute.add_stack_dependency(identity)
    contract.add_stack_dependency(compute)
    last: EnvironmentStack = contract
    if settings.host.enabled:
        last = HostStack(
            scope,
            settings=settings,
            network=network,
            storage=storage,
            database=database,
            contract=contract,
        )
    if monitoring.is_wanted(settings):
        alarms = monitoring.MonitoringStack(
            scope, settings=settings, database=database, key=storage.key
        )
        alarms.add_stack_dependency(last)
    if settings.network.egress == "endpoints":
        # The database's function is not in the VPC: it needs no way out of it.
        others = (stack for stack in scope.node.children if stack is not database)
        network.reach(interface_endpoints.called(*others))
    organisation.apply(scope, settings.identity)
