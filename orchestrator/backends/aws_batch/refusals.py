"""What an error of the SDK says: did the call take effect, and is it worth repeating?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore import exceptions as sdk

from orchestrator import errors

_THROTTLED = {
    "TooManyRequestsException", "TooManyRequests", "Throttling", "ThrottlingException",
    "ThrottledException", "RequestThrottled", "RequestThrottledException", "RequestLimitExceeded",
    "LimitExceededException", "SlowDown", "BandwidthLimitExceeded", "PriorRequestNotComplete",
}  # fmt: skip
_FORBIDDEN = {
    "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnrecognizedClientException",
    "InvalidClientTokenId", "InvalidAccessKeyId", "ExpiredToken", "ExpiredTokenException",
    "SignatureDoesNotMatch", "InvalidSignatureException", "NotAuthorized", "AllAccessDisabled",
}  # fmt: skip

# No connection was made, so nothing was sent.
_NOT_SENT = (sdk.ConnectTimeoutError, sdk.EndpointConnectionError, sdk.ProxyConnectionError)
# Nothing was sent, and asking again does not help.
_MISUSED = (
    sdk.NoCredentialsError, sdk.PartialCredentialsError, sdk.CredentialRetrievalError,
    sdk.NoRegionError, sdk.ProfileNotFound, sdk.TokenRetrievalError,
)  # fmt: skip


def of_submission(error: Exception) -> errors.OrchestratorError:
    """What a failed SubmitJob means. Whatever is not certain is Ambiguous."""
    if isinstance(error, sdk.ClientError):
        code, message, status = _parts(error)
        if code in _THROTTLED or status == 429:
            return errors.TryLater(f"AWS Batch refused SubmitJob for now ({code}): {message}")
        if status >= 500 or not status:
            return errors.Ambiguous(f"AWS Batch failed on SubmitJob ({code}): {message}")
        if code in _FORBIDDEN:
            return _forbidden("SubmitJob", code, message)
        return errors.Invalid(f"AWS Batch refused the job ({code}): {message}")
    if isinstance(error, _NOT_SENT):
        return errors.TryLater(f"AWS Batch cannot be reached: {error}")
    if isinstance(error, _MISUSED):
        return errors.BackendUnavailable(str(error), hint="set up AWS credentials and a region")
    if isinstance(error, sdk.ParamValidationError):
        return errors.Invalid(f"the job cannot be described to AWS Batch: {error}")
    return errors.Ambiguous(f"no answer to SubmitJob: {error}")


def of_call(error: Exception, what: str) -> errors.OrchestratorError:
    """What the failure of any other call means; these may all be repeated."""
    if isinstance(error, sdk.ClientError):
        code, message, status = _parts(error)
        if code in _THROTTLED or status == 429 or status >= 500:
            return errors.TryLater(f"{what}: {code}: {message}")
        if code in _FORBIDDEN:
            return _forbidden(what, code, message)
        if status == 404 or code in ("NoSuchKey", "ResourceNotFoundException"):
            return errors.NotFound(f"{what}: {code}: {message}")
        return errors.Invalid(f"{what}: {code}: {message}")
    if isinstance(error, _MISUSED):
        return errors.BackendUnavailable(str(error), hint="set up AWS credentials and a region")
    return errors.TryLater(f"{what}: {error}")


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Errors of the SDK inside become ours; `what` heads the message."""
    try:
        yield
    except (sdk.BotoCoreError, sdk.ClientError) as error:
        raise of_call(error, what) from error


def _forbidden(what: str, code: str, message: str) -> errors.NotAllowed:
    return errors.NotAllowed(
        f"{what}: {code}: {message}",
        hint="check the credentials in use and the policies of their role",
    )


def _parts(error: sdk.ClientError) -> tuple[str, str, int]:
    details = error.response.get("Error", {})
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return details.get("Code", "Unknown"), details.get("Message", ""), int(status)
