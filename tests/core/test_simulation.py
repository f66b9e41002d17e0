"""A raw partition that changes hands, simulated write by write: whatever dies, pauses or comes back, nothing shows.

The rules are Kafka's: a log that grows, a compacted changelog that keeps the last value of each key, one owner at a
time, who opens from what the changelog holds. A paused owner is replaced and may wake up: it goes on with what it had
fetched, and what it writes is kept. A checkpoint is one write after another, in any order within its two sets, and
stops anywhere.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from streams.core import ledger
from streams.core.combine import Folded, RawPartition, Summary, newest
from streams.core.ledger import Keyed, Ledger
from streams.core.raw import RawMessage
from tests.core.test_laws import SMALL, _letters, _sparse
from tests.core.traffic import OWN, SUMMARY_PARTITIONS, T0, Flow, Roll, contents, examples, message

Log = list[tuple[int, RawMessage]]


@dataclass
class Broker:
    """What is stored. published: messages of the log that are there by now."""

    log: Log
    published: int = 0
    changelog: dict[bytes, bytes] = field(default_factory=dict)
    summaries: list[Summary] = field(default_factory=list)
    folded: list[Folded] = field(default_factory=list)

    def write(self, key: bytes, value: bytes | None) -> None:
        self.changelog.pop(key, None)
        if value is not None:
            self.changelog[key] = value


def _log(seed: int) -> Log:
    """Ten messages of a line or two, as time goes by: panes expire, keys go over budget, one message comes again."""
    chance = random.Random(seed)
    found = []
    for n in range(9):
        at = T0 + n * chance.choice((20, 90, 200)) + chance.randint(0, 60)
        lines = [_line(chance, at - chance.choice((0, 0, 30, 400))) for _ in range(chance.randint(1, 2))]
        found.append(message([*lines, *(["junk"] if chance.random() < 0.2 else [])], 2, "file", n))
    found.insert(chance.randint(3, 9), found[chance.randint(0, 2)])
    return _sparse(found, chance.choice((1, 700)))


def _line(chance: random.Random, at: int) -> str:
    eni = chance.choice(sorted(OWN))
    peer = chance.choice(("10.0.7.7", "192.0.2.1"))
    port = chance.choice((22, 443, 3306, 53, 8080, 5000, 31999))
    return Flow(eni, OWN[eni][0], peer, (40000, port), 6, 1, chance.randint(1, 99), at, at).line(2)


@dataclass(frozen=True)
class Life:
    """What a worker does in one go."""

    messages: int
    summarises: bool
    writes: int


WHOLE = 10_000
LIVES = st.builds(Life, st.integers(0, 3), st.booleans(), st.one_of(st.just(WHOLE), st.integers(0, 9)))
LOGS = [_log(seed) for seed in range(40)]


class Opened:
    """One opening of the partition by a worker: the owner, until another one opens it; a zombie then."""

    def __init__(self, broker: Broker, number: int, policy: object) -> None:
        written = ledger.read(0, broker.changelog)
        last = broker.log[broker.published - 1][0] if broker.published else -1
        self.broker = broker
        self.state = RawPartition(0, policy, newest(written))  # type: ignore[arg-type]
        self.ledger = Ledger(0, f"w{number}", written, last)
        self.fetched: int | None = None
        self.unsent: list[Summary] = []
        self.writes: Iterator[None] = iter(())

    def fold(self, most: int) -> None:
        """Take what follows on the stamp, as far as it was published, or fetched before another one took over."""
        end = self.broker.published if self.fetched is None else self.fetched
        ahead = [one for one in self.broker.log[:end] if one[0] > self.state.meta.stamp]
        self.broker.folded.append(self.state.fold(ahead[:most]))

    def live(self, life: Life) -> None:
        """Finish what is under way, fold, summarise, and so many writes of a checkpoint."""
        for _ in self.writes:
            pass
        self.fold(life.messages)
        if life.summarises:
            self.unsent += self.state.summaries(SUMMARY_PARTITIONS)
        self.writes = self._checkpoint(random.Random(life.writes))
        for _ in islice(self.writes, life.writes):
            pass

    def _checkpoint(self, chance: random.Random) -> Iterator[None]:
        """A write for each step. Summaries first, then each of the two sets of rows, whose order is nobody's to say."""
        while self.unsent:
            self.broker.summaries.append(self.unsent.pop(0))
            yield
        first, then = self.state.checkpoint()
        yield from self._write(self.ledger.first(first), chance)
        yield from self._write(self.ledger.then(then, self.state.meta.stamp), chance)

    def _write(self, rows: Keyed, chance: random.Random) -> Iterator[None]:
        for key in chance.sample(sorted(rows), len(rows)):
            self.broker.write(key, rows[key])
            yield


class Takeovers(RuleBasedStateMachine):
    """See the file's rule."""

    @initialize(number=st.integers(0, len(LOGS) - 1), ahead=st.booleans())
    def begin(self, number: int, ahead: bool) -> None:
        log = LOGS[number]
        self.broker, self.steady = Broker(log), Broker(log)
        self.policy = replace(SMALL)
        self.openings = 0
        self.zombies: list[Opened] = []
        self.broker.published = len(log) if ahead else 0
        self.owner = self._open()

    def _open(self) -> Opened:
        self.openings += 1
        return Opened(self.broker, self.openings, self.policy)

    def _whoever(self, data: st.DataObject) -> Opened:
        return data.draw(st.sampled_from([self.owner, *self.zombies]))

    @rule(more=st.integers(1, 4), life=LIVES)
    def live(self, more: int, life: Life) -> None:
        """The owner works for a while, on what it finds."""
        self.broker.published = min(len(self.broker.log), self.broker.published + more)
        self.owner.live(life)

    @precondition(lambda self: self.zombies)
    @rule(which=st.integers(0, 1), life=LIVES)
    def haunt(self, which: int, life: Life) -> None:
        """One that lost the partition works on."""
        self.zombies[which % len(self.zombies)].live(life)

    @rule()
    def die(self) -> None:
        """kill -9: what was under way stays undone."""
        self.owner = self._open()

    @precondition(lambda self: len(self.zombies) < 2)
    @rule()
    def pause(self) -> None:
        """The group gives the partition to another one; this one does not know."""
        self.owner.fetched = self.broker.published
        self.zombies.append(self.owner)
        self.owner = self._open()

    @precondition(lambda self: self.zombies)
    @rule()
    def fence(self) -> None:
        """The oldest zombie learns that it has lost its partition."""
        self.zombies.pop(0)

    def teardown(self) -> None:
        if not hasattr(self, "owner"):
            return
        self.broker.published = self.steady.published = len(self.broker.log)
        last, steady = self._open(), Opened(self.steady, 0, self.policy)
        for worker in (last, steady):
            worker.live(Life(len(self.broker.log), summarises=True, writes=WHOLE))
        assert contents(last.state) == contents(steady.state)
        assert _letters(self.broker.folded) == _letters(self.steady.folded)
        tables, expected = Roll(), Roll()
        tables.take(self.broker.summaries)
        expected.take(self.steady.summaries)
        assert tables.totals() == expected.totals()
        assert tables.panes() == expected.panes()


def test_a_partition_that_changes_hands_shows_nothing_of_it() -> None:
    run_state_machine_as_test(Takeovers, settings=settings(examples(60), stateful_step_count=12))
