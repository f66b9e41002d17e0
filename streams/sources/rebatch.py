"""Messages of one source partition, in order -> raw messages of the right size, with the source offsets they stand for.

Pure. Wherever the cuts fall, the same offsets give the same lines, so a bridge that starts again somewhere in the
middle repeats lines that `combine` can tell by their offsets. What one source message holds besides its first batch of
lines (lines of another format, an undecodable rest) is a raw message of its own, with a part `offset.n`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from streams.core.raw import TARGET_BYTES, Origin, RawMessage, split_lines
from streams.sources.decode import Decoded, decode
from streams.sources.messages import Arrival, unread
from streams.sources.records import message_lines, plain_lines

LARGE = 2 * TARGET_BYTES
"""A source message with more bytes of lines than this is cut into raw messages of its own."""


@dataclass
class _Run:
    """Lines of source offsets in a row, one format. pairs: (offset, lines); None: a line an offset, none missing."""

    first: int
    last: int
    format: str | None
    values: list[bytes]
    size: int
    pairs: list[tuple[int, int]] | None


@dataclass
class Lane:
    """What came from one source partition and was not taken yet.

    arrival: source, name (`topic/partition`) and format of its raw messages. position: the next source offset.
    size: bytes that wait. skipped: messages without a value; ignored, duplicates: as in Decoded; the caller's to count.
    """

    arrival: Arrival
    limit_bytes: int
    position: int = 0
    size: int = 0
    skipped: int = 0
    ignored: int = 0
    duplicates: int = 0
    _run: _Run | None = None
    _done: list[RawMessage] = field(default_factory=list)

    def add(self, offsets: Sequence[int], values: Sequence[bytes | None], arrival_ms: int) -> None:
        """Take messages of the source: at least one, in the order of their offsets."""
        self.arrival = replace(self.arrival, arrival_ms=arrival_ms)
        self.position = offsets[-1] + 1
        present = [value for value in values if value is not None]
        lines = (plain_lines(present) or message_lines(present)) if len(present) == len(values) else None
        if lines is None:
            for offset, value in zip(offsets, values, strict=True):
                self._add_one(offset, value)
        elif offsets[-1] - offsets[0] == len(offsets) - 1:
            self._extend(_Run(offsets[0], offsets[-1], None, [lines], len(lines), None))
        else:
            pairs = [(offset, 1) for offset in offsets]
            self._extend(_Run(offsets[0], offsets[-1], None, [lines], len(lines), pairs))

    def take(self) -> list[RawMessage]:
        """All that waits, as raw messages in order."""
        self._end_run()
        found, self._done, self.size = self._done, [], 0
        return found

    def _add_one(self, offset: int, value: bytes | None) -> None:
        if value is None:
            self.skipped += 1
            return
        decoded = decode(value, self.limit_bytes)
        self.ignored += decoded.ignored
        self.duplicates += decoded.duplicates
        batches = decoded.batches
        if batches and len(batches[0].lines) <= LARGE:
            lines = batches[0].lines
            count = lines.count(b"\n") + 1
            pairs = None if count == 1 else [(offset, count)]
            self._extend(_Run(offset, offset, batches[0].format, [lines], len(lines), pairs))
            batches = batches[1:]
        rest = [(part, batch.format, None) for batch in batches for part in split_lines(batch.lines)]
        self._add_rest(offset, [*rest, *((payload, None, reason) for payload, reason in unread(decoded))], decoded)

    def _add_rest(self, offset: int, rest: Sequence[tuple[bytes, str | None, str | None]], decoded: Decoded) -> None:
        """What is in no run: (value, format, error). A message that is nothing but an error stands for its offset."""
        if not rest:
            return
        self._end_run()
        self.size += sum(len(value) for value, _, _ in rest)
        extras = [self._message(value, f"{offset}.{n}", fmt, error) for n, (value, fmt, error) in enumerate(rest, 1)]
        if not decoded.batches:
            extras[0] = replace(extras[0], origin=replace(extras[0].origin, part=f"{offset}-{offset}"))
        self._done += extras

    def _extend(self, run: _Run) -> None:
        """Put lines behind those that wait, in the same run where they go on with it."""
        self.size += run.size
        last = self._run
        if last is None or last.format != run.format or last.size >= TARGET_BYTES:
            self._end_run()
            self._run = run
            return
        if last.pairs is None and (run.pairs is not None or run.first != last.last + 1):
            last.pairs = list(_pairs(last))
        if last.pairs is not None:
            last.pairs.extend(_pairs(run))
        last.values += run.values
        last.last, last.size = run.last, last.size + run.size

    def _end_run(self) -> None:
        run, self._run = self._run, None
        if run is not None:
            self._done += self._cut(run)

    def _cut(self, run: _Run) -> Iterator[RawMessage]:
        """A run's lines in parts of the right size, cut between source messages."""
        lines = b"\n".join(run.values)
        if run.pairs is None:
            first = run.first
            for part in split_lines(lines):
                count = part.count(b"\n") + 1
                yield self._message(part, f"{first}-{first + count - 1}", run.format)
                first += count
            return
        yield from self._cut_pairs(lines, run)

    def _cut_pairs(self, lines: bytes, run: _Run) -> Iterator[RawMessage]:
        found = lines.split(b"\n")
        pairs: list[tuple[int, int]] = []
        at = start = size = 0
        for offset, count in run.pairs or ():
            pairs.append((offset, count))
            size += sum(map(len, found[at : at + count])) + count
            at += count
            if size >= TARGET_BYTES or at == len(found):
                message = self._message(b"\n".join(found[start:at]), f"{pairs[0][0]}-{offset}", run.format)
                yield replace(message, offsets=tuple(pairs))
                pairs, start, size = [], at, 0

    def _message(self, value: bytes, part: str, fmt: str | None = None, error: str | None = None) -> RawMessage:
        """The offsets say what it is: a digest would tell nothing more."""
        arrival = self.arrival
        origin = Origin(arrival.source, arrival.name, part)
        return RawMessage(value, origin, arrival.arrival_ms, fmt or arrival.format, arrival.replay, error)


def _pairs(run: _Run) -> Iterable[tuple[int, int]]:
    """The (offset, lines) of a run, also of one with a line an offset."""
    return run.pairs if run.pairs is not None else ((offset, 1) for offset in range(run.first, run.last + 1))
