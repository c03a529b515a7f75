# shellcheck shell=sh
# What the plan sets and calls cannot be seen from here; EPOCHREALTIME is taken where there is one.
# shellcheck disable=SC2154,SC2317,SC3028
#
# The job wrapper: brings inputs in, runs the command, takes outputs out, writes the manifest last.
#
#   sh wrapper.sh TOOLS PRIVATE JOB_ID [REMOVE [S5CMD]]
#
# TOOLS    directory with `s5cmd`, and where a container has nothing else, `sh` and `busybox`
# PRIVATE  directory with what plan.render() made: `plan`, `script`, `fetch`, ...
# JOB_ID   what the manifest calls this job
# REMOVE   directory to remove at the end besides, where outputs are uploaded
# S5CMD    process id of one that listens already: commands go to descriptor 5, answers come from 6
#
# Runs on a static busybox, bash and dash alike, so: POSIX sh, and only applets and options that
# busybox has. Every name starts with w_, because an assignment to a variable that the image
# exports would change what the user's command sees. Few forks: most jobs are small.
# One file, long as it is: jobs fetch it, and its hash is checked, as a whole.
# Exit codes besides the command's own: exit_codes.py.
set -u

w_tools=$1 w_private=$2 w_job=$3 w_remove=${4-$2}
w_workers=64 # transfers at a time: small files wait for answers more than for bytes
w_nl='
'
w_code='' w_message='' w_rc='' w_exit=0
w_terminated='' w_interrupted='' w_child='' w_group='' w_killer=''
w_phases='' w_peak='' w_peak_disk='' w_asker=''
w_found=0 w_noted='' w_talks=${5-}

w_say() { printf 'wrapper: %s\n' "$1" >&2; }

# The first failure counts; what follows is only said.
w_fail() {
    w_say "$3"
    if [ -z "$w_code" ]; then
        w_exit=$1 w_code=$2 w_message=$3
    fi
}

w_now() {
    w_time=${EPOCHREALTIME-}
    [ -n "$w_time" ] || w_time=$(date +%s.0)
    w_time=${w_time%%[.,]*}.${w_time##*[.,]} # bash writes the locale's decimal point
}

w_phase_begins() { w_now && w_began=$w_time; }
w_phase_ends() {
    w_now
    w_phases="$w_phases${w_phases:+,}{\"name\":\"$1\",\"started_at\":$w_began,\"ended_at\":$w_time}"
}

# --- Children and signals -------------------------------------------------------------------

# wait(1) is cut short by a trapped signal: ask again until the child itself has ended.
w_await() {
    w_child=$1
    [ -z "$w_terminated" ] || w_stop_child
    while
        w_interrupted=''
        wait "$w_child"
        w_status=$?
        [ -n "$w_interrupted" ]
    do :; done
    w_child='' w_group=''
    return "$w_status"
}

w_stop_child() {
    if [ -z "$w_group" ]; then
        kill -TERM "$w_child" 2>/dev/null
        return
    fi
    # The child may not have made its session yet.
    kill -TERM -"$w_child" 2>/dev/null || kill -TERM "$w_child" 2>/dev/null
    if [ -z "$w_killer" ]; then
        (
            sleep "$w_grace"
            kill -KILL -"$w_child" 2>/dev/null || kill -KILL "$w_child" 2>/dev/null
        ) </dev/null >/dev/null 2>&1 &
        w_killer=$!
        w_stop
    fi
}

w_on_signal() {
    w_interrupted=1
    [ -z "$w_terminated" ] || return 0
    w_terminated=1
    [ -z "$w_child" ] || w_stop_child
}

# Has this child of ours ended? `kill -0` cannot tell: it also finds what nobody waited for.
w_ended() {
    read -r w_stat 2>/dev/null <"/proc/$1/stat" || return 0
    case ${w_stat##*) } in [ZX]*) return 0 ;; esac
    return 1
}

# --- S3 ---------------------------------------------------------------------------------------

# To be called in a subshell. s5cmd does not know the SDKs' variables for an endpoint.
w_s5cmd() {
    w_endpoint=${S3_ENDPOINT_URL:-${AWS_ENDPOINT_URL_S3:-${AWS_ENDPOINT_URL:-}}}
    [ -z "$w_endpoint" ] || export S3_ENDPOINT_URL="$w_endpoint"
    # shellcheck disable=SC2086 # flags, apart
    exec "$w_tools/s5cmd" ${ORCHESTRATOR_S3_FLAGS:-} "$@"
}

# transfer ARGUMENTS: run s5cmd, which does a file of commands (`run FILE`) in one process. s5cmd
# retries each request; a whole run is repeated for what it gives up on (credentials that come late,
# a long throttle), unless asking again cannot help. $w_error says why it failed.
w_transfer() {
    w_try=1
    while :; do
        (w_s5cmd --numworkers "$w_workers" --log error "$@") \
            </dev/null >/dev/null 2>"$w_private/s5cmd.err" &
        w_await "$!" && return 0
        w_once_more || return 1
    done
}

# The same for inputs. What cannot be mended ends it at once: a missing file does not wait for the
# others. What has arrived (s5cmd renames a file when it is whole) is not fetched again.
w_transfer_inputs() {
    w_try=1
    [ -p "$w_private/errors" ] || mkfifo "$w_private/errors" || return 1
    while :; do
        (w_s5cmd --numworkers "$w_workers" --log error "$@") \
            </dev/null >/dev/null 2>"$w_private/errors" &
        w_transferring=$!
        (
            w_ending=''
            while IFS= read -r w_line; do
                if w_is_final "$w_line"; then
                    w_ending=1
                    kill -TERM "$w_transferring" 2>/dev/null
                elif [ -n "$w_ending" ]; then
                    continue # what was being done just then
                fi
                printf '%s\n' "$w_line"
            done
        ) <"$w_private/errors" >"$w_private/s5cmd.err" &
        w_reader=$!
        w_await "$w_transferring"
        w_result=$?
        w_await "$w_reader"
        [ "$w_result" -ne 0 ] || return 0
        w_once_more || return 1
        if [ "$1" = run ] && [ "$2" = "$w_private/fetch" ]; then
            sed 's/^cp /cp --no-clobber /' "$w_private/fetch" >"$w_private/fetch.rest"
            set -- run "$w_private/fetch.rest"
        fi
    done
}

# After a transfer that failed: says why in $w_error, and waits where another try may help.
w_once_more() {
    w_error=''
    while IFS= read -r w_line && [ "${#w_error}" -lt 1500 ]; do
        w_error="$w_error${w_error:+; }${w_line#ERROR }"
    done <"$w_private/s5cmd.err"
    [ -n "$w_error" ] || w_error="s5cmd ended without a word"
    [ -z "$w_terminated" ] && [ "$w_try" -lt 3 ] && ! w_is_final "$w_error" || return 1
    w_say "transfer failed, trying again: $w_error"
    sleep $((w_try * w_try * 3)) &
    w_await "$!"
    w_try=$((w_try + 1))
    [ -z "$w_terminated" ]
}

w_is_final() {
    case $1 in
        *'status code: 403'* | *'status code: 404'* | *NoSuchKey* | *NoSuchBucket* | \
            *AccessDenied* | *'no object found'* | *'not found'* | *'o space left'* | \
            *'ermission denied'*) return 0 ;;
    esac
    return 1
}
# A conversation: one s5cmd that reads commands from a pipe as they come and answers each with a
# line. To start s5cmd costs more than all else in a small job. Only ever an economy: where an
# answer is not as expected, what was asked for is done again by w_transfer. A command that takes
# its time does not keep one waiting, for the memory that it holds: see w_watch.
w_conversation_begins() {
    if [ -n "$w_talks" ]; then
        w_ended "$w_talks" || return 0
        w_conversation_ends
    fi
    [ -p "$w_private/to" ] || mkfifo "$w_private/to" "$w_private/from" || return 1
    (w_s5cmd --numworkers 16 --json run) <"$w_private/to" >"$w_private/from" 2>&1 &
    w_talks=$!
    exec 5>"$w_private/to" 6<"$w_private/from"
}

w_conversation_ends() {
    [ -n "$w_talks" ] || return 0
    exec 5>&- 6<&-
    wait "$w_talks" 2>/dev/null # which is not this shell's to wait for when the stage began it
    w_talks=''
}

# ask FILE ANSWERS: say the lines of a file; append the answers to another. Few at a time, so that
# neither side waits with a full pipe for the other.
w_ask() {
    [ -n "$w_talks" ] || return 1
    trap '' PIPE # s5cmd may have ended
    exec 7<"$1" 8>>"$2"
    w_asked=1 w_result=0
    while [ "$w_asked" -gt 0 ] && [ "$w_result" = 0 ]; do
        w_asked=0 w_length=0
        while [ "$w_length" -lt 4096 ] && IFS= read -r w_line <&7; do
            printf '%s\n' "$w_line" >&5 2>/dev/null || w_result=1
            w_asked=$((w_asked + 1)) w_length=$((w_length + ${#w_line}))
        done
        w_open=$w_asked
        while [ "$w_open" -gt 0 ] && [ "$w_result" = 0 ]; do
            IFS= read -r w_line <&6 || w_line=''
            case $w_line in
                '{"operation":"cp","success":true,'* | '{"key":'*) printf '%s\n' "$w_line" >&8 ;;
                *) w_result=1 ;;
            esac
            w_open=$((w_open - 1))
        done
    done
    exec 7<&- 8>&-
    trap - PIPE
    [ "$w_result" = 0 ] || w_conversation_ends
    return "$w_result"
}

# --- Inputs -----------------------------------------------------------------------------------

# link SOURCE TARGET DIRECTORY(0|1): bring a local file in, by the first of $w_link that works.
w_link_file() {
    w_source=$1
    if [ -L "$1" ]; then
        w_source=$(realpath "$1")
    fi
    if [ ! -e "$w_source" ]; then
        w_fail 93 LOCALIZATION_FAILED "input $1 does not exist"
        return
    fi
    for w_way in $w_link; do
        case $w_way:$3 in
            soft-link:*) ln -s "$w_source" "$2" 2>/dev/null && return ;;
            hard-link:0) ln "$w_source" "$2" 2>/dev/null && return ;;
            hard-link:1) cp -RLl "$w_source" "$2" 2>/dev/null && return ;;
            copy:0) cp -Lp "$w_source" "$2" && return ;;
            copy:1) cp -RLp "$w_source" "$2" && return ;;
        esac
    done
    w_fail 93 LOCALIZATION_FAILED "input $1 cannot be brought to $2 ($w_link)"
}

# fetch SOURCE TARGET: one object that no line of a command file can name.
w_fetch_odd() {
    [ -n "$w_code" ] || w_transfer_inputs cp --raw "$1" "$2" || w_fetch_failed
}

w_fetch_failed() {
    case $w_error in
        *'o space left'*) w_fail 93 DISK_FULL "no space left for the inputs: $w_error" ;;
        *) [ -n "$w_terminated" ] || w_fail 93 LOCALIZATION_FAILED "inputs cannot be fetched: $w_error" ;;
    esac
}

w_inline_file() {
    mv "$w_private/$1" "$2" ||
        w_fail 93 LOCALIZATION_FAILED "cannot write $2"
}

w_localize() {
    w_phase_begins
    w_make_directories || w_fail 93 LOCALIZATION_FAILED "cannot make the directories of the inputs"
    [ -n "$w_code" ] || w_place
    if [ -z "$w_code" ] && [ -s "$w_private/fetch" ]; then
        w_transfer_inputs run "$w_private/fetch" || w_fetch_failed
    fi
    [ -n "$w_code" ] || w_fetch_odd_ones
    [ -n "$w_code$w_terminated" ] || w_check_sizes
    if [ -z "$w_code$w_terminated" ] && [ -s "$w_private/heads" ]; then
        w_check_identities
        [ -n "$w_code$w_revoked$w_terminated" ] || w_check_contents
    fi
    # Where inputs really lie, as long as the command has not moved them.
    if [ -z "$w_code" ] && [ -s "$w_private/known0" ]; then
        xargs -0 realpath <"$w_private/known0" >"$w_private/known.real" ||
            w_fail 93 LOCALIZATION_FAILED "an input is not there although it was brought in"
    fi
    w_phase_ends localize
}

# Sizes of what has arrived, against those that are pinned.
w_check_sizes() {
    [ -s "$w_private/sized" ] || return 0
    w_sizes=$(xargs -0 stat -L -c %s <"$w_private/sized" 2>&1)
    [ "$w_sizes" != "$w_pinned_sizes" ] || return 0
    w_fail 94 INPUT_CHANGED "an input has another size than when it was looked at: $(
        tr '\0\n' '\n?' <"$w_private/sized" >"$w_private/sized.names"
        printf '%s\n' "$w_pinned_sizes" >"$w_private/sized.pinned"
        printf '%s\n' "$w_sizes" | paste - "$w_private/sized.pinned" "$w_private/sized.names" |
            awk -F '\t' '$1 != $2 { print $3 ": " $1 " bytes, not " $2; exit }'
    )"
}

# ETags of the objects as they are after the transfer. The bundle is looked at with them: a
# submission that was revoked while the inputs came in must not begin. Where an ETag is the MD5 of
# the content (one part, no key of KMS, no directory bucket: Amazon S3 API reference, Object), it goes
# to one of `sums.?` for w_check_contents.
w_check_identities() {
    for w_pause in 1 4 end; do
        : >"$w_private/heads.out"
        w_ask "$w_private/heads" "$w_private/heads.out" && break
        (w_s5cmd --numworkers "$w_workers" --json run "$w_private/heads") \
            </dev/null >"$w_private/heads.out" 2>"$w_private/s5cmd.err" &
        w_await "$!" && break
        [ -z "$w_terminated" ] || return 0
        # Anything but an object that is not there: ask again, then give up.
        w_error=''
        while read -r w_line; do
            case $w_line in
                *' not found"'*) ;;
                *) w_error=$w_line ;;
            esac
        done <"$w_private/s5cmd.err"
        [ -n "$w_error" ] || break
        if [ "$w_pause" = end ]; then
            w_fail 93 LOCALIZATION_FAILED "inputs cannot be looked at again: $w_error"
            return
        fi
        sleep "$w_pause" &
        w_await "$!"
    done
    w_changed=$(W_SUMS=$w_private/sums LC_ALL=C awk '
        # pinned: the URI as JSON, its ETag, the path (or nothing), three lines each
        FNR == NR && FNR % 3 == 1 { uri = $0; next }
        FNR == NR && FNR % 3 == 2 { pinned[uri] = $0; next }
        FNR == NR { if ($0 != "") paths[uri, ++copies[uri]] = $0; next }
        match($0, /^\{"key":"([^"\\]|\\.)*"/) {
            uri = substr($0, 8, RLENGTH - 7)
            kms[uri] = index($0, "\"server_side_encryption\":\"aws:kms")
            if (match($0, /"etag":"[^"]*"/)) found[uri] = substr($0, RSTART + 8, RLENGTH - 9)
        }
        END {
            for (uri in pinned) {
                if (!(uri in found)) { print "gone " uri; exit }
                if (pinned[uri] != "" && pinned[uri] != found[uri]) {
                    print "is " uri " with ETag " found[uri] ", not " pinned[uri]; exit
                }
                md5 = found[uri]
                if (length(md5) != 32 || md5 ~ /[^0-9a-f]/ || kms[uri]) continue
                if (uri ~ /^"s3:\/\/[^\/]*--x-s3\//) continue
                for (i = 1; i <= copies[uri]; i++)
                    print md5 "  " paths[uri, i] > (ENVIRON["W_SUMS"] "." (++sums % 4))
            }
        }' "$w_private/pinned" "$w_private/heads.out")
    case $w_changed in
        '') ;;
        "gone $w_bundle_json") w_revoked=1 w_exit=90 ;;
        *) w_fail 94 INPUT_CHANGED "an input is not what it was when it was looked at: $w_changed" ;;
    esac
}

# Whether what arrived is what was sent.
w_check_contents() {
    w_summers='' w_broken=''
    for w_sums in "$w_private"/sums.[0-3]; do
        [ -f "$w_sums" ] || continue
        # shellcheck disable=SC2030
        (export LC_ALL=C && exec md5sum -c "$w_sums") </dev/null >"$w_sums.out" 2>/dev/null &
        w_summers="$w_summers $!"
    done
    for w_summer in $w_summers; do
        w_await "$w_summer" || w_broken=1
    done
    [ -n "$w_broken" ] && [ -z "$w_terminated" ] || return 0
    w_broken=$(cat "$w_private"/sums.?.out | sed -n '/: FAILED/ { s/: FAILED.*//; p; q; }')
    w_fail 93 LOCALIZATION_FAILED \
        "an input did not arrive as it was sent: $w_broken has not the MD5 that is its object's ETag"
}

# --- The command --------------------------------------------------------------------------------

w_run() {
    w_phase_begins
    mkfifo "$w_private/out" "$w_private/err" "$w_private/to" "$w_private/from" || {
        w_fail 97 CONTAINER_START_FAILED "cannot make pipes in $w_private"
        return
    }
    # tee goes on when nobody reads the log any more; the command keeps the default of SIGPIPE.
    (trap '' PIPE && exec tee "$w_stdout") <"$w_private/out" &
    w_tee_out=$!
    (trap '' PIPE && exec tee "$w_stderr") <"$w_private/err" >&2 &
    w_tee_err=$!
    (
        cd "$w_work" || exit 126
        exec 5>&- 6<&-
        export HOME="$w_home" TMPDIR="$w_tmp"
        unset ORCHESTRATOR_BUNDLES
        w_launch
    ) <"/dev/null" >"$w_private/out" 2>"$w_private/err" &
    w_command=$!
    w_group=1
    w_watch </dev/null >/dev/null 2>&1 5>&- 6<&- &
    w_watcher=$!
    w_await "$w_command"
    w_rc=$w_status
    # Not SIGTERM: a shell that has just been forked may lose it. A sleep may be left for a moment.
    kill -KILL "$w_watcher" 2>/dev/null
    wait "$w_watcher" 2>/dev/null
    # What the command left running ends with it.
    kill -KILL -"$w_command" 2>/dev/null
    if [ -n "$w_killer" ]; then
        kill "$w_killer" 2>/dev/null
        wait "$w_killer" 2>/dev/null
    fi
    # A daemon with a session of its own may hold the pipes for ever.
    for w_pause in 0.01 0.05 0.2 0.5 1 2 end; do
        w_ended "$w_tee_out" && w_ended "$w_tee_err" && break
        if [ "$w_pause" = end ]; then
            w_say "something that the command started still holds its stdout or stderr"
            kill "$w_tee_out" "$w_tee_err" 2>/dev/null
        else
            sleep "$w_pause"
        fi
    done
    wait "$w_tee_out" "$w_tee_err" 2>/dev/null
    w_measure
    trap '' TERM INT HUP # from here on everything is taken to its end
    if [ -n "$w_terminated" ]; then
        w_fail 143 ABORTED "the job was told to stop (SIGTERM)"
    fi
    printf '%s\n' "$w_rc" >"$w_rc_file" ||
        w_fail 95 DELOCALIZATION_FAILED "cannot write $w_rc_file"
    w_phase_ends command
}

# --- Peaks ------------------------------------------------------------------------------------------
# Of memory: what the command holds and cannot be dropped, so without the page cache, which fills
# whatever there is. Of disk: what lies in the attempt's directory. Both are looked at from time to
# time; each new peak is a line of `peaks` ("memory BYTES", "disk KIBIBYTES").

w_watch() {
    w_most=0 w_widest=0 w_due=0
    w_pauses='0.3 0.3 0.5 1 2'
    while sleep "${w_pauses%% *}"; do
        w_look_at_memory
        if [ "${w_held:-0}" -gt "$w_most" ]; then
            w_most=$w_held
            printf 'memory %s\n' "$w_most" >>"$w_private/peaks"
        fi
        w_pauses=${w_pauses#* }
        if [ "$w_pauses" = 2 ] && [ -n "$w_talks" ]; then
            kill -TERM "$w_talks" 2>/dev/null
            w_talks=''
        fi
        read -r w_up _ </proc/uptime
        [ "${w_up%.*}" -ge "$w_due" ] || continue
        du -sk "$w_attempt_dir" >"$w_private/watched" 2>/dev/null
        read -r w_held _ <"$w_private/watched" || continue
        if [ "$w_held" -gt "$w_widest" ]; then
            w_widest=$w_held
            printf 'disk %s\n' "$w_widest" >>"$w_private/peaks"
        fi
        # To count many files costs: never more than a small part of the time.
        w_due=${w_up%.*}
        read -r w_up _ </proc/uptime
        w_due=$((${w_up%.*} + 50 * (${w_up%.*} - w_due)))
    done
}

# $w_held: bytes now. A container of its own has numbers of its own: there, the root of the cgroup
# tree has a memory.current (version 2), or a limit is set on it (version 1). Without, what the
# processes of the command's session have in memory; what a launcher runs is not among them.
w_look_at_memory() {
    w_held=0
    if [ -r $w_cgroup/memory.current ]; then
        w_sum_of anon shmem $w_cgroup/memory.stat
    elif w_limited; then
        w_sum_of total_rss total_shmem $w_cgroup/memory/memory.stat
    elif [ -z "$w_launched" ]; then
        [ -n "${w_page-}" ] || w_page=$(getconf PAGESIZE 2>/dev/null) || w_page=4096
        w_held=$(W_SESSION=$w_command W_PAGE=$w_page awk 'BEGIN {
            for (i = 1; i < ARGC; i++) {
                if ((getline line < ARGV[i]) > 0) {
                    sub(/.*\) /, "", line)
                    split(line, field, " ")
                    if (field[4] == ENVIRON["W_SESSION"]) pages += field[22]
                }
                close(ARGV[i])
            }
            printf "%.0f", pages * ENVIRON["W_PAGE"]
        }' /proc/[0-9]*/stat 2>/dev/null)
    fi
}

w_sum_of() {
    while read -r w_key w_value; do
        case $w_key in "$1" | "$2") w_held=$((w_held + w_value)) ;; esac
    done <"$3"
}

w_cgroup=/sys/fs/cgroup
w_limited() {
    [ -r $w_cgroup/memory/memory.limit_in_bytes ] || return 1
    read -r w_limit <$w_cgroup/memory/memory.limit_in_bytes
    [ "${#w_limit}" -lt 18 ]
}

# Where nothing was seen in time, or all of it was not enough: the kernel's own mark, page cache and all.
w_measure() {
    w_mark=''
    if [ -r $w_cgroup/memory.current ]; then
        [ ! -r $w_cgroup/memory.peak ] || read -r w_mark <$w_cgroup/memory.peak
        w_oom $w_cgroup/memory.events
    elif w_limited; then
        read -r w_mark <$w_cgroup/memory/memory.max_usage_in_bytes
        w_oom $w_cgroup/memory/memory.oom_control
    fi
    if [ -f "$w_private/peaks" ]; then
        while read -r w_key w_value; do
            case $w_key in
                memory) w_peak=$w_value ;;
                disk) w_peak_disk=$w_value ;;
            esac
        done <"$w_private/peaks"
    fi
    if [ -z "$w_peak" ] || [ "$w_code" = OUT_OF_MEMORY ]; then
        w_peak=$w_mark
    fi
    # A job that is told to stop has no time to count.
    if [ -z "$w_terminated" ]; then
        du -sk "$w_attempt_dir" >"$w_private/du" 2>/dev/null
        if read -r w_value _ <"$w_private/du" && [ "$w_value" -gt "${w_peak_disk:-0}" ]; then
            w_peak_disk=$w_value
        fi
    fi
    [ -z "$w_peak_disk" ] || w_peak_disk=$((w_peak_disk * 1024))
}

w_oom() {
    [ "$w_rc" -ne 0 ] && [ -r "$1" ] || return 0
    while read -r w_key w_value; do
        if [ "$w_key" = oom_kill ] && [ "$w_value" -gt 0 ]; then
            w_fail "$w_rc" OUT_OF_MEMORY "the command ran out of memory and was killed"
        fi
    done <"$1"
}

# --- Outputs --------------------------------------------------------------------------------------
# What is found goes to two files, in the same order: `found` (a letter and a path a line: F file,
# G glob, g its match, D directory) and `found0` (absolute paths of the F lines, NUL after each).
# A name with a line break is described at once, by itself: J and j are F and g as JSON, and how it
# is uploaded goes to `odd`.

w_file() {
    case $1 in /*) w_abs=$1 ;; *) w_abs=$w_work/$1 ;; esac
    [ -f "$w_abs" ] || return 1
    case $1 in
        *"$w_nl"*)
            w_odd_file "$1"
            return
            ;;
    esac
    printf 'F%s\n' "$1" >&3
    printf '%s\0' "$w_abs" >&4
    w_found=$((w_found + 1))
}

w_odd_file() {
    w_json "$1"
    w_real=$(realpath "$w_abs" && printf .) && w_real=${w_real%"$w_nl".}
    w_roof=$(realpath "$w_attempt_dir")
    case $w_real in
        "$w_roof"/*) ;;
        "$w_abs") ;;
        *)
            w_fail 95 OUTPUT_REFUSED \
                "the output $1 is a link to $w_real, outside the directory of the attempt"
            return 1
            ;;
    esac
    w_place=$w_abs
    if [ "$w_keep" = upload ]; then
        w_place=$w_uri/${1#/}
        w_quote "$w_abs"
        w_line=$w_quoted
        w_quote "$w_place"
        printf 'w_upload_odd %s %s\n' "$w_line" "$w_quoted" >>"$w_private/odd"
    fi
    w_line=$w_escaped
    w_json "$w_place"
    printf 'J{"path":%s,"uri":%s,"size":%s}\n' \
        "$w_line" "$w_escaped" "$(stat -L -c %s "$w_abs")" >&3
    w_escaped=$w_line
    w_noted=1
}

# A word as the shell reads it: $w_quoted. As JSON: $w_escaped. The point at the end keeps line
# breaks there.
w_quote() {
    w_quoted=$(printf '%s.' "$1" | sed "s/'/'\\\\''/g")
    w_quoted="'${w_quoted%.}'"
}

w_json() {
    w_escaped=$(printf '%s.' "$1" | LC_ALL=C awk '
        {
            gsub(/[\\"]/, "\\\\&")
            for (i = 1; i < 32; i++)
                if (i != 10) gsub(sprintf("%c", i), sprintf("\\u%04x", i))
            printf "%s%s", (NR > 1 ? "\\n" : ""), $0
        }')
    w_escaped="\"${w_escaped%.}\""
}

# glob KEY PATTERN...: an unquoted variable undergoes pathname expansion and nothing else.
w_glob() {
    printf 'G%s\n' "$1" >&3
    w_noted=1
    shift
    cd "$w_work" || return 0
    # shellcheck disable=SC2031
    w_lc=${LC_ALL-none} w_ifs=$IFS
    LC_ALL=C # the order of bytes, whatever the image's locale
    for w_pattern in "$@"; do
        IFS=''
        # shellcheck disable=SC2086
        w_matches $w_pattern
        IFS=$w_ifs
    done
    if [ "$w_lc" = none ]; then unset LC_ALL; else LC_ALL=$w_lc; fi
    cd /
}

w_matches() {
    for w_match in "$@"; do
        case /$w_match/ in
            */../*) w_match=$(cd "$(dirname "$w_match")" && pwd)/${w_match##*/} ;;
        esac
        w_match=${w_match#"$w_work"/}
        w_file "$w_match" || continue
        case $w_match in
            *"$w_nl"*) printf 'j%s\n' "$w_escaped" >&3 ;;
            *) printf 'g%s\n' "$w_match" >&3 ;;
        esac
    done
}

w_directory() {
    case $1 in /*) w_abs=$1 ;; *) w_abs=$w_work/$1 ;; esac
    [ -d "$w_abs" ] || return 0
    printf 'D%s\n' "$1" >&3
    w_noted=1
    w_strict=1
    w_walk "$1" 0
}

w_everything() {
    w_strict=''
    w_walk . 0
}

# walk PATH DEPTH: every file below a directory, through links to directories, too.
w_walk() {
    case $1 in
        .) w_top=$w_work/ ;;
        /*) w_top=$1/ ;;
        *) w_top=$w_work/$1/ ;;
    esac
    # Line breaks travel as a character that hardly any name has.
    find "$w_top" ! -type d -path "*$w_nl*" -print0 2>/dev/null | tr '\0\n' '\n\001' \
        >"$w_private/odd.$2"
    while IFS= read -r w_entry; do
        w_entry=$(printf '%s.' "$w_entry" | tr '\001' '\n')
        w_entry=${w_entry%.}
        w_file "${w_entry#"$w_work"/}"
    done <"$w_private/odd.$2"
    find "$w_top" ! -type d ! -path "*$w_nl*" >"$w_private/walk.$2" 2>/dev/null
    while IFS= read -r w_entry; do
        w_relative=${w_entry#"$w_work"/}
        if [ -d "$w_entry" ]; then
            w_enter "$w_relative" "$2"
        else
            w_file "$w_relative"
        fi
    done <"$w_private/walk.$2"
}

# A link to a directory is followed where it stays inside the attempt and makes no circle.
w_enter() {
    case $1 in /*) w_abs=$1 ;; *) w_abs=$w_work/$1 ;; esac
    w_target=$(realpath "$w_abs") || return 0
    w_roof=$(realpath "$w_attempt_dir") || return 0
    case $w_abs/ in "$w_target"/*) return 0 ;; esac
    case $w_target in
        "$w_roof"/*) [ "$2" -ge 16 ] || w_walk "$1" $(($2 + 1)) ;;
        *)
            [ -z "$w_strict" ] ||
                w_fail 95 OUTPUT_REFUSED "the output $1 is a link to $w_target, outside the attempt's directory"
            ;;
    esac
}

# From what was found: uploads (appended to `upload`), and the manifest's first part.
w_describe_found() {
    if ! xargs -0 realpath <"$w_private/found0" >"$w_private/found.real" ||
        ! xargs -0 stat -L -c %s <"$w_private/found0" >"$w_private/found.sizes"; then
        w_fail 95 DELOCALIZATION_FAILED "outputs vanished while they were looked at"
        return
    fi
    W_WORK=$w_work W_URI=$w_uri W_KEEP=$w_keep W_PRIVATE=$w_private \
        W_UPLOAD_FLAGS=$w_upload_flags LC_ALL=C awk '
        function quoted(text, special, replacement,    out, i, c) {
            if (index(text, special) == 0) return text
            out = ""
            for (i = 1; i <= length(text); i++) {
                c = substr(text, i, 1)
                out = out (c == special ? replacement : c)
            }
            return out
        }
        function shell(text) { return "\047" quoted(text, "\047", "\047\134\047\047") "\047" }
        function json(text,    i) {
            if (text ~ /[\001-\037"\\]/) {
                text = quoted(text, "\134", "\134\134")
                text = quoted(text, "\"", "\134\"")
                for (i = 1; i < 32; i++)
                    text = quoted(text, sprintf("%c", i), sprintf("\134u%04x", i))
            }
            return "\"" text "\""
        }
        function line_of(file,    text) {
            if ((getline text < file) <= 0) { broken = 1; return "" }
            return text
        }
        # The URI of the input that this real path is, or "".
        function input_uri(real,    i) {
            if (real in input) return input[real]
            for (i = 1; i <= directories; i++)
                if (index(real, directory[i] "/") == 1)
                    return input[directory[i]] substr(real, length(directory[i]) + 1)
            return ""
        }
        function file(path,    abs, real, size, uri, kept) {
            abs = path ~ /^\// ? path : ENVIRON["W_WORK"] "/" path
            real = line_of(private "/found.real")
            size = line_of(private "/found.sizes")
            if (path in seen) return
            seen[path] = 1
            uri = input_uri(real)
            kept = uri != ""
            if (!kept && real != abs && index(real, roof "/") != 1) {
                print path " is a link to " real ", outside the directory of the attempt" > refused
                return
            }
            if (!kept) {
                uri = keep == "upload" ? ENVIRON["W_URI"] (path ~ /^\// ? path : "/" path) : abs
                if (keep == "upload") {
                    print "cp --raw" ENVIRON["W_UPLOAD_FLAGS"] " " shell(abs) " " shell(uri) >> upload
                    print "head --raw " shell(uri) > identify
                }
            }
            files = files (files == "" ? "" : ",\n") "{\"path\":" json(path) ",\"uri\":" json(uri) ",\"size\":" size "}"
        }
        BEGIN {
            private = ENVIRON["W_PRIVATE"]; keep = ENVIRON["W_KEEP"]
            upload = private "/upload"; identify = private "/identify"; refused = private "/refused"
            # `known`: first the attempt directory, then inputs, "<kind> <uri>" a line
            roof = line_of(private "/known.real")
            while ((getline known < (private "/known")) > 0) {
                real = line_of(private "/known.real")
                if (!(real in input)) input[real] = substr(known, 3)
                if (known ~ /^d/) directory[++directories] = real
            }
        }
        { path = substr($0, 2) }
        /^F/ { file(path) }
        /^J/ && !(path in seen) {
            seen[path] = 1
            files = files (files == "" ? "" : ",\n") path
        }
        /^D/ { dirs = dirs (dirs == "" ? "" : ",") json(path) }
        /^G/ { globs = globs (globs == "" ? "" : "]],\n") "[" json(path) ",["; first = 1 }
        /^[gj]/ { globs = globs (first ? "" : ",") (/^g/ ? json(path) : path); first = 0 }
        END {
            if (globs != "") globs = globs "]]"
            print "\"files\":[" files "],\n\"directories\":[" dirs "],\n\"globs\":[" globs "]"
            if (broken || (getline rest < (private "/found.real")) > 0) exit 1
        }' "$w_private/found" >"$w_private/described" ||
        w_fail 95 OUTPUT_REFUSED "the names of outputs or of their link targets hold line breaks"
    [ ! -s "$w_private/refused" ] || {
        read -r w_line <"$w_private/refused"
        w_fail 95 OUTPUT_REFUSED "the output $w_line"
    }
}

w_delocalize() {
    w_phase_begins
    exec 3>"$w_private/found" 4>"$w_private/found0"
    [ -n "$w_rc" ] && [ -z "$w_terminated" ] && w_outputs
    exec 3>&- 4>&-
    [ "$w_keep" != upload ] || w_upload_logs >"$w_private/upload"
    if [ "$w_found" -gt 0 ] || [ -n "$w_noted" ]; then
        w_describe_found
    fi
    [ "$w_keep" != upload ] || w_upload
    w_phase_ends delocalize
}

# First of all what tells what happened: a job that is told to stop may not have time for the rest.
w_upload_logs() {
    [ -z "$w_stdout_size" ] || printf '%s\n' "$w_upload_stdout"
    [ -z "$w_stderr_size" ] || printf '%s\n' "$w_upload_stderr"
    [ -z "$w_rc" ] || printf '%s\n' "$w_upload_rc"
    printf '%s\n' "$w_upload_script"
}

w_upload() {
    w_terminated='' # from here on everything is taken to its end
    # A shell reads a pipe byte by byte: many files are better told in a file.
    if [ "$w_found" -gt 50 ]; then w_conversation_ends; else w_conversation_begins; fi
    w_ask "$w_private/upload" /dev/null || w_transfer run "$w_private/upload" ||
        w_fail 95 DELOCALIZATION_FAILED "outputs cannot be uploaded: $w_error"
    # shellcheck source=/dev/null
    [ ! -s "$w_private/odd" ] || . "$w_private/odd"
    # Identities are a bonus: without them the objects are looked at when they are needed.
    if [ -z "$w_code" ] && [ -s "$w_private/identify" ] &&
        ! w_ask "$w_private/identify" "$w_private/listing"; then
        (w_s5cmd --json ls "$w_uri/*") </dev/null >"$w_private/listing" 2>/dev/null &
        w_await "$!" || : >"$w_private/listing"
    fi
}

w_upload_odd() {
    # shellcheck disable=SC2086,SC2154 # flags, apart
    [ -n "$w_code" ] || w_transfer cp --raw $w_upload_flags "$1" "$2" ||
        w_fail 95 DELOCALIZATION_FAILED "the output $1 cannot be uploaded: $w_error"
}

# Sizes of stdout and stderr; a command that could reach them may have put links there.
w_look_at_logs() {
    w_stdout_size='' w_stderr_size=''
    [ -n "$w_rc" ] || return 0
    if [ -L "$w_stdout" ] || [ -L "$w_stderr" ] || ! w_sizes=$(stat -c %s "$w_stdout" "$w_stderr"); then
        w_fail 95 DELOCALIZATION_FAILED "stdout or stderr is gone or was replaced by a link"
        return
    fi
    w_stdout_size=${w_sizes%%"$w_nl"*} w_stderr_size=${w_sizes##*"$w_nl"}
}

# --- The manifest -----------------------------------------------------------------------------------

# read PATH PATH_AS_JSON: at most one byte more than the limit, so that the reader sees the excess.
w_read() {
    case $1 in /*) w_abs=$1 ;; *) w_abs=$w_work/$1 ;; esac
    if [ ! -f "$w_abs" ] || [ ! -s "$w_abs" ]; then
        return 0 # nothing, or an empty file: its size tells
    fi
    printf '%s{"path":%s,"base64":"' "$w_comma" "$2"
    w_comma=",$w_nl"
    head -c 65537 "$w_abs" | base64 -w 0
    printf '"}'
}

# When the image was pulled, as the ECS agent tells: asked while other things are done. Without -T,
# which kills Debian's static wget.
w_ask_about_pull() {
    [ -n "${ECS_CONTAINER_METADATA_URI_V4-}" ] || return 0
    (exec wget -q -O "$w_private/task" "$ECS_CONTAINER_METADATA_URI_V4/task") \
        </dev/null >/dev/null 2>&1 &
    w_asker=$!
}

w_pull() {
    [ -n "$w_asker" ] || return 0
    for w_pause in 0.05 0.5 2 end; do
        w_ended "$w_asker" && break
        if [ "$w_pause" = end ]; then kill "$w_asker" && return 0; else sleep "$w_pause"; fi
    done 2>/dev/null
    [ -s "$w_private/task" ] || return 0
    w_task=$(tr -d '\n' <"$w_private/task")
    case $w_task in *'"PullStartedAt":"'*'"PullStoppedAt":"'*) ;; *) return 0 ;; esac
    w_from=${w_task#*'"PullStartedAt":"'} w_to=${w_task#*'"PullStoppedAt":"'}
    w_from=${w_from%%'"'*} w_to=${w_to%%'"'*}
    case $w_from$w_to in *[!0-9TZ:.+-]*) return 0 ;; esac
    printf '"pull":["%s","%s"],\n' "$w_from" "$w_to"
}

w_write_manifest() {
    {
        printf '{"version":1,"submission_id":"%s","attempt":"%s","job_id":"%s",\n' \
            "$w_submission" "$w_attempt" "$w_job"
        printf '"return_code":%s,"peak_memory_bytes":%s,"peak_disk_bytes":%s,\n' \
            "${w_rc:-null}" "${w_peak:-null}" "${w_peak_disk:-null}"
        printf '"stdout":{"path":%s,"uri":%s,"size":%s},\n' \
            "$w_stdout_json" "$w_stdout_uri_json" "${w_stdout_size:-0}"
        printf '"stderr":{"path":%s,"uri":%s,"size":%s},\n' \
            "$w_stderr_json" "$w_stderr_uri_json" "${w_stderr_size:-0}"
        printf '"phases":[%s],\n' "$w_phases"
        w_pull
        if [ -n "$w_code" ]; then
            printf '"failure":{"code":"%s","base64":"' "$w_code"
            printf '%s' "$w_message" | base64 -w 0
            printf '"},\n'
        fi
        if [ "${w_stderr_size:-0}" -gt 0 ]; then
            printf '"stderr_tail":"'
            tail -c 4096 "$w_stderr" | base64 -w 0
            printf '",\n'
        fi
        if [ -s "$w_private/listing" ]; then
            w_comma=''
            printf '"listing":['
            while IFS= read -r w_line; do
                printf '%s%s' "$w_comma" "$w_line"
                w_comma=",$w_nl"
            done <"$w_private/listing"
            printf '],\n'
        fi
        if [ -n "$w_rc" ] && [ -z "$w_code" ]; then
            w_comma=''
            printf '"contents":['
            w_reads
            printf '],\n'
        fi
        if [ -z "$w_code" ] && [ -s "$w_private/described" ]; then
            cat "$w_private/described"
        else
            printf '"files":[]'
        fi
        printf '}\n'
    } >"$w_manifest.new" || return 1
    if [ "$w_keep" = upload ]; then
        printf '%s\n' "$w_upload_manifest" >"$w_private/last"
        w_ask "$w_private/last" /dev/null || w_transfer run "$w_private/last" || return 1
        w_conversation_ends
    else
        mv -f "$w_manifest.new" "$w_manifest"
    fi
}

# --- In order ------------------------------------------------------------------------------------------

w_main() {
    if [ ! -r "$w_private/plan" ]; then
        w_say "there is no plan in $w_private"
        exit 97
    fi
    # shellcheck source=/dev/null
    . "$w_private/plan" || exit 97
    w_revoked=''
    # One attempt runs once: mkdir succeeds for one wrapper only.
    if ! (umask 077 && mkdir "$w_claim"); then
        w_say "this attempt has been begun before, or $w_claim cannot be made; not running it"
        exit 92
    fi
    trap w_on_signal TERM INT HUP
    w_ask_about_pull
    [ "$w_script" = "$w_private/script" ] || cp "$w_private/script" "$w_script" ||
        w_fail 97 CONTAINER_START_FAILED "cannot write $w_script"

    w_localize
    if [ -n "$w_revoked" ]; then
        w_say "the submission was revoked while the inputs came in; not running it"
        w_clean_up
        exit 90
    fi
    if [ -n "$w_terminated" ]; then
        w_fail 143 ABORTED "the job was told to stop (SIGTERM) before its command began"
    fi
    [ -n "$w_code" ] || w_run
    trap '' TERM INT HUP
    w_look_at_logs
    w_delocalize
    if ! w_write_manifest; then
        w_say "the manifest cannot be written: ${w_error-}"
        w_clean_up
        exit 96
    fi
    w_clean_up
    [ -z "$w_code" ] || exit "$w_exit"
    exit "$w_rc"
}

w_clean_up() {
    [ "$w_keep" = upload ] || return 0
    cd /
    rm -rf "$w_attempt_dir" "$w_private" "$w_remove" 2>/dev/null || {
        chmod -R u+rwX "$w_attempt_dir" # what the command locked against its own user
        rm -rf "$w_attempt_dir" "$w_private" "$w_remove"
    } 2>/dev/null
}

w_main
