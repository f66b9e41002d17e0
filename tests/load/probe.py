"""Probes: messages of one line whose way from the broker to /metrics is timed. Pure.

A probe is the next record of one of a few ENIs that nothing else has. All of an ENI go over one raw partition, so they
come in order: the n-th of them is visible in the first scrape that counts n flows of its ENI.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from streams.core.raw import Origin, RawMessage
from streams.generate import FORMATS

_MINUTE = 60
_FORMAT = FORMATS[2]
_LINE = "2 123456789012 {eni} 10.0.0.1 10.1.0.1 443 40000 6 1 40 {start} {end} ACCEPT OK"
_COUNTED = re.compile(r'^vpcflow_eni_flows_total\{[^}\n]*eni="(eni-0bea\w{13})"[^}\n]*\} (\S+)$', re.MULTILINE)
_TOLD = re.compile(r'^vpcflow_pipeline_latency_seconds_bucket\{le="([^"]+)"\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True)
class Probe:
    """number: how many records its ENI has with it. sent, confirmed: when it went to the broker, and when the broker
    said that it has it (seconds, monotonic).
    """

    eni: str
    number: int
    sent: float
    confirmed: float


@dataclass(frozen=True)
class Glimpse:
    """What a scrape showed of the probes: flows by ENI. It was asked for and was there at those seconds, monotonic."""

    began: float
    ended: float
    flows: Mapping[str, int]


@dataclass(frozen=True)
class Sighting:
    """When a probe became visible, in seconds since it was confirmed: somewhere from `least` to `most`.

    most: the first scrape that shows it was there. least: the last scrape that does not show it was asked for.
    """

    least: float
    most: float


def eni(number: int, partitions: int) -> str:
    """Of probe `number`, whose raw partition is `number` modulo `partitions`.

    A raw partition has as many ENIs as there are partitions. The last four digits decide the summary partition
    (core.tables.destination): together they go all ways there are.
    """
    which = number % partitions**2
    return f"eni-0bea{which:09x}{which // partitions:04x}"


def message(number: int, partitions: int, now: float) -> RawMessage:
    """Of one record that ends in the last minute that is over at `now`, as the feeder's do."""
    end = int(now) // _MINUTE * _MINUTE - 1
    line = _LINE.format(eni=eni(number, partitions), start=end - 50, end=end)
    origin = Origin("generator", f"probe/{number % partitions}", str(number))
    return RawMessage(line.encode(), origin, int(now * 1000), _FORMAT)


def flows(text: str) -> Mapping[str, int]:
    """Records of each probe's ENI, as a scrape tells them, whatever their direction."""
    found = Counter[str]()
    for name, value in _COUNTED.findall(text):
        found[name] += int(float(value))
    return dict(found)


def told(text: str) -> Mapping[float, int]:
    """The worker's own histogram in a scrape: how many summaries were visible in so many seconds or less."""
    return {float(bound): int(float(value)) for bound, value in _TOLD.findall(text)}


def sightings(probes: Sequence[Probe], glimpses: Sequence[Glimpse]) -> list[Sighting]:
    """Of each probe that was seen, in their order. The first glimpse is from before the first probe."""
    return [one for probe in probes for one in _first(probe, glimpses)]


def _first(probe: Probe, glimpses: Sequence[Glimpse]) -> Iterator[Sighting]:
    for before, glimpse in pairwise(glimpses):
        if glimpse.flows.get(probe.eni, 0) >= probe.number:
            ends = before.began - probe.confirmed, glimpse.ended - probe.confirmed
            yield Sighting(*(max(0.0, seconds) for seconds in ends))
            return


def miscounted(probes: Sequence[Probe], last: Glimpse) -> list[str]:
    """ENIs that have not as many flows as probes were sent."""
    sent = Counter(probe.eni for probe in probes)
    return [
        f"{name}: {sent[name]} probes were sent, {last.flows.get(name, 0)} are counted"
        for name in sorted({*sent, *last.flows})
        if sent[name] != last.flows.get(name, 0)
    ]
