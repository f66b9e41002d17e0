"""What the Helm chart makes of a set of values: `helm template`, as Python objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.tools import DEPLOY, helm, run

Manifest = dict[str, Any]

CHART = DEPLOY / "helm" / "vpcflow-streams"
SETS = sorted(path.stem.removesuffix("-values") for path in (CHART / "ci").glob("*-values.yaml"))
KUBERNETES = ("1.25.0", "1.37.0")
"""The oldest that Chart.yaml allows, and the newest that there are schemas of."""

NAMESPACE = "flows"
WORKLOADS = ("StatefulSet", "Deployment")


def values(name: str) -> Path:
    """A set of values."""
    return CHART / "ci" / f"{name}-values.yaml"


def template(chart: Path, *arguments: str, kubernetes: str = KUBERNETES[-1]) -> tuple[int, str, str]:
    """Exit code, manifests, and what Helm said; that it followed the chart's links is left out."""
    command: list[str | Path] = [
        "template",
        "release",
        chart,
        "--namespace",
        NAMESPACE,
        "--kube-version",
        kubernetes,
        *arguments,
    ]
    done = run(helm(), *command)
    said = [line for line in done.stderr.splitlines() if "found symbolic link" not in line]
    return done.returncode, done.stdout, "\n".join(said)


@cache
def rendered(name: str) -> str:
    """The manifests of a set of values, as YAML."""
    code, made, said = template(CHART, "--values", str(values(name)))
    assert (code, said) == (0, "")
    return made


def manifests(name: str, *kinds: str) -> list[Manifest]:
    """The manifests of a set of values; of some kinds, if any are named."""
    found = [one for one in yaml.safe_load_all(rendered(name)) if one]
    assert found
    return [one for one in found if not kinds or one["kind"] in kinds]


def every(*kinds: str) -> Iterator[tuple[str, Manifest]]:
    """(set, manifest) of some kinds in all sets."""
    for name in SETS:
        yield from ((name, one) for one in manifests(name, *kinds))


def component(manifest: Manifest) -> str:
    """worker, ingest or bridge."""
    return str(manifest["metadata"]["labels"]["app.kubernetes.io/component"])


def pod(workload: Manifest) -> Manifest:
    """The spec of its pods."""
    spec: Manifest = workload["spec"]["template"]["spec"]
    return spec


def container(workload: Manifest) -> Manifest:
    """Its only container."""
    [found] = pod(workload)["containers"]
    return dict(found)


def variables(workload: Manifest) -> dict[str, Any]:
    """Variable -> text, or the map that says where it comes from."""
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container(workload)["env"]}


def matches(selector: Mapping[str, str], workload: Manifest) -> bool:
    """Whether the pods of a workload have all of these labels."""
    labels: Mapping[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return selector.items() <= labels.items()
