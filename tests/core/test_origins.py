"""What was seen before is remembered within a bound, the same after a restart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.core.origins import BUCKET, Origins
from tests.core.traffic import examples


def _key(name: int) -> bytes:
    return name.to_bytes(16, "big")


def _seen(origins: Origins, name: int, offset: int) -> bool:
    origins.advance(offset)
    return origins.seen_before(_key(name), offset)


def _saved(origins: Origins, store: dict[int, bytes]) -> dict[int, bytes]:
    rows = dict(origins.rows())
    return {bucket: value for bucket, value in {**store, **rows}.items() if value is not None}


def _restored(store: dict[int, bytes], limit: int) -> Origins:
    origins = Origins(limit)
    for bucket, value in store.items():
        origins.restore(bucket, value)
    return origins


@examples(60)
@given(st.data(), st.lists(st.tuples(st.integers(0, 5), st.integers(1, 900)), max_size=20))
def test_repeats_are_known_for_the_last_offsets_and_no_longer(
    data: st.DataObject, steps: list[tuple[int, int]]
) -> None:
    """Against a dict; saved and restored in between, at any moment."""
    origins, first, store, offset = Origins(1), dict[int, int](), dict[int, bytes](), 0
    for name, step in steps:
        offset += step
        oldest = (offset // BUCKET - 1) * BUCKET
        first = {key: at for key, at in first.items() if at >= oldest}

        assert _seen(origins, name, offset) == (name in first)
        assert len(origins) == len(first | {name: offset})

        first.setdefault(name, offset)
        if data.draw(st.booleans()):
            store = _saved(origins, store)
            origins = _restored(store, 1)


def test_a_message_read_again_is_no_repeat_of_itself() -> None:
    origins = Origins(1)
    assert not _seen(origins, 1, 5)

    again = _restored(_saved(origins, {}), 1)

    assert not _seen(again, 1, 5)
    assert _seen(again, 1, 6)


def test_a_bucket_that_was_saved_too_late_to_go_is_as_good_as_gone() -> None:
    """A crash between eviction and deletion must not bring a memory back: the repeat was counted as new."""
    store: dict[int, bytes] = {}
    origins = Origins(1)
    _seen(origins, 1, 0)
    store = _saved(origins, store)
    _seen(origins, 2, 2 * BUCKET)
    ahead = store | {bucket: value for bucket, value in origins.rows() if value is not None}

    for restored in (_restored(store, 1), _restored(ahead, 1)):
        assert not _seen(restored, 1, 2 * BUCKET + 1)


def test_a_later_memory_that_survived_a_crash_does_not_hide_an_earlier_one() -> None:
    """# 0: first seen; 2 buckets on: forgotten, seen, saved; then a crash, and bucket 1 is read again."""
    early, late = Origins(1), Origins(1)
    _seen(early, 1, 0)
    _seen(late, 1, 2 * BUCKET)
    store = _saved(late, {}) | _saved(early, {})

    assert list(store) == [2, 0]
    assert _seen(_restored(store, 1), 1, BUCKET)


def test_only_what_is_new_is_saved() -> None:
    origins = Origins(10 * BUCKET)
    for offset in range(0, 3 * BUCKET, BUCKET // 2):
        _seen(origins, offset, offset)
    assert [bucket for bucket, _ in origins.rows()] == [0, 1, 2]

    _seen(origins, 1, 3 * BUCKET - 1)

    assert [bucket for bucket, _ in origins.rows()] == [2]
    assert list(origins.rows()) == []


def test_what_is_too_old_goes_with_the_offsets_whether_anything_is_asked_or_not() -> None:
    """After a restart with nothing left to read, as much is remembered as before it."""
    origins = Origins(1)
    for bucket in range(5):
        _seen(origins, bucket, bucket * BUCKET)
    never_cleared = dict.fromkeys(range(5), b"") | _saved(origins, {})

    restored = _restored(never_cleared, 1)
    restored.advance(4 * BUCKET)

    assert {bucket for bucket, value in restored.rows() if value is None} == {0, 1, 2}
