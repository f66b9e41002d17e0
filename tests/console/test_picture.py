"""A worker's picture: rates, histories, tops, findings, and what it says of itself; bounded, whatever comes."""

from __future__ import annotations

import json

import orjson
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from streams.console.models import Picture, Rates
from streams.console.picture import EVERY_SECONDS, LARGEST_BYTES, MOST_FINDINGS, POINTS, TOP, Maker, encode, most_talked
from streams.core.watching import Figures
from streams.metrics import Snapshot
from tests.console.snapshots import Sums, finding, snapshot, talked
from tests.core.traffic import examples

READY = (True, "ready")
HOSTILE = "<img src=x onerror=alert(1)>"


def looks(*given: Snapshot, every: float = EVERY_SECONDS) -> list[Picture]:
    """A picture of each snapshot, so many seconds apart."""
    maker = Maker("w")
    return [maker.look(one, READY, at * every, 1000 + at * every, {}) for at, one in enumerate(given)]


def test_rates_are_unknown_before_two_snapshots_and_the_difference_after_them() -> None:
    first, second = looks(snapshot({"a": (0, 0, 0)}), snapshot({"a": (500, 50, 10)}, lines=60))

    assert first.rates is None
    assert first.history == ()
    assert second.rates == Rates(records=12, bytes=100, accepted=8, rejected=2)
    assert [(point.epoch, point.rates) for point in second.history] == [(1005, second.rates)]


def test_rates_are_those_of_a_minute_and_points_those_of_five_seconds() -> None:
    """AWS delivers once a minute: all of it in one of twelve looks."""
    before, after = snapshot({"a": (0, 0, 0)}), snapshot({"a": (6000, 60, 0)}, lines=60)

    last = looks(*[before] * 5, *[after] * 7)[-1]

    assert last.rates == Rates(records=1.09, bytes=109.1, accepted=1.09, rejected=0)
    assert [point.rates.bytes for point in last.history] == [0, 0, 0, 0, 1200, 0, 0, 0, 0, 0, 0]
    assert last.enis[0].history == (None, None, None, None, 1200, None, None, None, None, None, None)


def test_what_stopped_is_gone_after_a_minute_and_a_history_ends_after_five() -> None:
    before, after = snapshot({"a": (0, 0, 0)}), snapshot({"a": (6000, 60, 0)})

    pictures = looks(before, *[after] * 100)

    assert pictures[20].enis == ()
    assert len(pictures[-1].history) == POINTS


def test_partitions_that_come_are_no_traffic() -> None:
    given = snapshot({"a": (10**12, 10**6, 0)}, lines=10**6, partitions=(0, 1))

    pictures = looks(snapshot(), snapshot(), given, given)

    assert pictures[2].rates is None
    assert pictures[2].enis == ()
    assert pictures[3].rates == Rates(0, 0, 0, 0)
    assert max(point.rates.bytes for point in pictures[3].history) == 0


def test_tops_have_those_with_most_bytes_and_those_with_most_refused() -> None:
    names = [f"eni-{place:03}" for place in range(80)]
    sums: dict[str, Sums] = {name: (place * 10, 10, 80 - place) for place, name in enumerate(names, 1)}
    ports: dict[tuple[int, int], Sums] = {(443, 6): (70, 7, 0), (23, 6): (5, 5, 5), (-1, -1): (9, 1, 0)}

    last = looks(snapshot(), snapshot(sums, ports))[-1]

    assert [one.eni for one in last.enis] == names[::-1][:TOP]
    assert [one.eni for one in last.rejected_enis] == names[:20]
    assert last.enis[0].bytes == 800 / 5
    assert [(one.port, one.service) for one in last.ports] == [
        ("443/tcp", "https"),
        ("all others", ""),
        ("23/tcp", "telnet"),
    ]
    assert [(one.port, one.rejected) for one in last.rejected_ports] == [("23/tcp", 1)]


def test_counts_are_those_of_all_partitions() -> None:
    [found] = looks(snapshot(lines=10, partitions=(0, 1)))

    assert found.counts.lag == {"raw": 10}
    assert found.counts.dead_letters == {"few_fields": 4}
    assert (found.counts.late, found.counts.future, found.counts.folded, found.counts.tabled) == (6, 2, 20, 20)
    assert found.watermark == 1000


def test_findings_are_the_worst_and_all_are_counted() -> None:
    many = [finding(f"{place:03}", severity=1 + place % 2, last=place) for place in range(300)]

    [found] = looks(snapshot(watched=Figures(findings=many)))

    assert found.open == {"medium": 150, "low": 150}
    assert [one.id for one in found.findings] == [f"{place:03}" for place in range(299, 0, -2)][:MOST_FINDINGS]
    assert (found.detecting, found.findings[0].service, found.findings[0].severity) == (True, "22/tcp", "medium")


def test_talkers_are_named_as_people_name_them() -> None:
    [found] = looks(snapshot(watched=Figures(talkers=talked(60, ("a", 5), ("b", 9)))))

    assert (found.talked, [(one.client, one.port, one.service) for one in found.talkers]) == (
        60, [("b", "443/tcp", "https"), ("a", "443/tcp", "https")],
    )  # fmt: skip


def test_partitions_of_one_worker_have_their_talkers_together_if_they_are_of_one_minute() -> None:
    found = most_talked([talked(60, ("old", 99)), talked(120, ("a", 5), ("b", 7)), talked(120, ("a", 9)), talked(None)])

    assert (found.minute, [(one.client, one.bytes) for one in found.rows]) == (120, [("a", 9), ("b", 7)])


def test_nobody_looks_is_told_apart_from_nothing_found() -> None:
    [without] = looks(snapshot())
    [found] = looks(snapshot(watched=Figures()))

    assert (without.detecting, found.detecting, found.open) == (False, True, {})


def test_names_of_a_log_line_stay_what_they_are() -> None:
    pictures = looks(snapshot(), snapshot({HOSTILE: (1, 1, 1)}, watched=Figures(findings=[finding(eni=HOSTILE)])))

    told = orjson.loads(encode(pictures[-1]))

    assert (told["enis"][0]["eni"], told["findings"][0]["eni"]) == (HOSTILE, HOSTILE)


def test_a_picture_is_never_larger_than_the_limit_and_says_how_many_findings_there_are() -> None:
    long = [finding(f"{place}", evidence=json.dumps({"x": "y" * 10_000})) for place in range(90)]

    [found] = looks(snapshot(watched=Figures(findings=long)))
    told = orjson.loads(encode(found))

    assert len(encode(found)) <= LARGEST_BYTES
    assert 0 < len(told["findings"]) < 90
    assert told["open"] == {"medium": 90}


@examples(50)
@given(st.lists(st.tuples(st.text(max_size=255), st.integers(0, 2**60), st.integers(1, 2**40)), max_size=200))
def test_a_picture_comes_back_as_it_was_told(rows: list[tuple[str, int, int]]) -> None:
    sums: dict[str, Sums] = {name: (size, flows, flows // 2) for name, size, flows in rows}

    last = looks(snapshot(), snapshot(sums))[-1]

    assert TypeAdapter(Picture).validate_json(encode(last)) == last
    assert len(encode(last)) <= LARGEST_BYTES
