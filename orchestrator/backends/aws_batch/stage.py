"""The stage before the wrapper: fetches bundle and wrapper, checks the wrapper, becomes it.

Its text lies in the job definition, the same for all jobs; a job's own values come as a few short
environment variables, because everything that overrides a definition must stay below 8,192
characters in all (ECS RunTask). Paths of the host come as arguments.
"""

from __future__ import annotations

from orchestrator.backends.aws_batch.bundles import PER_BUNDLE
from orchestrator.backends.wrapper.exit_codes import WrapperExit

# $0 tools, $1 scratch. One s5cmd brings both objects; `<` and not -f: tar reads `a:b` as a host.
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
printf "cp --raw '%s' '%s'\\n" \\
  "$ORCHESTRATOR_BUNDLES/bundle-$((i / {PER_BUNDLE})).tar.gz" "$d/bundle" \\
  "$ORCHESTRATOR_WRAPPER" "$d/wrapper.sh" >"$d/commands"
if ! (
  [ -z "$e" ] || export S3_ENDPOINT_URL="$e"
  # shellcheck disable=SC2086 # flags, apart
  exec "$t/s5cmd" ${{ORCHESTRATOR_S3_FLAGS:-}} --log error run "$d/commands"
) 2>"$d/errors"; then
  if [ -s "$d/bundle" ]; then r="the wrapper cannot be fetched" c={WrapperExit.WRAPPER_MISMATCH}
  else r="the bundle cannot be fetched" c={WrapperExit.LOCALIZATION_FAILED}; fi
  while read -r l; do
    r="$r; $l"
    case $l in *bundle-*NoSuchKey* | *bundle-*"status code: 404"*) c={WrapperExit.REVOKED} ;; esac
  done <"$d/errors"
  give_up "$c" "$r"
fi
[ -s "$d/bundle" ] || give_up {WrapperExit.REVOKED} "the submission was revoked"
s=$(sha256sum "$d/wrapper.sh")
[ "${{s%% *}}" = "$ORCHESTRATOR_WRAPPER_SHA256" ] ||
  give_up {WrapperExit.WRAPPER_MISMATCH} "the wrapper is not the one that was submitted"
tar -xzf - -C "$d" "$i" <"$d/bundle" || give_up {WrapperExit.PLAN_UNREADABLE} "the bundle is broken"
exec "$t/sh" "$d/wrapper.sh" "$t" "$d/$i" "$AWS_BATCH_JOB_ID" "$d"
""".strip()


def command(tools_path: str, scratch_path: str) -> list[str]:
    """The command of every job definition."""
    return [f"{tools_path}/sh", "-c", TEXT, tools_path, scratch_path]


def environment(bundles: str, wrapper_uri: str, wrapper_sha256: str) -> dict[str, str]:
    """A job's own values."""
    return {
        "ORCHESTRATOR_BUNDLES": bundles,
        "ORCHESTRATOR_WRAPPER": wrapper_uri,
        "ORCHESTRATOR_WRAPPER_SHA256": wrapper_sha256,
    }
