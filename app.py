"""The CDK app: settings in, stacks out. It declares no resource itself."""

from __future__ import annotations

import sys

import aws_cdk as cdk

from orchestrator import errors
from stacks import environment, nag, settings


def main() -> None:
    """Synthesise the environment that the context chooses."""
    app = cdk.App()
    report = settings.check(app.node.get_all_context())
    for finding in (*report.warnings, *report.notes):
        print(f"settings: {finding}", file=sys.stderr)  # noqa: T201 - to whoever runs cdk
    environment.build(app, report.valid())
    app.synth()
    if nag.is_wanted(app):
        nag.check(app)


if __name__ == "__main__":
    try:
        main()
    except errors.OrchestratorError as error:
        sys.exit(str(error))
