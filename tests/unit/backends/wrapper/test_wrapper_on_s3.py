"""The wrapper between a real S3 client and an S3 server, as jobs on AWS Batch use it."""

from __future__ import annotations

import dataclasses
import signal
import time
from pathlib import Path

import pytest

from orchestrator import errors
from orchestrator.backends.wrapper import plan
from orchestrator.model.failures import FailureCode
from orchestrator.model.job import InlineFile, InputFile, JobSpec, OutputPlan

from .conftest import Lab


def job_of(lab: Lab, script: str, **parts: object) -> JobSpec:
    uri = f"{lab.bucket}/root/flow/wf-id/call-t/run-{lab.count}"
    return lab.job(script, uri=uri, **parts)  # type: ignore[arg-type]


def test_outputs_streams_rc_and_script_are_uploaded_and_nothing_stays(s3_lab: Lab) -> None:
    job = job_of(
        s3_lab,
        "echo out; echo err >&2; mkdir -p d; echo one > d/a.txt; echo two > 'b c.txt'; exit 3",
        outputs=OutputPlan(
            files=("d/", "b c.txt", "missing"), globs=("*/*.txt",), reads=("b c.txt",)
        ),
    )
    code, out, err = s3_lab.run(job)
    assert (code, out, err) == (3, b"out\n", b"err\n")
    base = job.work_dir.uri
    assert s3_lab.get(f"{base}/t-stdout.log") == b"out\n"
    assert s3_lab.get(f"{base}/t-stderr.log") == b"err\n"
    assert s3_lab.get(f"{base}/t-rc.txt") == b"3\n"
    assert s3_lab.get(f"{base}/script") == job.script.encode()
    assert s3_lab.get(f"{base}/d/a.txt") == b"one\n"
    found = s3_lab.manifest(job)
    assert found.return_code == 3
    assert found.files["d/a.txt"].uri == f"{base}/d/a.txt"
    assert found.files["d/a.txt"].etag is not None
    assert found.files["b c.txt"].content == b"two\n"
    assert found.globs["*/*.txt"] == ("d/a.txt",)
    assert found.directories == ("d",)
    assert "missing" not in found.files
    assert not Path(job.work_dir.path).parent.exists()
    assert not (s3_lab.root / f"private-{job.attempt.token}").exists()


ODD = ["a b.txt", "it's", 'q"uote', "$HOME", "star*x?[1]", "uni-é-漢", "amp&<>", "a+b%20c", "-dash"]
ODD += ["two\nlines 'and' \"quotes\"", "#hash?x=1"]


def test_odd_names_go_both_ways_with_their_identity(s3_lab: Lab) -> None:
    inputs = [s3_lab.put(f"{s3_lab.bucket}/in/{name}", name.encode()) for name in ODD]
    job = job_of(
        s3_lab,
        "mkdir out; cp '{dir}/inputs/in/'* out",
        inputs=inputs,
        outputs=OutputPlan(files=tuple(f"out/{name}" for name in ODD)),
    )
    code, _, err = s3_lab.run(job)
    assert code == 0, err
    found = s3_lab.manifest(job)
    for name in ODD:
        file = found.files[f"out/{name}"]
        assert s3_lab.get(file.uri) == name.encode()
        assert file.size == len(name.encode())
        if "\n" in name:
            continue  # its identity is looked up when it is needed
        assert file.etag == dict(zip(ODD, inputs, strict=True))[name].etag.strip('"')  # type: ignore[union-attr]


def test_a_directory_comes_in_and_an_output_that_is_an_input_is_not_uploaded(s3_lab: Lab) -> None:
    first = s3_lab.put(f"{s3_lab.bucket}/in/x.bam", b"bam")
    s3_lab.put(f"{s3_lab.bucket}/tree/a", b"a")
    s3_lab.put(f"{s3_lab.bucket}/tree/sub/b", b"b")
    job = job_of(
        s3_lab,
        "cat '{dir}'/inputs/tree/sub/b; ln -s '{dir}/inputs/in/x.bam' out.bam;"
        "ln -s '{dir}/inputs/tree' t",
        inputs=[first, InputFile(f"{s3_lab.bucket}/tree/", "{dir}/inputs/tree", directory=True)],
        outputs=OutputPlan(files=("out.bam", "t/sub/b")),
    )
    assert s3_lab.run(job)[:2] == (0, b"b")
    found = s3_lab.manifest(job)
    assert found.files["out.bam"].uri == f"{s3_lab.bucket}/in/x.bam"
    assert found.files["t/sub/b"].uri == f"{s3_lab.bucket}/tree/sub/b"
    assert not [key for key in s3_lab.keys(job.work_dir.uri) if key.endswith(("bam", "/b"))]


def test_inline_files_are_delivered(s3_lab: Lab) -> None:
    job = job_of(
        s3_lab,
        "cat '{dir}/inline/w.tmp'",
        inline=[InlineFile("{dir}/inline/w.tmp", b"\0lines\n")],
    )
    assert s3_lab.run(job)[:2] == (0, b"\0lines\n")


def test_a_missing_object_fails_with_its_name(s3_lab: Lab) -> None:
    missing = InputFile(f"{s3_lab.bucket}/in/none", "{dir}/inputs/none")
    job = job_of(s3_lab, "echo ran", inputs=[missing])
    begun = time.monotonic()
    assert s3_lab.run(job)[:2] == (93, b"")
    assert time.monotonic() - begun < 10
    found = s3_lab.manifest(job)
    assert found.return_code is None
    assert found.failure is not None
    assert found.failure.code is FailureCode.LOCALIZATION_FAILED
    assert "/in/none" in found.failure.message


@pytest.mark.parametrize("content", [b"xyz", b"longer"])
def test_a_replaced_object_is_noticed(s3_lab: Lab, content: bytes) -> None:
    pinned = s3_lab.put(f"{s3_lab.bucket}/in/x&y", b"abc")
    s3_lab.put(f"{s3_lab.bucket}/in/x&y", content)
    job = job_of(s3_lab, "echo ran", inputs=[pinned])
    assert s3_lab.run(job)[:2] == (94, b"")
    failure = s3_lab.manifest(job).failure
    assert failure is not None
    assert failure.code is FailureCode.INPUT_CHANGED
    assert "x" in failure.message


def test_a_submission_revoked_during_localization_runs_nothing(s3_lab: Lab) -> None:
    item = s3_lab.put(f"{s3_lab.bucket}/in/x", b"abc")
    bundle = f"{s3_lab.bucket}/scratch/bundle"
    setting = plan.Setting(plan.Keep.UPLOAD, bundle_uri=bundle)
    job = job_of(s3_lab, "echo ran", inputs=[item])
    assert s3_lab.run(job, setting)[:2] == (90, b"")
    assert not s3_lab.keys(job.work_dir.uri)
    s3_lab.put(bundle, b"there")
    job = job_of(s3_lab, "echo ran", inputs=[item])
    assert s3_lab.run(job, setting)[:2] == (0, b"ran\n")


def test_an_upload_that_is_refused_fails_and_leaves_no_manifest(s3_lab: Lab) -> None:
    job = job_of(s3_lab, "echo ran")
    where = dataclasses.replace(job.work_dir, manifest="s3://no-such-bucket-here/m.json")
    assert s3_lab.run(dataclasses.replace(job, work_dir=where))[0] == 96
    where = dataclasses.replace(job.work_dir, stdout="s3://no-such-bucket-here/stdout")
    job = dataclasses.replace(job_of(s3_lab, "echo ran"), work_dir=where)
    code, _, err = s3_lab.run(job)
    assert code == 95, err
    assert b"NoSuchBucket" in err


def test_sigterm_during_the_command_still_uploads_its_streams(s3_lab: Lab) -> None:
    job = job_of(s3_lab, "echo begun; touch '{dir}/ready'; sleep 600")
    process = s3_lab.start(s3_lab.prepare(job))
    ready = Path(job.work_dir.path).parent / "ready"
    deadline = time.monotonic() + 20
    while not ready.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143
    found = s3_lab.manifest(job)
    assert found.failure is not None
    assert found.failure.code is FailureCode.ABORTED
    assert s3_lab.get(job.work_dir.stdout) == b"begun\n"
    assert not ready.parent.exists()


def test_everything_and_absolute_outputs(s3_lab: Lab) -> None:
    job = job_of(
        s3_lab,
        'mkdir -p d; echo a > d/a; echo t > "$TMPDIR/t"',
        outputs=OutputPlan(everything=True, files=("../tmp/t",)),
    )
    assert s3_lab.run(job)[0] == 0
    found = s3_lab.manifest(job)
    directory = str(Path(job.work_dir.path).parent)
    assert sorted(found.files) == [f"{directory}/tmp/t", "d/a"]
    assert s3_lab.get(found.files[f"{directory}/tmp/t"].uri) == b"t\n"


@pytest.mark.parametrize("uri", ["http://host/file", "s3://bucket/wild*/"])
def test_what_cannot_be_fetched_is_refused_before_anything_runs(s3_lab: Lab, uri: str) -> None:
    job = job_of(
        s3_lab, "true", inputs=[InputFile(uri, "{dir}/inputs/x", directory=uri.endswith("/"))]
    )
    with pytest.raises(errors.InvalidInputs, match="cannot"):
        plan.render(job, "5" * 32, plan.Setting(plan.Keep.UPLOAD))


def test_all_that_is_written_is_encrypted_as_the_flags_say(s3_lab: Lab) -> None:
    names = ["plain.txt", "two\nlines"]
    setting = plan.Setting(plan.Keep.UPLOAD, upload_flags=("--sse", "aws:kms"))
    job = job_of(
        s3_lab,
        "echo 1 > plain.txt; echo 2 > 'two\nlines'; echo oops >&2",
        outputs=OutputPlan(files=tuple(names)),
    )
    assert s3_lab.run(job, setting)[0] == 0
    where = job.work_dir
    logs = [where.stdout, where.stderr, where.return_code, where.script, where.manifest]
    for uri in (*(f"{where.uri}/{name}" for name in names), *logs):
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        assert s3_lab.s3.head_object(Bucket=bucket, Key=key)["ServerSideEncryption"] == "aws:kms"
