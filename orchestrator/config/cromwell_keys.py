"""Keys that Cromwell knows and this orchestrator does not use, and why it can do without.

Patterns of dotted paths: `*` stands for one part, `**` at the end for anything below. From
Cromwell 92's reference.conf, its AWS Batch backend (AwsBatchAttributes, AwsBatchConfiguration) and
its standard asynchronous backend.
"""

from __future__ import annotations

_PROVIDER = "backend.providers.*.config"

UNUSED: dict[str, str] = {
    "akka.**": "there is no actor system here",
    "call-caching.blacklist-cache.**": "call caching is not there yet",
    "call-caching.invalidate-bad-cache-results": "call caching is not there yet",
    "call-caching.max-failed-copy-attempts": "call caching is not there yet",
    "call-caching.max-result-age-days": "call caching is not there yet",
    "csi.**": "there is no such service here",
    "database.actionThreadPoolSize": "the engine writes from one thread",
    "database.insert-batch-size": "writes are grouped by the engine",
    "database.metadata.**": "metadata lies in the same database",
    "database.migration.**": "migrations are the orchestrator's own",
    "database.db.connectionTimeout": "connect_timeout in the URL does it",
    "database.db.dataSourceClass": "the URL says it",
    "database.db.maxConnections": "the engine needs few connections",
    "database.db.minConnections": "the engine needs few connections",
    "database.db.numThreads": "the engine writes from one thread",
    "database.db.queueSize": "the engine writes from one thread",
    "database.liquibase.**": "migrations are the orchestrator's own",
    "docker.**": "image digests are not looked up yet",
    "engine.filesystems.drs.**": "DRS is not read here",
    "engine.filesystems.gcs.**": "Google Cloud is not read here",
    "engine.filesystems.http.**": "HTTP is always read",
    "engine.filesystems.local.**": "local files are always read",
    "engine.filesystems.s3.MultipartThreshold": "transfers choose their parts themselves",
    "engine.filesystems.s3.enabled": "S3 is used where a URI asks for it",
    "engine.filesystems.s3.threads": "transfers choose their threads themselves",
    "filesystems.**": "file systems are built in",
    "ga4gh.**": "there is no WES here",
    "google.**": "Google Cloud is not used here",
    "languages.**": "WDL is the one language; its version is read from the document",
    "liquibase.**": "migrations are the orchestrator's own",
    "load-control.**": "the engine takes no more work than it can do",
    "services.**": "metadata and health are built in",
    "slick.**": "the schema is the orchestrator's own",
    "spray.**": "the server is not spray",
    "system.abbreviate-command-length": "commands are kept whole",
    "system.abort.**": "aborts are seen at once",
    "system.coordinated-workflow-store-access": "leases do this",
    "system.cromwell_id": "leases do this",
    "system.cromwell_id_random_suffix": "leases do this",
    "system.dns-cache-ttl": "names are looked up for each connection",
    "system.file-hash-batch-size": "call caching is not there yet",
    "system.file-hash-cache": "call caching is not there yet",
    "system.graceful-server-shutdown": "a killed server loses nothing",
    "system.hog-safety.token-log-interval-seconds": "there are no tokens to log",
    "system.instrumentation-rate": "there is no StatsD here",
    "system.io.**": "transfers are bounded by the engine",
    "system.job-rate-control.**": "submissions are arrays; AWS Batch's own limits are kept to",
    "system.job-restart-check-rate-control.**": "jobs are looked up together",
    "system.max-workflow-launch-count": "workflows start at once",
    "system.new-workflow-poll-rate": "workflows start at once",
    "system.number-of-cache-read-workers": "call caching is not there yet",
    "system.number-of-workflow-log-copy-workers": "copies are bounded by the engine",
    "system.quota-exhaustion-job-start-control.**": "AWS Batch queues what does not fit",
    "system.workflow-heartbeats.**": "leases do this",
    "system.workflow-restart": "workflows are always resumed",
    "webservice.binding-timeout": "a port that is taken is said at once",
    "webservice.instance.name": "leases name their holders",
    "wom-parse.**": "there is no WOM here",
    "womtool.**": "there is no womtool here",
    "workflow-options.base64-encryption-key": "no option is encrypted",
    "workflow-options.encrypted-fields": "no option is encrypted",
    "workflow-options.workflow-log-dir": "the option final_workflow_log_dir copies them",
    "workflow-options.workflow-log-temporary": "there are no log files of workflows",
    "workflow-state-callback.**": "nobody is called back yet",
    "yaml.**": "limits of inputs are built in",
    f"{_PROVIDER}.abbreviate-command-length": "commands are kept whole",
    f"{_PROVIDER}.check-alive": "processes are watched by the kernel's own means",
    f"{_PROVIDER}.docker-mirror.**": "this machine's docker or podman has mirrors of its own",
    f"{_PROVIDER}.dockerRoot": "directories are mounted at their own paths",
    f"{_PROVIDER}.dockerhub.**": "`docker login` on this machine does it",
    f"{_PROVIDER}.empty-dir-fill-command": "empty directories are kept as they are",
    f"{_PROVIDER}.exit-code-timeout-seconds": "a job that vanished is noticed by itself",
    f"{_PROVIDER}.glob-link-command": "globs are not linked",
    f"{_PROVIDER}.job-id-regex": "grid engines are not supported",
    f"{_PROVIDER}.kill": "processes are ended by signals",
    f"{_PROVIDER}.kill-docker": "containers are ended by docker or podman",
    f"{_PROVIDER}.name-for-call-caching-purposes": "call caching is not there yet",
    f"{_PROVIDER}.poll-interval": "processes are watched by the kernel's own means",
    f"{_PROVIDER}.run-in-background": "jobs always run beside the orchestrator",
    f"{_PROVIDER}.runtime-attributes": "the usual attributes are known",
    f"{_PROVIDER}.script-epilogue": "what a command wrote is safe when it has ended",
    f"{_PROVIDER}.submit": "commands run directly, or in a container where the task names an image",
    f"{_PROVIDER}.submit-docker": "containers are run with docker or podman",
    f"{_PROVIDER}.tagHardware": "instances are tagged by their compute environment",
    f"{_PROVIDER}.tagResources": "jobs are always tagged",
    f"{_PROVIDER}.temporary-directory": "TMPDIR is a directory of the attempt's own",
    f"{_PROVIDER}.filesystems.gcs.**": "Google Cloud is not read here",
    f"{_PROVIDER}.filesystems.http.**": "HTTP is always read",
    f"{_PROVIDER}.filesystems.local.caching.**": "call caching is not there yet",
    f"{_PROVIDER}.filesystems.local.efs": "there is no shared disk",
    f"{_PROVIDER}.filesystems.local.fsx": "there is no shared disk",
    f"{_PROVIDER}.filesystems.s3.caching.**": "call caching is not there yet",
}

# What every file for Cromwell holds, because Cromwell demands it: no warning is due.
EXPECTED: dict[str, str] = {
    "aws.application-name": "requests name this software",
    "database.db.driver": "the URL says it",
    f"{_PROVIDER}.auth": "filesystems.s3.auth is the one that counts, in Cromwell too",
    f"{_PROVIDER}.numSubmitAttempts": "the engine makes every retry itself",
    f"{_PROVIDER}.numCreateDefinitionAttempts": "the engine makes every retry itself",
    f"{_PROVIDER}.default-runtime-attributes.scriptBucketName": "scripts lie below the root",
}


def why_expected(path: tuple[str, ...]) -> str | None:
    """Why a key that Cromwell demands is not used; None for every other."""
    return _why(EXPECTED, path)


def why_unused(path: tuple[str, ...]) -> str | None:
    """Why this key is not used; None where Cromwell does not know it either."""
    return _why(UNUSED, path)


def _why(table: dict[str, str], path: tuple[str, ...]) -> str | None:
    for pattern, why in table.items():
        parts = pattern.split(".")
        if parts[-1] == "**":
            parts = parts[:-1]
            found = len(path) >= len(parts)
        else:
            found = len(path) == len(parts)
        if found and all(a in ("*", b) for a, b in zip(parts, path, strict=False)):
            return why
    return None


def is_above_unused(path: tuple[str, ...]) -> bool:
    """Whether this is a block of Cromwell's of which only keys further down are known."""
    return any(
        len(parts) > len(path) and all(a in ("*", b) for a, b in zip(parts, path, strict=False))
        for parts in (pattern.split(".") for pattern in UNUSED)
    )
