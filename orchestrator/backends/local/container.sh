# shellcheck shell=sh
# Runs a container for the wrapper and says afterwards what only the engine knows of it.
#
#   sh container.sh ENGINE NAME VERDICT ARGUMENT...
#
# ARGUMENT... follows `ENGINE run --name NAME`. VERDICT is a file that says `absent` (the container
# was never made: no image), `unstarted` (made, but its first program could not be run) or `oom`.
engine=$1 name=$2 verdict=$3
shift 3
trap : TERM INT HUP # the engine's client is told too, and passes it on; this shell waits for it
"$engine" run --name "$name" "$@" &
client=$!
while
    wait "$client"
    rc=$?
    kill -0 "$client" 2>/dev/null
do :; done
if [ "$rc" -ne 0 ]; then
    state=$("$engine" inspect --format '{{.State.OOMKilled}} {{.State.StartedAt}}' "$name" 2>/dev/null)
    case $rc:$state in
        125:) echo absent >"$verdict" ;;
        12[567]:*' 0001-'*) echo unstarted >"$verdict" ;;
        *:true*) echo oom >"$verdict" ;;
    esac
fi
"$engine" rm --force --volumes "$name" >/dev/null 2>&1
exit "$rc"
