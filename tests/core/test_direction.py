"""Which way a record went is learnt, whatever the order, the cuts and the raw partitions."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core import direction
from streams.core.facts import facts
from streams.core.parse import parse
from tests.core.traffic import FORMATS, OWN, PEERS, Flow, cuts, examples, flows, parts

Sides = tuple[str, str | None, str | None]
"""eni, srcaddr, dstaddr."""


def _frame(rows: list[Sides]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(("eni", "srcaddr", "dstaddr"), pl.String), orient="row")


def _learnt(partitions: list[list[list[Sides]]]) -> list[tuple[str, str]]:
    """(eni, direction) of every record, in the order of partitions and batches; each partition learns for itself."""
    codes, known = [], []
    for batches in partitions:
        owners, mine = direction.no_owners(), []
        for batch in batches:
            found, owners = direction.follow(_frame(batch), owners)
            mine.append(pl.DataFrame({"eni": [eni for eni, _, _ in batch], "direction": found}))
        codes.append(mine)
        known.append(owners)
    told = [
        direction.resolved(rows, owners)
        for mine, owners in zip(codes, direction.combined(known), strict=True)
        for rows in mine
    ]
    return [(eni, direction.NAMES[code]) for rows in told for eni, code in rows.select("eni", "direction").iter_rows()]


def _sides(flow: Flow) -> Sides:
    return flow.eni, flow.src, flow.dst


def _truth(flow: Flow) -> str:
    return "egress" if flow.src == OWN[flow.eni][":" in flow.src] else "ingress"


@examples(40)
@given(st.data(), st.lists(flows(), min_size=1, max_size=14))
def test_direction_is_learnt_whatever_the_order_the_cuts_and_the_partitions(
    data: st.DataObject, drawn: list[Flow]
) -> None:
    """An ENI with two peers is told for all its records, also for those that came before anything told."""
    # A second peer for each ENI and IP version that is there: now its own address is the only one that they share.
    there = {(flow.eni, ":" in flow.src) for flow in drawn}
    peers = {key: [peer for peer in PEERS[key[1]] if peer != OWN[key[0]][key[1]]][:2] for key in there}
    extra = [
        Flow(eni, OWN[eni][six], peer, (1, 2), 6, 1, 1, 0, 0) for (eni, six), both in peers.items() for peer in both
    ]
    mixed = data.draw(st.permutations([*drawn, *extra]))
    places = data.draw(st.lists(st.integers(0, 2), min_size=len(mixed), max_size=len(mixed)))
    spread = [[flow for flow, at in zip(mixed, places, strict=True) if at == n] for n in range(3)]
    batched = [parts([_sides(flow) for flow in some], data.draw(cuts(len(some)))) for some in spread]

    assert _learnt(batched) == [(flow.eni, _truth(flow)) for some in spread for flow in some]


ANY = st.sampled_from(("10.0.0.1", "10.0.0.2", "10.0.0.3", "192.0.2.1", "2001:db8::1", "fd00::2", None))


@examples(60)
@given(st.data(), st.lists(st.tuples(st.sampled_from(("a", "b")), ANY, ANY), max_size=12))
def test_cuts_do_not_show_even_where_records_contradict_each_other(data: st.DataObject, rows: list[Sides]) -> None:
    """What is learnt is a function of the records so far, not of where a batch ends."""
    whole = _learnt([[rows]])

    assert _learnt([parts(rows, data.draw(cuts(len(rows))))]) == whole
    assert _learnt([[[row] for row in rows]]) == whole


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([("e", "10.0.0.1", "192.0.2.1")], ["egress"]),  # one pair: the private address is the VPC's
        ([("e", "192.0.2.1", "10.0.0.1")], ["ingress"]),
        ([("e", "fd00::1", "2001:db8::1")], ["egress"]),
        ([("e", "100.64.0.1", "192.0.2.1"), ("e", "192.0.2.1", "100.64.0.1")], ["egress", "ingress"]),
        ([("e", "10.0.0.1", "10.0.0.2")], ["unknown"]),  # nothing tells
        ([("e", "192.0.2.1", "198.51.100.1")], ["unknown"]),
        ([("e", "10.0.0.1", "10.0.0.2"), ("e", "10.0.0.2", "10.0.0.3")], ["ingress", "egress"]),
        ([("e", "10.0.0.1", "10.0.0.1")], ["egress"]),  # to itself
        ([("e", "10.0.0.1", "10.0.0.2"), ("e", "10.0.0.3", "10.0.0.4")], ["unknown", "unknown"]),  # contradiction
        ([("e", "10.0.0.1", "10.0.0.2"), ("e", "10.0.0.1", "10.0.0.3"), ("e", "10.0.0.8", "10.0.0.9")],
         ["egress", "egress", "unknown"]),
        ([("e", None, "10.0.0.1"), ("e", "10.0.0.1", "10.0.0.2"), ("e", "10.0.0.1", "10.0.0.3")],
         ["unknown", "egress", "egress"]),
        ([("e", "10.0.0.1", "10.0.0.2"), ("e", "10.0.0.1", "10.0.0.3"), ("e", "10.0.0.1", None)],
         ["egress", "egress", "unknown"]),  # a record with one address is told by no order
        ([("e", "10.0.0.1", "10.0.0.2"), ("e", "fd00::1", "2001:db8::1"), ("e", "10.0.0.3", "10.0.0.2")],
         ["ingress", "egress", "ingress"]),  # each IP version for itself
    ],
)  # fmt: skip
def test_directions_of(rows: list[Sides], told: list[str]) -> None:
    assert _learnt([[rows]]) == [("e", way) for way in told]


def test_partitions_that_contradict_each_other_leave_open_records_unknown() -> None:
    one: list[Sides] = [("e", "10.0.0.1", "10.0.0.2")]
    other: list[Sides] = [("e", "10.0.0.8", "10.0.0.9")]

    assert _learnt([[one], [other]]) == [("e", "unknown"), ("e", "unknown")]


def test_nothing_is_learnt_twice() -> None:
    """`owners` is the very frame it was, so that nobody writes it again."""
    batch = _frame([("e", "10.0.0.1", "10.0.0.2"), ("e", "10.0.0.1", "10.0.0.3")])
    _, owners = direction.follow(batch, direction.no_owners())

    assert direction.follow(batch, owners)[1] is owners


def test_records_whose_direction_is_told_teach_nothing_wherever_the_batch_ends() -> None:
    """flow-direction `-` beside told ones: what a blind record becomes must not hang on its neighbours in the batch."""
    told = Flow("e", "10.0.0.1", "10.0.0.2", (1, 2), 6, 1, 1, 0, 0, way="egress").line(5)
    blind = Flow("e", "10.0.0.1", "10.0.0.3", (1, 2), 6, 1, 1, 0, 0).line(5)
    fmt = tuple(FORMATS[5].split())

    def owners(*batches: list[str]) -> pl.DataFrame:
        known = direction.no_owners()
        for lines in batches:
            known = facts(parse("\n".join(lines).encode(), fmt).records, known, 0, replay=False).owners
        return known

    assert owners([told, blind]).equals(owners([told], [blind]))
    assert owners([told]).height == 0


def test_without_partitions_nothing_is_combined() -> None:
    assert direction.combined([]) == []
