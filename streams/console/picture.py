"""A worker's snapshots, five seconds apart, as the picture that it shows of itself. No clock is read here."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import orjson
import polars as pl

from streams.console.models import Counts, Eni, Found, Picture, Point, Port, Rates, Talker
from streams.core import talkers
from streams.core.findings import SEVERITIES, Finding, as_object
from streams.core.talkers import Talkers
from streams.metrics import Snapshot
from streams.rates import Readings, gained, lines_gained, reading, summed
from streams.report import port_text, service_name

EVERY_SECONDS = 5
POINTS = 60
"""Of a history: five minutes."""
TOP = 50
TOP_REJECTED = 20
MOST_FINDINGS = 100
LARGEST_BYTES = 200_000

_WINDOW_SECONDS, _WINDOW_READINGS = 20, 4
"""Rates are of the last 40 to 60 seconds: AWS delivers once a minute, and shorter ones would jump."""
_DRAWN = 20
_FOLLOWED = 200
"""Of a table, keys whose bytes of five seconds are remembered: those that moved most then."""

_Row = tuple[Any, ...]
_Top = TypeVar("_Top", Eni, Port)


class Maker:
    """Remembers what rates and histories need."""

    def __init__(self, instance: str) -> None:
        """instance: the worker's name among the others."""
        self._instance = instance
        self._ticks = Readings(2)
        self._minute = Readings(_WINDOW_READINGS, _WINDOW_SECONDS)
        self._points: deque[Point] = deque(maxlen=POINTS)
        self._moved: dict[str, deque[dict[_Row, float]]] = {table: deque(maxlen=POINTS) for table in ("eni", "port")}

    def look(
        self, now: Snapshot, ready: tuple[bool, str], seconds: float, epoch: float, checkpoints: Mapping[str, float]
    ) -> Picture:
        """Take a snapshot. seconds: of a clock that never goes back. checkpoints: see Picture."""
        new = reading(now, seconds)
        self._ticks.add(new)
        self._minute.add(new)
        self._remember(int(epoch))
        enis, ports = self._gained("eni"), self._gained("port")
        found = [finding for one in now.watched.values() for finding in one.findings]
        talked = most_talked(one.talkers for one in now.watched.values())
        marks = [meta.watermark for meta in now.metas.values() if meta.watermark is not None]
        return Picture(
            instance=self._instance, epoch=epoch, ready=ready[0], reason=ready[1],
            rates=_rates(self._minute, self._minute.oldest.seconds),
            history=tuple(self._points),
            enis=self._top(enis, "bytes", TOP, self._eni), ports=self._top(ports, "bytes", TOP, self._port),
            rejected_enis=self._top(enis, "rejected", TOP_REJECTED, self._eni),
            rejected_ports=self._top(ports, "rejected", TOP_REJECTED, self._port),
            counts=_counts(now), watermark=max(marks, default=None), checkpoints=dict(checkpoints),
            detecting=bool(now.watched), open=_by_severity(now), findings=_worst(found),
            talked=talked.minute, talkers=tuple(map(_talker, talked.rows)),
        )  # fmt: skip

    def _remember(self, epoch: int) -> None:
        """What the last five seconds were, unless nothing is known of them."""
        rates = _rates(self._ticks, self._ticks.before.seconds)
        if rates is None:
            return
        self._points.append(Point(epoch - epoch % EVERY_SECONDS, rates))
        span = self._ticks.newest.seconds - self._ticks.before.seconds
        for table, kept in self._moved.items():
            most = gained(self._ticks.newest, self._ticks.before, table).sort("bytes", descending=True)
            rows = most.head(_FOLLOWED).drop("flows", "rejected").iter_rows()
            kept.append({tuple(key): count / span for *key, count in rows})

    def _gained(self, table: str) -> pl.DataFrame:
        """Keys with their rates of the last minute; none, where it is not known yet."""
        seen = self._minute
        span = max(seen.newest.seconds - seen.oldest.seconds, 1.0)
        return gained(seen.newest, seen.oldest, table).with_columns(pl.col("bytes", "flows", "rejected") / span)

    def _top(self, rows: pl.DataFrame, by: str, most: int, make: Callable[[_Row, int], _Top]) -> tuple[_Top, ...]:
        found = rows.filter(pl.col(by) > 0).sort(by, *rows.columns, descending=[True] * (1 + rows.width)).head(most)
        return tuple(make(row, place) for place, row in enumerate(found.iter_rows()))

    def _eni(self, row: _Row, place: int) -> Eni:
        name, size, flows, rejected = row
        return Eni(name, size, flows, rejected, self._history("eni", (name,), place))

    def _port(self, row: _Row, place: int) -> Port:
        number, protocol, size, flows, rejected = row
        text = port_text(number, protocol)
        history = self._history("port", (number, protocol), place)
        return Port(text, service_name(text), size, flows, rejected, history)

    def _history(self, table: str, key: _Row, place: int) -> tuple[float | None, ...]:
        if place >= _DRAWN:
            return ()
        known = (one.get(key) for one in self._moved[table])
        return tuple(None if value is None else round(value, 1) for value in known)


def _rates(seen: Readings, since: float) -> Rates | None:
    """Of the readings from `since` to the newest; None: there is only one."""
    now, before = seen.newest, seen.oldest
    span = now.seconds - since
    if span <= 0:
        return None
    sums = gained(now, before, "eni").select(pl.col("bytes", "flows", "rejected").sum()).row(0)
    size, flows, rejected = (value / span for value in sums)
    return Rates(
        round(lines_gained(now, before) / span, 2), round(size, 1), round(flows - rejected, 2), round(rejected, 2)
    )


def _counts(now: Snapshot) -> Counts:
    def total(name: str) -> int:
        return sum(meta.totals[name] for meta in now.metas.values())

    lag: Counter[str] = Counter()
    for (topic, _), waiting in now.lag.items():
        lag[topic] += waiting
    return Counts(
        lag=lag, dead_letters=summed(now, "rejects"), lines=summed(now, "lines"), late=total("late"),
        future=total("future"), duplicates=sum(summed(now, "duplicates").values()), unwatched=total("unwatched"),
        folded=total("flows"), tabled=sum(now.tabled.values()),
    )  # fmt: skip


def _by_severity(now: Snapshot) -> dict[str, int]:
    """Open findings, those that somebody suppresses left out."""
    found = Counter(SEVERITIES[finding.severity] for one in now.watched.values() for finding in one.findings)
    return {name: found[name] for name in reversed(SEVERITIES) if found[name]}


def _worst(findings: Iterable[Finding]) -> tuple[Found, ...]:
    ordered = sorted(findings, key=lambda one: (-one.severity, -one.last, one.id))
    return tuple(map(_found, ordered[:MOST_FINDINGS]))


def _found(finding: Finding) -> Found:
    told: dict[str, Any] = as_object(finding)
    service = None if finding.port is None else port_text(finding.port, finding.protocol)
    names = (
        "id", "detector", "severity", "sentence", "first_seen", "last_seen", "count", "eni", "source", "target",
        "evidence",
    )  # fmt: skip
    return Found(**{name: told[name] for name in names}, service=service)


def most_talked(found: Iterable[Talkers]) -> Talkers:
    """Of partitions, those of the latest minute, together. What several saw counts as the one that saw most has it."""
    known = [one for one in found if one.minute is not None]
    last = max((one.minute for one in known if one.minute is not None), default=None)
    rows = [row for one in known if one.minute == last for row in one.rows]
    return Talkers(last, tuple(largest(rows, lambda row: (row.client, row.server, row.port, row.protocol))))


_Sized = TypeVar("_Sized", talkers.Talker, Talker)


def largest(rows: Iterable[_Sized], key: Callable[[_Sized], tuple[object, ...]]) -> list[_Sized]:
    """Each key once, as the row with most bytes has it; the 20 largest, in order."""
    best: dict[tuple[object, ...], _Sized] = {}
    for row in rows:
        if key(row) not in best or row.bytes > best[key(row)].bytes:
            best[key(row)] = row
    ordered = sorted(best.items(), key=lambda pair: (-pair[1].bytes, repr(pair[0])))
    return [row for _, row in ordered[: talkers.MOST]]


def _talker(row: talkers.Talker) -> Talker:
    text = port_text(row.port, row.protocol)
    return Talker(row.client, row.server, text, service_name(text), row.bytes, row.flows, row.rejected)


def encode(picture: Picture) -> bytes:
    """As JSON, LARGEST_BYTES at most: with fewer findings than it has, where they are long."""
    value = orjson.dumps(picture)
    while len(value) > LARGEST_BYTES and picture.findings:
        picture = replace(picture, findings=picture.findings[: len(picture.findings) // 2])
        value = orjson.dumps(picture)
    return value
