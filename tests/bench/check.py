"""`make bench-check`: has the hot path become slower? Under two minutes, without Kafka, on a machine that others use.

Seconds say little there: while a neighbour works on the same core, all code takes up to twice the CPU. So the core and
Polars (tests/bench/limit.py) get the same lines in turn, a batch each, less than a tenth of a second long: what slows
one of them slows the other. Judged is the ratio of their CPU, the median of many rounds, against the one in check.json.
What fails is measured once more before it counts.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles

from streams.core.combine import Policy, RawPartition
from streams.core.raw import Origin, RawMessage, digest
from streams.core.roll import SummaryPartition
from streams.generate import FORMATS, Version, bulk
from streams.settings import Topics
from tests.bench import limit

LIMITS = Path(__file__).with_name("check.json")
TOLERATED = 1.14
"""Times the limit. Noise moves a ratio by 4 %, and 1.3 is to be found: this is the middle (docs/performance.md)."""
LINES: Mapping[Version, int] = {2: 200_000, 5: 120_000}
"""Of a round: so many that what is done for a round, not for a line, is the small part that it is in a worker."""
ENIS = 1000

_BATCH = 8
"""Messages: 4 MiB of lines, as much as the core parses at once."""
_SECONDS = 45.0
_FEWEST = 5
"""Rounds, however long they take."""
_TRIES = 2
_ARRIVAL_MS = 1_700_000_700_000
"""When the lines came: minutes after the last of them ended."""

Ratios = Mapping[str, float]


@dataclass(frozen=True)
class Batch:
    """Lines as messages with their offsets, and the same lines in a file."""

    messages: Sequence[tuple[int, RawMessage]]
    path: str


@dataclass(frozen=True)
class Load:
    """All batches of a round."""

    name: str
    fields: Sequence[str]
    batches: Sequence[Batch]


@dataclass(frozen=True)
class Limits:
    """What was measured once: the ratio of each load, and with what."""

    date: str
    python: str
    polars: str
    ratios: Ratios

    @classmethod
    def now(cls, ratios: Ratios) -> Limits:
        """Measured here and today."""
        rounded = {name: round(ratio, 2) for name, ratio in ratios.items()}
        return cls(str(datetime.now(UTC).date()), platform.python_version(), version("polars"), rounded)

    @classmethod
    def read(cls, path: Path) -> Limits:
        """As `write` wrote them."""
        return cls(**json.loads(path.read_text("utf-8")))

    def write(self, path: Path) -> None:
        """For people too: they are in the repository."""
        path.write_text(json.dumps(self.__dict__, indent=2) + "\n", "utf-8")


class Core:
    """Raw messages to tables, in memory, as the agents do it: fold, then summaries, tables, checkpoint."""

    def __init__(self) -> None:
        """Nothing counted yet."""
        self.raw = RawPartition(0, Policy())
        self.tables = [SummaryPartition(Policy().lateness) for _ in range(Topics().summary_partitions)]

    def settle(self) -> None:
        """What a worker does every few seconds."""
        for one in self.raw.summaries(len(self.tables)):
            self.tables[one.partition].apply(one.key.decode(), one.value)
        for table in self.tables:
            table.totals()
        self.raw.checkpoint()


def main(arguments: Sequence[str]) -> int:
    """Measure, print, judge. 1: slower than tolerated."""
    options = _options(arguments)
    with tempfile.TemporaryDirectory() as folder:
        loads = [load(one, options.lines or lines, Path(folder)) for one, lines in LINES.items()]
        for each in loads:
            round_ratio(each)  # loads libraries, fills caches
        if options.renew:
            Limits.now(_measured(loads, _TRIES * options.seconds, options.slower)).write(options.limits)
            print(f"renewed {options.limits.name}")
            return 0
        return _checked(loads, Limits.read(options.limits), options)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-check", description=__doc__)
    parser.add_argument("--renew", action="store_true", help="keep what is measured as the new limit")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="how long to measure, at most twice")
    parser.add_argument("--lines", type=int, help=f"of each version in a round, instead of {list(LINES.values())}")
    parser.add_argument("--slower", type=float, default=1.0, help="make the core so many times as slow: does it fail?")
    parser.add_argument("--limits", type=Path, default=LIMITS, metavar="FILE")
    return parser.parse_args(arguments)


def _checked(loads: Sequence[Load], limits: Limits, options: argparse.Namespace) -> int:
    for _ in range(_TRIES):
        slow = judged(_measured(loads, options.seconds, options.slower), limits)
        if not slow:
            return 0
        print(*slow, sep="\n")
    if (limits.python, limits.polars) != (platform.python_version(), version("polars")):
        print(f"the limit is that of Python {limits.python} and Polars {limits.polars}: perhaps it has to be renewed")
    return 1


def judged(ratios: Ratios, limits: Limits, slower: float = 1.0) -> list[str]:
    """What is slower than tolerated, a sentence each. slower: judge as if it were so many times as slow."""
    times = {name: slower * ratio / limits.ratios[name] for name, ratio in ratios.items()}
    return [
        f"{name}: {one:.2f} times as slow as on {limits.date}, {TOLERATED} is tolerated"
        for name, one in times.items()
        if one > TOLERATED
    ]


# -- measuring --------------------------------------------------------------------------------------------------------


def load(version_: Version, lines: int, folder: Path) -> Load:
    """Generated lines of a version; files go into `folder`."""
    form = FORMATS[version_]
    messages = [
        (n, RawMessage(chunk, Origin("file", "bench", str(n), digest(chunk)), _ARRIVAL_MS, form))
        for n, chunk in enumerate(bulk(lines, enis=ENIS, version=version_))
    ]
    parts = [messages[at : at + _BATCH] for at in range(0, len(messages), _BATCH)]
    return Load(f"v{version_}", form.split(), [_batch(part, folder / f"{version_}-{part[0][0]}") for part in parts])


def _batch(messages: Sequence[tuple[int, RawMessage]], path: Path) -> Batch:
    path.write_bytes(b"".join(message.value + b"\n" for _, message in messages))
    return Batch(messages, str(path))


def _measured(loads: Sequence[Load], seconds: float, slower: float) -> Ratios:
    """The median ratio of each load, printed too."""
    rounds = list(_rounds(loads, seconds, slower))
    found = {}
    for each in loads:
        ratios = [one[each.name] for one in rounds]
        low, found[each.name], high = quantiles(ratios, n=4)
        print(f"{each.name}: {median(ratios):.2f} times Polars ({len(ratios)} rounds, half in {low:.2f} to {high:.2f})")
    return found


def _rounds(loads: Sequence[Load], seconds: float, slower: float) -> Iterator[Ratios]:
    end, count = time.monotonic() + seconds, 0
    while count < _FEWEST or time.monotonic() < end:
        yield {each.name: round_ratio(each, slower) for each in loads}
        count += 1


def round_ratio(given: Load, slower: float = 1.0) -> float:
    """CPU of the core over CPU of Polars for a load, batch by batch in turn. slower: see `--slower`."""
    core, ours, theirs = Core(), 0.0, 0.0
    for batch in given.batches:
        ours += _slowed(_cpu(core.raw.fold, batch.messages), slower)
        theirs += _cpu(limit.added_up, batch.path, given.fields)
    ours += _slowed(_cpu(core.settle), slower)
    return ours / theirs


def _cpu(work: Callable[..., object], *arguments: object) -> float:
    """Seconds of all threads of this process, user and system."""
    began = time.process_time()
    work(*arguments)
    return time.process_time() - began


def _slowed(seconds: float, slower: float) -> float:
    """Burn what is missing to `slower` times as much."""
    end = time.process_time() + (slower - 1) * seconds
    return seconds + _cpu(_burn, end)


def _burn(end: float) -> None:
    while time.process_time() < end:
        pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
