"""Findings through Kafka: what workers tell is what the same lines give at once, and a kill -9 changes none of it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from streams.core.detection import Detector
from streams.core.raw import RawMessage
from streams.detectors.cost_surge import COST_SURGE
from streams.detectors.examples import HEADER, INSIDE, PUBLIC
from streams.detectors.unusual_volume import UNUSUAL_VOLUME
from streams.names import Names
from tests.conftest import missing
from tests.kafka.alertmanager import Alertmanager
from tests.kafka.debian import MissingError
from tests.kafka.findings import environ, expected, messages, told, trailing, watched_to, without_origins
from tests.kafka.process import Vpcflow, until
from tests.kafka.sending import publish

pytestmark = pytest.mark.timeout(240)

FORMAT = "interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action flow-direction"
ENI, HOST, DATABASE, SCANNER = "eni-0a1b2c3d4e5f60718", "10.0.0.5", "10.0.1.9", "10.0.9.7"
T0 = 1_700_000_040
MINUTES, SCAN, REFUSED = 60, 10, 30
END = T0 + 60 * MINUTES


def _record(at: int, route: tuple[str, int, str, int], *, out: bool, action: str = "ACCEPT", size: int = 900) -> str:
    source, srcport, target, dstport = route
    way = "egress" if out else "ingress"
    return f"{ENI} {source} {target} {srcport} {dstport} 6 9 {size} {at} {at + 59} {action} {way}"


def _minute(n: int) -> list[str]:
    """An application asks its database, until that refuses; somebody tries twelve ports in the eleventh minute."""
    at = T0 + 60 * n
    ask, answer = (HOST, 40_000 + n, DATABASE, 5432), (DATABASE, 5432, HOST, 40_000 + n)
    if n < REFUSED:
        lines = [_record(at, ask, out=True), _record(at, answer, out=False)]
    else:
        lines = [_record(at, ask, out=True, action="REJECT", size=60)] * 3
    if n == SCAN:
        lines += [
            _record(at, (SCANNER, 50_000, HOST, 1000 + port), out=False, action="REJECT", size=60) for port in range(12)
        ]
    return lines


def _later(at: int) -> str:
    return _record(at, (HOST, 40_000, DATABASE, 5432), out=True)


def _refusing() -> tuple[list[RawMessage], list[RawMessage]]:
    """An application whose database starts to refuse it, and a scan; then what closes all its minutes."""
    return messages({T0 + 60 * n: _minute(n) for n in range(MINUTES)}, FORMAT), trailing(END, _later, FORMAT)


def _names() -> Names:
    return Names(f"findings-{uuid4().hex[:8]}")


async def test_workers_tell_what_the_same_lines_give_at_once(bootstrap: str) -> None:
    """The scan and the database that refuses are told on all topics and in the metrics, once each."""
    names, (given, then) = _names(), _refusing()
    known = expected(given)
    detectors = {one["detector"] for one in known.values() if isinstance(one, dict)}
    assert {"port-scan", "broken-dependency"} <= detectors
    await publish(bootstrap, names, [*given, *then])

    with Vpcflow("worker", "--broker", f"kafka://{bootstrap}", environ=environ(names)) as worker:
        await until("all minutes are closed", partial(watched_to, worker, END))
        samples = await asyncio.to_thread(worker.samples)

    found = await told(bootstrap, names.anomalies)
    assert without_origins(found) == known
    assert all(one["origins"] for one in found.values() if isinstance(one, dict))
    assert (await told(bootstrap, names.anomalies_ocsf)).keys() == known.keys()
    assert (await told(bootstrap, names.anomalies_ecs)).keys() == known.keys()
    opened = samples["vpcflow_findings_total"]
    assert sum(opened.values()) == len(known)
    assert {dict(labels)["detector"] for labels in opened} == detectors
    assert sum(samples["vpcflow_unwatched_records_total"].values()) == 0


@pytest.mark.parametrize("one", [UNUSUAL_VOLUME, COST_SURGE], ids=lambda one: one.name)
async def test_days_of_habit_and_then_one_unlike_them(apache_kafka: str, one: Detector) -> None:
    """Traffic at three in the morning unlike any night before; a bill that trebles in a day."""
    names, minutes = _names(), defaultdict[int, list[str]](list)
    for line in next(example for example in one.examples if example.fires).lines:
        start = int(line.split()[10])
        minutes[start - start % 60].append(line)
    given = messages(minutes, HEADER)
    known = expected(given)
    assert [x for x in known.values() if isinstance(x, dict) and x["detector"] == one.name]
    later = f"2 123456789012 eni-0a {INSIDE} {PUBLIC} 40001 443 6 1 44 {{0}} {{0}} ACCEPT OK".format
    end = max(minutes) + 60
    await publish(apache_kafka, names, [*given, *trailing(end, later, HEADER)])

    with Vpcflow("worker", "--broker", f"kafka://{apache_kafka}", environ=environ(names)) as worker:
        await until("all minutes are closed", partial(watched_to, worker, end))

    assert without_origins(await told(apache_kafka, names.anomalies)) == known


async def test_kill_9_in_an_episode_changes_no_finding(apache_kafka: str) -> None:
    """Killed while the database refuses, twice: the same ids, words and counts as of a worker that lived."""
    names, (given, then) = _names(), _refusing()
    publishing = asyncio.create_task(publish(apache_kafka, names, [*given, *then], pause=0.2))
    await asyncio.sleep(3.0)

    with Vpcflow("worker", "--broker", f"kafka://{apache_kafka}", environ=environ(names)) as worker:
        for minute in (REFUSED + 3, REFUSED + 12):
            await until("some are watched", partial(watched_to, worker, T0 + 60 * minute))
            await asyncio.to_thread(worker.kill9)
            await asyncio.to_thread(worker.start)
        await publishing
        await until("all minutes are closed", partial(watched_to, worker, END))
        samples = await asyncio.to_thread(worker.samples)

    known = expected(given)
    assert without_origins(await told(apache_kafka, names.anomalies)) == known
    assert sum(samples["vpcflow_findings_total"].values()) == len(known)


async def test_files_that_are_replayed_are_watched_to_their_end(tmp_path: Path) -> None:
    """Nothing comes after them that says that their last minutes are over: `vpcflow up --replay` does."""
    given, _ = _refusing()
    log = tmp_path / "flows.log"
    log.write_bytes(b"\n".join([FORMAT.encode(), *(message.value for message in given)]) + b"\n")
    known = expected(given)

    with Vpcflow("up", "--replay", str(log)) as up:
        await until("all minutes are closed", partial(watched_to, up, END))
        samples = await asyncio.to_thread(up.samples)

    assert sum(samples["vpcflow_findings_total"].values()) == len(known)
    assert sum(samples["vpcflow_unwatched_records_total"].values()) == 0


async def test_alertmanager_is_told_open_findings_and_its_alerts_end_with_the_worker(embedded: str) -> None:
    """Labels say what a finding is about, annotations what was seen; nobody has to close an alert."""
    names, (given, then) = _names(), _refusing()
    await publish(embedded, names, [*given, *then])
    try:
        server = Alertmanager()
    except MissingError as error:
        missing(error)
        return
    with server:
        settings = environ(
            names, VPCFLOW_DETECTION__ALERTMANAGER=server.url, VPCFLOW_DETECTION__ALERTMANAGER_SECONDS="1"
        )
        with Vpcflow("worker", "--broker", f"kafka://{embedded}", environ=settings) as worker:
            await until("all minutes are closed", partial(watched_to, worker, END))
            await until("a scan fires", lambda: "PortScan" in server.firing())
            [scan] = [one for one in server.alerts() if one["labels"]["alertname"] == "PortScan"]
            samples = await asyncio.to_thread(worker.samples)
        await until("all alerts ended", lambda: not server.firing())

    assert scan["labels"] == {
        "alertname": "PortScan", "detector": "port-scan", "severity": "medium", "eni": ENI, "source": SCANNER,
        "target": HOST,
    }  # fmt: skip
    assert scan["annotations"]["summary"].startswith(f"{SCANNER} tried 12 ports of {HOST}")
    assert scan["annotations"]["finding"] in await told(embedded, names.anomalies)
    assert samples["vpcflow_alertmanager_requests_total"][("outcome", "ok"),] > 0


async def test_rules_are_taken_without_a_restart_and_a_bad_edit_is_refused(embedded: str, tmp_path: Path) -> None:
    """The scan of twelve ports is none by the first rules; it is told by those that come while the worker runs."""
    names, (given, then), rules = _names(), _refusing(), tmp_path / "detectors.yaml"
    rules.write_text("port-scan:\n  ports: 50\n")
    before = [message for message in given if message.arrival_ms < 1000 * (T0 + 60 * SCAN)]
    await publish(embedded, names, before)
    settings = environ(names, VPCFLOW_DETECTION__DETECTORS=str(rules))

    with Vpcflow("worker", "--broker", f"kafka://{embedded}", environ=settings) as worker:

        def taken(value: int) -> bool:
            return set(worker.samples()["vpcflow_rules_last_reload_successful"].values()) == {value}

        rules.write_text("port-scan:\n  prots: 10\n")
        await until("the bad edit is refused", partial(taken, 0))
        rules.write_text("port-scan:\n  ports: 10\n")
        await until("the good one is taken", partial(taken, 1))
        await publish(embedded, names, [*given[len(before) :], *then])
        await until("all minutes are closed", partial(watched_to, worker, END))
        printed = worker.printed()

    assert "port-scan.prots: unknown key; the nearest is ports" in printed
    found = await told(embedded, names.anomalies)
    assert [x["id"] for x in found.values() if isinstance(x, dict) and x["detector"] == "port-scan"]
