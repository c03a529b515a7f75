"""The stage before the wrapper: fetches the bundle, takes the wrapper out of it, becomes it.

Its text lies in the job definition, the same for all jobs; a job's own values come as a few short
environment variables, because everything that overrides a definition must stay below 8,192
characters in all (ECS RunTask). Paths of the host come as arguments.
"""

from __future__ import annotations

from orchestrator.backends.aws_batch.bundles import PER_BUNDLE
from orchestrator.backends.wrapper.exit_codes import WrapperExit

# $0 tools, $1 scratch. The s5cmd that brings the bundle goes on to listen, for the wrapper:
# starting one costs more than all else in a small job. `<` and not -f: tar reads `a:b` as a host.
# Tools in the job's own directory have come by `foreign_hosts`, which made it.
# The first process of a container ignores SIGTERM unless it asks for it.
TEXT = f"""
trap 'rm -rf "${{d:-}}"; exit {WrapperExit.TERMINATED}' TERM
t=$0 i=${{AWS_BATCH_JOB_ARRAY_INDEX:-0}}
d=$1/job-${{AWS_BATCH_JOB_ID%%:*}}-$i
say() {{ echo "wrapper: $1" >&2; }}
if ! [ -x "$t/s5cmd" ] || ! [ -d "$1" ]; then
  say "this host lacks $t/s5cmd or $1"; exit {WrapperExit.TOOLS_MISSING}
fi
if [ "$t" != "$d/tools" ] && ! (umask 077 && mkdir "$d"); then
  [ -d "$d" ] || {{ say "cannot write to $1"; exit {WrapperExit.TOOLS_MISSING}; }}
  say "this job has run on this host before"; exit {WrapperExit.ALREADY_BEGUN}
fi
give_up() {{ say "$2"; rm -rf "$d"; exit "$1"; }}
e=${{S3_ENDPOINT_URL:-${{AWS_ENDPOINT_URL_S3:-${{AWS_ENDPOINT_URL:-}}}}}}
mkfifo "$d/to" "$d/from" || give_up {WrapperExit.TOOLS_MISSING} "cannot make pipes in $1"
(
  [ -z "$e" ] || export S3_ENDPOINT_URL="$e"
  # shellcheck disable=SC2086 # flags, apart
  exec "$t/s5cmd" ${{ORCHESTRATOR_S3_FLAGS:-}} --numworkers 16 --json run
) <"$d/to" >"$d/from" 2>&1 &
p=$!
exec 5>"$d/to" 6<"$d/from"
printf "cp --raw '%s' '%s'\\n" \\
  "$ORCHESTRATOR_BUNDLES/bundle-$((i / {PER_BUNDLE})).tar.gz" "$d/bundle" >&5
IFS= read -r l <&6 || l="s5cmd ended without a word"
case $l in
  '{{"operation":"cp","success":true,'*) ;;
  *NoSuchKey* | *"status code: 404"*) give_up {WrapperExit.REVOKED} "the bundle is gone; $l" ;;
  *) give_up {WrapperExit.LOCALIZATION_FAILED} "the bundle cannot be fetched; $l" ;;
esac
[ -s "$d/bundle" ] || give_up {WrapperExit.REVOKED} "the submission was revoked"
tar -xzf - -C "$d" wrapper.sh "$i" <"$d/bundle" ||
  give_up {WrapperExit.PLAN_UNREADABLE} "the bundle is broken"
exec "$t/sh" "$d/wrapper.sh" "$t" "$d/$i" "$AWS_BATCH_JOB_ID" "$d" "$p"
""".strip()


def command(tools_path: str, scratch_path: str) -> list[str]:
    """The command of every job definition."""
    return [f"{tools_path}/sh", "-c", TEXT, tools_path, scratch_path]


def environment(bundles: str) -> dict[str, str]:
    """A job's own values."""
    return {"ORCHESTRATOR_BUNDLES": bundles}
