"""The roles, one a duty, each with the least it needs.

    worker          what the ECS agent and the host's own scripts may do
    jobs            what a job may do with data; what ECS does for it (the execution role)
    orchestrator    what the server may do: submit, watch, end; the bucket; roles it may hand on
    operator        what people may do who look after it
    statements      how statements are written

Every job must be taken to hold the worker's role too: jobs share their host's network and so reach
its metadata service, whatever the hop limit. So that role can do nothing to data, and neither it
nor a job's role can write what a host executes: the assets, and what lies below the scratch prefix.
"""
