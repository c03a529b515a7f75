"""What `s3` of the configuration says reaches the s5cmd of jobs: endpoint, payer, encryption."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from orchestrator.config.s3 import S3
from orchestrator.model.job import InputFile, OutputPlan
from tests.batch_cloud import Cloud, backend_on

from .conftest import collect, submission

_HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive"}


class Recorded:
    """Another address of the cloud's S3; remembers who is said to pay for each request."""

    def __init__(self, endpoint: str) -> None:
        self.payers: list[tuple[str, str | None]] = []
        recorded = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None: ...

            def _forward(self) -> None:
                payer = self.headers.get("x-amz-request-payer")
                recorded.payers.append((f"{self.command} {self.path}", payer))
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                request = urllib.request.Request(
                    endpoint + self.path, body or None, dict(self.headers), method=self.command
                )
                try:
                    answer = urllib.request.urlopen(request)
                except urllib.error.HTTPError as error:
                    answer = error
                with answer:
                    content = answer.read()
                    self.send_response(answer.status)
                    length = len(content)
                    if self.command == "HEAD":
                        length = int(answer.headers.get("Content-Length", 0))
                    for name, value in answer.headers.items():
                        if name.lower() not in {*_HOP_BY_HOP, "content-length"}:
                            self.send_header(name, value)
                    self.send_header("Content-Length", str(length))
                    self.end_headers()
                    self.wfile.write(content)

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _forward

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def recorded(cloud: Cloud) -> Iterator[Recorded]:
    found = Recorded(cloud.endpoint)
    thread = threading.Thread(target=found.server.serve_forever)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()


def test_a_job_encrypts_and_pays_for_all_that_it_moves(cloud: Cloud, recorded: Recorded) -> None:
    key = cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    s3 = S3(endpoint_url=recorded.endpoint, requester_pays=True, kms_key=key)
    backend = backend_on(
        cloud,
        job_environment=tuple(s3.environment("", elsewhere=False).items()),
        upload_flags=s3.upload_flags(),
    )
    etag = cloud.put("s3://root-bucket/in/reads.txt", b"ACGT")
    read = InputFile("s3://root-bucket/in/reads.txt", "{dir}/inputs/reads.txt", size=4, etag=etag)
    names = ["plain.txt", "with space & 'quote'.txt"]
    job = submission(
        backend,
        "cat '{dir}/inputs/reads.txt'; echo oops >&2; for n in plain.txt "
        '"with space & \'quote\'.txt"; do echo done > "$n"; done',
        inputs=[read],
        outputs=OutputPlan(files=tuple(names)),
    )
    try:
        backend.submit(job)
        [change] = collect(backend, 1)
    finally:
        backend.close()
    assert change.failure is None
    assert change.manifest is not None
    assert set(change.manifest.files) == set(names)
    where = job.jobs[0].work_dir
    written = [*(f"{where.uri}/{name}" for name in names), where.stdout, where.stderr]
    written += [where.return_code, where.script, where.manifest]
    for uri in written:
        bucket, _, name = uri.removeprefix("s3://").partition("/")
        head = cloud.client("s3").head_object(Bucket=bucket, Key=name)
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", key), uri
    # Bundle, wrapper, inputs, outputs, manifest: all went there, and all say who pays.
    assert {request.partition(" ")[0] for request, _ in recorded.payers} >= {"GET", "HEAD", "PUT"}
    assert len([request for request, _ in recorded.payers if "PUT" in request]) == len(written)
    assert {payer for _, payer in recorded.payers} == {"requester"}
