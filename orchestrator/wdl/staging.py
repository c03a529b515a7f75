"""Where jobs fetch what lies on web servers: from a copy that is made once a workflow and URL.

Jobs cannot talk to every server, ten thousand shards should not, and what a URL gives may change
from hour to hour. So evaluation asks for the fact `stage`: a copy in a place of the workflow's own.
"""

from __future__ import annotations

from orchestrator import errors
from orchestrator.model.records import FactRecord
from orchestrator.wdl.facts import Facts, NeedFacts, Want

_SCHEMES = ("http://", "https://")


def shown(uri: str) -> str:
    """A URI without what may be a secret: the query of a URL."""
    return uri.partition("?")[0] if uri.lower().startswith(_SCHEMES) else uri


class Staging:
    """The copies of one workflow. `place`: the URI or directory that they lie below."""

    def __init__(self, facts: Facts, place: str) -> None:
        self._facts = facts
        self._place = place

    def is_for(self, uri: str) -> bool:
        """Whether a job cannot fetch this itself."""
        return uri.lower().startswith(_SCHEMES)

    def want(self, uri: str) -> Want:
        """The fact that tells whether a file is there, and which: of itself, or of its copy."""
        return Want("stage", uri, self._place) if self.is_for(uri) else Want("stat", uri)

    def copy(self, uri: str) -> FactRecord:
        """The copy's fact. Raises NeedFacts; EvaluationFailed where there is nothing at the URL."""
        record = self._facts.peek("stage", uri)
        if record is None:
            raise NeedFacts([self.want(uri)])
        if not record.exists:
            raise errors.EvaluationFailed(f"there is no file {shown(uri)}")
        return record

    def source(self, uri: str) -> str:
        """Where the content of an input is: at its URI, or in its copy. Raises as `copy`."""
        return (self.copy(uri).content or b"").decode() if self.is_for(uri) else uri
