"""EC2's Query API with the credentials of the instance, and the metadata service (version 2).

Sources: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html,
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Query-Requests.html,
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import hmac
import json
import time
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree
from typing import Any

_METADATA = "http://169.254.169.254"
_VERSION = "2016-11-15"
_METADATA_SECONDS, _CALL_SECONDS = 5, 30
_TOKEN_SECONDS = 21_600
_TRIES = 4


class Ec2Error(Exception):
    """EC2 refused, or cannot be reached. `code` is EC2's, or `Unreachable`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Metadata:
    """What the instance is told about itself."""

    def __init__(self, url: str = _METADATA) -> None:
        self._url = url
        self._token = ""
        self._token_until = 0.0

    def get(self, path: str) -> str:
        """One value of `latest/meta-data/`. Raises Ec2Error."""
        for left in reversed(range(_TRIES)):
            try:
                return self._fetch(path)
            except OSError as error:  # HTTPError and URLError are
                self._token_until = 0.0
                if not left:
                    raise Ec2Error("Unreachable", f"metadata {path}: {error}") from None
                time.sleep(0.5)
        raise AssertionError  # pragma: no cover

    def _fetch(self, path: str) -> str:
        if time.monotonic() >= self._token_until:
            self._token = self._send(
                "PUT",
                "api/token",
                {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_SECONDS)},
            )
            self._token_until = time.monotonic() + _TOKEN_SECONDS / 2
        return self._send("GET", f"meta-data/{path}", {"X-aws-ec2-metadata-token": self._token})

    def _send(self, method: str, path: str, headers: dict[str, str]) -> str:
        request = urllib.request.Request(  # noqa: S310 - a constant address
            f"{self._url}/latest/{path}", headers=headers, method=method
        )
        with urllib.request.urlopen(request, timeout=_METADATA_SECONDS) as answer:  # noqa: S310
            return str(answer.read().decode())


class Ec2:
    """Calls. Each raises Ec2Error; none is tried again here: who calls knows when it may."""

    def __init__(self, region: str, endpoint: str, metadata: Metadata) -> None:
        self._region, self._endpoint, self._metadata = region, endpoint.rstrip("/"), metadata
        self._credentials: dict[str, Any] = {}
        self._credentials_until = 0.0

    def call(self, action: str, **parameters: Any) -> ElementTree.Element:
        """The answer without its namespace. Values may be lists and dicts: `A.1`, `A.1.B`."""
        fields = {"Action": action, "Version": _VERSION}
        for name, value in parameters.items():
            _flatten(name, value, fields)
        body = urllib.parse.urlencode(sorted(fields.items())).encode()
        request = urllib.request.Request(  # noqa: S310 - the endpoint of the settings
            f"{self._endpoint}/", data=body, headers=self._signed(body), method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=_CALL_SECONDS) as answer:  # noqa: S310
                text = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(error.read(), error.code) from None
        except OSError as error:
            raise Ec2Error("Unreachable", f"{action}: {error}") from None
        return _parsed(text)

    def _signed(self, body: bytes) -> dict[str, str]:
        given = self._current()
        stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        headers = {
            "content-type": "application/x-www-form-urlencoded; charset=utf-8",
            "host": urllib.parse.urlsplit(self._endpoint).netloc,
            "x-amz-date": stamp,
            "x-amz-security-token": given["Token"],
        }
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        canonical = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
        scope = f"{stamp[:8]}/{self._region}/ec2/aws4_request"
        to_sign = "\n".join(
            ["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()]
        )
        key = b"AWS4" + given["SecretAccessKey"].encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={given['AccessKeyId']}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        return headers

    def _current(self) -> dict[str, Any]:
        if time.time() >= self._credentials_until:
            role = self._metadata.get("iam/security-credentials/").strip()
            self._credentials = json.loads(self._metadata.get(f"iam/security-credentials/{role}"))
            expires = datetime.datetime.strptime(
                self._credentials["Expiration"], "%Y-%m-%dT%H:%M:%SZ"
            ).replace(tzinfo=datetime.timezone.utc)
            self._credentials_until = expires.timestamp() - 300
        return self._credentials


def text(element: ElementTree.Element, path: str) -> str:
    """The text at `path`; empty where there is none."""
    return (element.findtext(path) or "").strip()


def tags(element: ElementTree.Element) -> dict[str, str]:
    """A resource's tags."""
    return {text(item, "key"): text(item, "value") for item in element.findall("tagSet/item")}


def _flatten(name: str, value: Any, into: dict[str, str]) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _flatten(f"{name}.{key}", item, into)
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value, start=1):
            _flatten(f"{name}.{number}", item, into)
    else:
        into[name] = str(value).lower() if isinstance(value, bool) else str(value)


def _parsed(answer: bytes) -> ElementTree.Element:
    try:
        root = ElementTree.fromstring(answer)  # noqa: S314 - EC2's own answer, over TLS
    except ElementTree.ParseError as error:
        raise Ec2Error("Unreachable", f"an answer that is no XML: {error}") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def _refusal(answer: bytes, status: int) -> Ec2Error:
    found: ElementTree.Element | None = None
    with contextlib.suppress(Ec2Error):
        found = _parsed(answer).find(".//Error")
    if found is None:
        return Ec2Error("Unreachable", f"HTTP status {status}")
    return Ec2Error(text(found, "Code"), text(found, "Message"))
