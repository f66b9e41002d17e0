"""The CloudFormation template: held against AWS's own schemas by cfn-lint, and against deploy/terraform by us."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.tools import DEPLOY, checker, run

TEMPLATE = DEPLOY / "cloudformation" / "flow-logs.yaml"


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's tags: `!Ref X` is {"Ref": "X"}."""


def _function(loader: _Loader, name: str, node: yaml.Node) -> dict[str, Any]:
    key = name if name == "Ref" else f"Fn::{name}"
    if isinstance(node, yaml.ScalarNode):
        return {key: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {key: loader.construct_sequence(node, deep=True)}
    assert isinstance(node, yaml.MappingNode)
    return {key: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _function)


def template() -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(TEMPLATE.read_text("utf-8"), _Loader)  # noqa: S506  a SafeLoader
    return found


def test_cfn_lint_finds_nothing() -> None:
    found = run(checker("cfn-lint"), TEMPLATE)

    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize(
    ("right", "wrong", "rule"),
    [
        ("!GetAtt Stream.Arn", "!GetAtt Stream.Urn", "E1010"),
        ("DurationInSeconds:", "DurationInMinutes:", "E3002"),
        ("!Ref RetrySeconds", "!Ref Retries", "E1020"),
    ],
)
def test_cfn_lint_finds_what_is_wrong(right: str, wrong: str, rule: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text(TEMPLATE.read_text("utf-8").replace(right, wrong), "utf-8")

    assert rule in run(checker("cfn-lint"), broken).stdout


def test_every_parameter_is_described_and_used() -> None:
    found = template()
    body = json.dumps([found["Resources"], found["Conditions"]])

    assert len(found["Parameters"]) > 10
    assert [name for name, one in found["Parameters"].items() if not one.get("Description")] == []
    assert [name for name in found["Parameters"] if f'{{"Ref": "{name}"}}' not in body] == []


def test_the_key_is_shown_to_nobody() -> None:
    assert template()["Parameters"]["AccessKey"]["NoEcho"] is True
    assert "AccessKey" not in json.dumps(template()["Outputs"])


def test_a_stream_may_be_written_to_by_log_delivery() -> None:
    stream = template()["Resources"]["Stream"]["Properties"]

    assert {"Key": "LogDeliveryEnabled", "Value": "true"} in stream["Tags"]


def role_statements() -> list[dict[str, Any]]:
    roles = template()["Resources"]
    policies = [roles["StreamPolicy"]["Properties"], *roles["LogGroupRole"]["Properties"]["Policies"]]
    listed = [one for policy in policies for one in policy["PolicyDocument"]["Statement"]]
    return [one["Fn::If"][1] if "Fn::If" in one else one for one in listed]


def test_no_role_may_do_everything_or_anything_to_everything() -> None:
    wide = [one["Sid"] for one in role_statements() if one["Resource"] == "*"]

    assert len(role_statements()) == 7
    assert wide == ["Find"]
    assert "*" not in json.dumps([one["Action"] for one in role_statements()])
