"""What every request passes on its way to a service: door, control routes, counting, faults.

The control routes, none of them an AWS's:

    GET         /_local-aws/health   200 when it answers
    GET DELETE  /_local-aws/calls    calls counted by service and action (calls.py)
    GET         /_local-aws/callers  who called what
    GET POST DELETE /_local-aws/faults   fault rules (faults.py)
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import json
import logging
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    create_backend_app,
)

from orchestrator.local_aws import answers, calls, faults, postgres
from orchestrator.local_aws.cloudformation.api import CloudFormation
from orchestrator.local_aws.loopback import Loopback
from orchestrator.local_aws.moto_patches import awslambda as lambda_patch
from orchestrator.local_aws.moto_patches import batch as batch_patch
from orchestrator.local_aws.moto_patches import budgets as budgets_patch
from orchestrator.local_aws.moto_patches import cloudwatch as cloudwatch_patch
from orchestrator.local_aws.moto_patches import dispatch as dispatch_patch
from orchestrator.local_aws.moto_patches import ec2 as ec2_patch
from orchestrator.local_aws.moto_patches import ecr as ecr_patch
from orchestrator.local_aws.moto_patches import events as events_patch
from orchestrator.local_aws.moto_patches import rds as rds_patch
from orchestrator.local_aws.moto_patches import rdsdata as rdsdata_patch
from orchestrator.local_aws.moto_patches import s3 as s3_patch
from orchestrator.local_aws.moto_patches import sqs as sqs_patch

_log = logging.getLogger("orchestrator.local_aws")

_MOTO = re.compile(r"5\.2\.\d+")
_HOSTS = re.compile(r"(?:[a-z0-9.-]+\.)?(?:localhost|host\.docker\.internal)|127\.0\.0\.1|\[::1\]")
_CONTROL = "/_local-aws/"
_WARM_UP = (
    *("ssm", "s3", "sts", "iam", "ec2", "rds", "secretsmanager", "logs", "batch", "kms", "ecr"),
    *("autoscaling", "cloudwatch", "events", "sns", "sqs", "budgets"),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """How this AWS is set up. `jobs` is one of `runners.KINDS`."""

    state_dir: Path
    jobs: str = "auto"
    listjobs_lag_seconds: float = 0.0


class Gateway:
    """The WSGI application."""

    def __init__(self, settings: Settings) -> None:
        version = importlib.metadata.version("moto")
        if not _MOTO.fullmatch(version):
            raise RuntimeError(f"moto {version} is installed; this package completes moto 5.2 only")
        self.settings = settings
        self.endpoint = ""
        self.on_runner: Callable[[str], None] = lambda runner: None  # told how jobs run
        self.calls = calls.Calls()
        self.faults = faults.Faults()
        self._databases = postgres.Servers(settings.state_dir / "postgres")
        self._engine: Any = None
        self._engine_lock = threading.Lock()
        dispatch_patch.apply()
        self._moto = DomainDispatcherApplication(self._create_service)
        self._loopback = Loopback(self._serve_plainly)
        self._cloudformation = CloudFormation(self._loopback)
        self._loaded = threading.Event()
        self._loaded.set()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        refusal = _refusal(environ)
        if refusal:
            return _answer(start_response, 403, {"message": refusal})
        if environ["PATH_INFO"].startswith(_CONTROL):
            return self._control(environ, start_response)
        call = calls.classify(environ)
        self.calls.count(call)
        fault = self.faults.take(call.service, call.action)
        if fault is not None:
            protocol = answers.protocol_of(environ, call.service)
            serve = functools.partial(self._serve, call.service)
            return faults.act(fault, protocol, serve, environ, start_response)
        return self._serve(call.service, environ, start_response)

    def warm_up(self, failed: Callable[[], None]) -> None:
        """Load, in the background, the services that a deployment uses.

        Requests wait for it: modules that import each other must not be loaded by two threads at
        once. Python gives one of the two a module that is half there rather than deadlock.
        `failed` is called when a service cannot be loaded.
        """
        self._loaded.clear()

        def load() -> None:
            try:
                for service in _WARM_UP:
                    signed_as = "monitoring" if service == "cloudwatch" else service
                    self._moto.get_application(_environ_for(signed_as))
            except Exception:
                _log.exception("a service cannot be loaded")
                failed()
                return
            finally:
                self._loaded.set()
            for service in _WARM_UP:  # CloudFormation's: each takes a moment the first time
                self._loopback.client(service, "us-east-1")

        threading.Thread(target=load, name="warm-up", daemon=True).start()

    def _serve(self, service: str, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        """The services alone: neither counted nor disturbed."""
        self._loaded.wait()
        try:
            if environ["PATH_INFO"] == "/moto-api/reset":
                self._reset()
            app = self._cloudformation if service == "cloudformation" else self._moto
            answer: Iterable[bytes] = app(environ, start)
        except Exception as error:
            # What AWS answers to its own defects. The log has the traceback.
            _log.exception("%s %s of %s", environ["REQUEST_METHOD"], environ["PATH_INFO"], service)
            protocol = answers.protocol_of(environ, service)
            message = f"the local AWS failed: {type(error).__name__}: {error}"
            return answers.error(start, protocol, 500, "InternalFailure", message)
        return answer

    def _serve_plainly(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        return self._serve(calls.service_of(environ), environ, start)

    def _reset(self) -> None:
        self._cloudformation.reset()
        self._databases.close()

    def close(self) -> None:
        """End what runs on behalf of this AWS."""
        with self._engine_lock:
            if self._engine is not None:
                self._engine.stop()
                self._engine = None
        self._databases.close()

    def _create_service(self, service: Any) -> Any:
        """A service's application, its moto patched before the first request."""
        match service:
            case "batch":
                batch_patch.apply()
                self._install_batch()
            case "budgets":
                budgets_patch.apply()
            case "cloudwatch":
                cloudwatch_patch.apply()
            case "ec2":
                ec2_patch.apply()
            case "ecr":
                ecr_patch.apply()
            case "events":
                events_patch.apply()
            case "awslambda":
                lambda_patch.apply(self.endpoint)
            case "rds":
                rds_patch.apply(self._databases)
            case "rdsdata":
                rdsdata_patch.apply()
            case "s3":
                s3_patch.apply()
            case "sqs":
                sqs_patch.apply()
        return create_backend_app(service)

    def _install_batch(self) -> None:
        batch = importlib.import_module("orchestrator.local_aws.batch")
        with self._engine_lock:
            if self._engine is None:
                self._engine = batch.install(
                    self.settings.jobs,
                    self.settings.state_dir,
                    self.endpoint,
                    list_jobs_lag_seconds=self.settings.listjobs_lag_seconds,
                )
                self.on_runner(self._engine.runner)

    def _control(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        route = (environ["REQUEST_METHOD"], environ["PATH_INFO"].removeprefix(_CONTROL))
        match route:
            case ("GET", "health"):
                return _answer(start_response, 200, {"ok": True})
            case ("GET", "calls"):
                return _answer(start_response, 200, self.calls.as_json())
            case ("GET", "callers"):
                return _answer(start_response, 200, self.calls.callers())
            case ("DELETE", "calls"):
                self.calls.clear()
            case ("GET", "faults"):
                return _answer(start_response, 200, self.faults.as_json())
            case ("DELETE", "faults"):
                self.faults.clear()
            case ("POST", "faults"):
                body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                try:
                    self.faults.add(body)
                except (pydantic.ValidationError, ValueError) as error:
                    return _answer(start_response, 400, {"message": str(error)})
            case _:
                return _answer(start_response, 404, {"message": f"no route {' '.join(route)}"})
        return _answer(start_response, 200, {"ok": True})


def _refusal(environ: dict[str, Any]) -> str | None:
    """Web pages in a browser of this machine must not reach an API that runs commands.

    A page's script sends Origin; one that rebinds its own name to 127.0.0.1 sends it as Host.
    """
    if "HTTP_ORIGIN" in environ:
        return "requests of web pages are refused"
    host = re.sub(r":\d+$", "", environ.get("HTTP_HOST", ""))
    if not _HOSTS.fullmatch(host):
        return f"host {host!r} is refused: use localhost"
    return None


def _answer(start_response: Callable[..., Any], status: int, value: Any) -> Iterable[bytes]:
    body = json.dumps(value).encode()
    start_response(
        f"{status} {'OK' if status == 200 else 'Refused'}",
        [("Content-Type", "application/json"), ("Content-Length", str(len(body)))],
    )
    return [body]


def _environ_for(service: str) -> dict[str, Any]:
    credential = f"AWS4-HMAC-SHA256 Credential=local/20000101/us-east-1/{service}/aws4_request"
    return {
        "HTTP_AUTHORIZATION": credential,
        "HTTP_HOST": "localhost",
        "PATH_INFO": "/",
        "REQUEST_METHOD": "GET",
    }
