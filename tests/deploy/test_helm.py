"""The Helm chart: made into manifests by Helm, held against Kubernetes' schemas and what the processes need."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.kafka import our_topics
from streams.names import Names
from streams.settings import LEAVES, Settings, access_keys, load, variable
from tests.deploy.chart import (
    CHART,
    KUBERNETES,
    NAMESPACE,
    SETS,
    WORKLOADS,
    Manifest,
    component,
    container,
    every,
    manifests,
    matches,
    pod,
    rendered,
    template,
    values,
    variables,
)
from tests.deploy.tools import DEPLOY, checker, helm, run
from tests.house.repo import ROOT

FOREIGN = {"ServiceMonitor", "PrometheusRule", "ScaledObject", "KafkaTopic"}
"""Kinds of others, of which Kubernetes has no schema."""

SECRET = "from-a-secret"
PARTS = {
    "all": {"worker", "ingest", "bridge"},
    "bridge": {"worker", "bridge"},
    "minimal": {"worker", "ingest"},
    "strimzi": {"worker", "ingest"},
}


def workloads() -> Iterator[tuple[str, Manifest]]:
    yield from every(*WORKLOADS)


def test_there_are_sets_of_values_and_each_has_its_parts() -> None:
    assert {name: {component(one) for one in manifests(name, *WORKLOADS)} for name in SETS} == PARTS


# --- Helm and Kubernetes read it -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETS)
def test_helm_lint_finds_nothing(name: str) -> None:
    linted = run(helm(), "lint", "--strict", "--kube-version", KUBERNETES[-1], CHART, "--values", values(name))

    assert linted.returncode == 0, linted.stdout
    assert "[WARNING]" not in linted.stdout


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("name", SETS)
def test_kubernetes_knows_all_that_is_in_a_manifest(name: str, version: str, tmp_path: Path) -> None:
    code, made, _ = template(CHART, "--values", str(values(name)), kubernetes=version)
    file = tmp_path / "all.yaml"
    file.write_text(made, "utf-8")
    own = [one for one in manifests(name) if one["kind"] not in FOREIGN]

    checked = run(checker("kubernetes-validate"), "--strict", "--no-warn", "-k", version, file)

    assert (code, checked.returncode) == (0, 0), checked.stdout
    assert checked.stdout.count(" passed for resource ") == len(own) >= 10


def test_a_misspelt_field_is_found(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(rendered("minimal").replace("readinessProbe:", "readynessProbe:"), "utf-8")

    assert run(checker("kubernetes-validate"), "--strict", file).returncode != 0


def test_no_two_manifests_have_one_name() -> None:
    for name in SETS:
        names = Counter((one["apiVersion"], one["kind"], one["metadata"]["name"]) for one in manifests(name))
        assert [key for key, count in names.items() if count > 1] == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--set", "settings.broker.url="], "/settings/broker/url"),
        (["--set", "settings.broker.url=embedded"], "/settings/broker/url"),
        (["--set", "settings.broker.sasl_password=x"], "/settings/broker/sasl_password"),
        (["--set", "settings.ingest.access_keys={x}"], "/settings/ingest/access_keys"),
        (["--set", "settings.listen=127.0.0.1:8080"], "/settings"),
        (["--set", "settings.group.instance_id=one"], "/settings"),
        (["--set", "settings.topics.raw_partitions=0"], "/settings/topics/raw_partitions"),
        (["--set", "listen.host=127.0.0.1"], "/listen/host"),
        (["--set", "ingest.accessKeys.secret="], "without a key everybody could post"),
        (["--set", "ingest.tls.secret="], "ingest.tls.secret"),
        (["--set", "worker.replica=3"], "replica"),
        (["--set", "wroker.replicas=3"], "wroker"),
    ],
)
def test_values_that_can_not_work_are_refused(arguments: list[str], problem: str) -> None:
    code, _, said = template(CHART, "--values", str(values("minimal")), *arguments)

    assert code != 0
    assert problem in said


# --- the processes read it -------------------------------------------------------------------------------------------


def _settings(name: str, workload: Manifest, folder: Path) -> Settings:
    """What the process would read: its file and variables, with the mounted files in a folder of ours."""
    maps = {one["metadata"]["name"]: one["data"] for one in manifests(name, "ConfigMap")}
    sources = {one["name"]: one for one in pod(workload)["volumes"]}
    where = {one["name"]: one["mountPath"] for one in container(workload)["volumeMounts"]}
    found = {key: text if isinstance(text, str) else SECRET for key, text in variables(workload).items()}
    for volume, path in where.items():
        texts = maps[sources[volume]["configMap"]["name"]] if "configMap" in sources[volume] else {}
        mentioned = {text.removeprefix(f"{path}/"): SECRET for text in found.values() if text.startswith(f"{path}/")}
        here = folder / path.strip("/")
        here.mkdir(parents=True)
        for file, text in {**mentioned, **texts}.items():
            (here / file).write_text(text, "utf-8")
    moved = {key: text.replace("/etc/", f"{folder}/etc/") for key, text in found.items()}
    return load(environ=moved)


@pytest.mark.parametrize("name", SETS)
def test_a_process_takes_its_settings_and_listens_where_the_pod_is_reached(name: str, tmp_path: Path) -> None:
    for workload in manifests(name, *WORKLOADS):
        settings = _settings(name, workload, tmp_path / component(workload))
        host, _, port = settings.listen.rpartition(":")

        assert (host, int(port)) == ("0.0.0.0", container(workload)["ports"][0]["containerPort"])
        assert settings.broker.bootstrap
        assert settings.model_dump(include={"topics"})["topics"].items() >= _given(name)["topics"].items()


def _given(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(values(name).read_text("utf-8"))["settings"]
    return {"topics": {}, **found}


def test_large_numbers_are_whole_numbers(tmp_path: Path) -> None:
    [worker] = manifests("all", "StatefulSet")

    settings = _settings("all", worker, tmp_path)

    assert settings.ingest.max_in_flight_bytes == 536_870_912
    assert settings.budget.origins == 1_048_576


def test_ingest_asks_for_the_keys_of_the_secret_and_ends_tls(tmp_path: Path) -> None:
    for name, workload in workloads():
        if component(workload) == "ingest":
            settings = _settings(name, workload, tmp_path / name)
            ends_tls = settings.ingest.tls_cert is not None and settings.ingest.tls_key is not None
            assert access_keys(settings.ingest) == (SECRET,)
            assert ends_tls == (name != "strimzi")


def test_logins_come_from_secrets(tmp_path: Path) -> None:
    [worker] = manifests("all", "StatefulSet")
    [bridge] = [one for one in manifests("bridge", "Deployment") if component(one) == "bridge"]

    ours = _settings("all", worker, tmp_path / "worker").broker
    source = _settings("bridge", bridge, tmp_path / "bridge").bridge.broker

    assert ours.sasl_password.get_secret_value() == source.sasl_password.get_secret_value() == SECRET
    assert ours.ssl_cafile
    assert source.ssl_cafile
    assert _settings("bridge", bridge, tmp_path / "again").broker.ssl_certfile


def test_rules_of_the_values_are_those_that_workers_read(tmp_path: Path) -> None:
    [worker] = manifests("all", "StatefulSet")

    detection = _settings("all", worker, tmp_path).detection

    assert detection.detectors is None
    assert detection.policy
    assert detection.suppressions
    assert detection.policy.read_text("utf-8") == "groups: {}\n"


def test_a_worker_has_the_name_of_its_pod_in_the_group_and_nobody_else_has_one() -> None:
    name = variable(("group", "instance_id"))
    named = [(workload["kind"], variables(workload).get(name)) for _, workload in workloads()]

    assert [source for kind, source in named if kind == "StatefulSet"] == [
        {"fieldRef": {"fieldPath": "metadata.name"}}
    ] * 4
    assert [source for kind, source in named if kind != "StatefulSet" and source] == []


# --- what a pod may do -----------------------------------------------------------------------------------------------


def test_no_process_is_root_or_may_become_it_or_writes_to_its_image() -> None:
    [user] = re.findall(r"(?m)^USER (\d+)$", (DEPLOY / "Dockerfile").read_text("utf-8"))
    for _, workload in workloads():
        of_pod, of_container = pod(workload)["securityContext"], container(workload)["securityContext"]

        assert of_pod["runAsNonRoot"] is True
        assert of_pod["runAsUser"] == int(user)
        assert of_pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert of_container == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_a_process_may_write_to_its_working_folder_only() -> None:
    [folder] = re.findall(r"(?m)^WORKDIR (/tmp)$", (DEPLOY / "Dockerfile").read_text("utf-8"))
    for _, workload in workloads():
        writable = [one for one in container(workload)["volumeMounts"] if not one.get("readOnly")]

        assert [one["mountPath"] for one in writable] == [folder]
        assert {"name": writable[0]["name"], "emptyDir": {"sizeLimit": "64Mi"}} in pod(workload)["volumes"]


def test_no_process_is_told_of_services_or_has_a_token() -> None:
    assert [pod(one)["enableServiceLinks"] for _, one in workloads()] == [False] * 9
    assert [pod(one)["automountServiceAccountToken"] for _, one in workloads()] == [False] * 9
    assert {one["automountServiceAccountToken"] for _, one in every("ServiceAccount")} == {False}


def test_no_secret_is_made_and_none_stands_in_a_manifest() -> None:
    secret = {variable(keys) for keys, leaf in LEAVES.items() if leaf.secret}
    found = [variables(one)[name] for _, one in workloads() for name in variables(one).keys() & secret]

    assert list(every("Secret")) == []
    assert len(found) >= 3
    assert [source for source in found if "secretKeyRef" not in source] == []


def test_memory_has_a_limit_and_cpu_has_none() -> None:
    for _, workload in workloads():
        resources = container(workload)["resources"]

        assert set(resources["requests"]) == {"cpu", "memory"}
        assert set(resources["limits"]) == {"memory"}


# --- how it is looked after ------------------------------------------------------------------------------------------


def test_probes_ask_as_the_process_speaks() -> None:
    for name, workload in workloads():
        own = container(workload)
        scheme = "HTTPS" if component(workload) == "ingest" and name != "strimzi" else "HTTP"
        asked = {kind: own[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}

        assert {one["scheme"] for one in asked.values()} == {scheme}
        assert {one["port"] for one in asked.values()} == {own["ports"][0]["name"]}
        assert {kind: one["path"] for kind, one in asked.items()} == {
            "startup": "/livez",
            "liveness": "/livez",
            "readiness": "/readyz",
        }


def test_a_pod_has_longer_than_a_process_takes_to_end() -> None:
    operating = (ROOT / "docs/OPERATING.md").read_text("utf-8")
    [least] = re.findall(r"Give it (\d+) s before SIGKILL", operating)

    assert [one for _, one in workloads() if pod(one)["terminationGracePeriodSeconds"] <= int(least)] == []


@pytest.mark.parametrize("kind", ["PodDisruptionBudget", "NetworkPolicy", "Service"])
def test_every_part_has_one_and_it_means_that_part(kind: str) -> None:
    for name in SETS:
        found = {component(one): _selector(one) for one in manifests(name, kind)}
        assert set(found) == PARTS[name]
        for workload in manifests(name, *WORKLOADS):
            meant = [part for part, selector in found.items() if matches(selector, workload)]
            assert meant == [component(workload)]
            assert matches(workload["spec"]["selector"]["matchLabels"], workload)


def _selector(manifest: Manifest) -> dict[str, str]:
    spec = manifest["spec"]
    selector: dict[str, Any] = spec.get("podSelector") or spec["selector"]
    return dict(selector.get("matchLabels", selector))


def test_a_disruption_takes_one_worker_at_a_time() -> None:
    assert {one["spec"]["maxUnavailable"] for _, one in every("PodDisruptionBudget")} == {1}


def test_who_may_post_and_who_may_scrape() -> None:
    policies = {component(one): one["spec"] for one in manifests("all", "NetworkPolicy")}
    prometheus = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}

    assert [one["policyTypes"] for one in policies.values()] == [["Ingress", "Egress"]] * 3
    assert policies["worker"]["ingress"] == [{"ports": [{"port": "http"}], "from": [prometheus]}]
    assert policies["ingest"]["ingress"][0]["from"] == [{"ipBlock": {"cidr": "203.0.113.0/24"}}, prometheus]


def test_brokers_may_be_reached() -> None:
    for name, workload in workloads():
        [policy] = [one for one in manifests(name, "NetworkPolicy") if component(one) == component(workload)]
        allowed = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
        given = _given(name)
        urls = [given["broker"]["url"], given.get("bridge", {}).get("broker", {}).get("url", "")]

        assert {int(port) for url in urls for port in re.findall(r":(\d+)", url)} <= allowed


def test_firehose_finds_ingest_on_its_only_port() -> None:
    [service] = [one for one in manifests("minimal", "Service") if component(one) == "ingest"]

    assert service["spec"]["ports"] == [{"name": "http", "port": 443, "targetPort": "http"}]


def test_other_settings_make_other_pods_and_other_rules_do_not() -> None:
    marks = [
        _mark("--set", "worker.replicas=3"),
        _mark("--set", "rules.policy\\.yaml=x"),
        _mark("--set", "settings.log.level=debug"),
    ]

    assert marks[0] == marks[1] != marks[2]


def _mark(*arguments: str) -> str:
    _, made, _ = template(CHART, "--values", str(values("minimal")), *arguments)
    [mark, *others] = re.findall(r"checksum/settings: (\S+)", made)
    assert others == [mark]
    return str(mark)


# --- Kafka, KEDA, Prometheus, Grafana --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["all", "strimzi"])
def test_topics_for_strimzi_are_those_that_processes_make(name: str, tmp_path: Path) -> None:
    topics = _settings(name, manifests(name, "StatefulSet")[0], tmp_path).topics
    made = [one["spec"] for one in manifests(name, "KafkaTopic")]

    assert made == [
        {"topicName": one.name, "partitions": one.partitions, "replicas": one.replication, "config": dict(one.config)}
        for one in our_topics(Names(topics.prefix), topics)
    ]


def test_topics_for_strimzi_belong_to_its_cluster_and_outlive_the_release() -> None:
    for one in manifests("strimzi", "KafkaTopic"):
        meta = one["metadata"]

        assert re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", meta["name"])
        assert (meta["namespace"], meta["labels"]["strimzi.io/cluster"]) == ("kafka", "prod")
        assert meta["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert {one["metadata"]["namespace"] for one in manifests("all", "KafkaTopic")} == {NAMESPACE}


def test_keda_looks_at_the_lag_of_the_workers_and_scales_them_alone() -> None:
    [scaler], [worker] = manifests("all", "ScaledObject"), manifests("all", "StatefulSet")
    [trigger] = scaler["spec"]["triggers"]
    names = Names()

    assert scaler["spec"]["scaleTargetRef"] == {"kind": "StatefulSet", "name": worker["metadata"]["name"]}
    assert "replicas" not in worker["spec"]
    assert scaler["spec"]["maxReplicaCount"] == _given("all")["topics"]["raw_partitions"]
    assert trigger["metadata"].items() >= {
        "bootstrapServers": "kafka:9096", "consumerGroup": names.group, "topic": names.raw, "lagThreshold": "1200",
    }.items()  # fmt: skip
    assert trigger["authenticationRef"] == {"name": "kafka-login"}


def test_the_operator_of_prometheus_scrapes_as_prometheus_of_compose_does() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text("utf-8"))
    jobs = {job["job_name"]: job.get("honor_labels", False) for job in config["scrape_configs"]}
    monitors = {component(one): one["spec"]["endpoints"][0] for one in manifests("all", "ServiceMonitor")}
    named = {one["relabelings"][0]["replacement"]: one.get("honorLabels", False) for one in monitors.values()}

    assert jobs.items() - {("prometheus", False)} <= named.items()
    assert set(monitors) == PARTS["all"]
    assert (monitors["ingest"]["scheme"], monitors["worker"]["scheme"]) == ("https", "http")
    assert {one["port"] for one in monitors.values()} == {"http"}


def test_rules_and_dashboards_of_deploy_are_those_of_the_chart(tmp_path: Path) -> None:
    """With one more of each: what deploy/ has comes in without a copy."""
    deploy = tmp_path / "deploy"
    shutil.copytree(DEPLOY, deploy, symlinks=True, ignore=shutil.ignore_patterns("node_modules"))
    rules = {
        "groups": [{"name": "one", "rules": [{"alert": "A", "expr": "up == 0", "annotations": {"a": "{{ $value }}"}}]}]
    }
    board = {"title": "One", "panels": [{"legend": "{{eni}}"}]}
    (deploy / "prometheus/one_more.rules.yml").write_text(yaml.safe_dump(rules), "utf-8")
    (deploy / "grafana/dashboards/one_more.json").write_text(json.dumps(board, indent=2), "utf-8")

    code, made, said = template(deploy / CHART.relative_to(DEPLOY), "--values", str(values("all")))
    found = [one for one in yaml.safe_load_all(made) if one]
    files = [text for one in found if one["kind"] == "ConfigMap" for text in one["data"].items()]

    assert (code, said) == (0, "")
    specs = [one["spec"] for one in found if one["kind"] == "PrometheusRule"]
    assert rules in specs
    assert len(specs) == len(list((deploy / "prometheus").glob("*.rules.yml")))
    boards = {name: json.loads(text) for name, text in files if name.endswith(".json")}
    assert boards["one_more.json"] == board
    assert set(boards) == {path.name for path in (deploy / "grafana/dashboards").glob("*.json")}


def test_the_chart_is_of_this_version_and_runs_its_image() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]

    assert (chart["version"], chart["appVersion"]) == (version, version)
    assert {container(one)["image"] for one in manifests("minimal", *WORKLOADS)} == {f"vpcflow-streams:{version}"}
