"""The job wrapper: what runs around a user's command, in every backend.

Knows how one attempt's inputs come in and its outputs go out. Knows nothing of Batch, of Docker or
of WDL, nor why the attempt exists. Used by `backends.aws_batch` and `backends.local`.

    files = plan.render(job, submission_id, plan.Setting(keep=plan.Keep.IN_PLACE))
    # write them to a private directory, made by nobody else: <private>/<name> = content
    sh wrapper.sh TOOLS PRIVATE JOB_ID [REMOVE [S5CMD]]     # wrapper_path() is the script
    manifest.parse(data, kept_below=[...], inputs=lambda: job.inputs)

**Running it.** `sh` is a POSIX shell: bash, dash, or the static busybox under the name `sh`. TOOLS
is a directory with `s5cmd` (only used when an input lies on S3 or outputs are uploaded). On a
host, other tools come from PATH: awk, base64, du, find, head, md5sum, mkfifo, mv, realpath, rm,
sed, setsid, sleep, stat, tail, tee, tr, xargs. JOB_ID is what the manifest calls the job
(`[A-Za-z0-9:_-]+`). REMOVE is one more directory to remove at the end of an uploading attempt,
S5CMD the process id of one that listens already (descriptors 5 and 6). The wrapper's own stdout
and stderr are the log: the command's, live, plus lines that begin with `wrapper: `.

**Inputs.** All at a time, and what cannot be mended (an object that is not there, no right to read
it, a full disk) ends it at once, with the URI. Then sizes and ETags are held against those that
are pinned, and contents against the ETag where that is their MD5.

**Peaks and times.** Memory is what the command holds and cannot be dropped (of its cgroup, or of
the processes of its session), without page cache; disk is what lies in the attempt's directory.
Both are looked at from 0.3 s on, every 2 s in the end, counting files for at most a fiftieth of
the time. When the image was pulled is asked of the ECS agent, where there is one.

**Directories.** The attempt's own directory is `dirname(WorkDir.path)`; inputs, inline files, HOME
(`home`) and TMPDIR (`tmp`) lie in it, beside the work dir. With Keep.UPLOAD the wrapper makes it
(that is the claim), works in it and removes it with PRIVATE at the end. With Keep.IN_PLACE it must
be there, stdout, stderr, rc, script and manifest are written to the paths that WorkDir names, and
the claim is the directory `<PRIVATE>/begun`. An attempt that was claimed is never run again (92).

**A launcher** (`Setting.launcher`) is put before the image's shell: `docker run ... IMAGE`. What it
has to see to stands at `plan.Setting`.

**Signals.** SIGTERM: the command's process group gets SIGTERM, after `grace_seconds` SIGKILL;
stdout, stderr and rc are kept, the manifest says ABORTED, the exit code is 143. The caller knows
why it sent the signal and may put its own reason in place of that one.

**Exit code.** The command's own, or one of `exit_codes.WrapperExit`. The manifest is the truth. It
is written last, by a rename or as the last upload: where it is, everything it names is there.
A missing output is no failure here: it is just not in `Manifest.files`.
"""

from __future__ import annotations

from pathlib import Path


def wrapper_path() -> Path:
    """The wrapper's script, in this package."""
    return Path(__file__).with_name("wrapper.sh")


def wrapper_script() -> bytes:
    """The wrapper's text."""
    return wrapper_path().read_bytes()
