"""Runtime attributes: from the values a task evaluates to, to a shape and the engine's own rules.

Attributes and precedence are Cromwell's (supportedBackends/aws AwsBatchRuntimeAttributes,
backend/validation), with the names of WDL 1.1 and 1.2 as other spellings. From the nearest on:

    an override among the inputs (`wf.task.runtime.cpu`)
    the object `aws` of the runtime or hints section; those of other platforms are left out
    the runtime or requirements section
    the workflow option default_runtime_attributes
    default-runtime-attributes of the backend
    built in

The first three are `of_task`, all of them `parse`. A null is as if nothing had been written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator import errors
from orchestrator.model import attribute_values as values
from orchestrator.model.exit_rules import ExitRule, JobEnd, further_attempts
from orchestrator.model.job import Shape

parse_mib = values.mib

PLATFORMS = frozenset({"aws", "gcp", "azure"})
_PLATFORM = "aws"

# Other names of the same. The first that a layer has, in this order, is the one that counts.
_SPELLINGS: dict[str, tuple[str, ...]] = {
    "docker": ("container", "docker"),
    "maxRetries": ("max_retries", "maxRetries"),
    "continueOnReturnCode": ("return_codes", "returnCodes", "continueOnReturnCode"),
}
_CANONICAL = {other: name for name, spellings in _SPELLINGS.items() for other in spellings}

_READERS: dict[str, Callable[[Any, str], Any]] = {
    "docker": values.image,
    "cpu": values.number,
    "memory": values.mib,
    "gpuCount": values.count,
    "gpu": values.flag,
    "disks": values.disks,
    "queueArn": values.queue,
    "jobTimeout": values.timeout,
    "sharedMemorySize": values.mib,
    "ulimits": values.ulimits,
    "fuseMount": values.flag,
    "logGroupName": values.log_group,
    "additionalTags": values.tags,
    "awsBatchRetryAttempts": values.batch_attempts,
    "awsBatchEvaluateOnExit": values.exit_rules,
    "maxRetries": values.count,
    "continueOnReturnCode": values.return_codes,
    "failOnStderr": values.flag,
    # Read so that a wrong value is told, although nothing comes of it.
    "scriptBucketName": values.bucket,
    "zones": values.names,
    "noAddress": values.flag,
    "fpga": values.flag,
    "efsDelocalize": values.flag,
    "efsMakeMD5": values.flag,
    "tagResources": values.flag,
    "tagHardware": values.flag,
}

_NO_SHARED_DISK = "there is no shared disk here"
_NOT_ON_AWS = "Cromwell does not use it on AWS either"
_NO_EFFECT: dict[str, str] = {
    "backend": "a whole workflow runs on one backend; choose it by the workflow option `backend`",
    "zones": "the queue's compute environments say where jobs run",
    "noAddress": "the queue's compute environments say where jobs run",
    "efsDelocalize": _NO_SHARED_DISK,
    "efsMakeMD5": _NO_SHARED_DISK,
    "tagHardware": "instances are tagged by their compute environment",
    "preemptible": f"{_NOT_ON_AWS}; a spot queue does it, and losing a host costs no retry",
    "checkpointFile": _NOT_ON_AWS,
    "bootDiskSizeGb": _NOT_ON_AWS,
    "gpuType": f"{_NOT_ON_AWS}; choose a queue of such instances",
    "cpuPlatform": f"{_NOT_ON_AWS}; choose a queue of such instances",
    "predefinedMachineType": f"{_NOT_ON_AWS}; choose a queue of such instances",
    "nvidiaDriverVersion": _NOT_ON_AWS,
    "useDockerImageCache": _NOT_ON_AWS,
}
# Advice of WDL that an engine may leave aside, what other rooms read, and what is always done.
_SILENT = frozenset(
    {
        "maxCpu", "maxMemory", "shortTask", "localizationOptional", "inputs", "outputs",
        "max_cpu", "max_memory", "short_task", "localization_optional",
        "scriptBucketName", "tagResources",
    }
)  # fmt: skip

KNOWN = frozenset({*_READERS, *_CANONICAL, *_NO_EFFECT, *_SILENT, *PLATFORMS})

_BUILT_IN: dict[str, Any] = {
    "cpu": 1,
    "memory": "2 GB",
    "maxRetries": 0,
    "continueOnReturnCode": 0,
    "failOnStderr": False,
}


@dataclass(frozen=True, slots=True)
class RuntimeAttributes:
    """What the attributes ask for. `accept_return_codes` None = every code.

    `effective`: Cromwell's names -> JSON values as they were written, all layers and what is built
    in merged, for metadata.
    """

    shape: Shape
    max_retries: int = 0
    accept_return_codes: frozenset[int] | None = frozenset({0})
    fail_on_stderr: bool = False
    batch_attempts: int = 0
    exit_rules: tuple[ExitRule, ...] = ()
    effective: Mapping[str, Any] = field(default_factory=dict)

    def accepts(self, return_code: int) -> bool:
        """Whether a command that ended with this code succeeded."""
        return self.accept_return_codes is None or return_code in self.accept_return_codes

    def further_attempts(self, end: JobEnd) -> int:
        """What awsBatchRetryAttempts and awsBatchEvaluateOnExit grant besides `max_retries`."""
        return further_attempts(self.batch_attempts, self.exit_rules, end)

    def with_memory_grown(self, factor: float) -> RuntimeAttributes:
        """The same with so many times the memory, however it was written."""
        if factor <= 1:
            return self
        mib = min(int(self.shape.memory_mib * factor), 2**30)
        return replace(
            self,
            shape=replace(self.shape, memory_mib=mib),
            effective={**self.effective, "memory": f"{mib} MB"},
        )


def of_task(section: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """What a task asks for, in one map: an override hides the same attribute of the object `aws`,
    which hides that of its section, under whichever of its names."""
    own = section.get(_PLATFORM)
    merged: dict[str, Any] = {}
    for layer in (overrides, own if isinstance(own, Mapping) else {}, section):
        known = {_canonical(name) for name in merged}
        for name, value in layer.items():
            if name not in PLATFORMS and _canonical(name) not in known and value is not None:
                merged[name] = value
    return merged


def parse(task: Mapping[str, Any], *defaults: Mapping[str, Any]) -> RuntimeAttributes:
    """Attributes of a task over `defaults`, the nearest first.

    Raises InvalidRuntimeAttribute listing every wrong value. Unknown attributes stay in `effective`
    and mean nothing, as in Cromwell.
    """
    findings: list[tuple[str, errors.Finding]] = []
    merged: dict[str, Any] = {}
    for layer in (task, *defaults):
        named = _named(layer, findings)
        merged = {**named, **merged}
    read = _read(merged, findings)
    if findings:
        raise errors.InvalidRuntimeAttribute(
            "the runtime section cannot be used", findings=[finding for _, finding in findings]
        )
    disks: values.Disks = read.get("disks", values.Disks())
    return RuntimeAttributes(
        shape=Shape(
            image=read.get("docker", ""),
            cpu=read.get("cpu", 1.0),
            memory_mib=read.get("memory", 2048),
            gpu_count=read.get("gpuCount", 1 if read.get("gpu") else 0),
            disk_gib=disks.gib,
            queue=read.get("queueArn", ""),
            timeout_seconds=read.get("jobTimeout", 0),
            shared_memory_mib=read.get("sharedMemorySize", 0),
            mounts=disks.mounts,
            shared_mounts=disks.shared,
            ulimits=tuple((u.name, u.soft, u.hard) for u in read.get("ulimits", ())),
            fuse=read.get("fuseMount", False),
            log_group=read.get("logGroupName", ""),
            tags=read.get("additionalTags", ()),
        ),
        max_retries=read.get("maxRetries", 0),
        accept_return_codes=read.get("continueOnReturnCode", frozenset({0})),
        fail_on_stderr=read.get("failOnStderr", False),
        batch_attempts=read.get("awsBatchRetryAttempts", 0),
        exit_rules=read.get("awsBatchEvaluateOnExit", ()),
        effective={**_BUILT_IN, **merged},
    )


def check(attributes: Mapping[str, Any]) -> list[tuple[str, errors.Finding]]:
    """What is wrong with these values, by the name as written. For values that are known before
    anything runs: literals of a document, overrides, defaults."""
    findings: list[tuple[str, errors.Finding]] = []
    _read(_named(attributes, findings), findings, attributes)
    platform = attributes.get(_PLATFORM)
    if isinstance(platform, Mapping):
        findings += [(_PLATFORM, finding) for _, finding in check(platform)]
    elif platform is not None:
        findings.append((_PLATFORM, _finding(values.wrong(_PLATFORM, platform, "an object"))))
    return findings


def advice(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(name, what to know of it) of attributes that have no effect here, or that nobody knows."""
    for name in names:
        if why := _NO_EFFECT.get(name):
            yield name, f"the runtime attribute {name} has no effect here: {why}"
        elif name not in KNOWN:
            yield name, f"unknown runtime attribute {name}; it has no effect"


def _canonical(name: str) -> str:
    return _CANONICAL.get(name, name)


def _named(layer: Mapping[str, Any], findings: list[tuple[str, errors.Finding]]) -> dict[str, Any]:
    """A layer by Cromwell's names, without nulls and without objects of platforms."""
    given = {n: value for n, value in layer.items() if value is not None and n not in PLATFORMS}
    if "docker" in given and "container" in given:
        findings.append(
            (
                "container",
                errors.Finding(
                    "container and docker are given; they are two names of the same",
                    hint="leave one of them out",
                ),
            )
        )
    named = {name: value for name, value in given.items() if name not in _CANONICAL}
    for name, spellings in _SPELLINGS.items():
        written = next((spelling for spelling in spellings if spelling in given), None)
        if written is not None:
            named[name] = given[written]
    return named


def _read(
    named: Mapping[str, Any],
    findings: list[tuple[str, errors.Finding]],
    written: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What the values mean; those that are wrong are told, under the names they were given by."""
    read: dict[str, Any] = {}
    for name, value in named.items():
        if name not in _READERS:
            continue
        shown = next((s for s in _SPELLINGS.get(name, ()) if s in (written or {})), name)
        try:
            read[name] = _READERS[name](value, shown)
        except errors.InvalidRuntimeAttribute as error:
            findings.append((shown, _finding(error)))
    if read.get("gpu") and read.get("gpuCount") == 0:
        findings.append(
            ("gpu", errors.Finding("gpu is true and gpuCount is 0", hint="leave gpuCount out"))
        )
    if read.get("fpga"):
        findings.append(("fpga", errors.Finding("fpga is true; nothing here has FPGAs")))
    return read


def _finding(error: errors.OrchestratorError) -> errors.Finding:
    return errors.Finding(error.message, hint=error.hint)
