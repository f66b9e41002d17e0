"""A short latency run, and what judges the long one: probes are read right, each bound is seen when it is broken."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

import polars as pl
import pytest

from streams.core.tables import ENI, destination
from streams.metrics import Exposition, Instruments, Snapshot
from tests.kafka.oracle import Oracle
from tests.load import probe
from tests.load.judge import Bounds, Latency, LatencyBounds, Look, Start, bucket, latency_faults, quantile
from tests.load.latency import LatencyPlan, latency
from tests.load.probe import Glimpse, Probe, Sighting, miscounted, sightings
from tests.load.report import latency_rows, page

SHORT = LatencyPlan(seconds=8.0, probes=20, rate=5_000.0, every=0.5, starts=1, enis=0)
PATIENT = Bounds(scrape_seconds=5.0), LatencyBounds(p50=12.0, p99=40.0, empty=45.0)
"""Of a machine that may have other tests to run: the seconds demanded are for `make latency`, alone on it. A worker
that has to wait for a core rests for twelve times as long after it (agents.loop): 3 s are not enough there.
"""

WAYS = 4


@pytest.mark.timeout(300)
def test_probes_beside_a_load_are_seen_in_time_and_counted_once(apache_kafka: str) -> None:
    run = latency(apache_kafka, SHORT, print)

    assert latency_faults(run, *PATIENT) == []
    assert len(run.most) == run.probes == SHORT.probes
    assert all(least < most for least, most in zip(run.least, run.most, strict=True))


# -- probes ------------------------------------------------------------------------------------------------------------


def test_probes_go_over_all_raw_partitions_to_all_summary_partitions() -> None:
    names = [probe.eni(number, WAYS) for number in range(3 * WAYS**2)]
    to = pl.DataFrame({"eni": names}).select(destination(ENI, WAYS)).to_series().to_list()

    assert {(number % WAYS, where) for number, where in enumerate(to)} == {(a, b) for a in range(4) for b in range(4)}
    assert len(set(names)) == WAYS**2
    assert len({(name, number % WAYS) for number, name in enumerate(names)}) == WAYS**2
    assert {len(name) for name in names} == {len("eni-0a1b2c3d4e5f60718")}


def test_a_probe_is_one_record_of_the_last_minute_and_no_repeat_of_another() -> None:
    made = [probe.message(number, WAYS, 1_800_000_030.5) for number in range(20)]

    assert {one.lines for one in made} == {1}
    assert {one.value.split()[11] for one in made} == {b"1799999999"}
    assert {one.arrival_ms for one in made} == {1_800_000_030_500}
    assert len({one.origin for one in made}) == 20
    assert Oracle([made[0].value]).enis() == {(probe.eni(0, WAYS), "ACCEPT"): (1, 1, 40)}


def test_flows_of_probes_are_read_whatever_their_direction_and_those_of_others_are_not() -> None:
    mine, other = probe.eni(3, WAYS), "eni-0a1b2c3d4e5f60718"
    text = "\n".join(
        f'vpcflow_eni_{unit}_total{{action="{action}",direction="{way}",eni="{eni}"}} {value}'
        for unit, action, way, eni, value in (
            ("flows", "ACCEPT", "egress", mine, "3.0"),
            ("flows", "ACCEPT", "ingress", mine, "1e+02"),
            ("bytes", "ACCEPT", "egress", mine, "999.0"),
            ("flows", "ACCEPT", "egress", other, "7.0"),
        )
    )

    assert probe.flows(text) == {mine: 103}


def test_flows_and_the_histogram_are_read_as_the_worker_writes_them() -> None:
    """From a real exposition of one record, and of three summaries that were visible after 0.2, 0.2 and 4 seconds."""
    eni = probe.eni(0, WAYS)
    values = {"eni": eni, "flows": 2, "packets": 2, "bytes": 80, "first": 1, "last": 2}
    row = {name: values.get(name, 0) for name in ENI.empty().columns}
    enis = pl.DataFrame([row], schema=ENI.empty().schema)
    instruments = Instruments()
    for seconds in (0.2, 0.2, 4.0):
        instruments.visible(seconds)
    totals = {**Snapshot().totals, "eni": enis}

    text = Exposition(instruments, {"eni": 10, "port": 10}, 3600).render(Snapshot(totals=totals)).decode()

    assert probe.flows(text) == {eni: 2}
    told = probe.told(text)
    assert (told[0.1], told[0.25], told[3.0], told[5.0], told[inf]) == (0, 2, 2, 3, 3)


def _glimpse(at: float, flows: int) -> Glimpse:
    return Glimpse(at, at + 0.1, {"eni-1": flows} if flows else {})


def test_a_probe_is_seen_between_the_last_scrape_without_it_and_the_first_one_with_it() -> None:
    r"""
    scrapes  |0-----|1-----|1-----|3-----|
    probes    ^1       ^2 ^3                  all are of one ENI
    """
    probes = [Probe("eni-1", 1, 0.2, 0.25), Probe("eni-1", 2, 1.5, 1.5), Probe("eni-1", 3, 2.0, 2.5)]
    glimpses = [_glimpse(at, flows) for at, flows in ((0.0, 0), (1.0, 1), (2.0, 1), (3.0, 3))]

    found = sightings(probes, glimpses)

    expected = [Sighting(0.0, 0.85), Sighting(0.5, 1.6), Sighting(0.0, 0.6)]
    assert [one.least for one in found] == pytest.approx([one.least for one in expected])
    assert [one.most for one in found] == pytest.approx([one.most for one in expected])


def test_a_probe_that_no_scrape_shows_is_not_seen() -> None:
    glimpses = [_glimpse(0.0, 0), _glimpse(1.0, 1)]

    assert len(sightings([Probe("eni-1", 2, 0.1, 0.2), Probe("eni-2", 1, 0.1, 0.2)], glimpses)) == 0


def test_a_probe_too_few_or_too_many_is_told() -> None:
    probes = [Probe("eni-1", number, 0.0, 0.0) for number in (1, 2)]

    assert miscounted(probes, _glimpse(9.0, 2)) == []
    assert miscounted(probes, _glimpse(9.0, 1)) == ["eni-1: 2 probes were sent, 1 are counted"]
    assert miscounted(probes, _glimpse(9.0, 3)) == ["eni-1: 2 probes were sent, 3 are counted"]
    assert miscounted(probes, _glimpse(9.0, 0)) == ["eni-1: 2 probes were sent, 0 are counted"]
    assert miscounted([], _glimpse(9.0, 1)) == ["eni-1: 0 probes were sent, 1 are counted"]


# -- bounds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "part", "expected"),
    [(1, 0.5, 1), (4, 0.5, 2), (5, 0.5, 3), (100, 0.99, 99), (101, 0.99, 100), (10, 1, 10), (0, 0.5, inf)],
)
def test_a_quantile_is_the_smallest_value_that_so_many_do_not_exceed(count: int, part: float, expected: float) -> None:
    assert quantile(list(range(count, 0, -1)), part) == expected


@pytest.mark.parametrize(("part", "expected"), [(0.1, (0, 1)), (0.5, (0, 1)), (0.6, (1, 3)), (0.99, (3, inf))])
def test_the_bucket_of_a_quantile_is_the_first_that_holds_so_many(part: float, expected: tuple[float, float]) -> None:
    assert bucket({1.0: 5, 3.0: 9, inf: 10}, part) == expected


def test_a_histogram_of_nothing_tells_nothing() -> None:
    assert bucket({}, 0.5) == bucket({1.0: 0, inf: 0}, 0.5) == (0, inf)


LOOKS = [Look(float(at), 0.1, 300.0, 310.0, {0: 100 * at}, {0: 0}, series=5000) for at in range(4)]


def _latency(**change: Any) -> Latency:
    """100 probes, of which the n-th is visible after 0.n seconds at most, the last one after 2.5; scraping adds 0.1."""
    most = [at / 100 for at in range(99)] + [2.5]
    run = Latency(
        capacity=900.0, part=0.5, rate=450.0, seconds=60.0, looks=LOOKS, sent=300, counted=300, differences=[],
        probes=100, least=[max(0.0, seconds - 0.1) for seconds in most], most=most, confirmed=[0.01] * 100,
        told={0.5: 20, 1.0: 90, 3.0: 100, inf: 100},
        starts=[Start("empty", [3.0, 4.9], 0, [0, 0]), Start("full", [14.9], 70, [70])],
    )  # fmt: skip
    return replace(run, **change)


def _faults(**change: Any) -> list[str]:
    return latency_faults(_latency(**change), Bounds(), LatencyBounds())


def test_a_run_that_is_fast_enough_breaks_no_bound() -> None:
    assert _faults() == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"most": [1.0] * 100}, "half of the probes are visible within 1.00 s, not 1"),
        ({"most": [0.5] * 98 + [3.0] * 2}, "99 of 100 of the probes are visible within 3.00 s, not 3"),
        ({"most": [*[0.5] * 98, 2.9]}, "1 of 100 probes were never visible"),
        ({"counted": 299}, "300 lines were sent, 299 are counted"),
        ({"counted": 301}, "300 lines were sent, 301 are counted"),
        ({"differences": ["eni-1: off"]}, "eni-1: off"),
        ({"looks": [*LOOKS[:3], replace(LOOKS[3], ready=False)]}, "not ready at 1 of 4 looks"),
        ({"starts": [Start("empty", [3.0, 5.0], 0, [0, 0])]}, "ready empty: after 5.0 s, not 5"),
        ({"starts": [Start("full", [15.0], 70, [70])]}, "ready full: after 15.0 s, not 15"),
        ({"starts": [Start("full", [9.0], 70, [69])]}, "ready full, but with 69 flows of 70"),
        (
            {"told": {0.25: 60, 1.0: 100, inf: 100}},
            "vpcflow_pipeline_latency_seconds says that none took longer than 1 s, 2.40 s was seen",
        ),
        (
            {"told": {1.0: 10, 3.0: 40, inf: 100}},
            "vpcflow_pipeline_latency_seconds says that half take longer than 3 s, none was seen that does",
        ),
    ],
)
def test_what_is_slow_or_lost_or_told_wrong_breaks_a_bound(change: dict[str, Any], told: str) -> None:
    assert _faults(**change) == [told]


def test_no_probe_at_all_is_no_fast_run() -> None:
    faults = _faults(most=[], least=[])

    assert "100 of 100 probes were never visible" in faults
    assert "half of the probes are visible within inf s, not 1" in faults


def test_the_latency_has_a_section_of_the_page_behind_the_others() -> None:
    rows = latency_rows(_latency(), ["too slow"])
    old = page("", "Soak", [("a", "b")], {}, "make soak")

    both = page(old, "Latency", rows, {"date": "2026-01-02"}, "make latency")

    assert both.index("## Soak") < both.index("## Latency")
    assert "| **from the broker to /metrics**: p50, p99, slowest | **0.49 s, 0.98 s, 2.50 s** |" in both
    assert "| start to ready, full | **14.9 s** at most of 1, 14.9 s at least |" in both
    assert "the oldest of each summary: p50, p99, slowest | 0.5 to 1 s, 1 to 3 s, 1 to 3 s |" in both
    assert "| bounds broken | too slow |" in both
