"""What all stacks of an environment have in common."""

from __future__ import annotations

from aws_cdk import (
    Acknowledgment,
    DefaultStackSynthesizer,
    Environment,
    Stack,
    Tags,
    Validations,
)
from constructs import Construct

from stacks.settings import Settings


class EnvironmentStack(Stack):
    """A stack `<environment>-<part>`, pinned to account and region, its resources tagged.

    One that `holds_data` cannot be deleted by accident where data is kept.
    """

    def __init__(
        self,
        scope: Construct,
        part: str,
        *,
        settings: Settings,
        description: str,
        holds_data: bool = False,
    ) -> None:
        super().__init__(
            scope,
            f"{settings.environment}-{part}",
            env=Environment(account=settings.account, region=settings.region),
            description=f"{settings.environment}: {description}",
            termination_protection=holds_data and settings.retention == "keep",
            # The command line checks the bootstrap version itself; a rule in every template would
            # only repeat it.
            synthesizer=DefaultStackSynthesizer(generate_bootstrap_version_rule=False),
        )
        for key, value in {
            **settings.tags,
            "orchestrator:environment": settings.environment,
        }.items():
            Tags.of(self).add(key, value)
        Validations.of(self).acknowledge(
            Acknowledgment(
                id="CloudFormation-Validate::W3010",
                reason="zones are a setting: synthesis looks nothing up in the account",
            )
        )
        existing = settings.network.existing
        if existing is not None and existing.look_up:
            for rule in ("E1151", "E1154"):
                Validations.of(self).acknowledge(
                    Acknowledgment(
                        id=f"CloudFormation-Validate::{rule}",
                        reason="before CDK has looked the network up, its ids are made up",
                    )
                )
