"""Series never go back, and nothing is counted by two of them: the budget against a ledger with dicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core import tables
from streams.core.budget import SeriesBudget
from streams.core.tables import ENI, PORT
from tests.core.traffic import examples

TTL = 100
ENIS = ("eni-a", "eni-b", "eni-c", "eni-d")
Totals = dict[tuple[str, int], tuple[int, int]]
"""(eni, action) -> bytes, last."""


def _frame(totals: Mapping[tuple[str, int], tuple[int, int]]) -> pl.DataFrame:
    rows = [
        {"eni": eni, "direction": 0, "action": action, "replay": False, "flows": octets, "packets": octets,
         "bytes": octets, "first": 0, "last": last}
        for (eni, action), (octets, last) in totals.items()
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=ENI.schema)


def _shown(rows: pl.DataFrame) -> dict[tuple[str, int], int]:
    found = {(eni, action): octets for eni, action, octets in rows.select("eni", "action", "bytes").iter_rows()}
    assert len(found) == rows.height, "each series once"
    return found


def _view(budget: SeriesBudget, totals: Mapping[tuple[str, int], tuple[int, int]]) -> dict[tuple[str, int], int]:
    return _shown(budget.view(_frame(totals)).rows)


@dataclass
class Ledger:
    """What each key's own series counted, and what `other` counted of it, key by key."""

    limit: int
    own: dict[tuple[str, int], int] = field(default_factory=dict)
    share: dict[tuple[str, int], int] = field(default_factory=dict)
    lost: dict[int, int] = field(default_factory=lambda: {1: 0, 2: 0})
    enis: list[str] = field(default_factory=list)

    def view(self, totals: Totals) -> dict[tuple[str, int], int]:
        real = {key: value for key, value in totals.items() if key[0] not in (tables.OTHER, tables.EXPIRED)}
        last = {eni: max(at for (one, _), (_, at) in real.items() if one == eni) for eni, _ in real}
        size = {eni: sum(octets for (one, _), (octets, _) in real.items() if one == eni) for eni in last}
        alive = {eni for eni, at in last.items() if at >= max(last.values()) - TTL}
        before, known = self.enis, {eni for eni, _ in (*self.own, *self.share)}
        kept = [eni for eni in before if eni in alive]
        waiting = sorted(alive - set(kept), key=lambda eni: (-size[eni], eni))
        self.enis = kept + waiting[: max(0, self.limit - len(kept))]
        for key in [key for key in self.share if key not in real]:
            self.lost[key[1]] += self.share.pop(key)
            self.own.pop(key, None)
        for key, (octets, _) in real.items():
            grows = key[0] in self.enis or key[0] in before or (key[0] not in alive and key[0] not in known)
            mine, others = (octets - self.share.get(key, 0), None) if grows else (None, octets - self.own.get(key, 0))
            self.own[key] = self.own.get(key, 0) if mine is None else mine
            self.share[key] = self.share.get(key, 0) if others is None else others
        series = {key: self.own[key] for key in real if key[0] in self.enis}
        for action in (1, 2):
            others = sum(octets for key, octets in self.share.items() if key[1] == action) + self.lost[action]
            others += totals.get((tables.OTHER, action), (0, 0))[0]
            series[tables.OTHER, action] = others
        return series


def _move(draw: st.DrawFn, totals: Totals, now: int) -> Totals:
    """Keys grow; some that are silent for long leave for the row `expired`, as core.combine does it."""
    moved = dict(totals)
    for eni in draw(st.lists(st.sampled_from((*ENIS, tables.OTHER)), max_size=3)):
        key = (eni, draw(st.sampled_from((1, 2))))
        octets, last = moved.get(key, (0, 0))
        moved[key] = octets + draw(st.integers(1, 50)), max(last, now - draw(st.sampled_from((0, 0, 0, 500))))
    for eni in ENIS:
        rows = {key: value for key, value in moved.items() if key[0] == eni}
        if rows and max(last for _, last in rows.values()) < now - 3 * TTL:
            for key, (octets, last) in rows.items():
                del moved[key]
                there = moved.get((tables.EXPIRED, key[1]), (0, 0))[0]
                moved[tables.EXPIRED, key[1]] = there + octets, last
    return moved


@examples(40)
@given(st.data(), st.integers(0, 3))
def test_no_series_goes_back_and_the_ledger_agrees(data: st.DataObject, limit: int) -> None:
    """Keys come, grow, fall silent, leave and come back; `other` and all shown series only grow, to the unit."""
    budget, ledger = SeriesBudget(ENI, limit, TTL), Ledger(limit)
    totals: Totals = {}
    before: dict[tuple[str, int], int] = {}
    now = 1000
    for _ in range(data.draw(st.integers(1, 8))):
        now += data.draw(st.sampled_from((10, 60, 150)))
        totals = data.draw(st.composite(_move)(totals, now))
        shown = _view(budget, totals)

        assert shown == {key: octets for key, octets in ledger.view(totals).items() if octets or key in shown}
        assert len({eni for eni, _ in shown} - {tables.OTHER}) <= limit
        for key, octets in shown.items():
            assert octets >= before.get(key, 0)
        assert {key for key in before if key[0] == tables.OTHER} <= shown.keys()
        before = shown


def test_without_overflow_each_key_shows_its_whole_total_after_every_start() -> None:
    totals = {("eni-a", 1): (10, 50), ("eni-b", 1): (20, 50)}

    for _ in range(2):
        assert _view(SeriesBudget(ENI, 2, TTL), totals) == {("eni-a", 1): 10, ("eni-b", 1): 20}


def test_a_key_that_gets_its_place_late_starts_at_zero_and_other_keeps_what_it_had() -> None:
    budget = SeriesBudget(ENI, 1, TTL)
    assert _view(budget, {("eni-a", 1): (90, 0), ("eni-b", 1): (20, 0)}) == {("eni-a", 1): 90, (tables.OTHER, 1): 20}

    late = {("eni-a", 1): (90, 0), ("eni-b", 1): (25, 500)}

    assert _view(budget, late) == {("eni-b", 1): 5, (tables.OTHER, 1): 20}


def test_other_does_not_go_back_when_a_key_without_a_place_falls_silent() -> None:
    budget = SeriesBudget(ENI, 1, TTL)
    _view(budget, {("eni-a", 1): (90, 0), ("eni-b", 1): (20, 0)})

    silent = {("eni-a", 1): (95, 500), ("eni-b", 1): (20, 0)}

    assert _view(budget, silent) == {("eni-a", 1): 95, (tables.OTHER, 1): 20}


def test_other_does_not_go_back_when_a_key_leaves_the_table() -> None:
    budget = SeriesBudget(ENI, 1, TTL)
    _view(budget, {("eni-a", 1): (90, 0), ("eni-b", 1): (20, 0)})

    gone = {("eni-a", 1): (95, 500), (tables.EXPIRED, 1): (20, 0)}

    assert _view(budget, gone) == {("eni-a", 1): 95, (tables.OTHER, 1): 20}


def test_a_key_that_comes_back_without_a_place_is_not_counted_twice() -> None:
    budget = SeriesBudget(ENI, 1, TTL)
    _view(budget, {("eni-a", 1): (90, 0)})
    _view(budget, {("eni-a", 1): (90, 0), ("eni-b", 1): (7, 500)})

    back = {("eni-a", 1): (92, 510), ("eni-b", 1): (8, 510)}

    assert _view(budget, back) == {("eni-b", 1): 8, (tables.OTHER, 1): 2}


def test_evictions_are_counted_once() -> None:
    budget = SeriesBudget(ENI, 5, TTL)
    assert budget.view(_frame({("eni-a", 1): (1, 0), ("eni-b", 1): (1, 0)})).evicted == 0

    later = {("eni-a", 1): (1, 0), ("eni-b", 1): (1, 0), ("eni-c", 1): (1, 500)}

    assert [budget.view(_frame(later)).evicted for _ in range(2)] == [2, 0]


@pytest.mark.parametrize("limit", [0, 1, 2, 3])
def test_a_port_is_one_key_with_its_protocol(limit: int) -> None:
    rows = [
        {"port": port, "protocol": protocol, "action": 1, "replay": False, "flows": 1, "packets": 1, "bytes": octets,
         "first": 0, "last": 0}
        for port, protocol, octets in ((53, 6, 1), (53, 17, 2), (443, 6, 3), (tables.OTHER_PORT, tables.OTHER_PORT, 4))
    ]  # fmt: skip

    shown = SeriesBudget(PORT, limit, TTL).view(pl.DataFrame(rows, schema=PORT.schema)).rows

    found = {(port, protocol): octets for port, protocol, octets in shown.select("port", "protocol", "bytes").rows()}
    ranked = [((443, 6), 3), ((53, 17), 2), ((53, 6), 1)]
    rest = 4 + sum(octets for _, octets in ranked[limit:])
    assert found == dict(ranked[:limit]) | {(tables.OTHER_PORT, tables.OTHER_PORT): rest}


def test_an_empty_table_shows_nothing() -> None:
    assert SeriesBudget(ENI, 3, TTL).view(ENI.empty()).rows.height == 0
