"""`render`: the configuration of a deployed environment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2

from orchestrator.deployment import Deployment

_TEMPLATES = Path(__file__).parent


def render(
    deployment: Deployment, *, endpoint_url: str | None = None, static_credentials: bool = False
) -> str:
    """HOCON that the orchestrator and Cromwell can read.

    `endpoint_url` is where AWS is, when it is not AWS itself. `static_credentials` is for an AWS
    on this machine, which takes any keys: those of the environment or, without, made-up ones.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - HOCON, not HTML: every value goes through `hocon`
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["hocon"] = hocon
    return environment.get_template("aws-batch.conf.j2").render(
        deployment=deployment,
        contract=deployment.model_dump(mode="json"),
        endpoint_url=endpoint_url,
        static_credentials=static_credentials,
    )


def hocon(value: Any, indent: int = 0) -> str:
    """A value in HOCON, of which JSON is a part; `indent` is that of the line it stands on."""
    text = json.dumps(value, indent=2 if isinstance(value, dict) else None, ensure_ascii=False)
    return text.replace("\n", "\n" + " " * indent)
