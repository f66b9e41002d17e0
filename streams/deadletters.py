"""What `vpcflow deadletters` shows: counts, letters, and what a replay did. No text from outside moves a cursor."""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import TextIO

import orjson
from rich.console import Console
from rich.text import Text

from streams.core.deadletter import Group, Letter, Mark, Wanted, known_source
from streams.core.parse import REASONS
from streams.report import count_text, counted, printable, time_text
from streams.sources.deadletters import Letters, Put, once
from streams.sources.inflate import compression, inflate

SHOWN = 20
"""Letters that `show` prints when it is not told how many."""

_EXAMPLE = 120
_PREVIEW = 400
_PREVIEW_BYTES = 1024 * 1024
_SPAN = re.compile(r"(\d{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_HEADING, _DIM = "bold", "dim"


def moment_ms(text: str, now: float) -> int:
    """`2h` (so long before `now`, epoch seconds), or a date and time of ISO 8601, UTC where it names no zone.

    Gives epoch milliseconds. Raises ValueError.
    """
    span = _SPAN.fullmatch(text)
    if span:
        return int((now - int(span[1]) * _SECONDS[span[2]]) * 1000)
    found = datetime.fromisoformat(text)
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


@dataclass(frozen=True)
class Listing:
    """What is listed or shown. limit: letters, None: all. id: of one letter. as_json: for programs."""

    wanted: Wanted = field(default_factory=Wanted)
    limit: int | None = None
    id: str | None = None
    as_json: bool = False


# -- list -------------------------------------------------------------------------------------------------------------


@dataclass
class Count:
    """Letters of one reason and source. put: those that went back. first_ms, last_ms: of arrival."""

    letters: int = 0
    put: int = 0
    first_ms: int | None = None
    last_ms: int | None = None
    example: str = ""

    def add(self, group: Group) -> None:
        """Count a group."""
        at = group.first.arrival_ms
        self.letters += len(group.letters)
        self.first_ms = at if self.first_ms is None else min(at, self.first_ms)
        self.last_ms = at if self.last_ms is None else max(at, self.last_ms)
        self.example = self.example or preview(group.first, _EXAMPLE)


@dataclass
class Counts:
    """By reason and source. strange: rows that are no letters."""

    of: dict[tuple[str, str], Count] = field(default_factory=lambda: defaultdict(Count))
    strange: int = 0

    def add(self, groups: Iterable[Group], marks: Iterable[Mark], strange: int) -> None:
        """Count what a message holds."""
        for group in groups:
            self.of[group.first.reason, known_source(group.first.source)].add(group)
        for mark in marks:
            self.of[mark.reason, known_source(mark.source)].put += mark.letters
        self.strange += strange

    @property
    def letters(self) -> int:
        """All of them."""
        return sum(count.letters for count in self.of.values())


async def count(letters: Letters, how: Listing, out: TextIO) -> Counts:
    """Count the letters that are meant, or the first `limit` of them; as JSON they are written as they come."""
    counts = Counts()
    async for groups, marks, strange in once(letters.pages(marks_only=False), how.wanted):
        taken = list(_first_of(groups, None if how.limit is None else how.limit - counts.letters))
        counts.add(taken, marks, strange)
        if how.as_json:
            for group in taken:
                write_letters(group.letters, out)
        if how.limit is not None and counts.letters >= how.limit:
            break
    return counts


def _first_of(groups: Iterable[Group], letters: int | None) -> Iterator[Group]:
    """Groups up to so many letters; None: all."""
    for group in groups:
        part = group.letters[:letters]
        if not part:
            return
        letters = None if letters is None else letters - len(part)
        yield Group(part)


def print_counts(counts: Counts, console: Console, topic: str) -> None:
    """A paragraph a reason, most letters first, with a line a source."""
    found = {key: count for key, count in counts.of.items() if count.letters}
    console.print(Text(f"{counted(counts.letters, 'dead letter')} on {topic}", style=_HEADING))
    totals: dict[str, int] = defaultdict(int)
    for (reason, _), count in found.items():
        totals[reason] += count.letters
    ordered = sorted(found.items(), key=lambda one: (-totals[one[0][0]], one[0][0], -one[1].letters))
    for reason, rows in groupby(ordered, key=lambda one: one[0][0]):
        console.print()
        console.print(Text.assemble((printable(reason), _HEADING), f": {_words(reason)}"))
        for (_, source), count in rows:
            _print_count(source, count, console)
    console.print()
    if counts.strange:
        console.print(Text(f"{counted(counts.strange, 'row')} of others passed over", style=_DIM))
    console.print(Text(_hint(counts), style=_DIM), soft_wrap=True)


def _print_count(source: str, count: Count, console: Console) -> None:
    first, last = (time_text((at or 0) // 1000) for at in (count.first_ms, count.last_ms))
    when = first if first == last else f"{first} to {last}"
    put = f", {count_text(min(count.put, count.letters))} put back" if count.put else ""
    console.print(Text(f"  {count_text(count.letters):>7} from {source}, {when} UTC{put}"), soft_wrap=True)
    console.print(Text(f"          {count.example}", style=_DIM), no_wrap=True, overflow="ellipsis")


def _hint(counts: Counts) -> str:
    if not counts.letters:
        return "Nothing that came was unreadable, as far as the topic reaches back."
    return "vpcflow deadletters show prints them, replay --dry-run says what can be read by now."


def _words(reason: str) -> str:
    return REASONS.get(reason, "a reason that this release does not know")


# -- show -------------------------------------------------------------------------------------------------------------


@dataclass
class Shown:
    """letters: the newest, oldest first. total: of all that are meant."""

    letters: deque[Letter]
    total: int = 0


async def newest(letters: Letters, how: Listing) -> Shown:
    """The newest `limit` letters that are meant."""
    shown = Shown(deque(maxlen=how.limit))
    async for groups, _, _ in once(letters.pages(marks_only=False), how.wanted):
        found = [one for group in groups for one in group.letters if how.id in (None, one.id)]
        shown.total += len(found)
        shown.letters.extend(found)
    return shown


def print_letters(shown: Shown, how: Listing, out: TextIO) -> None:
    """For people or for programs."""
    if how.as_json:
        write_letters(shown.letters, out)
        return
    console = Console(file=out)
    for letter in shown.letters:
        print_letter(letter, console)


def print_letter(letter: Letter, console: Console) -> None:
    """Three lines: what is wrong, where it came from, and what it is."""
    kind = f"line {letter.line}" if letter.line is not None else "the whole message"
    came = f"arrived {time_text(letter.arrival_ms // 1000)} UTC from {known_source(letter.source)}"
    where = ", ".join(word for word in (printable(letter.origin), f"part {printable(letter.part)}", kind) if word)
    fmt = f"; format: {printable(letter.format)}" if letter.format else ""
    past = "; history" if letter.replay else ""
    heading = Text.assemble((printable(letter.id), _HEADING), f"  {printable(letter.reason)}: {_words(letter.reason)}")
    for line in (heading, Text(f"  {came}: {where}{past}{fmt}", style=_DIM), Text(f"  {preview(letter, _PREVIEW)}")):
        console.print(line, soft_wrap=True)
    console.print()


def preview(letter: Letter, most: int) -> str:
    """The line, or the beginning of the payload, in at most about `most` characters that a terminal can bear."""
    content = letter.content
    if letter.line is not None:
        return _cut(content, most)
    kind = compression(content)
    if kind is None:
        return f"{counted(len(content), 'byte')}: {_cut(content, most)}"
    found = inflate(content, _PREVIEW_BYTES)
    inside = _cut(found.data, most) if found.data else "can't be decompressed" if found.error == "bad_gzip" else "large"
    return f"{counted(len(content), 'byte')} of {kind}: {inside}"


def _cut(content: bytes, most: int) -> str:
    r"""Bytes that are not UTF-8 are `\xff`, characters that can't be printed are `?`."""
    text = printable(content[: 4 * most].decode("utf-8", "backslashreplace"))
    return text if len(text) <= most and len(content) <= 4 * most else f"{text[:most]}..."


def write_letters(letters: Iterable[Letter], out: TextIO) -> None:
    """A JSON object a letter, as on the topic."""
    out.writelines(orjson.dumps(letter.row()).decode() + "\n" for letter in letters)


# -- replay -----------------------------------------------------------------------------------------------------------


def put_text(put: Put, raw_topic: str, *, trial: bool) -> list[str]:
    """What a replay did, or would do: a line a fact."""
    what = f"{counted(put.put, 'dead letter')} {'would go' if trial else 'put'} back on {raw_topic}"
    lines = [f"{what}, in {counted(put.messages, 'message')}" if put.put else f"nothing to put back on {raw_topic}"]
    if trial and put.put:
        lines.append(f"{counted(put.readable, 'line')} of them can be read, {count_text(put.unreadable)} can't")
    return lines + [f"left: {count_text(number)} {why}" for number, why in _left(put) if number]


def _left(put: Put) -> tuple[tuple[int, str], ...]:
    return (
        (put.before, "put back before"),
        (put.bad_again, "bad again after they had been put back; --source deadletter takes them"),
        (put.undecodable, "payloads that still can't be decoded"),
        (put.strange, "rows that are no dead letters"),
    )


def put_json(put: Put, *, trial: bool) -> str:
    """The same as a JSON object."""
    row: Mapping[str, object] = {"dry_run": trial, **put.__dict__}
    return orjson.dumps(row).decode()
