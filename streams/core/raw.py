"""What one message on `vpcflow.raw` is: a batch of undecoded flow log lines and where it came from.

A source makes these, the producer puts them on the topic, `combine` reads them back. A repeat of a message
(a Firehose retry, a bridge that starts again, a file posted twice) must carry the same origin and so land in
the same partition, where `combine` drops it: `partition_key` is therefore a function of the origin alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import accumulate

SOURCES = ("firehose", "bridge", "s3", "file", "generator", "deadletter")
"""The closed set of source names: they are label values."""

TARGET_BYTES = 512 * 1024
"""Lines a message carries, in bytes before compression: bigger costs latency, smaller costs CPU per message."""

Headers = Sequence[tuple[str, bytes]]

_MOST_DIGITS = 15
"""A number in a header that has more is not ours: it would not fit a column either."""


@dataclass(frozen=True)
class Origin:
    """Where a message came from, in a form that its repeat has too.

    source: one of SOURCES.
    name: what is repeated as a whole: a Firehose request id, `topic/partition`, an S3 object and its etag, a file.
    part: which part of it: a number, or for a bridge `first-last` (offsets).
    digest: of the content. A request id that comes again with other lines is another message.
    """

    source: str
    name: str
    part: str = "0"
    digest: str = ""

    def key(self) -> bytes:
        """16 bytes that stand for this origin in the set of those already seen."""
        text = f"{self.source}\x00{self.name}\x00{self.part}\x00{self.digest}"
        return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()

    def partition_key(self) -> bytes:
        """Bytes that decide the raw partition. A bridge keeps a source partition in order: its part is left out."""
        part = "" if self.source == "bridge" else self.part
        return f"{self.source}\x00{self.name}\x00{part}".encode("utf-8", "surrogatepass")


def digest(content: bytes) -> str:
    """Hex digest (32 characters) of a message's lines, for `Origin.digest`."""
    return blake2b(content, digest_size=16).hexdigest()


@dataclass(frozen=True)
class RawMessage:
    r"""One message on `vpcflow.raw`.

    value: lines separated by `\n`, as they came; when `error` is set, the whole payload as it came.
    arrival_ms: when the source received it, milliseconds since the epoch.
    format: field names separated by spaces where the source knows them, else None (see core.parse).
    replay: history: it fills panes and tables, not the live counters.
    error: why the source could not decode it (a reject reason); the message is dead-lettered whole.
    offsets: bridge only, when the lines are not one a message with dense offsets: (source offset, lines) pairs.
    skipped: lines that stood before `value` and were dropped as repeats; not on Kafka.
    """

    value: bytes
    origin: Origin
    arrival_ms: int
    format: str | None = None
    replay: bool = False
    error: str | None = None
    offsets: tuple[tuple[int, int], ...] = field(default=(), repr=False)
    skipped: int = 0

    @property
    def lines(self) -> int:
        """How many lines it counts as: a payload that could not be decoded is one."""
        if self.error is not None:
            return 1
        return self.value.count(b"\n") + bool(self.value and not self.value.endswith(b"\n"))

    def without_first(self, lines: int) -> RawMessage:
        """The same message without its first `lines` lines."""
        if lines >= self.lines:
            return replace(self, value=b"", error=None, skipped=self.skipped + self.lines)
        return replace(self, value=self.value.split(b"\n", lines)[lines], skipped=self.skipped + lines)

    def headers(self) -> Headers:
        """Kafka headers that `from_kafka` reads back."""
        origin = self.origin
        rows = [
            ("source", origin.source),
            ("origin", origin.name),
            ("part", origin.part),
            ("digest", origin.digest),
            ("arrival", str(self.arrival_ms)),
            ("format", self.format or ""),
            ("replay", "1" if self.replay else ""),
            ("error", self.error or ""),
            ("offsets", ",".join(f"{offset}:{lines}" for offset, lines in self.offsets)),
        ]
        return [(name, text.encode("utf-8", "surrogatepass")) for name, text in rows if text]

    @classmethod
    def from_kafka(
        cls,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]] | Mapping[str, bytes | None],
        arrival_ms: int,
    ) -> RawMessage:
        """Read a message back. Foreign messages (no headers) are lines of an unknown origin: never a duplicate.

        Shapes: `arrival_ms` is Kafka's own timestamp, used where the header is missing or not a number. Kafka allows
        headers without a value.
        """
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        text = {name: (raw or b"").decode("utf-8", "replace") for name, raw in pairs}
        arrival = _number(text.get("arrival", ""))
        return cls(
            value=value or b"",
            origin=Origin(
                text.get("source", ""), text.get("origin", ""), text.get("part", "0"), text.get("digest", "")
            ),
            arrival_ms=arrival_ms if arrival is None else arrival,
            format=text.get("format") or None,
            replay=text.get("replay") == "1",
            error=text.get("error") or None,
            offsets=_read_offsets(text.get("offsets", "")),
        )

    def bridge_range(self) -> tuple[int, int] | None:
        """First and last source offset of a bridged message, None for every other source."""
        first, _, last = self.origin.part.partition("-")
        bounds = _number(first), _number(last)
        if self.origin.source != "bridge" or bounds[0] is None or bounds[1] is None:
            return None
        return bounds[0], bounds[1]

    def lines_up_to(self, offset: int) -> int:
        """How many leading lines come from source offsets <= `offset` (bridge only)."""
        bounds = self.bridge_range()
        if bounds is None:
            return 0
        if self.error is not None:
            return int(bounds[1] <= offset)
        if not self.offsets:
            return max(0, min(offset, bounds[1]) - bounds[0] + 1)
        return sum(lines for at, lines in self.offsets if at <= offset)


def split_lines(value: bytes, target_bytes: int = TARGET_BYTES) -> list[bytes]:
    """Cut lines into parts of about `target_bytes`, at line ends only: the same bytes give the same parts."""
    parts = []
    start = 0
    while len(value) - start > target_bytes:
        end = value.find(b"\n", start + target_bytes - 1)
        if end < 0:
            break
        parts.append(value[start:end])
        start = end + 1
    if start < len(value):
        parts.append(value[start:])
    return parts


def _read_offsets(text: str) -> tuple[tuple[int, int], ...]:
    pairs = ((_number(at), _number(lines)) for at, _, lines in (pair.partition(":") for pair in text.split(",")))
    return tuple((at, lines) for at, lines in pairs if at is not None and lines is not None)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else None


def first_lines(parts: Iterable[bytes]) -> list[int]:
    """Line number (from 0) that each part of `split_lines` starts at."""
    counts = [part.count(b"\n") + 1 for part in parts]
    return [0, *accumulate(counts)][: len(counts)]
