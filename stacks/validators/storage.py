"""Rules of the bucket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stacks.validators.finding import Finding, Rule, error, info, warning

if TYPE_CHECKING:
    from stacks.settings.schema import Settings


def prefixes_lie_apart(settings: Settings) -> Iterator[Finding]:
    """What is under the scratch prefix expires."""
    root, scratch = f"{settings.storage.root_prefix}/", f"{settings.storage.scratch_prefix}/"
    if root.startswith(scratch) or scratch.startswith(root):
        yield error(
            "storage.scratch_prefix storage.root_prefix",
            f"{scratch!r} and root_prefix {root!r} must not lie in each other: "
            "what is under scratch_prefix expires",
        )


def an_existing_bucket_is_its_owners(settings: Settings) -> Iterator[Finding]:
    """Nothing of a bucket that was there is changed."""
    storage = settings.storage
    if storage.existing_bucket is None:
        return
    if storage.versioning:
        yield error(
            "storage.versioning storage.existing_bucket",
            "has no effect on a bucket that is there already",
            "switch it on there, and leave it out here",
        )
    yield warning(
        "storage.existing_bucket",
        "its policy, encryption and life-cycle rules stay as they are",
        "deny requests without TLS, block public access, and expire only "
        f"{storage.scratch_prefix}/ and incomplete uploads: docs/reference/settings.md",
    )


def an_existing_key_lets_aws_start_hosts(settings: Settings) -> Iterator[Finding]:
    """Its policy is its owner's; without these two, hosts end as they start."""
    if settings.encryption.kms_key.startswith("arn:"):
        yield info(
            "encryption.kms_key",
            "its policy must let AWSServiceRoleForAutoScaling and AWSServiceRoleForEC2Spot use it "
            "for volumes (kms:CreateGrant), and cloudwatch, events and sns encrypt with it",
            'as kms_key = "create" has it: stacks/constructs/environment_key.py',
        )


RULES: tuple[Rule, ...] = (
    prefixes_lie_apart,
    an_existing_bucket_is_its_owners,
    an_existing_key_lets_aws_start_hosts,
)
