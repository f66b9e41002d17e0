"""Findings: what detectors saw, told as episodes.

A detector says in each closed minute what it sees (hits). What it goes on seeing is one episode and one finding, which
is updated, and closed when nothing was seen for its cool-down. A finding's id is a function of the detector, of what
the finding is about and of the episode's first second: whoever sees the same again gives it the same id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import orjson
import polars as pl

from streams.core.conversations import PANE_SECONDS
from streams.core.places import Places

SEVERITIES = ("informational", "low", "medium", "high", "critical")
"""From the least to the worst."""

ABOUT: dict[str, pl.DataType | type[pl.DataType]] = {
    "eni": pl.String,
    "source": pl.String,
    "target": pl.String,
    "port": pl.Int32,
    "protocol": pl.Int16,
}
"""What a hit is about; null: that is not what it is about (many sources, any port)."""

HITS: dict[str, pl.DataType | type[pl.DataType]] = {
    **ABOUT,
    "severity": pl.UInt8,
    "first": pl.Int64,
    "last": pl.Int64,
    "count": pl.Int64,
    "sentence": pl.String,
    "evidence": pl.String,
}
"""A row per hit. severity: index in SEVERITIES. first, last: epoch seconds. count: records that it rests on, in this
minute. sentence: what was seen, against what expectation. evidence: the numbers, as JSON.
"""

MOST_HITS = 1000
"""Of one detector in one minute; the worst ones are kept."""


def no_hits() -> pl.DataFrame:
    """A frame of hits with no rows."""
    return pl.DataFrame(schema=HITS)


@dataclass(frozen=True)
class Finding:
    """An episode. Times in epoch seconds. detected: the end of the minute that told it. updates: minutes in which
    something was seen. origins: see core.places, of the minute that opened it.
    """

    id: str
    detector: str
    eni: str | None
    source: str | None
    target: str | None
    port: int | None
    protocol: int | None
    severity: int
    first: int
    last: int
    detected: int
    count: int
    updates: int
    sentence: str
    evidence: str
    origins: str = ""
    closed: bool = False

    @property
    def about(self) -> tuple[object, ...]:
        """What an episode is told apart by."""
        return tuple(getattr(self, name) for name in ABOUT)


FINDINGS: dict[str, pl.DataType | type[pl.DataType]] = {
    "id": pl.String, "detector": pl.String, **ABOUT, "severity": pl.Int64, "first": pl.Int64, "last": pl.Int64,
    "detected": pl.Int64, "count": pl.Int64, "updates": pl.Int64, "sentence": pl.String, "evidence": pl.String,
    "origins": pl.String, "closed": pl.Boolean,
}  # fmt: skip
"""Findings as a frame."""


def as_object(finding: Finding) -> dict[str, object]:
    """As a SIEM gets it, and `analyze --json` has it: for JSON. Times in epoch seconds."""
    return {
        "id": finding.id, "detector": finding.detector, "severity": SEVERITIES[finding.severity],
        "first_seen": finding.first, "last_seen": finding.last, "detected": finding.detected, "eni": finding.eni,
        "source": finding.source, "target": finding.target, "port": finding.port, "protocol": finding.protocol,
        "count": finding.count, "updates": finding.updates, "closed": finding.closed, "sentence": finding.sentence,
        "evidence": orjson.loads(finding.evidence), "origins": origins(finding),
    }  # fmt: skip


def origins(finding: Finding) -> list[dict[str, int]]:
    """Where its first records are on the raw topic: the messages from each of these offsets on."""
    pairs = (one.split("@") for one in finding.origins.split(",") if one)
    return [{"partition": int(partition), "offset": int(offset)} for partition, offset in pairs]


def render(finding: Finding) -> bytes:
    """`as_object` as JSON."""
    return orjson.dumps(as_object(finding))


def as_frame(findings: Iterable[Finding]) -> pl.DataFrame:
    """A row each (columns: FINDINGS), in their order."""
    return pl.DataFrame([vars(finding) for finding in findings], schema=FINDINGS, orient="row")


def of_frame(frame: pl.DataFrame) -> list[Finding]:
    """What `as_frame` was given."""
    return [Finding(**row) for row in frame.iter_rows(named=True)]


def finding_id(detector: str, about: tuple[object, ...], first: int) -> str:
    """32 hexadecimal digits."""
    text = "\n".join(("" if value is None else str(value)) for value in (detector, *about, first))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


_NOWHERE = Places()


@dataclass
class Episodes:
    """The open episodes of one detector. cool_down: seconds without a hit that close one; limit: open ones at most.

    over: hits that were passed over, beyond MOST_HITS or `limit`.
    """

    detector: str
    cool_down: int
    limit: int = 10_000
    over: int = 0
    open: dict[tuple[object, ...], Finding] = field(default_factory=dict)

    def update(self, hits: pl.DataFrame, now: int, places: Places = _NOWHERE) -> list[Finding]:
        """Findings that are new or changed, after a minute that ends at `now` (epoch seconds); and those that close."""
        self.over += max(0, hits.height - MOST_HITS)
        changed = [self._seen(row, now) for row in self._located(_worst(hits), now, places).iter_rows(named=True)]
        return [found for found in changed if found is not None] + list(self._closed(now))

    def _located(self, hits: pl.DataFrame, now: int, places: Places) -> pl.DataFrame:
        """With String `origins`, where no open finding has them already: most hits are of one that goes on."""
        asked = pl.Series([not self._has_origins(about) for about in hits.select(*ABOUT).iter_rows()], dtype=pl.Boolean)
        found = places.located(hits.filter(asked), now - PANE_SECONDS)
        return pl.concat([found, hits.filter(~asked).with_columns(pl.lit("").alias("origins"))])

    def _has_origins(self, about: tuple[object, ...]) -> bool:
        return about in self.open and self.open[about].origins != ""

    def _seen(self, row: Mapping[str, object], now: int) -> Finding | None:
        hit = _finding(self.detector, row, now)
        before = self.open.get(hit.about)
        if before is None and len(self.open) >= self.limit:
            self.over += 1
            return None
        if before is not None:
            hit = replace(
                hit, id=before.id, first=min(before.first, hit.first), last=max(before.last, hit.last),
                detected=before.detected, count=before.count + hit.count, updates=before.updates + 1,
                severity=max(before.severity, hit.severity), origins=before.origins or hit.origins,
            )  # fmt: skip
        self.open[hit.about] = hit
        return hit

    def _closed(self, now: int) -> Iterator[Finding]:
        over = [found for found in self.open.values() if now - found.last > self.cool_down]
        for found in over:
            yield replace(self.open.pop(found.about), closed=True)


def _worst(hits: pl.DataFrame) -> pl.DataFrame:
    """In an order that does not depend on how they were found."""
    ranked = hits.sort("severity", "count", *ABOUT, descending=[True, True, *[False] * len(ABOUT)], nulls_last=True)
    return ranked.head(MOST_HITS)


def _finding(detector: str, row: Mapping[str, object], now: int) -> Finding:
    found = finding_id(detector, tuple(row[name] for name in ABOUT), cast("int", row["first"]))
    return Finding(id=found, detector=detector, detected=now, updates=1, **cast("dict[str, Any]", row))
