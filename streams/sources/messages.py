"""What was decoded -> raw messages: lines in parts of the right size, and what can't be read, each with its origin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from streams.core.fields import parse_format
from streams.core.raw import Origin, RawMessage, digest, split_lines
from streams.sources.decode import Decoded


class Counts(Protocol):
    """Where a source counts: metrics in a process, a small object in a test."""

    def requests(self, source: str, outcome: str) -> None:
        """A request was answered, or a chunk of a bridge was stored (or not). outcome: one of OUTCOMES."""

    def bytes(self, source: str, count: int) -> None:
        """So many bytes came, as they were on the wire."""

    def skipped(self, source: str, reason: str, count: int) -> None:
        """Something came that holds no lines, or lines that were there already. reason: one of SKIPPED."""


OUTCOMES = ("ok", "unauthorized", "bad_request", "too_large", "unavailable", "overloaded")
"""What can become of a request. A closed set: label values."""

SKIPPED = ("probe", "duplicate", "tombstone")
"""What is passed over: CONTROL_MESSAGE and its like; CloudWatch events twice in a payload; empty Kafka messages."""


@dataclass(frozen=True)
class Arrival:
    """What the raw messages of a delivery share. name: see core.raw.Origin. format: where the lines tell none."""

    source: str
    name: str
    arrival_ms: int
    format: str | None = None
    replay: bool = False

    def message(self, value: bytes, part: str, fmt: str | None = None, error: str | None = None) -> RawMessage:
        """One message; `part` tells it from its siblings."""
        origin = Origin(self.source, self.name, part, digest(value))
        return RawMessage(value, origin, self.arrival_ms, fmt or self.format, self.replay, error)


def messages(decoded: Decoded, arrival: Arrival, first_part: int = 0) -> Iterator[RawMessage]:
    """Raw messages of all that was decoded, numbered from `first_part`: the same content gives the same numbers."""
    part = first_part
    for batch in decoded.batches:
        for lines in split_lines(batch.lines):
            yield arrival.message(lines, str(part), batch.format)
            part += 1
    for payload, reason in unread(decoded):
        yield arrival.message(payload, str(part), error=reason)
        part += 1


def unread(decoded: Decoded) -> Iterator[tuple[bytes, str]]:
    """Payloads without lines, each with its reason. Nobody here fetches S3 objects: a notification is one of them."""
    for error in decoded.errors:
        yield error.payload, error.reason
    for created in decoded.notifications:
        yield created.json(), "no_lines"


def count_skipped(counts: Counts, source: str, ignored: int, duplicates: int) -> None:
    """Count what a payload held that is neither a line nor an error. ignored, duplicates: as in Decoded."""
    if ignored:
        counts.skipped(source, "probe", ignored)
    if duplicates:
        counts.skipped(source, "duplicate", duplicates)


def format_names(text: str) -> str:
    """A format as people write it -> as RawMessage.format has it. Raises ValueError."""
    return " ".join(parse_format(text))
