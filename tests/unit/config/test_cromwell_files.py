"""Files as teams have them for Cromwell, unchanged: each loads, or says what to do instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from config_templates.render import render
from orchestrator import errors
from orchestrator.config import auths, databases, providers, settings
from tests.unit.config.test_templates import ARN, contract

QUEUE = "arn:aws:batch:us-west-2:111122223333:job-queue/default-gwf-core"

# Cromwell's docs, "Getting started on AWS", and its cromwell.example.backends/AWS.conf.
DOCS = """
include required(classpath("application"))

aws {
  application-name = "cromwell"
  auths = [
    { name = "default"
      scheme = "default" }
    { name = "assume-role-based-on-another"
      scheme = "assume_role"
      base-auth = "default"
      role-arn = "arn:aws:iam::111122223333:role/my-role" }
  ]
  region = "us-west-2"
}
engine { filesystems { s3 { auth = "default" } } }
backend {
  default = "AWSBATCH"
  providers {
    AWSBATCH {
      actor-factory = "cromwell.backend.impl.aws.AwsBatchBackendLifecycleActorFactory"
      config {
        numSubmitAttempts = 3
        numCreateDefinitionAttempts = 3
        root = "s3://my-bucket/cromwell-execution"
        auth = "default"
        default-runtime-attributes { queueArn = "QUEUE" , scriptBucketName = "my-bucket" }
        filesystems { s3 { auth = "default" } }
      }
    }
  }
}
"""

# Genomics Workflows on AWS: MySQL, call caching, a server of its own.
GENOMICS_WORKFLOWS = (
    DOCS.replace("numSubmitAttempts = 3", "numSubmitAttempts = 10")
    + """
webservice { interface = localhost, port = 8000 }
system {
  job-rate-control { jobs = 1, per = 1 second }
  abort-jobs-on-terminate = true
}
call-caching { enabled = true, invalidate-bad-cache-results = true }
database {
  profile = "slick.jdbc.MySQLProfile$"
  db {
    driver = "com.mysql.cj.jdbc.Driver"
    url = "jdbc:mysql://core.cluster.us-west-2.rds.amazonaws.com/cromwell?rewriteBatchedStatements=true&useSSL=false"
    user = "cromwell"
    password = "sesame"
    connectionTimeout = 5000
  }
}
"""
)

# A file database as Cromwell's docs/Configuring.md has it; caching, hogs, a docker login.
HSQLDB = (
    DOCS.replace(
        'auth = "default" } }\n      }',
        """auth = "default", caching { duplication-strategy = "reference" } } }
        concurrent-job-limit = 500
        hog-factor = 2
        slow-job-warning-time = 3 hours
        glob-link-command = "( ln -sL GLOB_PATTERN GLOB_DIRECTORY )"
        dockerhub { token = "c2VzYW1l" }
      }""",
    )
    + '''
database {
  profile = "slick.jdbc.HsqldbProfile$"
  db {
    driver = "org.hsqldb.jdbcDriver"
    url = """
    jdbc:hsqldb:file:cromwell-executions/cromwell-db/cromwell-db;
    shutdown=false;
    hsqldb.tx=mvcc
    """
    connectionTimeout = 120000
    numThreads = 1
  }
}
docker.hash-lookup { ecr.num-threads = 10 }
'''
)

# Keys of a user and a role on them; values in the environment; an S3 of one's own.
KEYS_AND_ROLES = (
    'my { bucket = "lab", bucket = ${?LAB_BUCKET} }\n'
    + DOCS.replace(
        '{ name = "default"\n      scheme = "default" }',
        "{ name = user, scheme = custom_keys, access-key = AKIALAB, secret-key = sesame }\n"
        '{ name = lab, scheme = assume_role, base-auth = user, external-id = "7"\n'
        '  role-arn = "arn:aws:iam::111122223333:role/lab" }\n'
        '{ name = "default", scheme = "default" }',
    )
    .replace(
        'filesystems { s3 { auth = "default" } }\n      }', "filesystems.s3.auth = lab\n      }"
    )
    .replace('"s3://my-bucket/', '"s3://"${my.bucket}"/')
    + 'aws.endpoint-url = "http://minio.lab:9000"\ns3 { path-style-access = true }\n'
)

# Several providers, as viral-ngs and GATK users have them side by side.
SEVERAL = DOCS.replace(
    "  providers {",
    """  providers {
    PAPIv2 {
      actor-factory = "cromwell.backend.google.pipelines.v2beta.PipelinesApiLifecycleActorFactory"
      config { project = "p", root = "gs://b", filesystems { gcs { auth = "google" } } }
    }
    SGE {
      actor-factory = "cromwell.backend.impl.sfs.config.ConfigBackendLifecycleActorFactory"
      config { submit = "qsub ${script}", job-id-regex = "(\\\\d+)" }
    }
    Local {
      actor-factory = "cromwell.backend.impl.sfs.config.ConfigBackendLifecycleActorFactory"
      config {
        run-in-background = true
        submit-docker = "docker run ${docker} ${job_shell} ${docker_script}"
        root = "cromwell-executions"
      }
    }""",
).replace("${", "$")

# A PostgreSQL of the team's own.
POSTGRES = (
    DOCS
    + """
database {
  profile = "slick.jdbc.PostgresProfile$"
  db {
    driver = "org.postgresql.Driver"
    url = "jdbc:postgresql://pg.lab/cromwell?ssl=true&connectTimeout=5&reWriteBatchedInserts=true"
    user = "cromwell"
    password = "sesame"
    numThreads = 5
  }
}
workflow-options { workflow-failure-mode = "ContinueWhilePossible", default { hogGroup = lab } }
"""
)

# EFS instead of S3 (Cromwell's AWS backend README, "Using with EFS").
EFS = DOCS.replace('"s3://my-bucket/cromwell-execution"', '"/mnt/efs/cromwell"').replace(
    'filesystems { s3 { auth = "default" } }\n      }',
    'filesystems { local { auth = "default", efs = "/mnt/efs" } }\n      }',
)

SHAPES = {
    "docs": DOCS,
    "genomics-workflows": GENOMICS_WORKFLOWS,
    "hsqldb": HSQLDB,
    "keys-and-roles": KEYS_AND_ROLES,
    "several": SEVERAL,
    "postgres": POSTGRES,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that `./bootstrap` has made the environment dev of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAB_BUCKET", raising=False)
    there = tmp_path / ".orchestrator" / "environments" / "dev.conf"
    there.parent.mkdir(parents=True)
    there.write_text(render(contract()))
    return tmp_path


def written(folder: Path, text: str) -> Path:
    path = folder / "aws.conf"
    path.write_text(text.replace("QUEUE", QUEUE))
    return path


def on_dev(folder: Path, text: str) -> settings.Settings:
    return settings.load(written(folder, text), environment="dev")


def batch(loaded: settings.Settings) -> providers.AwsBatchConfig:
    assert isinstance(loaded.provider, providers.AwsBatchProvider)
    return loaded.provider.config


@pytest.mark.parametrize("shape", SHAPES)
def test_a_file_for_cromwell_is_used_on_an_environment(folder: Path, shape: str) -> None:
    loaded = on_dev(folder, SHAPES[shape])
    assert loaded.orchestrator.deployment == contract()
    assert batch(loaded).root.endswith("/cromwell-execution")
    # Its queue is not one of the environment's: that is said, and jobs go to the default.
    assert "queueArn" not in batch(loaded).default_runtime_attributes
    assert any(QUEUE in w.message and ARN in w.hint for w in loaded.warnings)
    assert "sesame" not in "".join(map(str, loaded.warnings))


@pytest.mark.parametrize("shape", [name for name in SHAPES if name != "genomics-workflows"])
def test_it_loads_by_itself_too(folder: Path, shape: str) -> None:
    loaded = settings.load(written(folder, SHAPES[shape]))
    assert batch(loaded).default_runtime_attributes["queueArn"] == QUEUE
    assert loaded.orchestrator.deployment is None


def test_mysql_gives_way_to_the_environments_database_or_is_refused(folder: Path) -> None:
    loaded = on_dev(folder, GENOMICS_WORKFLOWS)
    assert isinstance(loaded.database, databases.Postgres)
    assert loaded.database.host == "db.example"
    assert any("MySQL" in warning.message for warning in loaded.warnings)
    with pytest.raises(errors.InvalidConfig) as caught:
        settings.load(written(folder, GENOMICS_WORKFLOWS))
    (finding,) = caught.value.findings
    assert "MySQL" in finding.message
    assert "jdbc:postgresql" in finding.hint
    assert finding.place is not None
    assert finding.place.line is not None


def test_hsqldb_in_a_file_becomes_sqlite(folder: Path) -> None:
    loaded = settings.load(written(folder, HSQLDB))
    assert isinstance(loaded.database, databases.Sqlite)
    assert any("HSQLDB" in warning.message for warning in loaded.warnings)
    assert batch(loaded).concurrent_job_limit == 500
    assert batch(loaded).hog_factor == 2


def test_a_postgresql_of_ones_own_is_kept_on_an_environment(folder: Path) -> None:
    database = on_dev(folder, POSTGRES).database
    assert isinstance(database, databases.Postgres)
    assert (database.host, database.secret_arn) == ("pg.lab", None)
    assert database.parameters == {"sslmode": "require", "connect_timeout": "5"}


def test_each_filesystem_and_backend_has_the_auth_that_it_names(folder: Path) -> None:
    loaded = settings.load(written(folder, KEYS_AND_ROLES))
    assert batch(loaded).filesystems.s3.auth == "lab"
    assert batch(loaded).root == "s3://lab/cromwell-execution"
    assert loaded.engine.filesystems.s3.auth == "default"
    role = loaded.aws.auth("lab")
    assert isinstance(role, auths.AssumeRole)
    assert (role.base_auth, role.external_id) == ("user", "7")
    assert loaded.aws.endpoint_url == "http://minio.lab:9000"


def test_backends_that_nothing_uses_are_left_out(folder: Path) -> None:
    assert set(on_dev(folder, SEVERAL).backend.providers) == {"AWSBATCH", "Local"}


def test_efs_mode_is_refused_with_the_way_out(folder: Path) -> None:
    with pytest.raises(errors.InvalidConfig) as caught:
        on_dev(folder, EFS)
    said = {finding.message.partition(": ")[0]: finding for finding in caught.value.findings}
    config = "backend.providers.AWSBATCH.config"
    assert set(said) == {f"{config}.filesystems.local", f"{config}.root"}
    assert "shared-mounts" in said[f"{config}.filesystems.local"].hint


def test_mounts_of_hosts_are_named_by_the_provider(folder: Path) -> None:
    given = DOCS.replace("numSubmitAttempts = 3", 'shared-mounts = ["/mnt/efs/", "/fsx"]')
    assert batch(on_dev(folder, given)).shared_mounts == ("/mnt/efs", "/fsx")
    for wrong in ("/", "mnt/efs", "/mnt/../etc", "/a:b"):
        with pytest.raises(errors.InvalidConfig, match="shared-mounts"):
            on_dev(folder, given.replace("/fsx", wrong))


def test_an_aws_on_this_machine_has_credentials_of_its_own(folder: Path) -> None:
    there = folder / ".orchestrator" / "environments" / "dev.conf"
    endpoint = "http://127.0.0.1:5000"
    there.write_text(render(contract(), endpoint_url=endpoint, static_credentials=True))
    loaded = on_dev(folder, DOCS)
    assert loaded.aws.endpoint_url == endpoint
    assert isinstance(loaded.aws.auth("default"), auths.CustomKeys)
    assert any("aws.auths" in warning.message for warning in loaded.warnings)
    # Its S3 is not that of the file.
    loaded = on_dev(folder, DOCS + 's3.endpoint-url = "https://minio.lab:9000"')
    assert loaded.s3.endpoint_url is None
    assert any("s3.endpoint-url" in warning.message for warning in loaded.warnings)


def test_a_file_of_another_environment_and_one_that_is_ours_are_not_moved(folder: Path) -> None:
    with pytest.raises(errors.InvalidConfig, match="prod"):
        on_dev(folder, DOCS + "orchestrator.environment = prod")
    with pytest.raises(errors.InvalidConfig, match="no queue of environment"):
        on_dev(folder, DOCS + "orchestrator.environment = dev")


def test_an_environment_of_elsewhere_is_looked_up_later(folder: Path) -> None:
    loaded = settings.load(written(folder, DOCS), environment="far")
    assert (loaded.orchestrator.environment, loaded.orchestrator.deployment) == ("far", None)
