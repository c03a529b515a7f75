"""Every error a user can meet, as one tree.

    OrchestratorError
    ├── Invalid            exit 3, HTTP 400   what was handed in is wrong
    │   ├── InvalidWdl, InvalidInputs, InvalidOptions, InvalidConfig, InvalidRuntimeAttribute
    ├── EnvironmentProblem exit 4, HTTP 503   AWS, the database or this machine is not as needed
    │   ├── DeploymentMissing, DeploymentUnsupported, BackendUnavailable, StoreUnavailable
    ├── NotFound           exit 5, HTTP 404   no such workflow, object, queue
    ├── NotAllowed         exit 6, HTTP 403   refused by state or policy
    │   └── LeaseLost                         another server owns the workflow now
    ├── TryLater           exit 75, HTTP 503  the same call may succeed later
    │   └── Ambiguous                         the effect may have happened; look it up
    └── WorkflowFailed     exit 1, HTTP 200   the workflow itself failed

A class says the kind; an instance says what, where and what to do next. Nobody sees a traceback
for a mistake of their own: the CLI prints `str(error)`, `--json` prints `as_json()`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is wrong. Lines and columns count from 1."""

    file: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return ":".join(str(p) for p in (self.file, self.line, self.column) if p is not None)


@dataclass(frozen=True, slots=True)
class Finding:
    """One of several things that are wrong, all reported at once."""

    message: str
    place: Place | None = None
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        hint = f"\n    help: {self.hint}" if self.hint else ""
        return f"{where}{self.message}{hint}"


class OrchestratorError(Exception):
    """The orchestrator cannot go on."""

    code: ClassVar[str] = "ERROR"
    exit_code: ClassVar[int] = 70
    http_status: ClassVar[int] = 500

    def __init__(
        self,
        message: str = "",
        *,
        place: Place | None = None,
        hint: str = "",
        findings: Sequence[Finding] = (),
    ) -> None:
        """`findings` lists every defect when there are several; `message` then heads them."""
        self.message = message or (self.__doc__ or "").strip().splitlines()[0]
        self.place = place
        self.hint = hint
        self.findings = tuple(findings)
        super().__init__(self.message)

    @property
    def sentence(self) -> str:
        """All of it in one line, without the code: a part of another message."""
        where = f"{self.place}: " if self.place else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}{self.message}{hint}" + "".join(f"\n  - {f}" for f in self.findings)

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        lines = [f"error[{self.code}]: {where}{self.message}"]
        lines += [f"  - {finding}" for finding in self.findings]
        if self.hint:
            lines.append(f"  help: {self.hint}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """`{code, message, place?, hint?, findings?: [{message, place?, hint?}]}`."""
        out: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.place:
            out["place"] = str(self.place)
        if self.hint:
            out["hint"] = self.hint
        if self.findings:
            out["findings"] = [
                {"message": f.message}
                | ({"place": str(f.place)} if f.place else {})
                | ({"hint": f.hint} if f.hint else {})
                for f in self.findings
            ]
        return out


class Invalid(OrchestratorError):
    """What was handed in is not valid."""

    code = "INVALID"
    exit_code = 3
    http_status = 400


class InvalidWdl(Invalid):
    """The WDL document is not valid."""

    code = "INVALID_WDL"


class InvalidInputs(Invalid):
    """The inputs do not fit the workflow."""

    code = "INVALID_INPUTS"


class InvalidOptions(Invalid):
    """The workflow options are not valid."""

    code = "INVALID_OPTIONS"


class InvalidConfig(Invalid):
    """The configuration is not valid."""

    code = "INVALID_CONFIG"


class InvalidRuntimeAttribute(Invalid):
    """A runtime attribute is not valid, or nothing here can provide it."""

    code = "INVALID_RUNTIME_ATTRIBUTE"


class Defects:
    """What is wrong with several things that were handed in, to be told at once."""

    def __init__(self) -> None:
        self._errors: list[Invalid] = []

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """An Invalid that is raised in the block is noted, and the block is over."""
        try:
            yield
        except Invalid as error:
            self._errors.append(error)

    def tell(self, heading: str) -> None:
        """Raise what was noted, if anything was: several errors as one, under the heading, of their
        own class where that is the same."""
        if len(self._errors) < 2:
            for error in self._errors:
                raise error
            return
        kinds = {type(error) for error in self._errors}
        raise (kinds.pop() if len(kinds) == 1 else Invalid)(
            heading,
            findings=[
                finding
                for error in self._errors
                for finding in error.findings or [Finding(error.message, error.place, error.hint)]
            ],
        )


class EnvironmentProblem(OrchestratorError):
    """The environment is not as needed."""

    code = "ENVIRONMENT"
    exit_code = 4
    http_status = 503


class DeploymentMissing(EnvironmentProblem):
    """No environment of that name is deployed."""

    code = "DEPLOYMENT_MISSING"


class DeploymentUnsupported(EnvironmentProblem):
    """The deployed stacks are of a version this orchestrator does not know."""

    code = "DEPLOYMENT_UNSUPPORTED"


class BackendUnavailable(EnvironmentProblem):
    """The backend cannot be used."""

    code = "BACKEND_UNAVAILABLE"


class StoreUnavailable(EnvironmentProblem):
    """The database cannot be used."""

    code = "STORE_UNAVAILABLE"


class NotFound(OrchestratorError):
    """There is no such thing."""

    code = "NOT_FOUND"
    exit_code = 5
    http_status = 404


class NotAllowed(OrchestratorError):
    """That is not allowed."""

    code = "NOT_ALLOWED"
    exit_code = 6
    http_status = 403


class LeaseLost(NotAllowed):
    """Another server owns this workflow now; nothing was written."""

    code = "LEASE_LOST"


class TryLater(OrchestratorError):
    """Not now; the same call may succeed later."""

    code = "TRY_LATER"
    exit_code = 75
    http_status = 503


class Ambiguous(TryLater):
    """The call may have taken effect although no answer came: look the effect up by its name."""

    code = "AMBIGUOUS"


class WorkflowFailed(OrchestratorError):
    """The workflow failed."""

    code = "WORKFLOW_FAILED"
    exit_code = 1
    http_status = 200


class EvaluationFailed(WorkflowFailed):
    """An expression of the workflow could not be evaluated."""

    code = "EVALUATION_FAILED"


class OutputMissing(WorkflowFailed):
    """A task did not produce an output that it promised."""

    code = "OUTPUT_MISSING"
