"""Whatever the cuts, a source partition gives the same lines, and each line is known by its source offset."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from itertools import pairwise

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.raw import TARGET_BYTES, RawMessage
from streams.sources.messages import Arrival
from streams.sources.rebatch import LARGE, Lane
from tests.sources.samples import V2, A, B, C, body, many, message

LIMIT = 16 * 1024 * 1024


def lane(fmt: str | None = None) -> Lane:
    return Lane(Arrival("bridge", "flows/3", 0, fmt), LIMIT)


def bridged(values: Sequence[bytes | None], offsets: Sequence[int] | None = None) -> list[RawMessage]:
    made = lane()
    made.add(offsets or range(100, 100 + len(values)), values, 7)
    return made.take()


def seen(found: Sequence[RawMessage]) -> list[tuple[str, bytes, str | None]]:
    return [(one.origin.part, one.value, one.error) for one in found]


def lines_by_offset(found: Sequence[RawMessage]) -> dict[int, list[bytes]]:
    """What `combine` would say of each line: the source offset that it came from."""
    by: dict[int, list[bytes]] = {}
    for one in found:
        bounds = one.bridge_range()
        if bounds is None or one.error:
            continue
        lines, at = one.value.split(b"\n"), 0
        for offset in range(bounds[0], bounds[1] + 1):
            upto = one.lines_up_to(offset)
            by.setdefault(offset, []).extend(lines[at:upto])
            at = upto
        assert at == len(lines)
    return {offset: lines for offset, lines in by.items() if lines}


def test_lines_in_a_row_are_one_message_and_the_offsets_say_which() -> None:
    [one] = bridged([A.encode(), B.encode() + b"\n", C.encode()])

    assert one.value == f"{A}\n{B}\n{C}".encode()
    assert (one.origin.source, one.origin.name, one.origin.part) == ("bridge", "flows/3", "100-102")
    assert (one.offsets, one.arrival_ms, one.format, one.replay) == ((), 7, None, False)


def test_missing_offsets_are_written_down() -> None:
    [one] = bridged([A.encode(), B.encode(), C.encode()], [100, 102, 103])

    assert (one.origin.part, one.offsets) == ("100-103", ((100, 1), (102, 1), (103, 1)))


def test_messages_of_several_lines_are_written_down() -> None:
    [one] = bridged([A.encode(), f"{B}\n{C}\n".encode(), body([message(A), message(B)]), C.encode()])

    assert one.value == f"{A}\n{B}\n{C}\n{A}\n{B}\n{C}".encode()
    assert one.offsets == ((100, 1), (101, 2), (102, 2), (103, 1))


def test_json_with_a_line_each_needs_no_list() -> None:
    [one] = bridged([orjson.dumps({"message": line, "host": "h"}) for line in (A, B, C)])

    assert (one.value, one.offsets) == (f"{A}\n{B}\n{C}".encode(), ())


def test_an_undecodable_message_stands_in_its_place() -> None:
    found = bridged([A.encode(), b"\x1f\x8bjunk\n", B.encode()])

    assert seen(found) == [
        ("100-100", A.encode(), None),
        ("101-101", b"\x1f\x8bjunk\n", "bad_gzip"),
        ("102-102", B.encode(), None),
    ]


def test_what_a_message_holds_besides_its_lines_has_a_name_of_its_own() -> None:
    other = f"{V2}\n{B}"
    mixed = body([message(A), other.encode(), b'{"x":1}'])
    found = bridged([C.encode(), mixed, C.encode()])

    assert seen(found) == [
        ("100-101", f"{C}\n{A}".encode(), None),
        ("101.1", other.encode(), None),
        ("101.2", b'{"x":1}', "no_lines"),
        ("102-102", C.encode(), None),
    ]
    assert [one.format for one in found] == [None, V2, None, None]
    assert len({one.origin.partition_key() for one in found}) == 1


def test_two_errors_in_a_message_are_two() -> None:
    found = bridged([b'[{"x":1},{"y":1}]'])

    assert seen(found) == [("100-100", b'{"x":1}', "no_lines"), ("100.2", b'{"y":1}', "no_lines")]


def test_a_large_message_is_cut_into_messages_of_its_own() -> None:
    large = "\n".join(many(3 * LARGE // 100)).encode()
    found = bridged([A.encode(), gzip.compress(large), B.encode()])

    assert b"\n".join(one.value for one in found) == f"{A}\n".encode() + large + f"\n{B}".encode()
    assert [one.origin.part for one in found] == ["100-100", *(f"101.{n}" for n in range(1, len(found) - 1)), "102-102"]
    assert max(len(one.value) for one in found) < TARGET_BYTES + 200


def test_messages_without_a_value_are_counted_and_leave_a_hole() -> None:
    made = lane()
    made.add([5, 6, 7], [A.encode(), None, B.encode()], 7)
    [one] = made.take()

    assert (made.skipped, made.position, one.offsets) == (1, 8, ((5, 1), (7, 1)))


def test_nothing_but_empty_messages_moves_on() -> None:
    made = lane()
    made.add([5, 6], [None, None], 7)

    assert (made.take(), made.position) == ([], 7)


def test_probes_and_repeats_are_counted() -> None:
    made = lane()
    event = {"id": "1", "message": A}
    made.add([1], [orjson.dumps({"messageType": "CONTROL_MESSAGE", "logEvents": []})], 7)
    made.add([2], [orjson.dumps({"messageType": "DATA_MESSAGE", "logEvents": [event, event]})], 7)

    assert (made.ignored, made.duplicates) == (1, 1)
    assert [one.value for one in made.take()] == [A.encode()]


def test_the_format_of_a_header_or_of_the_settings_goes_along() -> None:
    made = lane("version bytes")
    made.add([1, 2], [A.encode(), f"{V2}\n{B}".encode()], 7)

    assert [(one.format, one.value) for one in made.take()] == [
        ("version bytes", A.encode()),
        (V2, f"{V2}\n{B}".encode()),
    ]


def test_a_poll_of_many_is_cut_by_size() -> None:
    values = [line.encode() for line in many(20_000)]
    found = bridged(values)

    assert len(found) == 5
    assert max(len(one.value) for one in found) < TARGET_BYTES + 200
    assert all(one.offsets == () for one in found)
    assert lines_by_offset(found) == {100 + n: [value] for n, value in enumerate(values)}


def test_many_polls_are_one_message_until_it_is_large_enough() -> None:
    made = lane()
    values = [line.encode() for line in many(3000)]
    for at in range(0, 3000, 10):
        made.add(range(at, at + 10), values[at : at + 10], 7)

    [one] = made.take()
    assert (one.origin.part, one.value, one.offsets) == ("0-2999", b"\n".join(values), ())
    assert made.take() == []


VALUES = st.sampled_from(
    [
        A.encode(), B.encode(), message(A), message(C) + b"\n", f"{A}\n{B}".encode(), None, b"", b"{", b'{"x":1}',
        gzip.compress(B.encode()), body([message(A), message(B)]), orjson.dumps({"log": C}), f"{V2}\n{A}".encode(),
        orjson.dumps([{"message": A}, {"x": 1}]), b'{"message":""}', orjson.dumps({"message": B, "host": "h"}),
        orjson.dumps({"message": "é", "host": "h"}), orjson.dumps({"message": f"{A}\n{B}", "x": 1}), b"odd\xff", b"\n",
    ]
)  # fmt: skip


@given(
    st.lists(st.tuples(VALUES, st.integers(1, 2)), min_size=1, max_size=30), st.lists(st.integers(0, 30), max_size=4)
)
@settings(max_examples=300, deadline=None)
def test_any_cut_gives_the_same_lines_for_each_offset(steps: list[tuple[bytes | None, int]], cuts: list[int]) -> None:
    offsets: list[int] = []
    values: list[bytes | None] = []
    for value, step in steps:
        offsets.append((offsets[-1] if offsets else 0) + step)
        values.append(value)
    alone = [one for offset, value in zip(offsets, values, strict=True) for one in bridged([value], [offset])]

    made = lane()
    found: list[RawMessage] = []
    bounds = sorted({0, len(values), *(cut for cut in cuts if cut < len(values))})
    for n, (start, end) in enumerate(pairwise(bounds)):
        made.add(offsets[start:end], values[start:end], 7)
        found += made.take() if n % 2 else []
    found += made.take()

    assert lines_by_offset(found) == lines_by_offset(alone)
    kept = [(one.origin.part, one.value, one.format, one.error) for one in alone if one.error or "." in one.origin.part]
    assert [(o.origin.part, o.value, o.format, o.error) for o in found if o.error or "." in o.origin.part] == kept
    assert made.position == offsets[-1] + 1
