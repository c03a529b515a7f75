"""Templates as a deployment would read them: every intrinsic function has a value.

Ids that only AWS knows are made of logical ids; all else is what CloudFormation computes, across
stacks: imports of exports, parameters read from SSM, ARNs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_SUB = re.compile(r"\$\{([A-Za-z0-9.:]+)\}")


@dataclass(frozen=True)
class Role:
    """A role with all that policies of all stacks say of it."""

    name: str
    trusted: dict[str, Any]
    statements: tuple[dict[str, Any], ...]


class Deployed:
    """All templates of an environment, by part."""

    def __init__(self, bodies: Mapping[str, dict[str, Any]], account: str, region: str) -> None:
        self._bodies, self.account, self.region = bodies, account, region
        self.partition = "aws-cn" if region.startswith("cn-") else "aws"
        self._exports = {
            self.value(part, output["Export"]["Name"]): (part, output["Value"])
            for part, body in bodies.items()
            for output in body.get("Outputs", {}).values()
            if "Export" in output
        }
        self._parameters = {
            entry["Properties"]["Name"]: (part, entry["Properties"]["Value"])
            for part, body in bodies.items()
            for entry in body["Resources"].values()
            if entry["Type"] == "AWS::SSM::Parameter"
        }

    def resources(self, kind: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Part, logical id and properties of every resource of a type, resolved."""
        for part, body in self._bodies.items():
            for name, entry in body["Resources"].items():
                if entry["Type"] == kind:
                    yield part, name, self.value(part, entry.get("Properties", {}))

    def roles(self) -> dict[str, Role]:
        """By logical id."""
        roles = {
            name: Role(
                name,
                properties["AssumeRolePolicyDocument"],
                tuple(
                    statement
                    for policy in properties.get("Policies", [])
                    for statement in policy["PolicyDocument"]["Statement"]
                ),
            )
            for _, name, properties in self.resources("AWS::IAM::Role")
        }
        for _, _, policy in self.resources("AWS::IAM::Policy"):
            for name in policy["Roles"]:
                role = roles[name]
                more = tuple(policy["PolicyDocument"]["Statement"])
                roles[name] = Role(name, role.trusted, role.statements + more)
        return roles

    def value(self, part: str, node: Any) -> Any:
        """A value of a template of this part, as it would be."""
        match node:
            case {"Fn::Join": [separator, parts]}:
                return str(separator).join(str(self.value(part, p)) for p in parts)
            case {"Fn::Base64": inner}:
                return self.value(part, inner)
            case {"Fn::Select": [index, values]}:
                return self.value(part, values)[int(index)]
            case {"Fn::Split": [separator, text]}:
                return str(self.value(part, text)).split(separator)
            case {"Fn::Sub": text}:
                return _SUB.sub(lambda m: str(self.value(part, {"Ref": m[1]})), text)
            case {"Fn::ImportValue": name}:
                return self.value(*self._exports[self.value(part, name)])
            case {"Fn::GetAtt": [name, attribute]}:
                return self._attribute(part, name, attribute)
            case {"Ref": name}:
                return self._reference(part, name)
            case dict():
                return {key: self.value(part, item) for key, item in node.items()}
            case list():
                return [self.value(part, item) for item in node]
        return node

    def _reference(self, part: str, name: str) -> Any:
        pseudo = {
            "AWS::AccountId": self.account,
            "AWS::Partition": self.partition,
            "AWS::Region": self.region,
            "AWS::StackId": self._arn("cloudformation", f"stack/{part}/0a1b"),
            "AWS::StackName": part,
            "AWS::URLSuffix": "amazonaws.com" + (".cn" if self.partition == "aws-cn" else ""),
        }
        if name in pseudo:
            return pseudo[name]
        body = self._bodies[part]
        parameter = body.get("Parameters", {}).get(name)
        if parameter is not None:
            source = self._parameters.get(parameter["Default"])
            return self.value(*source) if source else f"value-of:{parameter['Default']}"
        entry = body["Resources"][name]
        properties = entry.get("Properties", {})
        match entry["Type"]:
            case "AWS::IAM::Role":
                return name
            case "AWS::S3::Bucket":
                return f"{part}-{name}".lower()
            case "AWS::SSM::Parameter":
                return self.value(part, properties["Name"])
            case "AWS::Logs::LogGroup" if "LogGroupName" in properties:
                return self.value(part, properties["LogGroupName"])
            case "AWS::SNS::Topic":
                return self._arn("sns", f"{part}-{name}")
        return f"{part}-{name}"

    def _attribute(self, part: str, name: str, attribute: str) -> str:
        entry = self._bodies[part]["Resources"][name]
        physical = str(self._reference(part, name))
        path = entry.get("Properties", {}).get("Path", "/")
        match entry["Type"], attribute:
            case "AWS::IAM::Role", "Arn":
                return f"arn:{self.partition}:iam::{self.account}:role{path}{physical}"
            case "AWS::S3::Bucket", "Arn":
                return f"arn:{self.partition}:s3:::{physical}"
            case "AWS::KMS::Key", "Arn":
                return self._arn("kms", f"key/{physical}")
            case "AWS::SQS::Queue", "Arn":
                return self._arn("sqs", entry["Properties"].get("QueueName", physical))
        return f"{physical}.{attribute}"

    def _arn(self, service: str, resource: str) -> str:
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"
