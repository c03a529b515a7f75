from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from aws_cdk.assertions import Template


def _cluster(template: Template) -> dict[str, Any]:
    (cluster,) = template.find_resources("AWS::RDS::DBCluster").values()
    return dict(cluster["Properties"])


def test_the_cluster_is_encrypted_and_takes_iam_and_only_tls(
    templates: Mapping[str, Template],
) -> None:
    cluster = _cluster(templates["database"])
    assert cluster["StorageEncrypted"] is True
    assert cluster["EnableIAMDatabaseAuthentication"] is True
    assert cluster["BackupRetentionPeriod"] == 7
    templates["database"].has_resource_properties(
        "AWS::RDS::DBClusterParameterGroup", {"Parameters": {"rds.force_ssl": "1"}}
    )
    assert "Ref" in cluster["DBClusterParameterGroupName"]


def test_rds_keeps_the_master_secret_and_no_template_holds_a_password(
    bodies: Mapping[str, dict[str, Any]], templates: Mapping[str, Template]
) -> None:
    cluster = _cluster(templates["database"])
    assert cluster["ManageMasterUserPassword"] is True
    assert "MasterUserPassword" not in cluster
    for body in bodies.values():
        assert "{{resolve:secretsmanager" not in json.dumps(body)
        assert not [r for r in body["Resources"].values() if "SecretsManager" in r["Type"]]


def test_an_idle_database_pauses_unless_it_has_a_floor(
    templates: Mapping[str, Template], synthesise: Callable[..., Mapping[str, Template]]
) -> None:
    assert _cluster(templates["database"])["ServerlessV2ScalingConfiguration"] == {
        "MinCapacity": 0,
        "MaxCapacity": 4,
        "SecondsUntilAutoPause": 900,
    }
    awake = _cluster(synthesise(**{"set.database.min_acu": "0.5"})["database"])
    assert awake["ServerlessV2ScalingConfiguration"] == {"MinCapacity": 0.5, "MaxCapacity": 4}


def test_the_instance_is_serverless_and_not_public(templates: Mapping[str, Template]) -> None:
    (instance,) = templates["database"].find_resources("AWS::RDS::DBInstance").values()
    assert instance["Properties"]["DBInstanceClass"] == "db.serverless"
    assert instance["Properties"]["PubliclyAccessible"] is False
