"""Configuration files, rendered from the deployment contract.

    aws-batch.conf.j2   an environment on AWS: Cromwell's shape and our block `orchestrator`
    from-cromwell.conf  what a file of Cromwell's says, and what becomes of it; to be copied
    local.conf          this machine, to be copied and changed
    render              the one function

Knows `orchestrator.deployment` and nothing else.
"""
