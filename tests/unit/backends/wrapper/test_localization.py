"""Inputs that are missing, slow, or broken on the way: from an S3 that does as the test says."""

from __future__ import annotations

import hashlib
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from orchestrator.model.failures import FailureCode
from orchestrator.model.job import InputFile
from orchestrator.model.manifest import Manifest

from .conftest import Lab
from .test_wrapper_on_s3 import job_of

BUCKET = "s3://bucket"


@dataclass
class FakeS3:
    """Objects by key; `refusals` are the statuses of the next GETs of a key."""

    objects: dict[str, bytes] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    refusals: dict[str, list[int]] = field(default_factory=dict)
    got: Counter[str] = field(default_factory=Counter)
    stalled: set[str] = field(default_factory=set)
    begun: threading.Event = field(default_factory=threading.Event)  # somebody waits
    ended: threading.Event = field(default_factory=threading.Event)  # lets go of the stalled

    def put(self, key: str, content: bytes, *, etag: str = "", pinned: bool = True) -> InputFile:
        """An object, and the input that was pinned at it; `etag` in place of its MD5."""
        self.objects[key] = content
        self.etags[key] = etag or hashlib.md5(content).hexdigest()
        identity = (len(content), self.etags[key]) if pinned else (None, None)
        return InputFile(f"{BUCKET}/{key}", f"{{dir}}/inputs/{key}", False, *identity)


@pytest.fixture
def fake() -> Iterator[tuple[FakeS3, str]]:
    s3 = FakeS3()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        @property
        def key(self) -> str:
            return unquote(self.path.partition("?")[0]).removeprefix("/bucket/")

        def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_HEAD(self) -> None:
            key = self.key
            if key not in s3.objects:
                self.answer(404)
                return
            headers = {"ETag": f'"{s3.etags[key]}"', **s3.headers}
            headers["Last_Modified"] = "Wed, 21 Oct 2015 07:28:00 GMT"
            self.answer(200, s3.objects[key], **headers)

        def do_GET(self) -> None:
            key = self.key
            s3.got[key] += 1
            if key in s3.stalled:
                s3.begun.set()
                s3.ended.wait(60)
            if s3.refusals.get(key):
                body = b"<Error><Code>InvalidRequest</Code><Message>not now</Message></Error>"
                self.answer(s3.refusals[key].pop(0), body)
            elif key not in s3.objects:
                self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            else:
                self.do_HEAD()

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            key = self.key
            s3.put(key, body)
            self.answer(200, ETag=f'"{s3.etags[key]}"')

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield s3, f"http://127.0.0.1:{server.server_port}"
    s3.ended.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def faked(lab: Lab, fake: tuple[FakeS3, str], monkeypatch: pytest.MonkeyPatch) -> Lab:
    s3, endpoint = fake
    lab.bucket = BUCKET
    lab.env = {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
    }
    monkeypatch.setattr(lab, "get", lambda uri: s3.objects[uri.removeprefix(f"{BUCKET}/")])
    return lab


def failure(found: Manifest) -> tuple[FailureCode | None, str]:
    return (found.failure.code, found.failure.message) if found.failure else (None, "")


def test_a_missing_input_does_not_wait_for_the_others(faked: Lab, fake: tuple[FakeS3, str]) -> None:
    s3, _ = fake
    slow = s3.put("slow", b"content")
    s3.stalled.add("slow")
    missing = InputFile(f"{BUCKET}/in/none", "{dir}/inputs/none")
    job = job_of(faked, "echo ran", inputs=[slow, missing])
    code, out, _ = faked.run(job)  # gives up long after what it waits for
    assert (code, out) == (93, b"")
    assert not s3.ended.is_set()
    what, message = failure(faked.manifest(job))
    assert what is FailureCode.LOCALIZATION_FAILED
    assert f"{BUCKET}/in/none" in message


def test_what_arrived_broken_is_noticed_by_its_md5(faked: Lab, fake: tuple[FakeS3, str]) -> None:
    s3, _ = fake
    good, broken = s3.put("good", b"good"), s3.put("in/bro ken", b"sent")
    s3.objects["in/bro ken"] = b"came"
    job = job_of(faked, "echo ran", inputs=[good, broken])
    assert faked.run(job)[:2] == (93, b"")
    what, message = failure(faked.manifest(job))
    assert what is FailureCode.LOCALIZATION_FAILED
    assert "inputs/in/bro ken" in message
    assert "MD5" in message


@pytest.mark.parametrize(
    ("etag", "headers"),
    [
        (hashlib.md5(b"other").hexdigest(), {"x_amz_server_side_encryption": "aws:kms"}),
        (f"{hashlib.md5(b'other').hexdigest()}-2", {}),
        ("0123456789ABCDEF0123456789ABCDEF", {}),
    ],
)
def test_an_etag_that_is_no_md5_is_not_taken_for_one(
    faked: Lab, fake: tuple[FakeS3, str], etag: str, headers: dict[str, str]
) -> None:
    s3, _ = fake
    s3.headers.update(headers)
    item = s3.put("x", b"content", etag=etag)
    job = job_of(faked, "cat '{dir}/inputs/x'", inputs=[item])
    assert faked.run(job)[:2] == (0, b"content")


@pytest.mark.parametrize("lab", ["busybox"], indirect=True)
def test_what_has_arrived_is_not_fetched_again(faked: Lab, fake: tuple[FakeS3, str]) -> None:
    s3, _ = fake
    items = [s3.put("first", b"1"), s3.put("second", b"2")]
    s3.refusals["second"] = [400]
    job = job_of(faked, "cat '{dir}'/inputs/*", inputs=items)
    assert faked.run(job)[:2] == (0, b"12")
    assert (s3.got["first"], s3.got["second"]) == (1, 2)


def test_sigterm_while_inputs_come_in_ends_it(faked: Lab, fake: tuple[FakeS3, str]) -> None:
    s3, _ = fake
    item = s3.put("slow", b"content")
    s3.stalled.add("slow")
    job = job_of(faked, "echo ran", inputs=[item])
    process = faked.start(faked.prepare(job))
    assert s3.begun.wait(60)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, b"")
    assert failure(faked.manifest(job))[0] is FailureCode.ABORTED
    assert not Path(job.work_dir.path).parent.exists()


@pytest.mark.parametrize("lab", ["busybox"], indirect=True)
def test_the_time_of_the_pull_is_the_ecs_agents(faked: Lab, fake: tuple[FakeS3, str]) -> None:
    s3, endpoint = fake
    s3.objects["v4/id/task"] = (
        b'{"Cluster":"c","PullStartedAt":"2026-01-02T03:04:05.25Z",\n'
        b'"PullStoppedAt":"2026-01-02T03:04:15.202617438Z","Containers":[]}'
    )
    s3.etags["v4/id/task"] = "e"
    (faked.tools / "wget").symlink_to("/bin/busybox")
    path = f"{faked.tools}:/usr/bin:/bin"
    job = job_of(faked, "true")
    agent = f"{endpoint}/bucket/v4/id"
    assert faked.run(job, PATH=path, ECS_CONTAINER_METADATA_URI_V4=agent)[0] == 0
    [pull] = [phase for phase in faked.manifest(job).phases if phase.name == "pull"]
    assert pull.started_at == 1767323045.25
    assert round(pull.ended_at - pull.started_at, 3) == 9.953
    job = job_of(faked, "true")
    gone = f"{endpoint}/bucket/gone"
    assert faked.run(job, PATH=path, ECS_CONTAINER_METADATA_URI_V4=gone)[0] == 0
    assert "pull" not in {phase.name for phase in faked.manifest(job).phases}


def test_peaks_are_of_the_time_that_the_command_ran(lab: Lab) -> None:
    job = lab.job(
        "head -c 30000000 /dev/zero >big\n"
        + _until("disk", 20_000, lab)
        + "rm big\n"
        + "x=$(head -c 60000000 /dev/zero | tr '\\0' a)\n"
        + _until("memory", 50_000_000, lab)
    )
    assert lab.run(job)[0] == 0
    found = lab.manifest(job)
    assert found.peak_disk_bytes is not None
    assert 20_000_000 <= found.peak_disk_bytes < 40_000_000  # it may be looked at half way
    assert found.peak_memory_bytes is not None
    assert found.peak_memory_bytes >= 50_000_000


def _until(kind: str, least: int, lab: Lab) -> str:
    """Waits until a peak has been noted."""
    seen = f'$1 == "{kind}" && $2 >= {least} {{ seen = 1 }} END {{ exit !seen }}'
    return (
        f"i=0; until awk '{seen}' '{lab.root}'/private-*/peaks 2>/dev/null; do\n"
        "  i=$((i + 1)); [ $i -lt 600 ] || exit 9; sleep 0.1\n"
        "done\n"
    )
