"""A thin orchestrator: runs WDL workflows on AWS Batch, or on this machine.

The rooms, from the ground up (imports only go down; `lint-imports` checks it):

    errors, deployment, model      values and sentences; no I/O
    config                         HOCON in, typed settings out
    wdl                            the only importer of miniwdl; evaluates from facts, does no I/O
    filesystems                    local, s3, http: stat, read, write, list, copy
    backends                       the port and its adapters: local, aws_batch
    store                          SQL: the journal, leases, submissions, facts
    engine                         the order of things; one thread
    assembly                       the only place that chooses store, backends, filesystems
    api                            HTTP: what a server answers
    cli                            one file a command

`local_aws` is AWS on this machine, a process of its own; nothing above imports it but the CLI.
"""

from __future__ import annotations
