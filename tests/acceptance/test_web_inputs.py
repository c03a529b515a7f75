"""Inputs from a web server, on this machine and on the local AWS, whose jobs never talk to it."""

from __future__ import annotations

import http.server
import json
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import Program

pytestmark = [pytest.mark.xdist_group("acceptance"), pytest.mark.timeout(300)]

CONTENTS = {"/ref/x.fa": b">1\nACGT\n", "/ref/x.fa.fai": b"1\t4\n"}

WORKFLOW = """version 1.1
workflow w {
  input { File fasta  File index }
  scatter (i in range(3)) { call t { input: fasta = fasta, index = index, i = i } }
  call uri { input: fasta = fasta }
  output { Array[String] o = t.o  Array[File] same = t.same  String seen = uri.o }
}
task t {
  input { File fasta  File index  Int i }
  command <<<
    [ "$(dirname '~{fasta}')" = "$(dirname '~{index}')" ] && cat '~{index}' && tail -n 1 '~{fasta}'
    echo ~{i} ~{size(fasta)}
  >>>
  output { String o = read_string(stdout())  File same = fasta }
  runtime { docker: "IMAGE" }
}
task uri {
  input { File fasta }
  parameter_meta { fasta: {localization_optional: true} }
  command <<< echo '~{fasta}' >>>
  output { String o = read_string(stdout()) }
  runtime { docker: "IMAGE" }
}
"""


@pytest.fixture
def web() -> Iterator[tuple[str, Counter[str]]]:
    fetched: Counter[str] = Counter()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            fetched[self.path] += 1
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            content = CONTENTS.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.send_header("ETag", '"v1"')
            self.end_headers()
            if body and content:
                self.wfile.write(content)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", fetched
        server.shutdown()
        thread.join()


def test_a_url_is_fetched_once_and_every_shard_has_it(
    program: Program, web: tuple[str, Counter[str]]
) -> None:
    base, fetched = web
    wdl = program.write("web.wdl", WORKFLOW.replace("IMAGE", program.image))
    containers = [] if program.where else ["--no-containers"]
    done = program("run", wdl, f"fasta={base}/ref/x.fa", f"index={base}/ref/x.fa.fai", *containers)
    assert done.code == 0, done.stderr
    outputs = json.loads(done.stdout)
    assert outputs["w.o"] == [f"1\t4\nACGT\n{i} 8.000000" for i in range(3)]
    assert outputs["w.same"] == [f"{base}/ref/x.fa"] * 3
    assert outputs["w.seen"] == f"{base}/ref/x.fa"
    assert fetched == {"/ref/x.fa": 1, "/ref/x.fa.fai": 1}


def test_a_url_with_nothing_behind_it_is_told_with_the_input_s_name(
    program: Program, web: tuple[str, Counter[str]]
) -> None:
    base, _ = web
    wdl = program.write("web.wdl", WORKFLOW.replace("IMAGE", program.image))
    containers = [] if program.where else ["--no-containers"]
    given = [f"fasta={base}/gone?token=secret", f"index={base}/ref/x.fa.fai"]
    done = program("run", wdl, *given, *containers)
    assert done.code != 0
    assert f"{base}/gone" in done.stderr
    assert "secret" not in done.stderr
