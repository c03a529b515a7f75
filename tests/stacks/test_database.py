from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from aws_cdk.assertions import Template

from tests.stacks.text import render


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


def _statements(template: Template) -> list[dict[str, Any]]:
    return [
        statement
        for policy in template.find_resources("AWS::IAM::Policy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]


def test_the_orchestrator_logs_in_by_iam(templates: Mapping[str, Template]) -> None:
    statements = [one for template in templates.values() for one in _statements(template)]
    (login,) = [s for s in statements if s["Action"] == "rds-db:connect"]
    assert login["Effect"] == "Allow"
    resource = render(login["Resource"])
    assert resource.startswith("arn:aws:rds-db:us-east-1:111122223333:dbuser:<")
    assert resource.endswith("/orchestrator")
    assert "DBClusterResourceId" in resource


def test_its_login_is_made_by_the_one_function_that_acts_as_the_master(
    templates: Mapping[str, Template],
) -> None:
    database = templates["database"]
    assert _cluster(database)["EnableHttpEndpoint"] is True
    assert _cluster(database)["MasterUsername"] == "bootstrap"
    # Nobody else reads the master's secret or has the Data API.
    for part, template in templates.items():
        for statement in _statements(template):
            text = json.dumps(statement)
            if "MasterUserSecret" in text or "rds-data:" in text:
                assert part == "database", statement
                assert statement["Sid"] in ("ActAsMaster", "ReadMastersSecret")
                assert "*" not in text
    ((name, function),) = database.find_resources("AWS::Lambda::Function").items()
    assert not [t for p, t in templates.items() if p != "database" and _functions(t)]
    properties = function["Properties"]
    assert "VpcConfig" not in properties
    assert len(properties["Code"]["ZipFile"].encode()) <= 4096  # of CloudFormation, once
    compile(properties["Code"]["ZipFile"], "index.py", "exec")
    ((_, role),) = [
        (n, r)
        for n, r in database.find_resources("AWS::IAM::Role").items()
        if n == properties["Role"]["Fn::GetAtt"][0]
    ]
    assert "ManagedPolicyArns" not in role["Properties"]
    ((_, login),) = database.find_resources("Custom::DatabaseLogin").items()
    assert login["Properties"]["ServiceToken"] == {"Fn::GetAtt": [name, "Arn"]}
    assert login["Properties"]["User"] == "orchestrator"
    # Without an instance nobody answers.
    assert set(database.find_resources("AWS::RDS::DBInstance")) <= set(login["DependsOn"])
    # The policy is there before the function is called.
    assert set(database.find_resources("AWS::IAM::Policy")) & set(function["DependsOn"])


def _functions(template: Template) -> Mapping[str, Any]:
    return template.find_resources("AWS::Lambda::Function")


def test_where_the_master_is_used_no_login_is_made(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    database = synthesise(environment="local")["database"]
    assert not _functions(database)
    assert not database.find_resources("Custom::DatabaseLogin")


def test_hosts_need_no_endpoint_for_what_only_the_function_calls(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    network = synthesise(**{"set.network.egress": "endpoints", "set.registries.pull_through": []})[
        "network"
    ]
    assert "rds-data" not in json.dumps(network.find_resources("AWS::EC2::VPCEndpoint"))


def test_the_log_forgets_and_is_there_before_any_instance_writes_it(
    templates: Mapping[str, Template],
) -> None:
    database = templates["database"]
    assert _cluster(database)["EnableCloudwatchLogsExports"] == ["postgresql"]
    (name, group), _ = sorted(
        database.find_resources("AWS::Logs::LogGroup").items(),
        key=lambda item: "LogGroupName" not in item[1]["Properties"],  # that of the function
    )
    assert group["Properties"]["RetentionInDays"] == 30
    for instance in database.find_resources("AWS::RDS::DBInstance").values():
        assert name in instance["DependsOn"]


def test_readers_scale_with_the_writer_and_production_never_sleeps(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    database = synthesise(environment="prod")["database"]
    cluster = _cluster(database)
    assert cluster["ServerlessV2ScalingConfiguration"]["MinCapacity"] >= 0.5
    assert cluster["DeletionProtection"] is True
    assert cluster["BackupRetentionPeriod"] == 30
    tiers = {
        name: entry["Properties"]["PromotionTier"]
        for name, entry in database.find_resources("AWS::RDS::DBInstance").items()
    }
    assert len(tiers) == 2
    assert all(tier <= 1 for tier in tiers.values())
