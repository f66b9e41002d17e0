"""A raw message says where it came from, and nobody's headers break it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.raw import SOURCES, Origin, RawMessage, digest, first_lines, split_lines
from tests.core.traffic import examples

TEXT = st.text(max_size=12)
ORIGINS = st.builds(Origin, st.sampled_from(SOURCES), TEXT, TEXT.filter(bool), TEXT)
NUMBER = st.integers(0, 10**15 - 1)
MESSAGES = st.builds(
    RawMessage,
    value=st.binary(max_size=40),
    origin=ORIGINS,
    arrival_ms=NUMBER,
    format=st.one_of(st.none(), TEXT.filter(bool)),
    replay=st.booleans(),
    error=st.one_of(st.none(), st.just("bad_gzip")),
    offsets=st.lists(st.tuples(NUMBER, NUMBER), max_size=3).map(tuple),
)


@examples(100)
@given(MESSAGES, st.integers())
def test_a_message_survives_kafka(message: RawMessage, kafka_ms: int) -> None:
    assert RawMessage.from_kafka(message.value, message.headers(), kafka_ms) == message
    assert RawMessage.from_kafka(message.value, dict(message.headers()), kafka_ms) == message


HEADER_NAMES = st.sampled_from(
    ("source", "origin", "part", "digest", "arrival", "format", "replay", "error", "offsets", "else")
)
HEADER_VALUES = st.one_of(
    st.none(),
    st.binary(max_size=20),
    st.sampled_from((b"9" * 5000, b"-1", "\u0661\u0662".encode(), b"1-2", b"3:4,5", b"1-")),
)


@examples(150)
@given(st.lists(st.tuples(HEADER_NAMES, HEADER_VALUES), max_size=6), st.one_of(st.none(), st.binary(max_size=20)))
def test_any_headers_make_a_message(headers: list[tuple[str, bytes | None]], value: bytes | None) -> None:
    """Whoever else writes to the topic: no values, numbers of 5,000 digits. No exception, no number too large."""
    message = RawMessage.from_kafka(value, headers, 1234)

    assert 0 <= message.arrival_ms < 10**15
    assert message.lines >= 0
    assert message.lines_up_to(10) >= 0
    assert len(message.origin.key()) == 16
    bounds = message.bridge_range()
    assert bounds is None or all(0 <= bound < 10**15 for bound in bounds)


def test_a_foreign_message_has_no_origin_and_kafkas_time() -> None:
    message = RawMessage.from_kafka(b"2 ...", [], 77)

    assert message == RawMessage(b"2 ...", Origin("", ""), 77)


@examples(100)
@given(st.lists(st.binary(max_size=12).filter(lambda line: b"\n" not in line), max_size=12), st.integers(1, 30))
def test_lines_are_cut_at_line_ends_only(lines: list[bytes], target: int) -> None:
    """The same bytes give the same parts; every line is in one part, whole; no part is longer than it must be.

    Blank lines may vanish at a cut.
    """
    value = b"\n".join(lines)

    parts = split_lines(value, target)

    assert [line for part in parts for line in part.split(b"\n") if line] == [line for line in lines if line]
    longest = max(map(len, lines), default=0)
    assert all(len(part) <= target + longest for part in parts)
    assert split_lines(value, target) == parts
    assert first_lines(parts) == [sum(part.count(b"\n") + 1 for part in parts[:n]) for n in range(len(parts))]


def _lines(value: bytes) -> list[bytes]:
    """Each line is ended by a line feed; the last need not be."""
    return (value if value.endswith(b"\n") or not value else value + b"\n").split(b"\n")[:-1]


@examples(100)
@given(st.text("ab\n", max_size=12).map(str.encode), st.integers(0, 8))
def test_a_message_without_its_first_lines_has_the_others(value: bytes, lines: int) -> None:
    message = RawMessage(value, Origin("file", "f"), 0)

    rest = message.without_first(lines)

    assert _lines(rest.value) == _lines(value)[lines:]
    assert rest.lines == len(_lines(rest.value))
    assert rest.skipped == min(lines, message.lines)


@pytest.mark.parametrize(
    ("value", "lines"), [(b"", 0), (b"\n", 1), (b"a", 1), (b"a\n", 1), (b"a\n\n", 2), (b"\na", 2), (b"a\r", 1)]
)
def test_a_message_has_the_lines_that_end_and_the_one_that_does_not(value: bytes, lines: int) -> None:
    assert RawMessage(value, Origin("file", "f"), 0).lines == lines


def test_an_undecodable_payload_is_one_line() -> None:
    message = RawMessage(b"a\nb\nc", Origin("bridge", "t/0", "5-9"), 0, error="bad_gzip", offsets=((5, 2), (9, 1)))

    assert message.lines == 1
    assert [message.lines_up_to(offset) for offset in (4, 5, 8, 9)] == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("part", "offsets", "expected"),
    [
        ("5-9", (), {4: 0, 5: 1, 7: 3, 9: 5, 12: 5}),
        ("5-9", ((5, 3), (9, 2)), {4: 0, 5: 3, 8: 3, 9: 5}),
        ("0", (), {0: 0, 9: 0}),
        ("9.1", (), {9: 0}),
    ],
)
def test_lines_of_a_bridge_up_to_an_offset(
    part: str, offsets: tuple[tuple[int, int], ...], expected: dict[int, int]
) -> None:
    message = RawMessage(b"a\nb\nc\nd\ne", Origin("bridge", "t/0", part), 0, offsets=offsets)

    assert {offset: message.lines_up_to(offset) for offset in expected} == expected


def test_a_repeat_lands_in_its_twins_partition() -> None:
    """A bridge cuts elsewhere when it starts again: its part must not decide. Everything else repeats its parts."""
    assert Origin("bridge", "t/0", "1-5").partition_key() == Origin("bridge", "t/0", "2-9").partition_key()
    assert Origin("bridge", "t/0").partition_key() != Origin("bridge", "t/1").partition_key()
    assert Origin("s3", "k", "1").partition_key() != Origin("s3", "k", "2").partition_key()
    assert Origin("s3", "k", "1", "x").partition_key() == Origin("s3", "k", "1", "y").partition_key()


@examples(40)
@given(st.lists(ORIGINS, max_size=6, unique=True))
def test_different_origins_have_different_keys(origins: list[Origin]) -> None:
    assert len({origin.key() for origin in origins}) == len(origins)


def test_other_lines_under_the_same_request_are_another_message() -> None:
    keys = {Origin("firehose", "id", "0", digest(lines)).key() for lines in (b"a", b"b")}

    assert len(keys) == 2
