"""Stacks: order, updates, replacement, roll-back, deletion, exports, change sets."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from botocore.exceptions import ClientError

from orchestrator.local_aws.cloudformation import resources
from tests.unit.local_aws.conftest import Cloud

BROKEN = {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "Wrong", "Value": "x"}}


def parameter(value: Any = "v", **more: Any) -> dict[str, Any]:
    properties = {"Type": "String", "Value": value} | more.pop("Properties", {})
    return {"Type": "AWS::SSM::Parameter", "Properties": properties, **more}


def value_of(cloud: Cloud, name: str) -> str:
    answer = cloud.client("ssm").get_parameter(Name=name)
    value: str = answer["Parameter"]["Value"]
    return value


def gone(cloud: Cloud, name: str) -> bool:
    ssm = cloud.client("ssm")
    try:
        ssm.get_parameter(Name=name)
    except ssm.exceptions.ParameterNotFound:
        return True
    return False


def refused(cloud: Cloud, message: str) -> Any:
    return pytest.raises(ClientError, match=message)


# Creation


def test_references_attributes_and_outputs(cloud: Cloud) -> None:
    name = cloud.create(
        {
            "Log": {"Type": "AWS::Logs::LogGroup"},
            "P": parameter({"Fn::Sub": "${Log}|${Log.Arn}|${AWS::StackName}|${AWS::AccountId}"}),
        },
        Outputs={"P": {"Value": {"Ref": "P"}}, "Value": {"Value": {"Fn::GetAtt": ["P", "Value"]}}},
    )
    assert cloud.status(name) == "CREATE_COMPLETE"
    log, arn, stack, account = cloud.outputs(name)["Value"].split("|")
    assert log == cloud.physical(name, "Log")
    assert arn.endswith(f":log-group:{log}:*")
    assert (stack, account) == (name, "123456789012")
    assert value_of(cloud, cloud.outputs(name)["P"]) == cloud.outputs(name)["Value"]


def test_generated_names_are_unique_and_keep_to_the_limit(cloud: Cloud) -> None:
    name = cloud.create(
        {f"{'Long' * 20}{i}": {"Type": "AWS::S3::Bucket"} for i in range(2)},
        name=cloud.name("A" * 60),
    )
    names = {cloud.physical(name, f"{'Long' * 20}{i}") for i in range(2)}
    assert len(names) == 2
    assert all(len(n) <= 63 and n == n.lower() for n in names)


def test_a_failing_resource_rolls_the_stack_back_and_says_why(cloud: Cloud) -> None:
    first = cloud.name("/first")
    name = cloud.create(
        {"A": parameter(Properties={"Name": first}), "B": {**BROKEN, "DependsOn": "A"}}
    )
    assert cloud.status(name) == "ROLLBACK_COMPLETE"
    assert "failed to create: [B]" in cloud.reasons(name)
    assert gone(cloud, first)


def test_without_roll_back_what_was_made_stays(cloud: Cloud) -> None:
    first = cloud.name("/first")
    name = cloud.create(
        {"A": parameter(Properties={"Name": first}), "B": {**BROKEN, "DependsOn": "A"}},
        OnFailure="DO_NOTHING",
    )
    assert cloud.status(name) == "CREATE_FAILED"
    assert value_of(cloud, first) == "v"
    cloud.delete(name)
    assert gone(cloud, first)


def test_an_unsupported_type_is_named(cloud: Cloud) -> None:
    name = cloud.create({"Q": {"Type": "AWS::Kinesis::Stream"}})
    assert cloud.status(name) == "ROLLBACK_COMPLETE"
    assert "does not support the resource type AWS::Kinesis::Stream" in cloud.reasons(name)


def test_an_unsupported_property_is_named_and_nothing_is_made(cloud: Cloud) -> None:
    bucket = cloud.name("bucket")
    name = cloud.create(
        {
            "B": {
                "Type": "AWS::S3::Bucket",
                "Properties": {"BucketName": bucket, "WebsiteConfiguration": {}},
            }
        }
    )
    assert "property WebsiteConfiguration of AWS::S3::Bucket" in cloud.reasons(name)
    assert bucket not in [b["Name"] for b in cloud.client("s3").list_buckets()["Buckets"]]


def test_an_unknown_nested_key_is_an_error(cloud: Cloud) -> None:
    name = cloud.create(
        {
            "T": {
                "Type": "AWS::EC2::LaunchTemplate",
                "Properties": {"LaunchTemplateData": {"MetadataOptions": {"HttpToken": "x"}}},
            }
        }
    )
    assert "HttpToken" in cloud.reasons(name)
    assert cloud.status(name) == "ROLLBACK_COMPLETE"


def test_a_resource_that_fails_half_way_leaves_nothing(cloud: Cloud) -> None:
    bucket = cloud.name("bucket")
    rules = [{"Status": "Enabled", "Unknown": 1}]
    name = cloud.create(
        {
            "B": {
                "Type": "AWS::S3::Bucket",
                "Properties": {
                    "BucketName": bucket,
                    "LifecycleConfiguration": {"Rules": rules},
                },
            }
        }
    )
    assert "Unknown" in cloud.reasons(name)
    assert bucket not in [b["Name"] for b in cloud.client("s3").list_buckets()["Buckets"]]


def test_conditions_leave_resources_and_outputs_out(cloud: Cloud) -> None:
    body: dict[str, Any] = {
        "Parameters": {"On": {"Type": "String"}},
        "Conditions": {"IsOn": {"Fn::Equals": [{"Ref": "On"}, "yes"]}},
        "Outputs": {"B": {"Condition": "IsOn", "Value": {"Ref": "B"}}},
    }
    declared = {"A": parameter(), "B": parameter(Condition="IsOn")}
    name = cloud.create(declared, **body, Values=[{"ParameterKey": "On", "ParameterValue": "no"}])
    assert cloud.outputs(name) == {}
    cloud.update(name, declared, **body, Values=[{"ParameterKey": "On", "ParameterValue": "yes"}])
    made = cloud.outputs(name)["B"]
    assert value_of(cloud, made) == "v"
    cloud.update(name, declared, **body, Values=[{"ParameterKey": "On", "ParameterValue": "no"}])
    assert gone(cloud, made)


def test_dynamic_references_are_resolved_and_secrets_are_not_kept(cloud: Cloud) -> None:
    source = cloud.name("/source")
    cloud.client("ssm").put_parameter(Name=source, Type="String", Value="from ssm")
    secret = cloud.client("secretsmanager").create_secret(
        Name=cloud.name("secret"), SecretString=json.dumps({"password": "s3cret"})
    )["ARN"]
    name = cloud.create(
        {
            "A": parameter(f"{{{{resolve:ssm:{source}}}}}"),
            "B": parameter(f"{{{{resolve:secretsmanager:{secret}:SecretString:password}}}}"),
        }
    )
    assert value_of(cloud, cloud.physical(name, "A")) == "from ssm"
    assert value_of(cloud, cloud.physical(name, "B")) == "s3cret"
    kept = cloud.gateway._cloudformation.stacks("us-east-1").find(name)
    assert "s3cret" not in json.dumps([dict(r.properties) for r in kept.resources.values()])


def test_rules_are_asserted(cloud: Cloud) -> None:
    rule = {"Assertions": [{"Assert": {"Fn::Contains": [["a"], "b"]}, "AssertDescription": "no b"}]}
    with refused(cloud, "no b"):
        cloud.create({"A": parameter()}, Rules={"R": rule})


def test_iam_needs_an_acknowledgement(cloud: Cloud) -> None:
    role = {
        "Type": "AWS::IAM::Role",
        "Properties": {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": []}},
    }
    with refused(cloud, "CAPABILITY_IAM"):
        cloud.create({"R": role}, Capabilities=[])
    named = {**role, "Properties": {**role["Properties"], "RoleName": cloud.name("role")}}  # type: ignore[dict-item]
    with refused(cloud, "CAPABILITY_NAMED_IAM"):
        cloud.create({"R": named}, Capabilities=["CAPABILITY_IAM"])


def test_a_name_is_taken_while_its_stack_is_there(cloud: Cloud) -> None:
    name = cloud.create({"A": parameter()})
    with refused(cloud, "AlreadyExists"):
        cloud.create({"A": parameter()}, name=name)
    cloud.delete(name)
    cloud.create({"A": parameter()}, name=name)
    assert cloud.status(name) == "CREATE_COMPLETE"


# Updates


def test_a_changed_property_changes_the_resource_and_its_dependants(cloud: Cloud) -> None:
    def declared(value: str) -> dict[str, Any]:
        return {"A": parameter(value), "B": parameter({"Fn::GetAtt": ["A", "Value"]})}

    name = cloud.create(declared("one"))
    before = cloud.physical(name, "B")
    cloud.update(name, declared("two"))
    assert cloud.status(name) == "UPDATE_COMPLETE"
    assert cloud.physical(name, "B") == before
    assert value_of(cloud, before) == "two"


def test_an_update_without_changes_is_refused(cloud: Cloud) -> None:
    name = cloud.create({"A": parameter()})
    with refused(cloud, "No updates are to be performed"):
        cloud.update(name, {"A": parameter()})
    assert cloud.status(name) == "CREATE_COMPLETE"


def test_a_removed_resource_is_deleted_unless_it_is_retained(cloud: Cloud) -> None:
    name = cloud.create(
        {"A": parameter(), "B": parameter(), "C": parameter(DeletionPolicy="Retain")}
    )
    b, c = cloud.physical(name, "B"), cloud.physical(name, "C")
    cloud.update(name, {"A": parameter()})
    assert gone(cloud, b)
    assert value_of(cloud, c) == "v"
    listed = cloud.client("cloudformation").list_stack_resources(StackName=name)
    assert {r["LogicalResourceId"] for r in listed["StackResourceSummaries"]} == {"A"}


def test_a_replacement_is_made_before_the_old_one_goes(cloud: Cloud) -> None:
    def declared(group: str) -> dict[str, Any]:
        return {
            "L": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": group}},
            "P": parameter({"Ref": "L"}),
        }

    old, new = cloud.name("/old"), cloud.name("/new")
    name = cloud.create(declared(old))
    cloud.update(name, declared(new))
    assert cloud.physical(name, "L") == new
    assert value_of(cloud, cloud.physical(name, "P")) == new
    groups = cloud.client("logs").describe_log_groups(logGroupNamePrefix=old)["logGroups"]
    assert groups == []
    cloud.delete(name)
    assert cloud.client("logs").describe_log_groups(logGroupNamePrefix=new)["logGroups"] == []


def test_update_replace_policy_keeps_the_replaced_one(cloud: Cloud) -> None:
    def declared(group: str) -> dict[str, Any]:
        return {
            "L": {
                "Type": "AWS::Logs::LogGroup",
                "UpdateReplacePolicy": "Retain",
                "Properties": {"LogGroupName": group},
            }
        }

    old = cloud.name("/old")
    name = cloud.create(declared(old))
    cloud.update(name, declared(cloud.name("/new")))
    assert cloud.client("logs").describe_log_groups(logGroupNamePrefix=old)["logGroups"]


def test_another_type_of_the_same_name_is_a_replacement(cloud: Cloud) -> None:
    name = cloud.create({"X": parameter()})
    old = cloud.physical(name, "X")
    cloud.update(name, {"X": {"Type": "AWS::Logs::LogGroup"}})
    assert cloud.status(name) == "UPDATE_COMPLETE"
    assert gone(cloud, old)


def test_a_custom_name_in_the_way_of_a_replacement_is_an_error(cloud: Cloud) -> None:
    def declared(path: str) -> dict[str, Any]:
        return {
            "R": {
                "Type": "AWS::IAM::Role",
                "Properties": {
                    "RoleName": role,
                    "Path": path,
                    "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": []},
                },
            }
        }

    role = cloud.name("role")
    name = cloud.create(declared("/a/"))
    cloud.update(name, declared("/b/"))
    assert cloud.status(name) == "UPDATE_ROLLBACK_COMPLETE"
    assert "custom-named resource requires replacing" in cloud.reasons(name)


def test_a_failed_update_takes_every_step_back(cloud: Cloud) -> None:
    old_group, new_group, added = cloud.name("/old"), cloud.name("/new"), cloud.name("/added")

    def log(group: str) -> dict[str, Any]:
        return {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": group}}

    name = cloud.create({"A": parameter("one"), "L": log(old_group)})
    a = cloud.physical(name, "A")
    cloud.update(
        name,
        {
            "A": parameter("two"),
            "L": log(new_group),
            "N": parameter(Properties={"Name": added}),
            "Z": {**BROKEN, "DependsOn": ["A", "L", "N"]},
        },
    )
    assert cloud.status(name) == "UPDATE_ROLLBACK_COMPLETE"
    assert value_of(cloud, a) == "one"
    assert gone(cloud, added)
    logs = cloud.client("logs")
    assert logs.describe_log_groups(logGroupNamePrefix=old_group)["logGroups"]
    assert not logs.describe_log_groups(logGroupNamePrefix=new_group)["logGroups"]
    cloud.update(name, {"A": parameter("three"), "L": log(old_group)})
    assert cloud.status(name) == "UPDATE_COMPLETE"
    assert value_of(cloud, a) == "three"


def test_a_change_that_is_not_supported_is_named(cloud: Cloud) -> None:
    def declared(classes: dict[str, Any]) -> dict[str, Any]:
        return {"H": {"Type": "AWS::CDK::Metadata", "Properties": classes}}

    name = cloud.create(declared({"Analytics": "a"}))
    cloud.update(name, declared({"Analytics": "a", "Other": "b"}))
    assert cloud.status(name) == "UPDATE_ROLLBACK_COMPLETE"
    assert "property Other of AWS::CDK::Metadata" in cloud.reasons(name)


def test_use_previous_value_and_previous_template(cloud: Cloud) -> None:
    body: dict[str, Any] = {"Parameters": {"V": {"Type": "String"}, "W": {"Type": "String"}}}
    declared = {"A": parameter({"Fn::Sub": "${V}-${W}"})}
    given = [{"ParameterKey": key, "ParameterValue": "1"} for key in ("V", "W")]
    name = cloud.create(declared, **body, Values=given)
    cloud.client("cloudformation").update_stack(
        StackName=name,
        UsePreviousTemplate=True,
        Parameters=[
            {"ParameterKey": "V", "UsePreviousValue": True},
            {"ParameterKey": "W", "ParameterValue": "2"},
        ],
    )
    assert value_of(cloud, cloud.physical(name, "A")) == "1-2"


def test_tags_of_the_stack_reach_its_resources_and_change_with_it(cloud: Cloud) -> None:
    def tags(value: str) -> list[dict[str, str]]:
        return [{"Key": "team", "Value": value}]

    declared = {"A": parameter(Properties={"Tags": {"own": "1"}})}
    name = cloud.create(declared, Tags=tags("a"))
    cloud.update(name, declared, Tags=tags("b"))
    found = cloud.client("ssm").list_tags_for_resource(
        ResourceType="Parameter", ResourceId=cloud.physical(name, "A")
    )["TagList"]
    assert {t["Key"]: t["Value"] for t in found} == {"team": "b", "own": "1"}


def test_a_stack_is_one_operation_at_a_time(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    name = cloud.create({"A": parameter("one")})
    begun, go_on = threading.Event(), threading.Event()
    kind = resources.find("AWS::SSM::Parameter")
    update = kind.update

    def slow(request: Any) -> Any:
        begun.set()
        assert go_on.wait(30)
        return update(request)

    monkeypatch.setattr(kind, "update", slow)
    first = threading.Thread(target=cloud.update, args=(name, {"A": parameter("two")}))
    first.start()
    try:
        assert begun.wait(30)
        assert cloud.status(name) == "UPDATE_IN_PROGRESS"
        with refused(cloud, "is in UPDATE_IN_PROGRESS state and can not be updated"):
            cloud.update(name, {"A": parameter("three")})
    finally:
        go_on.set()
        first.join()
    assert cloud.status(name) == "UPDATE_COMPLETE"


def test_a_defect_of_ours_leaves_no_stack_in_progress(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(request: Any) -> Any:
        raise RuntimeError("oops")

    monkeypatch.setattr(resources.find("AWS::SSM::Parameter"), "create", defect)
    name = cloud.create({"A": parameter()})
    assert cloud.status(name) == "ROLLBACK_COMPLETE"
    assert "RuntimeError: oops" in cloud.reasons(name)


# Deletion


def test_deletion_removes_everything_but_what_is_retained(cloud: Cloud) -> None:
    name = cloud.create({"A": parameter(), "B": parameter(DeletionPolicy="Retain")})
    a, b = cloud.physical(name, "A"), cloud.physical(name, "B")
    stack_id = cloud.stack(name)["StackId"]
    cloud.delete(name)
    assert not cloud.exists(name)
    assert gone(cloud, a)
    assert value_of(cloud, b) == "v"
    assert cloud.status(stack_id) == "DELETE_COMPLETE"
    cloud.delete(name)


def test_a_bucket_with_objects_stops_the_deletion(cloud: Cloud) -> None:
    name = cloud.create(
        {"B": {"Type": "AWS::S3::Bucket"}, "P": parameter(), "Q": parameter({"Ref": "B"})}
    )
    bucket, p = cloud.physical(name, "B"), cloud.physical(name, "P")
    cloud.client("s3").put_object(Bucket=bucket, Key="k", Body=b"1")
    cloud.delete(name)
    assert cloud.status(name) == "DELETE_FAILED"
    assert "[B]" in cloud.stack(name)["StackStatusReason"]
    assert "not empty" in cloud.reasons(name)
    assert gone(cloud, p)
    cloud.client("cloudformation").delete_stack(StackName=name, RetainResources=["B"])
    assert not cloud.exists(name)
    assert cloud.client("s3").get_object(Bucket=bucket, Key="k")["Body"].read() == b"1"


def test_a_resource_that_is_gone_already_is_no_obstacle(cloud: Cloud) -> None:
    name = cloud.create({"A": parameter()})
    cloud.client("ssm").delete_parameter(Name=cloud.physical(name, "A"))
    cloud.delete(name)
    assert not cloud.exists(name)


def test_termination_protection(cloud: Cloud) -> None:
    name = cloud.create({"A": parameter()}, EnableTerminationProtection=True)
    with refused(cloud, "TerminationProtection"):
        cloud.delete(name)
    cloud.client("cloudformation").update_termination_protection(
        StackName=name, EnableTerminationProtection=False
    )
    cloud.delete(name)
    assert not cloud.exists(name)


# Exports


def exporting(cloud: Cloud, export: str, value: Any = None) -> dict[str, Any]:
    value = {"Ref": "A"} if value is None else value
    return {"Outputs": {"O": {"Value": value, "Export": {"Name": export}}}}


def test_an_export_is_imported_by_another_stack(cloud: Cloud) -> None:
    export = cloud.name("export")
    first = cloud.create({"A": parameter()}, **exporting(cloud, export))
    second = cloud.create({"B": parameter({"Fn::ImportValue": export})})
    assert value_of(cloud, cloud.physical(second, "B")) == cloud.physical(first, "A")
    client = cloud.client("cloudformation")
    assert client.list_imports(ExportName=export)["Imports"] == [second]
    assert {"Name": export, "Value": cloud.physical(first, "A")}.items() <= next(
        e for e in client.list_exports()["Exports"] if e["Name"] == export
    ).items()


def test_an_export_in_use_can_neither_go_nor_change(cloud: Cloud) -> None:
    export = cloud.name("export")
    first = cloud.create({"A": parameter()}, **exporting(cloud, export))
    second = cloud.create({"B": parameter({"Fn::ImportValue": export})})
    cloud.delete(first)
    assert cloud.status(first) == "DELETE_FAILED"
    assert f"in use by {second}" in cloud.stack(first)["StackStatusReason"]
    cloud.delete(second)
    cloud.delete(first)
    assert not cloud.exists(first)

    third = cloud.create(
        {"A": parameter("1")}, **exporting(cloud, export, {"Fn::GetAtt": "A.Value"})
    )
    fourth = cloud.create({"B": parameter({"Fn::ImportValue": export})})
    with refused(cloud, f"in use by {fourth}"):
        cloud.update(third, {"A": parameter("1")})
    cloud.update(
        third, {"A": parameter("2")}, **exporting(cloud, export, {"Fn::GetAtt": "A.Value"})
    )
    assert cloud.status(third) == "UPDATE_ROLLBACK_COMPLETE"
    assert value_of(cloud, cloud.physical(third, "A")) == "1"


def test_an_unknown_import_and_a_second_export_fail(cloud: Cloud) -> None:
    name = cloud.create({"B": parameter({"Fn::ImportValue": "nothing"})})
    assert "No export named nothing found" in cloud.reasons(name)
    export = cloud.name("export")
    cloud.create({"A": parameter()}, **exporting(cloud, export))
    name = cloud.create({"A": parameter()}, **exporting(cloud, export))
    assert cloud.status(name) == "ROLLBACK_COMPLETE"
    assert "already exported" in cloud.reasons(name)


# Change sets


def change_set(cloud: Cloud, stack: str, kind: str, declared: Any, **more: Any) -> dict[str, Any]:
    client = cloud.client("cloudformation")
    made = client.create_change_set(
        StackName=stack,
        ChangeSetName=cloud.name("set"),
        ChangeSetType=kind,
        **Cloud._body(declared, more),
    )
    found: dict[str, Any] = client.describe_change_set(ChangeSetName=made["Id"])
    return found


def test_a_change_set_creates_a_stack_with_its_outputs(cloud: Cloud) -> None:
    name, export = cloud.name(), cloud.name("export")
    made = change_set(cloud, name, "CREATE", {"A": parameter()}, **exporting(cloud, export))
    assert cloud.status(name) == "REVIEW_IN_PROGRESS"
    assert [c["ResourceChange"]["Action"] for c in made["Changes"]] == ["Add"]
    cloud.client("cloudformation").execute_change_set(ChangeSetName=made["ChangeSetId"])
    assert cloud.status(name) == "CREATE_COMPLETE"
    assert cloud.outputs(name) == {"O": cloud.physical(name, "A")}
    cloud.create({"B": parameter({"Fn::ImportValue": export})})


def test_a_change_set_shows_and_does_an_update(cloud: Cloud) -> None:
    name = cloud.create({"A": parameter("1"), "B": parameter()})
    made = change_set(cloud, name, "UPDATE", {"A": parameter("2"), "C": parameter()})
    actions = {
        c["ResourceChange"]["LogicalResourceId"]: c["ResourceChange"]["Action"]
        for c in made["Changes"]
    }
    assert actions == {"A": "Modify", "B": "Remove", "C": "Add"}
    assert value_of(cloud, cloud.physical(name, "A")) == "1"
    client = cloud.client("cloudformation")
    client.execute_change_set(ChangeSetName=made["ChangeSetName"], StackName=name)
    assert value_of(cloud, cloud.physical(name, "A")) == "2"
    with refused(cloud, "cannot be executed"):
        client.execute_change_set(ChangeSetName=made["ChangeSetId"])


def test_a_change_set_without_changes_says_so(cloud: Cloud) -> None:
    name = cloud.create({"A": parameter()})
    made = change_set(cloud, name, "UPDATE", {"A": parameter()})
    assert made["Status"] == "FAILED"
    assert "didn't contain changes" in made["StatusReason"]


# Templates


def test_a_template_is_fetched_from_a_bucket_by_its_url(cloud: Cloud) -> None:
    bucket = cloud.name("templates")
    cloud.client("s3").create_bucket(Bucket=bucket)
    body = json.dumps({"Resources": {"A": parameter()}})
    cloud.client("s3").put_object(Bucket=bucket, Key="dir/t.json", Body=body)
    for url in (
        f"http://localhost:1234/{bucket}/dir/t.json",
        f"https://s3.us-east-1.amazonaws.com/{bucket}/dir/t.json",
        f"https://{bucket}.s3.us-east-1.amazonaws.com/dir/t.json",
        f"https://{bucket}.s3.amazonaws.com/dir/t.json",
    ):
        name = cloud.name()
        cloud.client("cloudformation").create_stack(StackName=name, TemplateURL=url)
        assert cloud.status(name) == "CREATE_COMPLETE"
    with refused(cloud, "S3 error"):
        cloud.client("cloudformation").create_stack(
            StackName=cloud.name(), TemplateURL=f"https://{bucket}.s3.amazonaws.com/no"
        )


def test_the_template_comes_back_as_it_was_given(cloud: Cloud) -> None:
    name = cloud.create({"A": parameter()})
    body = cloud.client("cloudformation").get_template(StackName=name)["TemplateBody"]
    assert body == {"Resources": {"A": parameter()}}


def test_parameters_that_are_not_supported_are_refused_by_name(cloud: Cloud) -> None:
    with refused(cloud, "StackPolicyBody"):
        cloud.create({"A": parameter()}, StackPolicyBody="{}")
    with refused(cloud, "does not support DetectStackDrift"):
        cloud.client("cloudformation").detect_stack_drift(StackName="x")


def test_events_are_paged_and_newest_first(cloud: Cloud) -> None:
    name = cloud.create({f"P{i}": parameter() for i in range(60)})
    pages = list(
        cloud.client("cloudformation")
        .get_paginator("describe_stack_events")
        .paginate(StackName=name)
    )
    events = [event for page in pages for event in page["StackEvents"]]
    assert len(pages) > 1
    assert len(events) == 2 + 2 * 60
    assert events[0]["ResourceStatus"] == "CREATE_COMPLETE"
    assert events[0]["ResourceType"] == "AWS::CloudFormation::Stack"
    assert events[-1]["ResourceStatus"] == "CREATE_IN_PROGRESS"
