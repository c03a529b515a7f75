"""Hosts that are not ours: those of Cromwell's launch template have the AWS CLI, and nothing else.

There a job's image starts the container with its own /bin/sh, which Cromwell asks of images too.
Once an attempt the host's CLI, mounted where Cromwell mounts it, brings our two static tools from
the bucket into the attempt's own directory; from then on everything is as on our hosts.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import errors
from orchestrator.backends.aws_batch import refusals, stage
from orchestrator.backends.aws_batch.bundles import split
from orchestrator.backends.wrapper.exit_codes import WrapperExit

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_TOOLS = ("busybox", "s5cmd")
_KEPT_SECONDS = 6 * 3600.0  # the scratch prefix expires: they are put again from time to time

# $0 the CLI's directory, $1 scratch, $2 the stage. POSIX sh with mkdir, chmod, ln, rm and sleep:
# all that is there before the tools. CLI and pauses in the background: `wait` hears SIGTERM at
# once. Directory and exit codes are the stage's.
_FETCH = f"""
trap 'rm -rf "${{d:-}}"; exit {WrapperExit.TERMINATED}' TERM
a=$0/v2/current/bin/aws i=${{AWS_BATCH_JOB_ARRAY_INDEX:-0}}
d=$1/job-${{AWS_BATCH_JOB_ID%%:*}}-$i
t=$d/tools
say() {{ echo "wrapper: $1" >&2; }}
give_up() {{ say "$2"; rm -rf "$d"; exit "$1"; }}
if ! [ -x "$a" ] || ! [ -d "$1" ]; then
  say "this host lacks $a or $1"; exit {WrapperExit.TOOLS_MISSING}
fi
if ! (umask 077 && mkdir "$d"); then
  [ -d "$d" ] || {{ say "cannot write to $1"; exit {WrapperExit.TOOLS_MISSING}; }}
  say "this job has run on this host before"; exit {WrapperExit.ALREADY_BEGUN}
fi
e=${{AWS_ENDPOINT_URL_S3:-${{AWS_ENDPOINT_URL:-}}}} n=1
while :; do
  "$a" s3 cp --recursive --only-show-errors ${{e:+--endpoint-url "$e"}} \\
    "$ORCHESTRATOR_TOOLS/" "$t/" &
  wait "$!" && break
  s=$?
  [ "$s" != 126 ] && [ "$s" != 127 ] ||
    give_up {WrapperExit.TOOLS_MISSING} "this host's AWS CLI does not run in this image"
  [ "$n" -lt 5 ] || give_up {WrapperExit.LOCALIZATION_FAILED} "the tools cannot be fetched"
  say "the tools cannot be fetched, trying again"
  sleep $((n * 7)) &
  wait "$!"
  n=$((n + 1))
done
chmod 755 "$t/busybox" "$t/s5cmd" && ln -s busybox "$t/sh" ||
  give_up {WrapperExit.TOOLS_MISSING} "the tools cannot be used"
sum() {{ sha256sum "$1" 2>/dev/null || "$t/busybox" sha256sum "$1"; }}
b=$(sum "$t/busybox") s=$(sum "$t/s5cmd")
[ "${{b%% *}} ${{s%% *}}" = "$ORCHESTRATOR_TOOLS_SHA256" ] ||
  give_up {WrapperExit.WRAPPER_MISMATCH} "the tools are not those that were submitted"
exec "$t/sh" -c "$2" "$t" "$1"
"""


def adapted(properties: dict[str, Any], cli_path: str, scratch_path: str) -> dict[str, Any]:
    """`containerProperties` for our hosts, made into those for such ones."""
    return properties | {
        "command": ["/bin/sh", "-c", _FETCH.strip(), cli_path, scratch_path, stage.TEXT],
        "volumes": [
            {"name": "tools", "host": {"sourcePath": cli_path}} if v["name"] == "tools" else v
            for v in properties["volumes"]
        ],
        "mountPoints": [
            m | {"containerPath": cli_path} if m["sourceVolume"] == "tools" else m
            for m in properties["mountPoints"]
        ],
    }


class Tools:
    """What `directory` has for each architecture, `<architecture>/busybox` and `s5cmd`, on S3."""

    def __init__(
        self,
        s3: Callable[[], S3Client],
        scratch_root: str,
        directory: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._s3 = s3
        self._root = f"{scratch_root.rstrip('/')}/tools"
        self._directory = directory
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, dict[str, str]]] = {}

    def environment(self, architecture: str) -> dict[str, str]:
        """By what a job finds the tools of its host's architecture, which lie there by then.

        Raises BackendUnavailable where they are not in the directory.
        """
        with self._lock:
            put_at, environment = self._kept.get(architecture, (float("-inf"), {}))
            if self._clock() - put_at >= _KEPT_SECONDS:
                environment = self._put(architecture)
                self._kept[architecture] = (self._clock(), environment)
            return environment

    def _put(self, architecture: str) -> dict[str, str]:
        contents = {name: self._read(self._directory / architecture / name) for name in _TOOLS}
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        both = " ".join(sums[name] for name in _TOOLS)
        uri = f"{self._root}/{architecture}-{hashlib.sha256(both.encode()).hexdigest()[:32]}"
        for name, content in contents.items():
            bucket, key = split(f"{uri}/{name}")
            with refusals.translated(f"writing {uri}/{name}"):
                self._s3().put_object(Bucket=bucket, Key=key, Body=content)
        return {"ORCHESTRATOR_TOOLS": uri, "ORCHESTRATOR_TOOLS_SHA256": both}

    def _read(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise errors.BackendUnavailable(
                f"{path} cannot be read ({error.strerror}), and hosts that are not ours need it",
                hint="put static builds of busybox and s5cmd there, for the architecture of the "
                "queue's hosts: `python -m stacks.assets.fetch` fetches both",
            ) from None
