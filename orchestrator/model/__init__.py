"""Values every room shares: states, failures, jobs, records. Pure: no time, I/O, WDL, AWS or SQL.

Words are Cromwell's and AWS's: *workflow* (a run), *call* (a node of its graph), *shard* (one
scatter index), *attempt* (one try of a shard), *submission* (one SubmitJob: one attempt, or an
array of them), *job* (what the backend runs).
"""
