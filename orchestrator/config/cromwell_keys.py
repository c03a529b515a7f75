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
    "csi.**": "",
    "database.actionThreadPoolSize": "the engine writes from one thread",
    "database.insert-batch-size": "writes are grouped by the engine",
    "database.metadata.**": "metadata lies in the same database",
    "database.migration.**": "migrations are the orchestrator's own",
    "database.db.connectionTimeout": "",
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
    "ga4gh.**": "",
    "google.**": "Google Cloud is not used here",
    "languages.**": "WDL is the one language; its version is read from the document",
    "liquibase.**": "migrations are the orchestrator's own",
    "load-control.**": "",
    "s3.**": "set aws.endpoint-url for an S3 elsewhere",
    "services.**": "",
    "slick.**": "",
    "spray.**": "",
    "system.abbreviate-command-length": "",
    "system.abort.**": "aborts are seen at once",
    "system.coordinated-workflow-store-access": "leases do this",
    "system.cromwell_id": "leases do this",
    "system.cromwell_id_random_suffix": "leases do this",
    "system.dns-cache-ttl": "",
    "system.file-hash-batch-size": "",
    "system.file-hash-cache": "",
    "system.graceful-server-shutdown": "a killed server loses nothing",
    "system.hog-safety.token-log-interval-seconds": "",
    "system.instrumentation-rate": "",
    "system.io.**": "transfers are bounded by the engine",
    "system.job-rate-control.**": "submissions are arrays; AWS Batch's own limits are kept to",
    "system.job-restart-check-rate-control.**": "jobs are looked up together",
    "system.max-workflow-launch-count": "workflows start at once",
    "system.new-workflow-poll-rate": "workflows start at once",
    "system.number-of-cache-read-workers": "",
    "system.number-of-workflow-log-copy-workers": "",
    "system.quota-exhaustion-job-start-control.**": "",
    "system.workflow-heartbeats.**": "leases do this",
    "system.workflow-restart": "workflows are always resumed",
    "webservice.binding-timeout": "a port that is taken is said at once",
    "webservice.instance.name": "",
    "wom-parse.**": "",
    "womtool.**": "",
    "workflow-options.base64-encryption-key": "",
    "workflow-options.encrypted-fields": "",
    "workflow-options.workflow-log-dir": "",
    "workflow-options.workflow-log-temporary": "",
    "workflow-state-callback.**": "",
    "yaml.**": "",
    f"{_PROVIDER}.abbreviate-command-length": "",
    f"{_PROVIDER}.check-alive": "processes are watched by the kernel's own means",
    f"{_PROVIDER}.docker-mirror.**": "",
    f"{_PROVIDER}.dockerRoot": "directories are mounted at their own paths",
    f"{_PROVIDER}.dockerhub.**": "",
    f"{_PROVIDER}.empty-dir-fill-command": "",
    f"{_PROVIDER}.exit-code-timeout-seconds": "",
    f"{_PROVIDER}.glob-link-command": "globs are not linked",
    f"{_PROVIDER}.hog-factor": "",
    f"{_PROVIDER}.job-id-regex": "",
    f"{_PROVIDER}.job-shell": "set system.job-shell",
    f"{_PROVIDER}.kill": "",
    f"{_PROVIDER}.kill-docker": "",
    f"{_PROVIDER}.name-for-call-caching-purposes": "call caching is not there yet",
    f"{_PROVIDER}.poll-interval": "",
    f"{_PROVIDER}.run-in-background": "jobs always run beside the orchestrator",
    f"{_PROVIDER}.runtime-attributes": "the usual attributes are known",
    f"{_PROVIDER}.script-epilogue": "",
    f"{_PROVIDER}.slow-job-warning-time": "",
    f"{_PROVIDER}.submit": "commands run directly, or in a container where the task names an image",
    f"{_PROVIDER}.submit-docker": "containers are run with docker or podman",
    f"{_PROVIDER}.tagHardware": "",
    f"{_PROVIDER}.tagResources": "jobs are always tagged",
    f"{_PROVIDER}.temporary-directory": "TMPDIR is a directory of the attempt's own",
    f"{_PROVIDER}.filesystems.gcs.**": "Google Cloud is not read here",
    f"{_PROVIDER}.filesystems.http.**": "HTTP is always read",
    f"{_PROVIDER}.filesystems.local.caching.**": "call caching is not there yet",
    f"{_PROVIDER}.filesystems.local.efs": "there is no shared disk",
    f"{_PROVIDER}.filesystems.local.fsx": "there is no shared disk",
    f"{_PROVIDER}.filesystems.s3.caching.**": "call caching is not there yet",
}


def why_unused(path: tuple[str, ...]) -> str | None:
    """Why this key is not used; None where Cromwell does not know it either."""
    for pattern, why in UNUSED.items():
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
