"""Where imported documents come from besides files: allowed URLs, and the zip of dependencies.

What is decided here is decided before anything is asked for or unpacked: which URLs may be fetched
at all (redirects are asked about one by one), and which archives are what they should be.
"""

from __future__ import annotations

import io
import posixpath
import stat
import zipfile
import zlib
from collections.abc import Iterable
from urllib.parse import urlsplit, urlunsplit

from orchestrator import errors

# Parsing takes some seconds a mebibyte; the largest of public pipelines has a fifth of one.
LARGEST_SOURCE_BYTES = 1024**2
LARGEST_BUNDLE_BYTES = 8 * 1024**2
LARGEST_ARCHIVE_BYTES = 64 * 1024**2  # it may hold more than documents
MOST_FILES = 5_000
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


class AllowList:
    """URLs that imports may name: each entry allows what lies below it.

    `https://host`, `https://host/path`, `https://*.example.org`. Scheme, host and port have to be
    those of the entry; a path ends at a slash.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        """Raises ValueError for an entry that is no URL."""
        self._entries = [_parts(entry) for entry in entries]

    def permit(self, url: str) -> None:
        """Raises NotAllowed for a URL that no entry allows."""
        try:
            scheme, host, port, path = _parts(url)
        except ValueError as error:
            raise errors.NotAllowed(f"{name_of(url)} is not fetched: {error}") from None
        for known_scheme, known_host, known_port, below in self._entries:
            wild = known_host.startswith("*.") and host.endswith(known_host[1:])
            if (scheme, port) != (known_scheme, known_port) or not (wild or host == known_host):
                continue
            if path == below or path.startswith(f"{below.rstrip('/')}/"):
                return
        raise errors.NotAllowed(
            f"{name_of(url)} is not fetched: imports from {scheme}://{host} are not allowed",
            hint="orchestrator.imports.allow in the configuration lists what is; or save the "
            "document beside this one and import it by a relative path",
        )


def _parts(url: str) -> tuple[str, str, int, str]:
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    if scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it is no http or https URL")
    if parts.username is not None or parts.password is not None:
        raise ValueError("it has a user in it")
    if any(c.isspace() or ord(c) < 32 or c == "\\" for c in url):
        raise ValueError("it has blanks or backslashes in it")
    port = parts.port or (443 if scheme == "https" else 80)
    path = parts.path or "/"
    if any(part in (".", "..") for part in path.replace("%2e", ".").replace("%2E", ".").split("/")):
        raise ValueError("its path has dots for parts")
    return scheme, parts.hostname.rstrip(".").lower(), port, path


def name_of(url: str) -> str:
    """A fetched document's name: its URL without user, query and fragment, which may be secrets."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition("?")[0].partition("#")[0]
    return urlunsplit(
        (parts.scheme.lower(), parts.netloc.rpartition("@")[2].lower(), parts.path, "", "")
    )


class Archive:
    """A zip of documents. Everything about it is checked before the first is read."""

    def __init__(self, content: bytes) -> None:
        """Raises InvalidWdl for what is no zip, or one that could write or unpack beyond bounds:
        absolute names, `..`, links, duplicates, more than a bundle may hold."""
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(content))
            members = self._zip.infolist()
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, UnicodeError):
            raise errors.InvalidWdl("the dependencies are not a zip archive") from None
        findings: list[errors.Finding] = []
        self._members: dict[str, zipfile.ZipInfo] = {}
        if len(members) > MOST_FILES:
            raise errors.InvalidWdl(f"the dependencies hold more than {MOST_FILES} files")
        for member in members:
            if member.is_dir() and not _wrong(member):
                continue
            wrong = _wrong(member)
            name = posixpath.normpath(member.filename)
            if not wrong and name in self._members:
                wrong = "stands twice in the archive"
            if wrong:
                findings.append(errors.Finding(f"{member.filename!r} {wrong}"))
            else:
                self._members[name] = member
        if sum(member.file_size for member in members) > LARGEST_ARCHIVE_BYTES:
            findings.append(
                errors.Finding(f"it unpacks to more than {LARGEST_ARCHIVE_BYTES:,} bytes")
            )
        if findings:
            raise errors.InvalidWdl("the dependencies are refused", findings=findings)

    @property
    def names(self) -> frozenset[str]:
        """Paths of its files."""
        return frozenset(self._members)

    def text(self, name: str) -> str:
        """A member's text. Raises InvalidWdl."""
        member = self._members[name]
        try:
            with self._zip.open(member) as file:
                content = file.read(LARGEST_SOURCE_BYTES + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
            raise errors.InvalidWdl(f"{name} in the dependencies is broken: {error}") from None
        return text_of(content, name)


def _wrong(member: zipfile.ZipInfo) -> str:
    name = member.filename
    kind = stat.S_IFMT(member.external_attr >> 16)
    if name.startswith("/") or "\\" in name or name[1:2] == ":" or "\0" in name:
        return "is an absolute name, or one for another system"
    if not name or ".." in name.split("/"):
        return "leads out of the archive"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    if member.flag_bits & 0x1:
        return "is encrypted"
    if member.compress_type not in _METHODS:
        return "is compressed in a way that is not read"
    return ""


def text_of(content: bytes, name: str, place: errors.Place | None = None) -> str:
    """A document's text: UTF-8, with or without a byte order mark, of bounded size."""
    if len(content) > LARGEST_SOURCE_BYTES:
        raise errors.InvalidWdl(
            f"{name} is larger than {LARGEST_SOURCE_BYTES:,} bytes", place=place
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise errors.InvalidWdl(f"{name} is not UTF-8 text", place=place) from None
    return text.replace("\r\n", "\n")
