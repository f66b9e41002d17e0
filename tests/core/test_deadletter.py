"""Dead letters: read back as they were written, chosen, and put back under an origin that a repeat has too."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from io import StringIO

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from streams.core.combine import Policy, RawPartition
from streams.core.deadletter import Letter, Page, Recent, Wanted, groups, holds_marks, of_message, read
from streams.core.raw import Origin, RawMessage
from streams.deadletters import Listing, count, moment_ms, newest, preview, print_counts, print_letter
from streams.sources.deadletters import Put, Putting, put_back
from streams.sources.publish import BrokerUnavailable
from tests.sources.samples import A, B

T0 = 1_700_000_000_000
CUSTOM = "interface-id srcaddr bytes packets start end action log-status"
STRANGE = [
    "eni-1 192.0.2.1 840 3 1700000000 1700000060 ACCEPT OK",
    "eni-2 192.0.2.9 84 1 1700000000 1700000060 REJECT OK",
]
JUNK = [*STRANGE, "2 too short", "\x1b[2J"]


def _raw(lines: Sequence[str] = JUNK, **more: object) -> RawMessage:
    value = "\n".join(lines).encode()
    return replace(RawMessage(value, Origin("firehose", "r1", "0", "d"), T0), **more)  # type: ignore[arg-type]


def _written(*messages: RawMessage) -> list[bytes]:
    """What a worker writes to the dead-letter topic for these messages."""
    return [one.value for one in RawPartition(2, Policy()).fold(enumerate(messages)).dead_letters]


def _letters(*messages: RawMessage) -> list[Letter]:
    return [letter for value in _written(*messages) for letter in read(value).letters]


# -- reading ----------------------------------------------------------------------------------------------------------


def test_a_letter_is_read_as_it_was_written() -> None:
    message = _raw(["2 1 eni-1", "2 short"], format="version account-id interface-id", replay=True)

    (letter,) = _letters(message)

    assert letter == Letter(
        "2/0/1", "too_few_fields", 2, 0, 1, "firehose", "r1", "0", T0, message.format, replay=True,
        content=b"2 short",
    )  # fmt: skip


@settings(deadline=None, max_examples=30)
@given(st.lists(st.binary(min_size=1).filter(lambda line: b"\n" not in line and b"\r" not in line), max_size=20))
def test_whatever_the_bytes_of_a_letter_are_its_row_is_the_letter(lines: list[bytes]) -> None:
    for letter in _letters(RawMessage(b"\n".join(lines), Origin("file", "f"), T0)):
        assert read(orjson.dumps(letter.row())).letters == (letter,)


def test_a_payload_is_read_as_it_was_written() -> None:
    payload = b"\x1f\x8b\x00\n\xff"

    (letter,) = read(of_message(1, 7, _raw(value=payload), "bad_gzip").value).letters

    assert (letter.id, letter.line, letter.content, letter.reason) == ("1/7", None, payload, "bad_gzip")


@pytest.mark.parametrize(("source", "replay"), [("firehose", False), ("file", True)])
def test_a_letter_of_an_earlier_release_says_nothing_of_history_and_only_files_are(source: str, replay: bool) -> None:
    row = {**_letters(_raw(["2 oops"], origin=Origin(source, "n")))[0].row()}
    del row["replay"]

    (letter,) = read(orjson.dumps(row)).letters

    assert letter.replay is replay


ROW = _letters(_raw(["2 oops"]))[0].row()


@pytest.mark.parametrize(
    "row",
    [
        b"", b"{", b"[]", b"7", b"{}", orjson.dumps({**ROW, "offset": "7"}), orjson.dumps({**ROW, "id": None}),
        orjson.dumps({**ROW, "line": None}), orjson.dumps({**ROW, "text_base64": "!"}), b'{"replayed":"zz"}',
    ],
)  # fmt: skip
def test_a_row_that_is_none_of_ours_is_counted_and_the_others_are_read(row: bytes) -> None:
    page = read(row + b"\n" + orjson.dumps(ROW))

    assert (len(page.letters), page.strange) == (1, 1)


@given(st.binary())
def test_any_bytes_are_a_page(value: bytes) -> None:
    read(value)


def test_a_mark_is_read_as_it_was_written() -> None:
    (group, *_) = groups(Page(tuple(_letters(_raw()))))
    mark = group.mark()

    assert read(mark.encode()).marks == (mark,)
    assert holds_marks(mark.encode())
    assert not holds_marks(_written(_raw(['{"replayed":']))[0])


# -- choosing ---------------------------------------------------------------------------------------------------------

ONE = Letter("0/0/0", "bad_action", 0, 0, 0, "firehose", "r", "0", T0, None, replay=False, content=b"x")


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        (Wanted(), True),
        (Wanted(reasons=frozenset({"bad_action", "too_long"})), True),
        (Wanted(reasons=frozenset({"too_long"})), False),
        (Wanted(sources=frozenset({"firehose"})), True),
        (Wanted(sources=frozenset({"unknown"})), False),
        (Wanted(since_ms=T0, until_ms=T0 + 1), True),
        (Wanted(since_ms=T0 + 1), False),
        (Wanted(until_ms=T0), False),
    ],
)
def test_a_letter_is_meant_when_all_that_is_said_is_true_of_it(wanted: Wanted, taken: bool) -> None:
    assert wanted.takes(ONE) is taken


def test_a_source_out_of_the_closed_set_is_unknown() -> None:
    assert Wanted(sources=frozenset({"unknown"})).takes(replace(ONE, source="made-up"))


def test_what_is_remembered_is_bounded() -> None:
    recent = Recent(2)

    assert [recent.is_new(key) for key in (b"a", b"a", b"b", b"c", b"a")] == [True, False, True, True, True]


NOON = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "ago"),
    [("2h", 7200), ("90m", 5400), ("3d", 259_200), ("5s", 5), ("2026-01-31T11:00", 3600), ("2026-01-31", 43_200),
     ("2026-01-31T12:00+01:00", 3600), ("2026-01-31T11:59:59Z", 1)],
)  # fmt: skip
def test_a_time_is_a_span_before_now_or_a_date(text: str, ago: int) -> None:
    assert moment_ms(text, NOON) == (NOON - ago) * 1000


# -- back -------------------------------------------------------------------------------------------------------------


def test_lines_of_a_message_with_the_same_reason_go_back_together() -> None:
    page = read(_written(_raw(["2 a", "x " * 40, "2 b"], format="version srcaddr dstaddr"))[0])

    assert [[letter.line for letter in group.letters] for group in groups(page)] == [[0, 2], [1]]


def test_lines_go_back_with_the_arrival_the_format_and_the_history_of_their_message() -> None:
    for message in (_raw(format="version srcaddr dstaddr bytes"), _raw(replay=True)):
        for group in groups(Page(tuple(_letters(message)))):
            again = group.lines_again(None)
            assert (again.arrival_ms, again.format, again.replay) == (T0, message.format, message.replay)
            assert group.lines_again(CUSTOM).format == CUSTOM


def test_the_origin_is_the_same_whatever_the_format_and_whatever_is_chosen() -> None:
    letters = _letters(_raw(), _raw(origin=Origin("firehose", "r2")))
    alone = [one for one in letters if one.offset == 1]

    origins = [{group.lines_again(fmt).origin for group in groups(Page(tuple(letters)))} for fmt in (None, CUSTOM)]
    few = {group.lines_again(None).origin for group in groups(Page(tuple(alone)))}

    assert origins[0] == origins[1] > few
    assert {origin.source for origin in few} == {"deadletter"}


@dataclass
class Topics:
    """Both topics in memory. fails: how many more sends of marks are refused. Letters come twice, as after a crash."""

    values: list[bytes]
    raw: list[RawMessage] = field(default_factory=list)
    fails: int = 0

    async def pages(self, *, marks_only: bool) -> AsyncIterator[Page]:
        for value in [*self.values, *self.values]:
            if holds_marks(value) or not marks_only:
                yield read(value)

    async def send(self, messages: Sequence[RawMessage]) -> None:
        self.raw += messages

    async def mark(self, messages: Sequence[RawMessage]) -> None:
        if self.fails:
            self.fails -= 1
            raise BrokerUnavailable("gone")
        self.values += [message.value for message in messages]

    def replay(self, **how: object) -> Put:
        return asyncio.run(put_back(self, self.send, self.mark, Putting(**how), lambda: 0.0))  # type: ignore[arg-type]

    def worked(self, state: RawPartition) -> None:
        """A worker reads the raw topic, and writes dead letters."""
        numbered = enumerate(self.raw, 1000)
        self.values += [one.value for one in state.fold(numbered).dead_letters]


def _topics(*messages: RawMessage) -> tuple[Topics, RawPartition]:
    state = RawPartition(2, Policy())
    return Topics([one.value for one in state.fold(enumerate(messages)).dead_letters]), state


def test_each_letter_goes_back_once_however_often_replay_is_run() -> None:
    topics, state = _topics(_raw(STRANGE))

    first, second = topics.replay(format=CUSTOM), topics.replay()
    topics.worked(state)

    assert (first.put, first.messages, second.put, second.before) == (2, 1, 0, 2)
    assert +state.meta.lines == {"reject": 2, "flow": 2}
    assert not +state.meta.duplicates


def test_what_an_interrupted_replay_sent_is_sent_again_and_dropped_as_a_repeat() -> None:
    topics, state = _topics(_raw(STRANGE))
    topics.fails = 1

    with pytest.raises(BrokerUnavailable):
        topics.replay(format=CUSTOM)
    topics.replay(format=CUSTOM, limit=1)
    topics.worked(state)

    assert len(topics.raw) == 2
    assert +state.meta.lines == {"reject": 2, "flow": 2}
    assert +state.meta.duplicates == {"deadletter": 2}


def test_lines_that_are_bad_again_stay_until_they_are_asked_for() -> None:
    topics, state = _topics(_raw(STRANGE))
    topics.replay(format="version srcaddr dstaddr")
    topics.worked(state)

    left = topics.replay(format=CUSTOM)
    asked = topics.replay(format=CUSTOM, wanted=Wanted(sources=frozenset({"deadletter"})))
    topics.worked(state)

    assert (left.put, left.before, left.bad_again) == (0, 2, 2)
    assert asked.put == 2
    assert state.meta.lines["flow"] == 2


def test_a_limit_is_of_what_goes_back_so_that_the_same_command_goes_on() -> None:
    topics, _ = _topics(*(_raw([f"2 {n}"], origin=Origin("firehose", str(n))) for n in range(5)))

    assert [topics.replay(limit=2).put for _ in range(4)] == [2, 2, 1, 0]
    assert len({message.value for message in topics.raw}) == 5


def test_a_trial_says_what_can_be_read_and_stores_nothing() -> None:
    topics, _ = _topics(_raw())
    before = list(topics.values)

    put = topics.replay(format=CUSTOM, trial=True)

    assert (put.put, put.readable, put.unreadable) == (4, 2, 2)
    assert (topics.raw, topics.values) == ([], before)


WHOLE = gzip.compress(f"{A}\n{B}".encode())


@pytest.mark.parametrize(
    ("payload", "lines"),
    [(WHOLE, [A, B]), (orjson.dumps({"message": A}), [A]), (WHOLE[:-9], None), (b"what is wrong with a file", None),
     (b'{"Event":"s3:TestEvent"}', None)],
)  # fmt: skip
def test_a_payload_goes_back_as_lines_when_all_of_it_can_be_decoded_by_now(
    payload: bytes, lines: list[str] | None
) -> None:
    """The line of a record is a record; else it would come back as a dead letter at once."""
    topics, state = _topics(_raw(value=payload, error="undecodable"))

    put = topics.replay()
    again = topics.replay()
    topics.worked(state)

    assert (put.put, put.undecodable) == ((1, 0) if lines else (0, 1))
    assert (again.put, again.before, again.undecodable) == ((0, 1, 0) if lines else (0, 0, 1))
    assert [message.value.decode().split("\n") for message in topics.raw] == ([lines] if lines else [])
    assert state.meta.lines["flow"] == len(lines or ())


# -- what is shown ----------------------------------------------------------------------------------------------------


def _page(topics: Topics) -> str:
    out = StringIO()
    counts = asyncio.run(count(topics, Listing(), out))
    print_counts(counts, Console(file=out, width=100), "t")
    return out.getvalue()


def test_the_list_counts_by_reason_and_source_with_times_an_example_and_what_went_back() -> None:
    topics, _ = _topics(_raw(STRANGE), _raw(["2 oops"], origin=Origin("file", "f"), arrival_ms=T0 + 60_000))
    topics.replay(wanted=Wanted(sources=frozenset({"firehose"})))

    shown = _page(topics)

    assert shown.startswith("3 dead letters on t\n")
    assert "unknown_format: no format was given and none could be guessed\n" in shown
    assert "2 from firehose, 2023-11-14 22:13:20 UTC, 2 put back\n" in shown
    assert "1 from file, 2023-11-14 22:14:20 UTC\n" in shown
    assert STRANGE[0] in shown


def test_the_list_as_json_is_every_letter_once() -> None:
    topics, _ = _topics(_raw())
    out = StringIO()

    asyncio.run(count(topics, Listing(as_json=True, limit=3), out))

    rows = [orjson.loads(line) for line in out.getvalue().splitlines()]
    assert [row["id"] for row in rows] == ["2/0/0", "2/0/1", "2/0/2"]


def test_the_newest_letters_are_shown_oldest_first_or_the_one_of_an_id() -> None:
    topics, _ = _topics(_raw())

    shown = asyncio.run(newest(topics, Listing(limit=2)))
    one = asyncio.run(newest(topics, Listing(limit=2, id="2/0/0")))

    assert ([letter.id for letter in shown.letters], shown.total) == (["2/0/2", "2/0/3"], 4)
    assert [letter.id for letter in one.letters] == ["2/0/0"]


def test_nothing_from_outside_moves_the_cursor() -> None:
    letter = replace(ONE, origin="\x1b[1m", part="\r", format="\x07", reason="\x9b", content=b"\x1b[2J\xff\x00")
    out = StringIO()

    print_letter(letter, Console(file=out, width=80))

    assert all(character.isprintable() or character == "\n" for character in out.getvalue())
    assert "?[2J\\xff?" in out.getvalue()


@pytest.mark.parametrize(
    ("line", "content", "said"),
    [
        (3, b"2 oops", "2 oops"),
        (3, b"x" * 100, "x" * 40 + "..."),
        (None, WHOLE, f"{len(WHOLE)} bytes of gzip: {A[:40]}..."),
        (None, WHOLE[:-9], f"{len(WHOLE) - 9} bytes of gzip: {A[:40]}..."),
        (None, b'{"message": ', '12 bytes: {"message": '),
    ],
)
def test_a_preview_is_the_line_or_what_is_inside_a_payload(line: int | None, content: bytes, said: str) -> None:
    assert preview(replace(ONE, line=line, content=content), 40) == said
