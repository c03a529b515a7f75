"""AWS on this machine, in a process of its own: try things out, and test, with no AWS account.

    process.py         start, stop and status of that process, from any other process
    server.py          the process: an HTTP server on the loopback interface
    keep_alive.py      the HTTP handler: connections that stay
    gateway.py         what every request passes: door, control routes, counting, faults
    answers.py         errors in the form of each service's protocol
    cloudformation/    CloudFormation, whole: templates, order, updates, replacement, roll-back
    postgres.py        the real PostgreSQL that stands behind an Aurora cluster
    moto_patches/      where moto's own answers are not AWS's
    batch/             the engine that runs AWS Batch jobs

moto (5.2) answers every service except CloudFormation; it is patched nowhere but in this package.
Its state is in memory: when the process ends, that AWS is empty. What lies in the state directory
is a log, the data of running databases and the scratch of running jobs.
"""
