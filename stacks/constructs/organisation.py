"""What an organisation asks of every role: a path, and a boundary that no policy can exceed."""

from __future__ import annotations

from aws_cdk import aws_iam as iam
from constructs import IConstruct

from stacks.settings import Identity


def apply(scope: IConstruct, identity: Identity) -> None:
    """Give all roles and instance profiles in `scope`, CDK's own included, path and boundary."""
    if identity.path == "/" and identity.permissions_boundary is None:
        return
    for construct in scope.node.find_all():
        if isinstance(construct, iam.CfnRole | iam.CfnInstanceProfile | iam.CfnManagedPolicy):
            construct.path = identity.path
        if isinstance(construct, iam.CfnRole) and identity.permissions_boundary:
            construct.permissions_boundary = identity.permissions_boundary
