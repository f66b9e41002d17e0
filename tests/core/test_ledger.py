"""Rows of a changelog, kept apart by who wrote them."""

from __future__ import annotations

from streams.core import ledger
from streams.core.ledger import Keyed, Ledger


def _after(store: dict[bytes, bytes], *writes: Keyed) -> dict[bytes, bytes]:
    for keyed in writes:
        for key, value in keyed.items():
            store.pop(key, None)
            if value is not None:
                store[key] = value
    return store


def test_rows_are_found_by_partition_and_writer_and_foreign_keys_are_no_rows() -> None:
    store = {b"3/a/meta": b"1", b"3/a/pane/60": b"2", b"3/b/meta": b"3", b"33/a/meta": b"4", b"3": b"5", b"\xff/": b"6"}

    assert ledger.read(3, store) == {"a": {"meta": b"1", "pane/60": b"2"}, "b": {"meta": b"3"}}


def test_a_row_of_one_writer_never_replaces_that_of_another() -> None:
    store = {b"0/old/meta": b"1"}
    late = Ledger(0, "new", store, fence=9).first({"meta": b"2"})

    assert _after(store, late) == {b"0/old/meta": b"1", b"0/new/meta": b"2"}


def test_what_is_superseded_goes_with_the_next_checkpoint() -> None:
    """Not with its own: the row that replaces it may not be safe yet."""
    store = {b"0/old/pane/0": b"1", b"0/old/meta": b"1"}
    new = Ledger(0, "new", store, fence=5)

    _after(store, new.first({"pane/0": b"2"}), new.then({"meta": b"2"}, 5))
    assert {b"0/old/pane/0", b"0/old/meta"} <= store.keys()

    _after(store, new.first({}), new.then({"meta": b"3"}, 6))
    assert store == {b"0/new/pane/0": b"2", b"0/new/meta": b"3"}


def test_a_large_row_goes_in_parts_and_comes_back_whole() -> None:
    """Its parts of before go with the next checkpoint, or with the row; none is left."""
    store, mine = dict[bytes, bytes](), Ledger(0, "w", {}, fence=-1, part_bytes=4)
    for value in (b"0123456789", b"abcdefgh", b"small"[:4], b"0123456789"):
        _after(store, mine.first({"pane/0": value}), mine.then({"meta": b"{}"}, 1))
        assert ledger.read(0, store) == {"w": {"pane/0": value, "meta": b"{}"}}
        assert sum(b"#" in one for one in store) == (len(value) - 1) // 4 * (len(value) > 4) + (len(value) > 4)

    _after(store, mine.first({}), mine.then({"pane/0": None, "meta": b"{}"}, 2), mine.then({"meta": b"{}"}, 3))

    assert store == {b"0/w/meta": b"{}"}


def test_until_all_parts_are_there_the_row_of_before_stands() -> None:
    """Whoever opens next finds it; what is left of the dead one's goes with its row."""
    store, mine = dict[bytes, bytes](), Ledger(0, "dead", {}, fence=-1, part_bytes=4)
    _after(store, mine.first({"pane/0": b"0123456789"}))
    whole = mine.first({"pane/0": b"abcdefghij"})
    for n in range(len(whole)):
        found = _after(dict(store), dict(list(whole.items())[:n]))
        assert ledger.read(0, found) == {"dead": {"pane/0": b"0123456789"}}

    heir = Ledger(0, "heir", found, fence=0)
    _after(found, heir.first({"pane/0": b"new"}), heir.then({}, 0), heir.then({}, 1))
    assert found == {b"0/heir/pane/0": b"new"}


def test_a_row_without_one_of_its_parts_is_none() -> None:
    store = _after({}, Ledger(0, "w", {}, fence=-1, part_bytes=4).first({"pane/0": b"0123456789"}))
    del store[b"0/w/pane/0#1.1"]

    assert ledger.read(0, store) == {}


def test_nothing_of_others_goes_before_the_fence_is_settled() -> None:
    """Until then another writer may be ahead, and all that it refers to must stay."""
    store = {b"0/old/pane/0": b"1", b"0/old/meta": b"1"}
    new = Ledger(0, "new", store, fence=7)

    for stamp in (4, 5, 6, 7):
        _after(store, new.first({}), new.then({"pane/0": None, "meta": b"2"}, stamp))
        assert {b"0/old/pane/0", b"0/old/meta"} <= store.keys()

    _after(store, new.then({"meta": b"3"}, 8))
    assert store == {b"0/new/meta": b"3"}
