"""What is put into an AWS account: one stack a file, split by life cycle; CDK.

    settings          one environment, typed; the only reader of CDK context and environment files
    network           VPC, subnets, the way out, the free S3 endpoint
    storage           the root bucket
    identity          the roles, each with the least it needs
    database          Aurora Serverless v2 PostgreSQL
    compute           Batch: queues, environments, worker hosts, the jobs' log group
    host              the deployment contract, and the machine the orchestrator runs on
    constructs/       their parts
    assets/           what hosts run at boot, pinned
    lifecycle/        deploying and the rest, as commands

References go one way, from later stacks to earlier ones. Queues and log groups have stable names,
so that policies can name them without a reference; what CloudFormation may have to replace
(compute environments, launch templates, roles) has none.
"""
