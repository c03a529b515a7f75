"""The wrapper with outputs that stay where they are, as the local backend uses it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from orchestrator import errors
from orchestrator.backends.wrapper import manifest, plan
from orchestrator.model.failures import FailureCode, RetryClass
from orchestrator.model.job import InlineFile, InputFile, OutputPlan

from .conftest import Lab


def wait_for(path: Path, text: str = "") -> None:
    deadline = time.monotonic() + 20
    while not (path.exists() and text in path.read_text()):
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.01)


def has_ended(pid: int) -> bool:
    """A zombie whose new parent has not looked yet has ended, too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] in "ZX"
    except FileNotFoundError:
        return True


def test_a_command_runs_and_its_streams_are_kept_and_shown(lab: Lab) -> None:
    job = lab.job("echo out; echo err >&2; pwd; echo $HOME $TMPDIR", outputs=OutputPlan())
    code, out, err = lab.run(job)
    directory = Path(job.work_dir.path).parent
    expected = f"out\n{job.work_dir.path}\n{directory}/home {directory}/tmp\n".encode()
    assert (code, out, err) == (0, expected, b"err\n")
    assert Path(job.work_dir.stdout).read_bytes() == expected
    assert Path(job.work_dir.stderr).read_bytes() == b"err\n"
    assert Path(job.work_dir.return_code).read_text() == "0\n"
    assert Path(job.work_dir.script).read_text() == job.script
    found = lab.manifest(job)
    assert found.return_code == 0
    assert found.failure is None
    assert found.stdout.uri == job.work_dir.stdout
    assert found.stdout.size == len(expected)
    assert found.stderr_tail == "err\n"
    assert [phase.name for phase in found.phases] == ["localize", "command", "delocalize"]
    assert all(
        time.time() - 60 < p.started_at <= p.ended_at < time.time() + 1 for p in found.phases
    )


def test_the_exit_code_is_the_commands_and_its_outputs_are_kept_all_the_same(lab: Lab) -> None:
    job = lab.job("echo x > a.txt; exit 7", outputs=OutputPlan(files=("a.txt", "none.txt")))
    assert lab.run(job)[0] == 7
    found = lab.manifest(job)
    assert found.return_code == 7
    assert found.failure is None
    assert list(found.files) == ["a.txt"]
    assert found.files["a.txt"].uri == f"{job.work_dir.path}/a.txt"
    assert Path(job.work_dir.return_code).read_text() == "7\n"


@pytest.mark.parametrize(
    "name",
    [
        "a b.txt",
        "it's.txt",
        'quo"te.txt',
        "dollar$HOME.txt",
        "`tick`.txt",
        "back\\slash",
        "star*.txt",
        "-dash",
        "tab\there",
        "uni-é-漢.txt",
        "#hash",
        "bell\x07",
        "percent%s%d",
        "#hash?x=1&y=%20+",
        "two\nlines 'quoted' \"twice\" \\n \x07",
        "\n\nlast",
    ],
)
def test_odd_names_are_kept_as_they_are(lab: Lab, name: str) -> None:
    job = lab.job("cat > ./\"$(cat '{dir}/name')\" </dev/null; echo hi > ./\"$(cat '{dir}/name')\"",
        inline=[InlineFile("{dir}/name", name.encode())],
        outputs=OutputPlan(files=(name,), globs=("*",), reads=(name,)),
    )  # fmt: skip
    assert lab.run(job)[0] == 0
    found = lab.manifest(job)
    assert found.failure is None
    assert found.files[name].uri == f"{job.work_dir.path}/{name}"
    assert found.files[name].content == b"hi\n"
    assert name in found.globs["*"]


def test_globs_follow_bash(lab: Lab) -> None:
    job = lab.job(
        "mkdir d e dir.txt; touch b a C .hidden 'x y' d/1 d/2 e/3 'new\nline.nl' f.txt",
        outputs=OutputPlan(
            globs=("[abC]", ".h*", "?/*", "none*", "*.txt", "{e,d}/*", "./x*", "$(touch evil)")
        ),
    )
    assert lab.run(job)[0] == 0
    found = lab.manifest(job)
    assert dict(found.globs) == {
        "[abC]": ("C", "a", "b"),
        ".h*": (".hidden",),
        "?/*": ("d/1", "d/2", "e/3"),
        "none*": (),
        "*.txt": ("f.txt",),
        "{e,d}/*": ("e/3", "d/1", "d/2"),
        "./x*": ("x y",),
        "$(touch evil)": (),
    }
    assert not (Path(job.work_dir.path) / "evil").exists()


def test_names_with_line_breaks_are_found_wherever_they_lie(lab: Lab) -> None:
    name = "a\n'b' \"c\".txt"
    job = lab.job(
        "mkdir -p d/'x\ny'; touch a.txt b.txt; "
        "for f in . d d/'x\ny'; do echo hi > \"$f/$(cat '{dir}/name')\"; done",
        inline=[InlineFile("{dir}/name", name.encode())],
        outputs=OutputPlan(files=("d/", name), globs=("*.txt", "d/*/*.txt"), reads=(name,)),
    )
    assert lab.run(job)[0] == 0
    found = lab.manifest(job)
    assert found.failure is None
    assert found.globs["*.txt"] == (name, "a.txt", "b.txt")
    assert found.globs["d/*/*.txt"] == (f"d/x\ny/{name}",)
    assert set(found.files) >= {name, f"d/{name}", f"d/x\ny/{name}"}
    assert found.files[name].content == b"hi\n"
    assert found.files[name].size == 3
    assert found.files[f"d/{name}"].uri == f"{job.work_dir.path}/d/{name}"


def test_a_link_with_a_line_break_may_not_leave_the_attempt_either(lab: Lab) -> None:
    job = lab.job("ln -s /etc/passwd 'a\nb'", outputs=OutputPlan(files=("a\nb",)))
    assert lab.run(job)[0] == 95
    found = lab.manifest(job)
    assert found.failure is not None
    assert "/etc/passwd, outside the directory of the attempt" in found.failure.message
    assert not found.files


def test_inputs_with_line_breaks_come_in(lab: Lab, tmp_path: Path) -> None:
    source = tmp_path / "in\nput"
    source.write_bytes(b"hello")
    job = lab.job(
        "cat '{dir}/inputs/0/in\nput'",
        inputs=[InputFile(str(source), "{dir}/inputs/0/in\nput", size=5)],
        outputs=OutputPlan(files=("x",)),
    )
    code, out, err = lab.run(job)
    assert (code, out) == (0, b"hello"), err


def test_a_line_break_in_a_pattern_is_refused_before_anything_runs(lab: Lab) -> None:
    job = lab.job("true", outputs=OutputPlan(globs=("a\nb*",)))
    with pytest.raises(errors.InvalidInputs, match="line break"):
        plan.render(job, "5" * 32, plan.Setting(plan.Keep.IN_PLACE))


@pytest.mark.slow
def test_more_input_directories_than_one_command_takes_are_made(lab: Lab, tmp_path: Path) -> None:
    """All of their names together are longer than what one command takes."""
    source = tmp_path / "x"
    source.write_bytes(b"x")
    deep = "/".join(["n" * 200] * 17)  # 2.4 MB of names in all; Linux takes 2 MB
    inputs = [InputFile(str(source), f"{{dir}}/inputs/{number}/{deep}/x") for number in range(700)]
    job = lab.job("find '{dir}/inputs' -name x | wc -l", inputs=inputs)
    code, out, err = lab.run(job)
    assert (code, out.strip()) == (0, b"700"), err[-500:]


def test_directories_are_taken_whole(lab: Lab) -> None:
    job = lab.job(
        "mkdir -p 'out dir/sub/empty'; touch 'out dir/.x' 'out dir/sub/y'; mkdir other;"
        "echo 1 > other/z; ln -s ../other 'out dir/link'; ln -s .. 'out dir/sub/circle'",
        outputs=OutputPlan(files=("out dir/", "missing/")),
    )
    assert lab.run(job)[0] == 0
    found = lab.manifest(job)
    assert found.directories == ("out dir",)
    assert sorted(found.files) == ["out dir/.x", "out dir/link/z", "out dir/sub/y"]


def test_everything_keeps_all_files(lab: Lab) -> None:
    job = lab.job("mkdir d; touch a d/b 'n\nl'", outputs=OutputPlan(everything=True))
    assert lab.run(job)[0] == 0
    found = lab.manifest(job)
    assert found.failure is None
    assert {"a", "d/b"} <= set(found.files)


def test_reads_carry_small_contents_of_any_bytes(lab: Lab) -> None:
    job = lab.job(
        r"printf '\000\377x'; printf '\000\n\377' > bin; head -c 65536 /dev/zero > full;"
        "head -c 65537 /dev/zero > big; : > empty",
        outputs=OutputPlan(
            files=("bin", "full", "big", "empty"),
            reads=("bin", "full", "big", "empty", "nothing", "stdout"),
        ),
    )
    assert lab.run(job)[0] == 0
    files = lab.manifest(job).files
    assert files["bin"].content == b"\0\n\xff"
    assert files["full"].content == b"\0" * 65536
    assert files["big"].content is None
    assert files["big"].size == 65537
    assert files["empty"].content == b""
    assert "nothing" not in files


def test_contents_of_stdout_are_read_by_its_uri(lab: Lab) -> None:
    job = lab.job("echo 42")
    planned = OutputPlan(reads=(job.work_dir.stdout,))
    job = type(job)(job.attempt, job.work_dir, job.script, outputs=planned)
    lab.run(job)
    assert lab.manifest(job).stdout.content == b"42\n"


@pytest.mark.parametrize("way", ["soft-link", "hard-link", "copy"])
def test_inputs_come_in_and_an_output_that_is_an_input_keeps_its_uri(lab: Lab, way: str) -> None:
    source = lab.root / "data dir"
    (source / "sub").mkdir(parents=True)
    (source / "it's.txt").write_text("in")
    (source / "sub" / "x").write_text("x")
    (lab.root / "alias").symlink_to(source / "it's.txt")
    job = lab.job(
        "cat '{dir}/inputs/0/a b.txt' '{dir}/inputs/alias' '{dir}/inputs/d/sub/x';"
        "ln -s '{dir}/inputs/0/a b.txt' same.txt; ln -s '{dir}/inputs/d' tree; echo n > new",
        inputs=[
            InputFile(str(source / "it's.txt"), "{dir}/inputs/0/a b.txt", size=2),
            InputFile(str(lab.root / "alias"), "{dir}/inputs/alias"),
            InputFile(str(source), "{dir}/inputs/d", directory=True),
        ],
        outputs=OutputPlan(files=("same.txt", "tree/sub/x", "new", "tree/")),
    )
    code, out, err = lab.run(job, plan.Setting(plan.Keep.IN_PLACE, link=(way,)))
    assert (code, out) == (0, b"ininx"), err
    found = lab.manifest(job)
    assert found.failure is None
    assert found.files["same.txt"].uri == str(source / "it's.txt")
    assert found.files["tree/sub/x"].uri == str(source / "sub" / "x")
    assert found.files["new"].uri == f"{job.work_dir.path}/new"
    target = Path(job.inputs[0].path)
    assert target.is_symlink() == (way == "soft-link")
    assert (target.stat().st_ino == (source / "it's.txt").stat().st_ino) == (way != "copy")


def test_an_input_that_is_moved_away_is_no_error(lab: Lab) -> None:
    (lab.root / "in").write_text("in")
    job = lab.job(
        "mv '{dir}/inputs/in' out",
        inputs=[InputFile(str(lab.root / "in"), "{dir}/inputs/in")],
        outputs=OutputPlan(files=("out",)),
    )
    code, _, err = lab.run(job, plan.Setting(plan.Keep.IN_PLACE, link=("copy",)))
    assert code == 0, err
    assert lab.manifest(job).files["out"].uri == f"{job.work_dir.path}/out"


def test_a_missing_input_stops_before_the_command(lab: Lab) -> None:
    job = lab.job("touch ran", inputs=[InputFile("/no/such file", "{dir}/inputs/x")])
    assert lab.run(job)[0] == 93
    found = lab.manifest(job)
    assert found.return_code is None
    assert found.failure is not None
    assert found.failure.code is FailureCode.LOCALIZATION_FAILED
    assert "/no/such file" in found.failure.message
    assert not (Path(job.work_dir.path) / "ran").exists()


def test_an_input_of_another_size_is_refused(lab: Lab) -> None:
    (lab.root / "one").write_text("1")
    (lab.root / "changed").write_text("longer")
    job = lab.job(
        "touch ran",
        inputs=[
            InputFile(str(lab.root / "one"), "{dir}/inputs/one", size=1),
            InputFile(str(lab.root / "changed"), "{dir}/inputs/changed", size=3),
        ],
    )
    assert lab.run(job)[0] == 94
    failure = lab.manifest(job).failure
    assert failure is not None
    assert failure.code is FailureCode.INPUT_CHANGED
    assert "inputs/changed: 6 bytes, not 3" in failure.message
    assert not (Path(job.work_dir.path) / "ran").exists()


@pytest.mark.parametrize("target", ["/etc/passwd", "../../secret"])
def test_links_out_of_the_attempt_are_refused(lab: Lab, target: str) -> None:
    (lab.root / "secret").write_text("s")
    job = lab.job(f"ln -s {target} out", outputs=OutputPlan(files=("out",)))
    assert lab.run(job)[0] == 95
    failure = lab.manifest(job).failure
    assert failure is not None
    assert failure.code is FailureCode.OUTPUT_REFUSED
    assert failure.retry_class is RetryClass.NEVER  # hours of computing would end the same
    assert "outside" in failure.message


def test_stdout_replaced_by_a_link_is_refused(lab: Lab) -> None:
    job = lab.job("rm stdout; ln -s /etc/passwd stdout", outputs=OutputPlan(reads=("stdout",)))
    assert lab.run(job)[0] == 95
    assert b"root:" not in Path(job.work_dir.manifest).read_bytes()


def test_an_attempt_runs_once_even_when_two_wrappers_start(lab: Lab) -> None:
    job = lab.job("echo ran >> '{dir}/ran'; sleep 0.3")
    private = lab.prepare(job)
    both = [lab.start(private), lab.start(private)]
    for process in both:
        process.communicate(timeout=30)
    assert sorted(process.returncode for process in both) == [0, 92]
    assert (Path(job.work_dir.path).parent / "ran").read_text() == "ran\n"
    third = lab.start(private)
    third.communicate(timeout=30)
    assert third.returncode == 92
    assert lab.manifest(job).return_code == 0


def test_sigterm_ends_the_command_at_once_and_keeps_its_streams(lab: Lab) -> None:
    job = lab.job(
        "trap 'echo cleaned; exit 3' TERM; echo begun; (sleep 600 & echo $! > child; wait); wait",
        outputs=OutputPlan(files=("child",)),
    )
    process = lab.start(lab.prepare(job))
    wait_for(Path(job.work_dir.stdout), "begun")
    wait_for(Path(job.work_dir.path) / "child", "\n")
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=120)
    assert time.monotonic() - begun < 60  # the command would take 600 s
    assert process.returncode == 143
    assert b"begun\n" in out
    found = lab.manifest(job)
    assert found.failure is not None
    assert found.failure.code is FailureCode.ABORTED
    assert found.return_code is not None
    assert not found.files
    child = int((Path(job.work_dir.path) / "child").read_text())
    assert has_ended(child)


def test_a_command_that_ignores_sigterm_is_killed_after_the_grace(lab: Lab) -> None:
    job = lab.job("trap '' TERM; echo begun; while :; do sleep 0.1; done")
    process = lab.start(lab.prepare(job, plan.Setting(plan.Keep.IN_PLACE, grace_seconds=1)))
    wait_for(Path(job.work_dir.stdout), "begun")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143
    assert lab.manifest(job).return_code == 137


def test_stop_is_run_when_the_job_is_told_to_stop(lab: Lab) -> None:
    job = lab.job("echo begun; sleep 600")
    marker = lab.root / "stop ped"
    setting = plan.Setting(plan.Keep.IN_PLACE, stop=("touch", str(marker)))
    process = lab.start(lab.prepare(job, setting))
    wait_for(Path(job.work_dir.stdout), "begun")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    wait_for(marker)


def test_background_children_end_with_the_command(lab: Lab) -> None:
    job = lab.job("(while :; do echo .; sleep 0.1; done) & echo $! > '{dir}/child'; sleep 0.2")
    begun = time.monotonic()
    assert lab.run(job)[0] == 0
    assert time.monotonic() - begun < 5
    child = int((Path(job.work_dir.path).parent / "child").read_text())
    assert has_ended(child)


def test_a_daemon_that_holds_stdout_does_not_hold_the_job(lab: Lab) -> None:
    job = lab.job("echo hi; setsid sh -c 'echo $$ > \"{dir}/daemon\"; exec sleep 60' & sleep 0.3")
    begun = time.monotonic()
    code, out, _ = lab.run(job)
    assert (code, out) == (0, b"hi\n")
    assert time.monotonic() - begun < 10
    os.kill(int((Path(job.work_dir.path).parent / "daemon").read_text()), signal.SIGKILL)


def test_closed_streams_and_stdin_are_no_problem(lab: Lab) -> None:
    job = lab.job("cat; exec >&- 2>&-; sleep 0.1; exit 4")
    assert lab.run(job)[0] == 4
    assert lab.manifest(job).return_code == 4


def test_ten_megabytes_of_stdout_arrive_whole(lab: Lab) -> None:
    job = lab.job(
        "head -c 10000000 /dev/zero | tr '\\0' x; head -c 9000 /dev/zero | tr '\\0' e >&2"
    )
    code, out, _ = lab.run(job)
    assert (code, out) == (0, b"x" * 10_000_000)
    assert Path(job.work_dir.stdout).stat().st_size == 10_000_000
    found = lab.manifest(job)
    assert found.stdout.size == 10_000_000
    assert found.stderr_tail == "e" * 4096


def test_a_log_nobody_reads_does_not_stop_the_command(lab: Lab) -> None:
    job = lab.job("for i in 1 2 3 4 5 6; do head -c 100000 /dev/zero; sleep 0.05; done")
    process = lab.start(lab.prepare(job))
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert lab.manifest(job).stdout.size == 600_000


def test_variables_of_the_image_reach_the_command_unchanged(lab: Lab) -> None:
    job = lab.job("echo $work $attempt $uri $LC_ALL $IFS; env | grep -c ^w_", outputs=OutputPlan())
    _, out, _ = lab.run(job, work="W", attempt="A", uri="U", LC_ALL="C", ORCHESTRATOR_BUNDLES="x")
    assert out == b"W A U C\n0\n"


def test_a_shell_that_is_not_there_is_replaced(lab: Lab) -> None:
    job = lab.job("echo $0; echo ok")
    code, out, _ = lab.run(job, plan.Setting(plan.Keep.IN_PLACE, shell="/no/bash"))
    assert (code, out.splitlines()[-1]) == (0, b"ok")


def test_the_users_shell_is_bash_where_there_is_one(lab: Lab) -> None:
    job = lab.job("shopt -s nullglob; a=(1 2); echo ${#a[@]}")
    assert lab.run(job)[:2] == (0, b"2\n")


def test_a_launcher_goes_before_the_shell(lab: Lab) -> None:
    job = lab.job("echo $FROM_LAUNCHER; shopt -q extglob; exit 5")
    setting = plan.Setting(plan.Keep.IN_PLACE, launcher=("env", "FROM_LAUNCHER=it's me"))
    assert lab.run(job, setting)[:2] == (5, b"it's me\n")


def test_outputs_outside_a_shared_directory_are_refused(lab: Lab) -> None:
    job = lab.job("true", outputs=OutputPlan(files=("../../other",)))
    with pytest.raises(errors.InvalidInputs, match="outside"):
        plan.render(job, "5" * 32, plan.Setting(plan.Keep.IN_PLACE))


def test_a_private_directory_without_a_plan_is_refused(lab: Lab) -> None:
    (lab.root / "private").mkdir()
    process = lab.start(lab.root / "private")
    process.communicate(timeout=30)
    assert process.returncode == 97


def test_a_forged_uri_is_refused(lab: Lab) -> None:
    job = lab.job("true", outputs=OutputPlan())
    lab.run(job)
    data = Path(job.work_dir.manifest).read_bytes()
    forged = data.replace(b'"files":[]', b'"files":[{"path":"a","uri":"/etc/passwd","size":1}]')
    with pytest.raises(manifest.ManifestRejected, match="/etc/passwd"):
        manifest.parse(forged, kept_below=[job.work_dir.uri])
