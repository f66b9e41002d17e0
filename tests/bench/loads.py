"""Lines to measure with: made from a few numbers, always the same for the same numbers, in chunks of a raw message.

Two kinds. `network` is the generator's traffic, grown beyond its 20,000 ENIs, some of it late or broken if asked for.
`every_eni` is a record of each ENI again and again: the most rows that so many ENIs and panes can have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import polars as pl

from streams.core.raw import TARGET_BYTES, split_lines
from streams.generate import LARGEST, bulk

PANE = 60
EVERY_OTHER = 0
"""Peers of an ENI: none that it had before."""

_LINES = 2500
"""Of a message of `every_eni`."""
_CLOSED = 1200
_SPREAD = 1800
"""Seconds: a late record is behind the others by the first, and by less than the second more. Its pane is retained, and
it is not so old (budget.series_ttl_seconds) that a port with no other record has no series, and the sum a gap."""
_STEP = 97
"""A prime, so that neighbours in the order of lines are none in time."""


@dataclass(frozen=True)
class Load:
    """records: at most; `every_eni` gives whole rounds. batch: bytes of lines in a message. late, broken: percent.

    rounds: of `every_eni`, in each of `panes`; 0: `network`. peers: addresses that each ENI talks to, of `every_eni`.
    """

    records: int = 1_000_000
    enis: int = 1000
    batch: int = TARGET_BYTES
    late: float = 0
    broken: float = 0
    rounds: int = 0
    panes: int = 5
    peers: int = 1


def chunks(load: Load, now: int) -> list[bytes]:
    """The lines of a load. now: when the records of `every_eni` end, epoch seconds."""
    if load.rounds:
        made = every_eni(load.enis, load.panes, now, rounds=load.rounds, peers=load.peers)
    else:
        made = network(load.records, load.enis)
    if load.late:
        made = some_changed(made, load.late, _late)
    if load.broken:
        made = some_changed(made, load.broken, _broken)
    return list(recut(made, load.batch))


def recut(made: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same lines in chunks of about `size` bytes, as the sources cut them."""
    text = b""
    for chunk in made:
        *whole, text = split_lines(text + b"\n" + chunk if text else chunk, size)
        yield from whole
    if text:
        yield text


def flows(some: Iterable[bytes]) -> int:
    """Records that count a flow: not broken, and neither NODATA nor SKIPDATA."""
    return sum(chunk.count(b" OK\n") + chunk.endswith(b" OK") for chunk in some)


def network(records: int, enis: int) -> Iterator[bytes]:
    """The generator's traffic. More ENIs than it knows are copies of its network: other ids, other addresses."""
    copies = -(-enis // LARGEST)
    for chunk in bulk(records, enis=enis // copies):
        yield chunk if copies == 1 else b"\n".join(_copies(chunk.split(b"\n"), copies))


def _copies(lines: list[bytes], copies: int) -> Iterator[bytes]:
    """Lines in turn to each of the copies: a message has all of them."""
    for copy in range(copies):
        mine = b"\n".join(lines[copy::copies])
        yield mine.replace(b" eni-0", b" eni-%d" % copy).replace(b" 10.0.", b" 10.%d." % copy)


def interfaces(some: Iterable[bytes]) -> int:
    """How many ENIs are in lines."""
    return len({line.split(b" ", 3)[2] for chunk in some for line in chunk.split(b"\n")})


def some_changed(made: Iterable[bytes], percent: float, change: Callable[[bytes, int], bytes]) -> Iterator[bytes]:
    """So many lines of a hundred changed: change(line, how many before it). The first one of all never is."""
    number = 0
    for chunk in made:
        found = chunk.split(b"\n")
        for at in range(len(found)):
            number += 1
            if int(number * percent / 100) > int((number - 1) * percent / 100):
                found[at] = change(found[at], number)
        yield b"\n".join(found)


def _late(line: bytes, number: int) -> bytes:
    before, start, end, action, status = line.rsplit(b" ", 4)
    back = _CLOSED + number * _STEP % _SPREAD
    return b" ".join((before, b"%d" % (int(start) - back), b"%d" % (int(end) - back), action, status))


def _broken(line: bytes, _: int) -> bytes:
    """Without its last fields, as one that was cut off."""
    return line.rsplit(b" ", 4)[0]


def every_eni(enis: int, panes: int, now: int, *, rounds: int = 1, peers: int = 1) -> Iterator[bytes]:
    """`rounds` records of each ENI in each of the panes that end now; lines of v2."""
    begin = now // PANE * PANE - panes * PANE
    numbers = pl.DataFrame({"eni": range(enis)})
    for turn in range(panes * rounds):
        peer = pl.lit(turn % peers) if peers != EVERY_OTHER else turn * enis + pl.col("eni")
        end = pl.lit(begin + turn // rounds * PANE + 50)
        text = lines(numbers.with_columns(peer.alias("peer"), end.alias("end")))
        for at in range(0, enis, _LINES):
            yield "\n".join(text[at : at + _LINES]).encode()


def at_second(second: int, rate: int, enis: int, parts: int) -> list[bytes]:
    """`rate` records that ended in the minute before, of ENIs in turn, as so many messages."""
    number = second * rate + pl.int_range(rate, dtype=pl.Int64, eager=True)
    records = pl.DataFrame({"eni": number % enis, "peer": number // enis % 10, "end": second - number * _STEP % PANE})
    text = lines(records)
    return ["\n".join(text.gather_every(parts, part)).encode() for part in range(parts)]


def lines(records: pl.DataFrame) -> pl.Series:
    """Lines of v2 of records (eni, peer, end: integers)."""
    eni, peer = pl.col("eni"), pl.col("peer") + 1
    address = pl.format("10.{}.{}.{}", 1 + peer // 65_536, peer // 256 % 256, peer % 256)
    before = pl.format("2 123456789012 eni-{} 10.0.0.1 {}", 10**16 + eni, address)
    middle = pl.format("443 {} 6 {} {}", 32_768 + eni % 8192, 1 + eni % 50, 40 + eni)
    after = pl.format("{} {} ACCEPT OK", pl.col("end") - 50, "end")
    return records.select(pl.format("{} {} {}", before, middle, after)).to_series()
