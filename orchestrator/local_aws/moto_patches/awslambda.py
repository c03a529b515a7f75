"""Lambda: a function of Python runs, in a process of this machine; moto wants Docker and images.

It finds this AWS by `AWS_ENDPOINT_URL`, and has the boto3 that is installed here. What it prints is
in the log of its invocation.

Source: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
"""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from orchestrator.local_aws.moto_patches import replace

# What it prints goes to stderr: stdout is for what it returns.
_MAIN = """
import importlib, json, sys
returned, sys.stdout = sys.stdout, sys.stderr
module, _, name = sys.argv[1].rpartition(".")
event = json.load(sys.stdin)
json.dump(getattr(importlib.import_module(module), name)(event, None), returned)
"""


def apply(endpoint: str) -> None:
    """Patch moto.awslambda; functions find AWS at `endpoint`. Raises MotoChanged."""
    from moto.awslambda.models import LambdaFunction

    def invoke(function: Any, body: Any, request_headers: Any, response_headers: Any) -> bytes:
        kind = request_headers.get("x-amz-invocation-type", "RequestResponse")
        if kind != "RequestResponse":
            _refuse(f"the local AWS does not support the invocation type {kind}")
        returned, log = _run(function, endpoint, body or b"{}")
        response_headers["x-amz-log-result"] = base64.b64encode(log.encode()[-4096:]).decode()
        if returned is None:
            response_headers["x-amz-function-error"] = "Unhandled"
            return json.dumps({"errorMessage": log.strip().rpartition("\n")[2]}).encode()
        return returned

    replace(LambdaFunction, "invoke", lambda _: invoke)


def _run(function: Any, endpoint: str, body: bytes | str) -> tuple[bytes | None, str]:
    """What it returned (None: it failed), and what it printed."""
    if not str(function.run_time).startswith("python"):
        _refuse(f"the local AWS does not support the runtime {function.run_time}")
    with tempfile.TemporaryDirectory(prefix="lambda-") as folder:
        with zipfile.ZipFile(io.BytesIO(function.code_bytes)) as archive:
            archive.extractall(folder)
        try:
            done = subprocess.run(
                [sys.executable, "-c", _MAIN, function.handler],
                input=body.encode() if isinstance(body, str) else body,
                capture_output=True,
                cwd=folder,
                env=_variables(function, endpoint, Path(folder)),
                timeout=int(function.timeout),
                check=False,
            )
        except subprocess.TimeoutExpired:
            return None, f"Task timed out after {function.timeout} seconds"
    log = done.stderr.decode(errors="replace")
    return (done.stdout if done.returncode == 0 else None), log


def _variables(function: Any, endpoint: str, folder: Path) -> dict[str, str]:
    own = {str(key): str(value) for key, value in (function.environment_vars or {}).items()}
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_REGION": function.region,
        "AWS_DEFAULT_REGION": function.region,
        "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
        **own,
    }


def _refuse(message: str) -> None:
    from moto.awslambda.exceptions import InvalidParameterValueException

    raise InvalidParameterValueException(message)
