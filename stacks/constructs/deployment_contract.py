"""The note that the stacks leave for the orchestrator."""

from __future__ import annotations

from aws_cdk import Stack
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from orchestrator import deployment


class DeploymentContract(Construct):
    """The deployment as JSON in one SSM parameter. It holds names, never a secret.

    `database_port` takes the place of the contract's: a number that only the deployment knows.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        contract: deployment.Deployment,
        database_port: float,
    ) -> None:
        super().__init__(scope, id)
        content = contract.model_dump(mode="json")
        content["database"]["port"] = database_port
        self.parameter = ssm.StringParameter(
            self,
            "Parameter",
            parameter_name=deployment.parameter_name(contract.environment),
            description="Deployment contract, read by the orchestrator",
            # Free up to 4,096 characters; many queues need more.
            tier=ssm.ParameterTier.INTELLIGENT_TIERING,
            string_value=Stack.of(self).to_json_string(content),
        )
