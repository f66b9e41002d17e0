"""`python -m tests.deploy.schema` makes `schema.json`: what Grafana's own types say of a dashboard. Needs npm.

From the package @grafana/schema, of the version of the image in docker-compose.yml. Descriptions are left out, and what
has to be there: Grafana fills that in.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import yaml

from tests.house.repo import ROOT

PATH = Path(__file__).with_name("schema.json")
_WORK = ROOT / ".tools" / "grafana-schema"
_TYPES = _WORK / "node_modules/@grafana/schema/dist/types/raw"
_GENERATOR = ("ts-json-schema-generator@2", "typescript@5")
_LEFT_OUT = {"$schema", "description", "required"}

MADE_FROM: Mapping[str, tuple[str, str]] = {
    "dashboard": ("dashboard/x/dashboard_types.gen.d.ts", "Dashboard"),
    "timeseries.options": ("composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen.d.ts", "Options"),
    "timeseries.custom": ("composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen.d.ts", "FieldConfig"),
    "stat.options": ("composable/stat/panelcfg/x/StatPanelCfg_types.gen.d.ts", "Options"),
    "table.options": ("composable/table/panelcfg/x/TablePanelCfg_types.gen.d.ts", "Options"),
}
"""Name of a schema -> the file and the type that it is made from."""


def version() -> str:
    """Grafana's, as it is started."""
    image = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]["grafana"]["image"]
    return re.sub(r".*:", "", image)


def _reduced(schema: Any, *, names: bool = False) -> Any:
    """names: its keys are names of a type's fields, not words of JSON Schema."""
    if isinstance(schema, list):
        return [_reduced(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = schema if names else {key: one for key, one in schema.items() if key not in _LEFT_OUT}
    return {key: _reduced(one, names=not names and key in {"properties", "definitions"}) for key, one in kept.items()}


def _made(file: str, name: str) -> Any:
    command = ["node_modules/.bin/ts-json-schema-generator", "--no-type-check", "--no-top-ref"]
    command += ["--path", str(_TYPES / file), "--type", name]
    done = subprocess.run(command, cwd=_WORK, stdout=subprocess.PIPE, check=True)
    return _reduced(orjson.loads(done.stdout))


def main() -> None:
    """Fetch Grafana's types, and write what they say."""
    _WORK.mkdir(parents=True, exist_ok=True)
    packages = [f"@grafana/schema@{version()}", *_GENERATOR]
    subprocess.run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", *packages], cwd=_WORK, check=True)
    source = f"Made from @grafana/schema {version()}, Grafana Labs, Apache License 2.0: see tests/deploy/schema.py"
    schemas = {name: _made(*where) for name, where in MADE_FROM.items()}
    text = orjson.dumps({"$comment": source, **schemas}, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
    PATH.write_bytes(text + b"\n")


if __name__ == "__main__":
    main()
