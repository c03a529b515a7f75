"""Jobs that are over at once, for measurements: no process, no container, no command.

What is left is what an orchestrator itself costs. A job of this project's AWS Batch backend is
answered as its wrapper would answer: the manifest is written, last, after the objects it names.
Its "command" prints the job's array index and a line break; each output file that is asked for by
name is there, and holds the same. Any other job (another orchestrator's) ends with exit code 0 and
leaves nothing.
"""

from __future__ import annotations

import base64
import functools
import io
import json
import re
import shlex
import tarfile
import time
from collections.abc import Mapping
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.exceptions import MissingKey
from moto.s3.models import s3_backends

from orchestrator.backends.aws_batch.bundles import PER_BUNDLE, split
from orchestrator.backends.wrapper.exit_codes import WrapperExit
from orchestrator.local_aws.batch.runners.base import Exit, Runner, RunningTask, Sink, Task

# The plan is shell text in which every value is quoted by shlex (`backends.wrapper.plan`).
_WORD = r"(?:[^\s'\"]|'[^']*'|\"'\")+"
_ASSIGNED = re.compile(rf"^w_(\w+)=({_WORD})$", re.MULTILINE)
_FILE = re.compile(rf"^w_file ({_WORD})$", re.MULTILINE)
_READ = re.compile(rf"^w_read ({_WORD}) {_WORD}$", re.MULTILINE)


class InstantRunner(Runner):
    """Starts nothing."""

    name = "instant"
    description = "jobs are over at once, and run nothing"

    def start(self, task: Task) -> RunningTask:
        return _Instant(task)

    def close(self) -> None:
        pass


class _Instant(RunningTask):
    def __init__(self, task: Task) -> None:
        self._task = task

    def wait(self, sink: Sink) -> Exit:
        environment = self._task.environment
        bundles = environment.get("ORCHESTRATOR_BUNDLES")
        if bundles is None:
            return Exit(0)
        index = int(environment.get("AWS_BATCH_JOB_ARRAY_INDEX", "0"))
        try:
            bundle = _get(f"{bundles}/bundle-{index // PER_BUNDLE}.tar.gz")
        except MissingKey:
            return Exit(WrapperExit.REVOKED)
        if not bundle:
            return Exit(WrapperExit.REVOKED)
        _leave(_plans(bundle)[index], self._task.job_id, f"{index}\n".encode())
        return Exit(0)

    def terminate(self) -> None:
        pass

    def kill(self) -> None:
        pass


@functools.lru_cache(maxsize=32)
def _plans(bundle: bytes) -> Mapping[int, str]:
    """The plans of a bundle, by index."""
    plans = {}
    with tarfile.open(fileobj=io.BytesIO(bundle), mode="r:gz") as archive:
        for member in archive:
            index, _, name = member.name.partition("/")
            content = archive.extractfile(member) if name == "plan" else None
            if content is not None:
                plans[int(index)] = content.read().decode()
    return plans


def _leave(plan: str, job_id: str, output: bytes) -> None:
    """What an attempt of this plan leaves on S3."""
    values = {name: _unquoted(word) for name, word in reversed(_ASSIGNED.findall(plan))}
    home = values["uri"]
    stdout = _file(values["stdout"], json.loads(values["stdout_uri_json"]), output)
    stderr = _file(values["stderr"], json.loads(values["stderr_uri_json"]), b"")
    files = []
    for word in _FILE.findall(plan):
        path = _unquoted(word)
        files.append(_file(path, f"{home}/{path.lstrip('/')}", output))
    for file, content in ((stdout, output), (stderr, b""), *((file, output) for file in files)):
        _put(file["uri"], content)
    now = time.time()
    known = {file["path"] for file in (stdout, *files)}
    manifest = {
        "version": 1,
        "submission_id": values["submission"],
        "attempt": values["attempt"],
        "job_id": job_id,
        "return_code": 0,
        "peak_memory_bytes": None,
        "stdout": stdout,
        "stderr": stderr,
        "phases": [{"name": "command", "started_at": now, "ended_at": now}],
        "contents": [
            {"path": path, "base64": base64.b64encode(output).decode()}
            for path in map(_unquoted, _READ.findall(plan))
            if path in known
        ],
        "files": files,
    }
    *_, target = shlex.split(values["upload_manifest"])
    _put(target, json.dumps(manifest).encode())


def _file(path: str, uri: str, content: bytes) -> dict[str, Any]:
    return {"path": path, "uri": uri, "size": len(content)}


def _unquoted(word: str) -> str:
    return "".join(shlex.split(word)) if "'" in word else word


def _get(uri: str) -> bytes:
    bucket, key = split(uri)
    found = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].get_object(bucket, key)
    if found is None:
        raise MissingKey(key=key)
    return bytes(found.value)


def _put(uri: str, content: bytes) -> None:
    bucket, key = split(uri)
    s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(bucket, key, content)
