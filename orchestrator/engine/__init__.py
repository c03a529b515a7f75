"""The order of things: ready -> group -> submit -> judge -> retry or finish; recovery.

    coordinator    the loop: one thread, fed by a queue; commits, then hands effects on
    active         a run that is under way here: its inbox, its turn, what is not committed
    evaluation     the threads in which runs are worked on
    opening        a claimed workflow -> a run, in the pool
    run            one root workflow in memory: events in, records and effects out. No I/O
    jobs           the attempts of its calls: prepared, judged, retried
    submissions    what of them is with the backend, or may be
    actions        what a run wants done once its records are committed
    recovery       the journal -> what may still be with the backend
    dispatcher     ready attempts -> submissions
    judgement      a finished job -> success, or a failure with its code
    retry          a failure -> another attempt, or the end of the call
    effects        what the pool does for the engine: fetch, submit, find, revoke, cancel
    tenure         the lease in time: heartbeat, who owns it, whether one may still act

Knows no boto3, SQL, HTTP, HOCON and no class of miniwdl. Doors (CLI, API) read the store and
write command rows.
"""
