"""What an ARN in the settings says of account, region and partition; what production means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stacks.validators.finding import Finding, Rule, error, warning

if TYPE_CHECKING:
    from stacks.settings.schema import Settings


def arns_are_of_here(settings: Settings) -> Iterator[Finding]:
    """A KMS key, a secret of ECR or a role of somewhere else cannot be used from here."""
    for key, arn in _arns(settings):
        _, partition, service, region, account, *_ = arn.split(":")
        keys = f"{key} region account"
        if partition != settings.partition:
            yield error(
                keys,
                f"is of partition {partition!r}, {settings.region} is in {settings.partition!r}",
            )
        elif service in ("kms", "secretsmanager") and region != settings.region:
            yield error(keys, f"is in {region}, this environment is in {settings.region}")
        elif key.startswith("identity.job_roles") and account != settings.account:
            yield error(
                keys,
                f"is a role of account {account}; Batch takes only those of its own, "
                f"{settings.account}",
                "let a role of this account assume it",
            )


def production_keeps(settings: Settings) -> Iterator[Finding]:
    """Production holds what cannot be made again."""
    if not settings.production:
        return
    if settings.retention != "keep":
        yield error("retention production", "production must keep its data", 'retention = "keep"')
    if settings.database.backup_days < 7:
        yield warning(
            "database.backup_days production", "production is usually backed up for a week or more"
        )
    if settings.network.flow_logs == "none":
        yield warning(
            "network.flow_logs production", "without flow logs nobody can tell what went on"
        )
    if settings.network.egress == "public":
        yield warning(
            "network.egress production",
            "workers of production have public addresses (nobody can come in by them)",
            'egress = "nat_single" or "endpoints"',
        )


def _arns(settings: Settings) -> Iterator[tuple[str, str]]:
    identity, storage, registries = settings.identity, settings.storage, settings.registries
    if settings.encryption.kms_key.startswith("arn:"):
        yield "encryption.kms_key", settings.encryption.kms_key
    for index, arn in enumerate(storage.kms_keys):
        yield f"storage.kms_keys.{index}", arn
    if identity.permissions_boundary:
        yield "identity.permissions_boundary", identity.permissions_boundary
    for index, arn in enumerate(identity.job_roles):
        yield f"identity.job_roles.{index}", arn
    for index, arn in enumerate(identity.operators):
        yield f"identity.operators.{index}", arn
    for index, rule in enumerate(registries.pull_through):
        if rule.secret:
            yield f"registries.pull_through.{index}.secret", rule.secret
    if registries.host_secret:
        yield "registries.host_secret", registries.host_secret


RULES: tuple[Rule, ...] = (arns_are_of_here, production_keeps)
