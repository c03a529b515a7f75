"""Workflow options: what a workflow may be told besides its inputs.

Names and values are Cromwell's (core/.../WorkflowOptions.scala, docs/wf_options/Overview.md,
AwsBatchWorkflowOptionKeys). Every wrong value is told at once; an unknown option is a warning, as
Cromwell only ignores it. A boolean or a number may stand in a string, as Cromwell reads it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import unquote

from orchestrator import errors
from orchestrator.model import attribute_values, runtime

# Options that name a directory; a relative path is meant from where the workflow is handed in.
DIRECTORIES = ("final_workflow_outputs_dir", "final_workflow_log_dir", "final_call_logs_dir")

_BUCKET_ROOT = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]{1,577}", re.ASCII)


class FailureMode(StrEnum):
    """What goes on when a call has failed."""

    NO_NEW_CALLS = "NoNewCalls"
    CONTINUE_WHILE_POSSIBLE = "ContinueWhilePossible"


class OutputsMode(StrEnum):
    """How final outputs come to where they are wanted."""

    COPY = "copy"
    MOVE = "move"


@dataclass(frozen=True, slots=True)
class WorkflowOptions:
    """Options that were read. Directories are URIs or plain paths, without the last slash; empty:
    not given. `destination_in_outputs`: a workflow's outputs name the copies."""

    backend: str = ""
    default_runtime_attributes: Mapping[str, Any] = field(default_factory=dict)
    failure_mode: FailureMode = FailureMode.NO_NEW_CALLS
    memory_retry_multiplier: float = 1.0
    final_workflow_outputs_dir: str = ""
    use_relative_output_paths: bool = False
    final_workflow_outputs_mode: OutputsMode = OutputsMode.COPY
    destination_in_outputs: bool = False
    final_workflow_log_dir: str = ""
    final_call_logs_dir: str = ""
    delete_intermediate_output_files: bool = False
    hog_group: str = ""
    aws_s3_root: str = ""
    aws_batch_job_role_arn: str = ""
    read_from_cache: bool = True
    write_to_cache: bool = True
    call_cache_hit_path_prefixes: tuple[str, ...] = ()
    warnings: tuple[errors.Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a backend lets its workflows choose. `roots`: URIs below which its jobs may write;
    `job_roles`: the ARNs of roles that they may have. None: there is nothing to choose."""

    roots: tuple[str, ...] | None = None
    job_roles: tuple[str, ...] | None = None

    def check(
        self, options: WorkflowOptions, places: Mapping[str, errors.Place] | None = None
    ) -> tuple[list[errors.Finding], list[errors.Finding]]:
        """(what is wrong, what to know) of options that this backend cannot follow, with the places
        of the options."""
        places = places or {}
        wrong, advice = [], []
        root, role = options.aws_s3_root, options.aws_batch_job_role_arn
        for name, given, allowed in (
            ("aws_s3_root", root, self.roots),
            ("aws_batch_job_role_arn", role, self.job_roles),
        ):
            if given and allowed is None:
                advice.append(
                    errors.Finding(
                        f"the workflow option {name} has no effect on this backend",
                        places.get(name),
                    )
                )
        if root and self.roots is not None and not _is_below(root, self.roots):
            wrong.append(
                errors.Finding(
                    f"aws_s3_root is {root}, where jobs of this environment may not write",
                    places.get("aws_s3_root"),
                    hint=f"choose a place below {' or '.join(self.roots)}",
                )
            )
        if role and self.job_roles is not None and role not in self.job_roles:
            wrong.append(
                errors.Finding(
                    f"aws_batch_job_role_arn is {role}, which jobs of this environment may not "
                    "have",
                    places.get("aws_batch_job_role_arn"),
                    hint=f"allowed: {', '.join(self.job_roles) or 'none'}",
                )
            )
        return wrong, advice


def _is_below(uri: str, roots: tuple[str, ...]) -> bool:
    return any(f"{uri}/".startswith(f"{root.rstrip('/')}/") for root in roots)


def parse(
    options: Mapping[str, Any],
    *,
    hog_group_option: str = "hogGroup",
    places: Mapping[str, errors.Place] | None = None,
) -> WorkflowOptions:
    """Read all options. `hog_group_option`: `system.hog-safety.workflow-option`; `places`: where
    each was given.

    Raises InvalidOptions with a finding for every wrong value.
    """
    places = places or {}
    known = {**_READERS, hog_group_option: ("hog_group", _text)}
    findings: list[errors.Finding] = []
    warnings: list[errors.Finding] = []
    read: dict[str, Any] = {}
    for name, value in options.items():
        if name not in known:
            _unknown(name, value, places.get(name), known, findings, warnings)
            continue
        if value is None:
            continue
        target, reader = known[name]
        try:
            read[target] = reader(value)
        except ValueError as error:
            wrong = f"{name} is {_shown(value)}; expected {error}"
            findings.append(errors.Finding(wrong, places.get(name)))
    attributes = read.get("default_runtime_attributes", {})
    place = places.get("default_runtime_attributes")
    for _, finding in runtime.check(attributes):
        where = f"default_runtime_attributes: {finding.message}"
        findings.append(errors.Finding(where, place, finding.hint))
    for _, advice in runtime.advice(attributes):
        warnings.append(errors.Finding(f"default_runtime_attributes: {advice}", place))
    if findings:
        raise errors.InvalidOptions("the workflow options cannot be used", findings=findings)
    found = WorkflowOptions(**read, warnings=())
    return WorkflowOptions(**read, warnings=(*warnings, *_useless(found, places)))


def _unknown(
    name: str,
    value: Any,
    place: errors.Place | None,
    known: Mapping[str, Any],
    findings: list[errors.Finding],
    warnings: list[errors.Finding],
) -> None:
    if isinstance(value, Mapping) and name not in _OBJECTS:
        # Cromwell refuses those too: "unsupported value for option".
        what = (
            "is encrypted; options are not decrypted here"
            if {"iv", "ciphertext"} <= value.keys()
            else "is an object; only default_runtime_attributes and google_labels may be one"
        )
        findings.append(errors.Finding(f"{name} {what}", place))
        return
    for pattern, why in _NO_EFFECT.items():
        if re.fullmatch(pattern, name):
            what = f"the workflow option {name} has no effect here: {why}"
            warnings.append(errors.Finding(what, place))
            return
    near = difflib.get_close_matches(name, known, 1, 0.75)
    warnings.append(
        errors.Finding(
            f"unknown workflow option {name}; it has no effect",
            place,
            hint=f"did you mean {near[0]}?" if near else "",
        )
    )


def _useless(options: WorkflowOptions, places: Mapping[str, errors.Place]) -> list[errors.Finding]:
    """Options that mean nothing without another one."""
    found = []
    if not options.final_workflow_outputs_dir:
        for name, given in (
            ("use_relative_output_paths", options.use_relative_output_paths),
            ("final_workflow_outputs_mode", options.final_workflow_outputs_mode != "copy"),
            ("final_workflow_outputs_dir_metadata", options.destination_in_outputs),
        ):
            if given:
                what = f"{name} has no effect without final_workflow_outputs_dir"
                found.append(errors.Finding(what, places.get(name)))
    return found


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 120 else f"{shown[:117]}..."


def is_unicode(text: str) -> bool:
    """Whether it can be written anywhere: JSON's \\u escapes also make halves of characters."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


# --- readers: a ValueError says what was expected


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a string")
    if not is_unicode(value):
        raise ValueError("text without halves of characters")
    return value


def _flag(value: Any) -> bool:
    try:
        return attribute_values.flag(value, "")
    except errors.InvalidRuntimeAttribute:
        raise ValueError("true or false") from None


def _choice(*choices: str) -> Callable[[Any], str]:
    """One of these words, in any case, as Cromwell reads them."""

    def read(value: Any) -> str:
        found = [c for c in choices if isinstance(value, str) and c.lower() == value.lower()]
        if not found:
            raise ValueError(" or ".join(choices))
        return str(found[0])

    return read


def _multiplier(value: Any) -> float:
    expected = "a number from 1.0 to 99.0"
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(expected) from None
    if isinstance(value, bool) or not 1.0 <= found <= 99.0:
        raise ValueError(expected)
    return found


def _directory(value: Any) -> str:
    text = _text(value)
    scheme, separator, rest = text.partition("://")
    if separator and scheme not in ("s3", "file"):
        raise ValueError("a directory: s3://<bucket>/<prefix>, or a path")
    if scheme == "file" and separator and not rest.startswith("/"):
        raise ValueError("three slashes: file:///<path>")
    if separator and scheme == "s3":
        return _root(text)
    path = unquote(rest) if separator else text
    if any(ord(character) < 32 for character in path):
        raise ValueError("a path without control characters")
    return path.rstrip("/") or "/"


def _root(value: Any) -> str:
    text = _text(value).rstrip("/")
    parts = text.split("/")[2:]
    if not _BUCKET_ROOT.fullmatch(text) or any(part in ("", ".", "..") for part in parts):
        raise ValueError("s3://<bucket>/<prefix>")
    return text


def _role(value: Any) -> str:
    if not isinstance(value, str) or not _ROLE.fullmatch(value):
        raise ValueError("the ARN of a role: arn:aws:iam::<account>:role/<name>")
    return value


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("an object")
    return value


def _words(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("an array of strings")
    return tuple(value)


# Option -> (field of WorkflowOptions, reader).
_READERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "backend": ("backend", _text),
    "default_runtime_attributes": ("default_runtime_attributes", _object),
    "workflow_failure_mode": ("failure_mode", lambda v: FailureMode(_choice(*FailureMode)(v))),
    "memory_retry_multiplier": ("memory_retry_multiplier", _multiplier),
    "final_workflow_outputs_dir": ("final_workflow_outputs_dir", _directory),
    "use_relative_output_paths": ("use_relative_output_paths", _flag),
    "final_workflow_outputs_mode": (
        "final_workflow_outputs_mode",
        lambda v: OutputsMode(_choice(*OutputsMode)(v)),
    ),
    "final_workflow_outputs_dir_metadata": (
        "destination_in_outputs",
        lambda v: _choice("source", "destination")(v) == "destination",
    ),
    "final_workflow_log_dir": ("final_workflow_log_dir", _directory),
    "final_call_logs_dir": ("final_call_logs_dir", _directory),
    "delete_intermediate_output_files": ("delete_intermediate_output_files", _flag),
    "aws_s3_root": ("aws_s3_root", _root),
    "aws_batch_job_role_arn": ("aws_batch_job_role_arn", _role),
    "read_from_cache": ("read_from_cache", _flag),
    "write_to_cache": ("write_to_cache", _flag),
    "call_cache_hit_path_prefixes": ("call_cache_hit_path_prefixes", _words),
}

_OBJECTS = frozenset({"google_labels"})
_GOOGLE = "it is Google Cloud's"

# Names (as patterns) that Cromwell knows.
_NO_EFFECT: dict[str, str] = {
    r"google_.*|gcp_.*|jes_.*|auth_bucket|user_service_account_json|refresh_token": _GOOGLE,
    r"monitoring_(script|image|image_script)": f"{_GOOGLE}; peak memory and disk of every attempt "
    "are in its metadata",
    r"use_reference_disks|use_docker_image_cache|enable_ssh_access|enable_fuse": _GOOGLE,
    r"override_preemptible_.*|disable_batch_.*": _GOOGLE,
    r"call-cache-blacklist-group": "failed cache hits are not kept from being tried again",
    r"aws_batch_script_bucket_prefix": "scripts lie beside what the call leaves",
    r"workflow_callback_uri": "nobody is called when a workflow ends",
    r"workflow[-_]type(_version|-version)?": "documents are WDL, and say which",
}
