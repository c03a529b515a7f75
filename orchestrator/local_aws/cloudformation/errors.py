"""What CloudFormation answers when it refuses, and what a resource says when it fails."""

from __future__ import annotations

from moto.core.exceptions import ServiceException


class ValidationError(ServiceException):
    """The request is refused: nothing was begun. HTTP 400, as AWS."""

    code = "ValidationError"


class AlreadyExists(ServiceException):
    """A stack of that name exists."""

    code = "AlreadyExistsException"


class ChangeSetNotFound(ServiceException):
    """There is no such change set."""

    code = "ChangeSetNotFound"


class InvalidChangeSetStatus(ServiceException):
    """The change set cannot be executed."""

    code = "InvalidChangeSetStatus"


class InsufficientCapabilities(ServiceException):
    """The template makes IAM resources, which the request does not acknowledge."""

    code = "InsufficientCapabilitiesException"


class ResourceFailed(Exception):
    """One resource cannot be created, updated or deleted; becomes its status reason."""
