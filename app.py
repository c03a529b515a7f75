"""The CDK app: settings in, stacks out. It declares no resource itself."""

from __future__ import annotations

import sys

import aws_cdk as cdk

from orchestrator import errors
from stacks import settings
from stacks.environment import build


def main() -> None:
    """Synthesise the environment that the context chooses."""
    app = cdk.App()
    build(app, settings.from_context(app.node.get_all_context()))
    app.synth()


if __name__ == "__main__":
    try:
        main()
    except errors.OrchestratorError as error:
        sys.exit(str(error))
