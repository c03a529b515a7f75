"""Names of images, by the rules of Docker's references.

Source: https://github.com/distribution/reference (`ParseNormalizedNamed`, `reference.go`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from orchestrator import errors

DOCKER_HUB = "docker.io"
_NAMES_OF_DOCKER_HUB = frozenset(
    {DOCKER_HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}
)
_LONGEST_NAME = 255

_HOST_PART = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_REGISTRY = re.compile(rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")


@dataclass(frozen=True, slots=True)
class Image:
    """An image's whole name: `ubuntu:22.04` is `docker.io`, `library/ubuntu`, `22.04`."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def below(self, prefix: str) -> str:
        """The same image below another registry's prefix."""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{prefix}/{self.repository}{tag}{digest}"


def parse(text: str) -> Image:
    """The parts of a name. Raises InvalidRuntimeAttribute for what no registry can have.

    A first part is a registry where it has a dot, a colon or a capital letter, or is `localhost`;
    without one the name is of Docker Hub, where one that has a single part lies below `library/`.
    """
    first, slash, rest = text.partition("/")
    if slash and _is_registry(first):
        registry = first
    else:
        registry, rest = DOCKER_HUB, text
    if registry in _NAMES_OF_DOCKER_HUB:
        registry = DOCKER_HUB
    name, at, digest = rest.partition("@")
    # A colon after the last slash begins a tag: the one of a port stands in the registry.
    repository, colon, tag = name.partition(":")
    if registry == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    if not _REGISTRY.fullmatch(registry):
        raise _wrong(text, f"{registry!r} is no registry's host")
    if not _REPOSITORY.fullmatch(repository):
        hint = "" if repository == repository.lower() else "; names are in lower case"
        raise _wrong(text, f"{repository!r} is no repository's name{hint}")
    if len(registry) + 1 + len(repository) > _LONGEST_NAME:
        raise _wrong(text, f"the name has more than {_LONGEST_NAME} characters")
    if colon and not _TAG.fullmatch(tag):
        raise _wrong(text, f"{tag!r} is no tag")
    if at and not _DIGEST.fullmatch(digest):
        raise _wrong(text, f"{digest!r} is no digest, such as sha256: and 64 digits")
    return Image(registry, repository, tag, digest)


def _is_registry(part: str) -> bool:
    return "." in part or ":" in part or part == "localhost" or part != part.lower()


def _wrong(text: str, why: str) -> errors.InvalidRuntimeAttribute:
    return errors.InvalidRuntimeAttribute(
        f"{text!r} cannot be an image: {why}",
        hint="[REGISTRY/]REPOSITORY[:TAG][@DIGEST], such as ubuntu:22.04 or quay.io/a/b:1",
    )
