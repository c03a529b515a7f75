"""What the wrapper is told: one attempt's plan and the files that go with it.

The plan is shell text that the wrapper reads with `.`: assignments and functions whose every value
went through `shlex.quote`. So any character can stand in a name, and the wrapper needs no parser.
s5cmd's command files are made of lines: a name with a line break has an s5cmd of its own.
"""

from __future__ import annotations

import itertools
import json
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from shlex import quote

from orchestrator import errors
from orchestrator.model.job import InputFile, JobSpec

READ_LIMIT_BYTES = 64 * 1024


class Keep(StrEnum):
    """What becomes of outputs."""

    UPLOAD = "upload"  # to S3, below WorkDir.uri; the attempt's directory is removed at the end
    IN_PLACE = "in-place"  # they stay where they are: WorkDir.uri is the local work dir


@dataclass(frozen=True, slots=True)
class Setting:
    """How the jobs of a backend are run.

    `launcher` goes before the user's shell: `docker run ... IMAGE`. It must make the attempt's
    directory, and the private directory if the script lies there, visible at the same paths, set
    HOME and TMPDIR and the working directory, and pass SIGTERM on; `stop` is run besides when the
    job is told to stop (`docker kill ...`). `link` is how local inputs are brought in, the first
    way that works. `bundle_uri`: an object without which the submission is revoked. `upload_flags`:
    of the s5cmd that writes objects; words of plain characters.
    """

    keep: Keep
    shell: str = "/bin/bash"
    launcher: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    link: tuple[str, ...] = ("hard-link", "soft-link", "copy")
    bundle_uri: str = ""
    upload_flags: tuple[str, ...] = ()
    grace_seconds: int = 10


def attempt_directory(job: JobSpec) -> str:
    """The attempt's own directory: the parent of its work dir."""
    return posixpath.dirname(job.work_dir.path)


def _temporary(attempt_dir: str) -> str:
    return f"{attempt_dir}/tmp"  # noqa: S108 - the attempt's own, not the machine's


def render(job: JobSpec, submission_id: str, setting: Setting) -> dict[str, bytes]:
    """The files of the attempt's private directory, by their names in it.

    Raises InvalidInputs where a name cannot be carried, naming it.
    """
    files: dict[str, bytes] = {"script": job.script.encode()}
    where = job.work_dir
    attempt_dir = attempt_directory(job)
    upload = setting.keep is Keep.UPLOAD
    flags = "".join(f" {flag}" for flag in setting.upload_flags)
    for path in (where.path, where.uri, where.script, where.stdout, where.stderr):
        _line(path)

    stdout = f"{attempt_dir}/stdout" if upload else where.stdout
    stderr = f"{attempt_dir}/stderr" if upload else where.stderr
    rc_file = f"{attempt_dir}/rc" if upload else where.return_code
    manifest = f"{attempt_dir}/manifest.json" if upload else where.manifest
    lines = _assignments(
        submission=submission_id,
        attempt=job.attempt.token,
        keep=setting.keep.value,
        upload_flags=flags,
        grace=str(setting.grace_seconds),
        link=" ".join(setting.link),
        shell=setting.shell,
        launched="1" if setting.launcher else "",
        attempt_dir=attempt_dir,
        work=where.path,
        home=f"{attempt_dir}/home",
        tmp=_temporary(attempt_dir),
        uri=where.uri.rstrip("/"),
        stdout=stdout,
        stderr=stderr,
        rc_file=rc_file,
        manifest=manifest,
        stdout_json=_json(stdout),
        stdout_uri_json=_json(where.stdout),
        stderr_json=_json(stderr),
        stderr_uri_json=_json(where.stderr),
        bundle_json=_go_json(setting.bundle_uri) if setting.bundle_uri else "",
    )
    if upload:
        lines += _assignments(
            claim=attempt_dir,
            upload_stdout=_copy(stdout, where.stdout, flags),
            upload_stderr=_copy(stderr, where.stderr, flags),
            upload_rc=_copy(rc_file, where.return_code, flags),
            upload_manifest=_copy(manifest + ".new", where.manifest, flags),
        )
        # The private directory is named by the job, which is not known here.
        lines.append("w_claim=$w_attempt_dir w_script=$w_private/script")
        lines.append(
            f"w_upload_script=\"cp --raw{flags} '$w_private/script' \""
            f"{quote(_go_quote(where.script))}"
        )
    else:
        lines.append(f"w_claim=$w_private/begun w_script={quote(where.script)}")

    lines += _inputs(job, attempt_dir, files, setting)
    lines += _outputs(job, stdout, stderr, files, setting)
    lines += _launch(setting)
    files["plan"] = ("\n".join(lines) + "\n").encode()
    return files


def _launch(setting: Setting) -> list[str]:
    if not setting.launcher:
        # A shell by its absolute path: the image's own, never the wrapper's busybox, if it has one.
        launch = (
            '[ -x "$w_shell" ] || w_shell=/bin/sh\n'
            '[ -x "$w_shell" ] || w_shell=$w_tools/sh\n'
            'exec setsid "$w_shell" "$w_script"'
        )
    else:
        # The image's shells cannot be seen from here: its /bin/sh chooses.
        choose = '[ ! -x "$1" ] || exec "$1" "$0"; exec /bin/sh "$0"'
        words = " ".join(quote(word) for word in setting.launcher)
        launch = f'exec setsid {words} /bin/sh -c {quote(choose)} "$w_script" "$w_shell"'
    stop = " ".join(quote(word) for word in setting.stop) or ":"
    return [
        *_function("w_launch", launch.split("\n")),
        *_function("w_stop", [f"{stop} >/dev/null 2>&1 &"]),
    ]


def _inputs(job: JobSpec, attempt_dir: str, files: dict[str, bytes], setting: Setting) -> list[str]:
    """Directories to make, local files to place; for S3, command files for s5cmd."""
    place: list[str] = []
    fetch: list[str] = []
    odd: list[str] = []
    pinned: list[str] = []
    sized: list[InputFile] = []
    directories = {job.work_dir.path, f"{attempt_dir}/home", _temporary(attempt_dir)}
    for item in job.inputs:
        path = _inside(item.path.rstrip("/"), attempt_dir)
        scheme, separator, _ = _carried(item.uri).partition("://")
        directories.add(posixpath.dirname(path))
        if not separator:
            source = item.uri.rstrip("/") or "/"
            place.append(f"w_link_file {quote(source)} {quote(path)} {int(item.directory)}")
        elif scheme != "s3":
            raise errors.InvalidInputs(
                f"a job cannot fetch {item.uri}", hint="copy it to S3, or to a local path"
            )
        elif item.directory:
            if re.search(r"[*?]", item.uri):
                raise errors.InvalidInputs(
                    f"the directory {item.uri} cannot be fetched: its name holds * or ?"
                )
            directories.add(path)
            fetch.append(f"cp {_go_quote(item.uri.rstrip('/') + '/*')} {_go_quote(path + '/')}")
        else:
            if "\n" in item.uri + path:
                odd.append(f"w_fetch_odd {quote(item.uri)} {quote(path)}")
            else:
                fetch.append(_copy(item.uri, path))
            if item.etag and "\n" not in item.uri:
                where = "" if "\n" in path else path
                pinned += [_go_json(item.uri), item.etag.strip('"'), where]
        if item.size is not None and not item.directory:
            sized.append(item)
    for number, inline in enumerate(job.inline_files):
        path = _inside(inline.path, attempt_dir)
        directories.add(posixpath.dirname(path))
        files[f"inline-{number}"] = inline.content
        place.append(f"w_inline_file inline-{number} {quote(path)}")

    if fetch:
        files["fetch"] = _lines(fetch)
    if (fetch or odd) and setting.bundle_uri:
        pinned += [_go_json(setting.bundle_uri), "", ""]
    if pinned:
        files["pinned"] = _lines(pinned)
        uris = [
            item.uri
            for item in job.inputs
            if item.etag and item.uri.startswith("s3://") and "\n" not in item.uri
        ]
        uris += [setting.bundle_uri] if setting.bundle_uri else []
        files["heads"] = _lines(f"head --raw {_go_quote(uri)}" for uri in uris)
    if sized:
        files["sized"] = b"".join(item.path.encode() + b"\0" for item in sized)
    return [
        *_assignments(pinned_sizes="\n".join(str(item.size) for item in sized)),
        *_function("w_make_directories", _make(sorted(directories))),
        *_function("w_place", place),
        *_function("w_fetch_odd_ones", odd),
    ]


def _make(directories: Sequence[str]) -> Iterator[str]:
    """A few at a time: all words of a command together have a limit."""
    for first in range(0, len(directories), 100):
        yield _words("mkdir -p", directories[first : first + 100]) + " || return 1"


def _outputs(
    job: JobSpec, stdout: str, stderr: str, files: dict[str, bytes], setting: Setting
) -> list[str]:
    where, plan = job.work_dir, job.outputs
    attempt_dir = attempt_directory(job)
    look: list[str] = []
    for path in plan.files:
        name = normalise(_carried(path), where.path)
        outside = name.startswith("/") and not name.startswith(attempt_dir + "/")
        if outside and setting.keep is Keep.IN_PLACE:
            raise errors.InvalidInputs(
                f"the output {path} lies outside the attempt's directory {attempt_dir}",
                hint="write outputs below the working directory",
            )
        kind = "w_directory" if path.endswith("/") else "w_file"
        look.append(f"{kind} {quote(name)}")
    for pattern in plan.globs:
        words = [_relative_pattern(word, where.path) for word in expand_braces(_line(pattern))]
        look.append(_words("w_glob", [pattern, *words]))
    if plan.everything:
        look.append("w_everything")
    if look:
        known = [item for item in job.inputs if "\n" not in item.uri + item.path]
        files["known0"] = b"".join(
            path.encode() + b"\0" for path in (attempt_dir, *(item.path for item in known))
        )
        files["known"] = _lines(
            f"{'d' if item.directory else 'f'} {item.uri.rstrip('/')}" for item in known
        )
    reads: list[str] = []
    logs = {where.stdout: stdout, stdout: stdout, where.stderr: stderr, stderr: stderr}
    for path in dict.fromkeys(plan.reads):
        name = logs.get(path) or normalise(_carried(path), where.path)
        reads.append(f"w_read {quote(name)} {quote(_json(name))}")
    return [*_function("w_outputs", look), *_function("w_reads", reads)]


def normalise(path: str, work: str) -> str:
    """Relative to the work dir where it lies in it, else absolute. `.` and `..` are resolved."""
    absolute = posixpath.normpath(posixpath.join(work, path))
    if absolute.startswith("//"):
        absolute = absolute[1:]
    return absolute.removeprefix(work + "/")


def _relative_pattern(pattern: str, work: str) -> str:
    # Not normalised: `a*/..` may mean something. A pattern that leaves the work dir is absolute.
    while pattern.startswith("./"):
        pattern = pattern[2:].lstrip("/")
    if pattern.startswith("../"):
        return posixpath.normpath(posixpath.join(work, pattern))
    return pattern.removeprefix(work + "/")


def expand_braces(pattern: str, limit: int = 1000) -> list[str]:
    """`a.{b,c}` -> `a.b`, `a.c`, as bash does before it looks at files. Sequences stay as they are.

    Raises InvalidInputs when more than `limit` patterns would come of it.
    """
    done: list[str] = []
    todo = [pattern]
    while todo:
        current = todo.pop()
        found = _first_braces(current)
        if found is None:
            done.append(current)
        else:
            begin, end, parts = found
            todo += [current[:begin] + part + current[end:] for part in reversed(parts)]
        if len(done) + len(todo) > limit:
            raise errors.InvalidInputs(
                f"the glob {pattern!r} stands for more than {limit} patterns"
            )
    return done


def _first_braces(text: str) -> tuple[int, int, list[str]] | None:
    """The first `{x,y}`: where it begins and ends, and its parts."""
    for begin, character in enumerate(text):
        if character != "{" or (begin and text[begin - 1] == "\\"):
            continue
        depth, commas, position = 0, [begin], begin
        while position < len(text):
            at = text[position]
            if at == "\\":
                position += 1
            elif at == "{":
                depth += 1
            elif at == "," and depth == 1:
                commas.append(position)
            elif at == "}":
                depth -= 1
                if depth == 0:
                    break
            position += 1
        if depth == 0 and position < len(text) and len(commas) > 1:
            cuts = [*commas, position]
            parts = [text[a + 1 : b] for a, b in itertools.pairwise(cuts)]
            return begin, position + 1, parts
    return None


def _carried(name: str) -> str:
    if "\0" in name:
        raise errors.InvalidInputs(f"a name with a NUL character cannot be handled: {name!r}")
    return name


def _line(text: str) -> str:
    if "\n" in text:
        raise errors.InvalidInputs(f"a line break cannot be handled here: {text!r}")
    return _carried(text)


def _inside(path: str, attempt_dir: str) -> str:
    if posixpath.normpath(_carried(path)) != path or not path.startswith(attempt_dir + "/"):
        raise errors.InvalidInputs(f"{path!r} is not a plain path below {attempt_dir}")
    return path


def _assignments(**values: str) -> list[str]:
    return [f"w_{name}={quote(value)}" for name, value in values.items()]


def _function(name: str, body: Iterable[str]) -> Iterator[str]:
    yield f"{name}() {{"
    yield from list(body) or [":"]
    yield "}"


def _words(command: str, words: Iterable[str]) -> str:
    return " ".join([command, *(quote(word) for word in words)])


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(line + "\n" for line in lines).encode()


def _copy(source: str, target: str, flags: str = "") -> str:
    """A line for `s5cmd run`. `--raw`: a star in a name is a star."""
    return f"cp --raw{flags} {_go_quote(source)} {_go_quote(target)}"


def _go_quote(word: str) -> str:
    """As s5cmd splits the lines of its command files: like a shell."""
    return "'" + word.replace("'", "'\\''") + "'"


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _go_json(text: str) -> str:
    """A string as Go's encoder writes it, to be compared with what s5cmd prints."""
    out = json.dumps(text, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        out = out.replace(character, f"\\u{ord(character):04x}")
    return out
