"""Rows of the tables add up in any order, and survive the wire or are refused."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Mapping

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core import tables
from streams.core.tables import ENI, PORT, TABLES, Table
from tests.core.traffic import cuts, examples, parts

COUNT = st.one_of(st.integers(0, 9), st.integers(-(2**40), 2**62))
ENI_NAME = st.one_of(
    st.sampled_from(("eni-0a1b2c3d4e5f6a7b8", "-", "other", "", "eni-ffff", "nat-x", "é", "-1f", "+ab")),
    st.text(max_size=8),
)
KEYS = {
    "eni": st.tuples(ENI_NAME, st.integers(0, 6), st.integers(0, 2), st.booleans()),
    "port": st.tuples(st.integers(-3, 65535), st.integers(-3, 255), st.integers(0, 2), st.booleans()),
}


@st.composite
def frames(draw: st.DrawFn, table: Table, counts: st.SearchStrategy[int] = COUNT) -> pl.DataFrame:
    """A frame of `table`; keys may repeat."""
    rows = st.tuples(KEYS[table.name], st.tuples(*[counts] * 5)).map(lambda row: (*row[0], *row[1]))
    return pl.DataFrame(draw(st.lists(rows, max_size=8)), schema=table.schema, orient="row")


ANY_TABLE = st.sampled_from(list(TABLES.values()))


@examples(60)
@given(st.data(), st.dictionaries(st.text(max_size=5), st.one_of(st.integers(0, 2**53), st.text(max_size=5))))
def test_what_is_encoded_is_decoded_the_same(data: st.DataObject, head: Mapping[str, object]) -> None:
    head = {name: value for name, value in head.items() if name not in ("v", "frames", "crc")}
    given_frames = {name: data.draw(frames(table)) for name, table in TABLES.items()}

    found_head, found = tables.decode(tables.encode(head, given_frames))

    assert found_head == {"v": 1, **head}
    assert list(found) == list(given_frames)
    for name, frame in given_frames.items():
        assert found[name].equals(frame)
        assert found[name].schema == frame.schema


@examples(150)
@given(st.data(), st.binary(max_size=3), st.integers(0, 10**6))
def test_a_row_that_was_damaged_is_refused_not_read(data: st.DataObject, junk: bytes, seed: int) -> None:
    """Cut off, or with other bytes in it: ValueError and nothing else, unless it still says the same."""
    value = tables.encode({"row": "x", "stamp": 7}, {"eni": data.draw(frames(ENI)), "port": PORT.empty()})
    at = seed % len(value)
    damaged = value[:at] if not junk else value[:at] + junk + value[at + len(junk) :]

    try:
        found = tables.decode(damaged)[1]
    except ValueError:
        return
    assert all(frame.equals(tables.decode(value)[1][name]) for name, frame in found.items())


FOREIGN = (
    b"", b"\n", b"junk", b"{}\n", b"[]\n", b"\xff\n",
    b'{"v":2,"frames":[]}\n', b'{"v":1}\n', b'{"v":1,"frames":[]}\n', b'{"v":1,"crc":0,"frames":[["eni",9]]}\n',
)  # fmt: skip


@pytest.mark.parametrize("value", FOREIGN)
def test_what_is_not_ours_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        tables.decode(value)


@examples(40)
@given(st.data(), ANY_TABLE)
def test_merging_in_any_groups_and_order_gives_the_same_rows(data: st.DataObject, table: Table) -> None:
    some = data.draw(st.lists(frames(table, st.integers(0, 2**40)), max_size=5))
    mixed = data.draw(st.permutations(some))
    grouped = [tables.merge(table, group) for group in parts(mixed, data.draw(cuts(len(mixed))))]

    whole, pieces = tables.merge(table, some), tables.merge(table, grouped)

    by = list(table.keys)
    assert whole.sort(by).equals(pieces.sort(by))
    assert whole.select(by).is_unique().all()
    assert all(
        sum(frame.get_column(name).sum() for frame in some) == whole.get_column(name).sum() for name in tables.COUNTS
    )


@examples(30)
@given(st.data(), ANY_TABLE)
def test_negated_rows_take_away_what_was_added(data: st.DataObject, table: Table) -> None:
    one, other = (tables.merge(table, [data.draw(frames(table, st.integers(1, 2**40)))]) for _ in range(2))

    left = tables.merge(table, [one, other, tables.negated(other)]).filter(pl.col("flows") != 0)

    counts = [*table.keys, *tables.COUNTS]
    assert left.select(counts).sort(list(table.keys)).equals(one.select(counts).sort(list(table.keys)))


@examples(30)
@given(st.data(), ANY_TABLE, st.integers(1, 7))
def test_every_row_has_one_destination_made_of_its_key_alone(
    data: st.DataObject, table: Table, partitions: int
) -> None:
    rows = data.draw(frames(table))
    entity = list(table.entity)

    found = rows.with_columns(tables.destination(table, partitions).alias("to"))

    assert found.get_column("to").is_between(0, partitions - 1).all()
    # a port's protocols share a destination; an ENI's rows do, too
    assert found.group_by(entity[0]).agg(pl.col("to").n_unique()).get_column("to").is_in([1]).all()
    alone = [rows[n].select(tables.destination(table, partitions)).item() for n in range(rows.height)]
    assert found.get_column("to").to_list() == alone


@pytest.mark.parametrize(
    ("eni", "to"), [("eni-0a1b2c3d4e5f6a7b8", 0xA7B8), ("other", 5), ("", 0), ("-", 1), ("eni-12", 6), ("-1f", 31)]
)
def test_destinations_never_move(eni: str, to: int) -> None:
    """They are on disk, in the changelogs: a release must not deal keys anew."""
    assert pl.DataFrame({"eni": [eni]}).select(tables.destination(ENI, 1_000_000)).item() == to


@pytest.mark.parametrize("table", list(TABLES.values()), ids=list(TABLES))
def test_special_rows_fit_the_table(table: Table) -> None:
    row = {**dict.fromkeys(table.keys, 0), "eni": "e", "replay": False, **dict.fromkeys(tables.MEASURES, 1)}
    frame = pl.DataFrame([{name: row[name] for name in table.schema}], schema=table.schema)

    for values in (table.other, table.expired):
        relabelled = tables.relabel(frame, values)
        assert relabelled.schema == frame.schema
        assert relabelled.select(*values).row(0) == tuple(values.values())


def test_the_head_can_be_read_without_the_frames() -> None:
    value = tables.encode({"stamp": 5}, {"eni": ENI.empty()})

    assert tables.head(value)["stamp"] == 5
    assert json.loads(value.partition(b"\n")[0])["v"] == 1


def test_nothing_is_left_of_what_was_decoded() -> None:
    """A worker decodes some hundred frames a second, for months: a small object of each is megabytes an hour."""
    value, times = tables.encode({}, tables.empty_frames()), 2_000

    def blocks() -> int:
        gc.collect()
        return sys.getallocatedblocks()

    tables.decode(value)
    before = blocks()
    for _ in range(times):
        tables.decode(value)

    assert blocks() - before < times / 4
