"""The input of a run: a function of the seed and of the minute that it is made in. Pure.

Event time lies 95 to 35 minutes back, so no pane leaves the retained ones, and nothing is of the future. A last line
of now, in many posts, closes every minute for the detectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

import orjson

from streams.generate import FORMATS, Version, bulk

ENIS = 300
MINUTES = 60
BACK = 95 * 60
"""Seconds from the oldest record to now."""
WIDE: Version = 5
"""What Firehose delivers, with its format said; the foreign topic has version 2, which is not said."""
_BRIDGED = 4
"""One line in so many goes over the foreign topic."""
_JUNK_EVERY = 1500
_LAST = 48
"""Posts of a line each: every raw partition gets some, by their ids."""

_BROKEN_LINES: tuple[Callable[[int], bytes], ...] = (
    lambda n: b"no flow log %d" % n,
    lambda n: b"2 123456789010 eni-%d not-an-address 10.0.0.1 1 2 6 1 40 1700000000 1700000060 ACCEPT OK" % n,
    lambda n: b"cut-off-%d 123456789010 eni-0" % n,
)
_BROKEN_MESSAGES: tuple[Callable[[int], bytes], ...] = (
    *_BROKEN_LINES,
    lambda n: b"\xff\xfe %d" % n,
    lambda n: b'{"message": "cut off %d' % n,
    lambda n: b"\x1f\x8bno gzip %d" % n,
)


@dataclass(frozen=True)
class Post:
    """What Firehose delivers at once: flow records and junk, one request id. again: it is posted once more after it
    was accepted, as when Firehose did not hear that.
    """

    request_id: str
    lines: Sequence[bytes]
    again: bool

    def records(self) -> list[bytes]:
        """As CloudWatch Logs hand them to Firehose."""
        return [orjson.dumps({"message": line.decode()}) for line in self.lines]


@dataclass
class Traffic:
    """posts: over Firehose. messages: for the foreign topic, a record a message. wide: the posts' flow log lines.

    last: for when all else is counted, twice, some seconds apart: only what follows ends a block.
    """

    posts: list[Post] = field(default_factory=list)
    last: list[list[Post]] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    wide: list[bytes] = field(default_factory=list)
    junk: list[bytes] = field(default_factory=list)


def traffic(seed: int, lines: int, now: int) -> Traffic:
    """`lines` flow log lines, and some junk. now: epoch seconds."""
    chance, made = Random(f"traffic {seed}"), Traffic()
    bridged = lines // _BRIDGED
    made.wide = list(_lines(lines - bridged, seed, WIDE, now - BACK))
    at = 0
    while at < len(made.wide):
        count = chance.choice((50, 200, 500, 1000, 1500))
        part = _with_junk(made.wide[at : at + count], chance, made.junk, _BROKEN_LINES)
        made.posts.append(Post(f"chaos-{seed}-{len(made.posts)}", part, chance.random() < 0.1))
        at += count
    newest = next(line for line in _lines(100, seed, WIDE, now - 60, 1) if b" OK " in line)
    made.last = [[Post(f"chaos-{seed}-last-{half}-{n}", [newest], again=False) for n in range(_LAST)] for half in "ab"]
    made.wide += [newest] * len(made.last) * _LAST
    foreign: list[bytes] = []
    made.messages = _with_junk(
        list(_lines(bridged, seed, 2, now - BACK)), chance, foreign, _BROKEN_MESSAGES, len(made.junk)
    )
    return made


def is_junk(message: bytes) -> bool:
    """Whether a message of the foreign topic is none of `bulk`'s lines: these have 14 words, and a real address."""
    return message.count(b" ") != 13 or b"not-an-address" in message


def format_of(version: Version) -> str:
    """Field names, separated by spaces."""
    return FORMATS[version]


def _lines(count: int, seed: int, version: Version, start: int, minutes: int = MINUTES) -> Iterator[bytes]:
    for chunk in bulk(count, enis=ENIS, seed=seed, version=version, start_epoch=start, minutes=minutes):
        yield from chunk.split(b"\n")


def _with_junk(
    lines: list[bytes], chance: Random, junk: list[bytes], kinds: Sequence[Callable[[int], bytes]], first: int = 0
) -> list[bytes]:
    """The lines with some that are none among them, each of them once; they are noted in `junk`."""
    found = []
    for line in lines:
        if chance.random() * _JUNK_EVERY < 1:
            number = first + len(junk)
            junk.append(chance.choice(kinds)(number))
            found.append(junk[-1])
        found.append(line)
    return found
