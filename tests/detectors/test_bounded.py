"""Whoever sends from a million addresses exhausts nothing, and does not push out what is known of others."""

from __future__ import annotations

from dataclasses import fields, replace

import polars as pl
import pytest

from streams.core import statuses
from streams.core.analysis import Analysis
from streams.core.contacts import Contacts, Limits
from streams.core.detection import Detector, Watch
from streams.core.findings import MOST_HITS
from streams.core.parse import parse
from streams.detectors.examples import HEADER, INSIDE, PUBLIC, START, answered, record, silent
from streams.detectors.registry import DETECTORS

LIMIT = 50
LIMITS = ("edges", "all_calls", "targets", "services", "peers", "interfaces", "hours")
"""Settings that say how many rows a memory has at most."""


def talks(lines: list[str]) -> pl.DataFrame:
    analysis = Analysis()
    analysis.add(parse("\n".join((HEADER, *lines)).encode()))
    return analysis.talks()


def crowd(minutes: int, size: int) -> pl.DataFrame:
    """Each minute others: strangers who ask, some to be answered, interfaces that are new, calls to new hosts."""
    lines = []
    for n in range(minutes * size):
        at, there = n // size * 60 + n % 60, f"198.{18 + n // 60_000}.{n // 250 % 240}.{n % 250}"
        lines += answered(at, there, INSIDE, 443, socket=1024 + n % 50_000) if n % 2 else silent(at, there, INSIDE, 23)
        lines += answered(at, INSIDE, there, 443)
        lines += [record(at, f"10.1.{n // 250}.{n % 250}", there, (5000, 80), (4000, 160_000), eni=f"eni-{n}")]
    return talks(lines)


def limited(one: Detector) -> Detector:
    names = {each.name for each in fields(one.settings)} & set(LIMITS)
    return replace(one, settings=replace(one.settings, **dict.fromkeys(names, LIMIT)))


@pytest.fixture(scope="module")
def everybody() -> pl.DataFrame:
    return crowd(6, 120)


@pytest.mark.parametrize("one", DETECTORS, ids=lambda one: one.name)
def test_no_memory_has_more_rows_than_its_limit(one: Detector, everybody: pl.DataFrame) -> None:
    """A detector that remembers something has a limit, and the limit holds minute by minute."""
    assert not one.memory or {each.name for each in fields(one.settings)} & set(LIMITS)
    watch = Watch([limited(one)])
    for _ in watch.see_all(everybody, statuses.empty()):
        pass
    # what runs at the moment has a row an interface at most, of one span of ten minutes
    rows = {name: frame.height for name, frame in watch._memories[one.name].items() if name != "now"}
    assert all(count <= LIMIT for count in rows.values()), rows
    assert len(watch._episodes[one.name].open) <= MOST_HITS


def test_strangers_do_not_push_out_what_is_answered_every_day() -> None:
    limits = Limits(answered=10, vain=10, enis=5)
    known = Contacts.none()
    parts = talks([line for minute in range(5) for line in answered(60 * minute, PUBLIC, INSIDE, 443)]).partition_by(
        "pane", as_dict=True, include_key=False
    )
    for (start,), part in sorted(parts.items()):
        noise = talks([line for n in range(200) for line in silent(int(str(start)) % 300, f"198.18.{n}.1", INSIDE, 23)])
        known = known.after(int(str(start)), pl.concat([part, noise.drop("pane")]), limits)

    assert known.known.height == 11
    assert known.known.filter("answered").select("source", "target", "port").rows() == [(PUBLIC, INSIDE, 443)]
    assert known.owned.to_list() == [INSIDE]
    assert known.enis.height == 1


def test_an_address_behind_a_gateway_is_not_the_gateways_own() -> None:
    """What a NAT gateway takes in for a host of the Internet makes that host no neighbour."""
    analysis = Analysis()
    nat, host = "10.0.0.220", "203.0.113.9"
    lines = [
        f"{record(0, INSIDE, nat, (50_001, 443), eni='eni-nat')} {INSIDE} {host}",
        f"{record(0, '10.0.0.6', nat, (50_001, 80), eni='eni-nat')} 10.0.0.6 {nat}",
    ]
    analysis.add(parse("\n".join((f"{HEADER} pkt-srcaddr pkt-dstaddr", *lines)).encode()))
    known = Contacts.none().after(START, analysis.talks().drop("pane"), Limits())

    assert host in known.known.get_column("target").to_list()
    assert host not in known.owned.to_list()


def test_a_contact_is_forgotten_in_its_time() -> None:
    """In vain: a day after the first try, if it is repeated all the time. Answered: a week after the last time."""
    hour, day = 3600, 86_400
    tries = [line for n in range(30) for line in silent(n * hour, PUBLIC, INSIDE, 23)]
    limits = Limits(again_seconds=2 * hour)
    good = [*answered(0, PUBLIC, INSIDE, 443), *answered(6 * day, "203.0.113.9", INSIDE, 80)]
    late = answered(7 * day + 60, "203.0.113.9", INSIDE, 80)
    seen = []
    known = Contacts.none()
    parts = talks([*tries, *good, *late]).partition_by("pane", as_dict=True, include_key=False)
    for (start,), part in sorted(parts.items()):
        known = known.after(int(str(start)), part, limits)
        seen.append({row["port"]: (row["first"] - START) // hour for row in known.known.to_dicts()})

    assert seen[0] == {23: 0, 443: 0}
    assert seen[24] == {23: 0, 443: 0}
    assert seen[25] == seen[29] == {23: 25, 443: 0}
    assert seen[-2:] == [{80: 144, 443: 0}, {80: 144}]


def test_one_in_vain_that_comes_again_after_an_hour_is_a_first_one_once_more() -> None:
    """Whoever scans the same ports twice a day does so twice. What is answered is known for its week."""
    lines = [
        line for at in (0, 1800, 7200)
        for line in (*silent(at, PUBLIC, INSIDE, 23), *answered(at, PUBLIC, INSIDE, 443))
    ]  # fmt: skip
    known, fresh = Contacts.none(), []
    for (start,), part in sorted(talks(lines).partition_by("pane", as_dict=True, include_key=False).items()):
        known = known.after(int(str(start)), part, Limits())
        fresh.append(sorted(known.fresh.get_column("port").to_list()))

    assert fresh == [[23, 443], [], [23]]
