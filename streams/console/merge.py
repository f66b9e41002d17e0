"""The pictures of all workers as one: what the API answers. Pure.

An interface or a port has its table on one worker, `other` on many: what has the same name is added up. Findings meet
by their ids. A picture without rates says nothing about them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from itertools import zip_longest
from typing import Any, TypeVar

from streams.console.models import (
    Counts,
    Eni,
    Enis,
    Explained,
    Findings,
    Health,
    Overview,
    Picture,
    Point,
    Port,
    Ports,
    Rates,
    Talkers,
    Worker,
)
from streams.console.picture import MOST_FINDINGS, POINTS, TOP, TOP_REJECTED, largest
from streams.core.findings import SEVERITIES
from streams.detectors.registry import DETECTORS

Pictures = Sequence[Picture]
_Top = TypeVar("_Top", Eni, Port)

_EXPLAINED = {one.name: Explained(one.title, one.explanation, one.runbook, tuple(one.attack)) for one in DETECTORS}


def overview(pictures: Pictures, now: float) -> Overview:
    """now: epoch seconds."""
    return Overview(
        epoch=now,
        ready=bool(pictures) and all(one.ready for one in pictures),
        workers=tuple(_worker(one, now) for one in pictures),
        rates=_added(one.rates for one in pictures),
        history=_history(pictures),
        detecting=any(one.detecting for one in pictures),
        open=_open(pictures),
    )


def enis(pictures: Pictures) -> Enis:
    """Those that moved or refused most."""
    most = _top((row for one in pictures for row in one.enis), _eni, "bytes", TOP)
    return Enis(most, _top((row for one in pictures for row in one.rejected_enis), _eni, "rejected", TOP_REJECTED))


def ports(pictures: Pictures) -> Ports:
    """The same of service ports."""
    most = _top((row for one in pictures for row in one.ports), _port, "bytes", TOP)
    return Ports(most, _top((row for one in pictures for row in one.rejected_ports), _port, "rejected", TOP_REJECTED))


def talkers(pictures: Pictures) -> Talkers:
    """Of the latest minute that any worker has closed."""
    minute = max((one.talked for one in pictures if one.talked is not None), default=None)
    rows = [row for one in pictures if one.talked == minute for row in one.talkers]
    return Talkers(minute, tuple(largest(rows, lambda row: (row.client, row.server, row.port))))


def findings(pictures: Pictures) -> Findings:
    """The worst, each once."""
    each = {found.id: found for one in pictures for found in one.findings}
    ordered = sorted(each.values(), key=lambda one: (-SEVERITIES.index(one.severity), -one.last_seen, one.id))
    worst = ordered[:MOST_FINDINGS]
    names = {one.detector for one in worst}
    detectors = {name: told for name, told in _EXPLAINED.items() if name in names}
    return Findings(_open(pictures), tuple(worst), detectors)


def health(pictures: Pictures, now: float) -> Health:
    """now: epoch seconds."""
    counts = _counts([one.counts for one in pictures])
    marks = [one.watermark for one in pictures if one.watermark is not None]
    written: dict[str, float] = {}
    for agent, at in (pair for one in pictures for pair in one.checkpoints.items()):
        written[agent] = min(at, written.get(agent, at))
    return Health(
        counts=counts,
        watermark_age_seconds=now - max(marks) if marks else None,
        checkpoint_age_seconds={agent: max(0.0, now - at) for agent, at in sorted(written.items())},
        conservation_difference=counts.folded - counts.tabled,
    )


def _worker(one: Picture, now: float) -> Worker:
    return Worker(one.instance, max(0.0, now - one.epoch), one.ready, one.reason, one.rates, one.detecting)


def _added(found: Iterable[Rates | None]) -> Rates | None:
    known = [asdict(one) for one in found if one is not None]
    return Rates(**{each.name: sum(one[each.name] for one in known) for each in fields(Rates)}) if known else None


def _history(pictures: Pictures) -> tuple[Point, ...]:
    """As far as all workers have told."""
    drawn = [one.history for one in pictures if one.history]
    told = min((points[-1].epoch for points in drawn), default=0)
    times: dict[int, list[Rates]] = {}
    for point in (point for points in drawn for point in points if point.epoch <= told):
        times.setdefault(point.epoch, []).append(point.rates)
    return tuple(Point(at, rates) for at in sorted(times)[-POINTS:] if (rates := _added(times[at])) is not None)


def _open(pictures: Pictures) -> dict[str, int]:
    found: Counter[str] = Counter()
    for one in pictures:
        found.update(one.open)
    return {name: found[name] for name in reversed(SEVERITIES) if found[name]}


def _eni(row: Eni) -> str:
    return row.eni


def _port(row: Port) -> str:
    return row.port


def _top(rows: Iterable[_Top], key: Callable[[_Top], str], by: str, most: int) -> tuple[_Top, ...]:
    found: dict[str, _Top] = {}
    for row in rows:
        name = key(row)
        found[name] = _together(found[name], row) if name in found else row
    ordered = sorted(found.values(), key=lambda row: (-getattr(row, by), key(row)))
    return tuple(ordered[:most])


def _together(one: _Top, other: _Top) -> _Top:
    return replace(
        one,
        bytes=one.bytes + other.bytes, flows=one.flows + other.flows, rejected=one.rejected + other.rejected,
        history=tuple(_aligned(one.history, other.history)),
    )  # fmt: skip


def _aligned(one: Sequence[float | None], other: Sequence[float | None]) -> list[float | None]:
    """Both histories end now."""
    pairs = zip_longest(reversed(one), reversed(other))
    sums = [None if a is None and b is None else (a or 0.0) + (b or 0.0) for a, b in pairs]
    return sums[::-1]


def _counts(found: Sequence[Counts]) -> Counts:
    return Counts(**dict(_sums(found)))


def _sums(found: Sequence[Counts]) -> Iterator[tuple[str, Any]]:
    """Field by field, the maps key by key."""
    for each in fields(Counts):
        values = [getattr(one, each.name) for one in found]
        yield each.name, _merged(values) if each.name in ("lag", "dead_letters", "lines") else sum(values)


def _merged(maps: Iterable[Mapping[str, int]]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for one in maps:
        found.update(one)
    return dict(found)
