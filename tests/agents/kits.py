"""The states under the simulated loops, and what must hold of them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import orjson

from streams.agents.combine import Combine
from streams.agents.detect import Detect
from streams.agents.loop import State
from streams.agents.roll import Roll
from streams.core import tables
from streams.core.combine import Folded, Policy, RawPartition
from streams.core.findings import as_object, render
from streams.core.raw import RawMessage
from streams.core.roll import SummaryPartition
from streams.core.watching import Setup, WatchingPartition
from tests.agents.simulation import Counted, World
from tests.agents.stored import (
    CONVERSATIONS,
    FINDINGS,
    LETTERS,
    RAW,
    RAW_PARTITIONS,
    SUMMARIES,
    SUMMARY_PARTITIONS,
    TPS,
    Record,
    Topic,
    Tp,
)
from tests.agents.tally import Rolled, Tally, TallyCombine, TallyRoll
from tests.core import traffic
from tests.core.test_laws import SMALL
from tests.core.traffic import OWN, T0, Flow, contents, counted, message
from tests.core.watched import ECHO


class TallyKit:
    """Numbers that are counted: a schedule of thousands of points takes milliseconds."""

    tps: Sequence[Tp] = TPS

    def combine(self, topic: Callable[[str], Topic], clock: Callable[[], float], instruments: Counted) -> State[Any]:
        return TallyCombine(topic(SUMMARIES), SUMMARY_PARTITIONS, topic(LETTERS))

    def roll(self, instruments: Counted) -> State[Any]:
        return TallyRoll()

    def detect(self, topic: Callable[[str], Topic], instruments: Counted) -> State[Any] | None:
        return None

    def is_at_rest(self, world: World) -> bool:
        return True

    def raw(self, number: int) -> Record:
        """Two or so to a pane; every fifth one belongs to an older pane."""
        return Record(None, orjson.dumps([number, max(0, number // 2 - number % 2 - (3 if number % 5 == 4 else 0))]))

    def check(self, world: World, raw: Sequence[Tally]) -> None:
        """Nobody counts a message twice; a summary that is acknowledged changes nothing any more."""
        for worker in world.workers:
            for tp, state in worker.states.items():
                twice = [number for number, count in state.counted().items() if count > 1]
                assert not twice, f"{tp}: counted twice: {twice}"
        rolled = [world.restored(SUMMARIES, number) for number in range(SUMMARY_PARTITIONS)]
        for number, state in enumerate(rolled):
            self._check_acknowledged(world, number, state)
        for state in raw:
            self._check_sent(world, state, rolled)

    def _check_acknowledged(self, world: World, number: int, rolled: Rolled) -> None:
        tp = (SUMMARIES, number)
        for offset, record in world.kafka.logs[tp].records.items():
            if offset < world.kafka.committed.get(tp, 0):
                name, head = _read(record)
                assert rolled.has(name, head), f"{tp}: {offset} acknowledged, not stored"

    def _check_sent(self, world: World, state: Tally, rolled: Sequence[Rolled]) -> None:
        """What the next owner takes for sent is stored by roll, or on the topic."""
        on_topic = Counter[tuple[int, str]]()
        for to in range(SUMMARY_PARTITIONS):
            for name, head in map(_read, world.kafka.logs[SUMMARIES, to].records.values()):
                on_topic[to, name] = max(on_topic[to, name], head["stamp"] + 1)
        for to, name, head in state.sent(SUMMARY_PARTITIONS):
            there = on_topic[to, name] > head["stamp"] or rolled[to].has(name, head)
            assert there, f"summary {name} of {head['stamp']} for partition {to}: taken for sent"

    def check_at_rest(self, world: World) -> None:
        """Each message is counted once, in what the owner holds and in what the next one would."""
        held = {tp: state for worker in world.members for tp, state in worker.states.items()}
        assert set(held) == set(TPS)
        for tp, state in held.items():
            expected = self._expected(world, *tp)
            assert state.counted() == expected, f"{tp}: held"
            assert world.restored(*tp).counted() == expected, f"{tp}: restored"
        for tp in TPS[:RAW_PARTITIONS]:
            lines = {str(number): 1 for number in self._expected(world, *tp)}
            assert held[tp].meta.lines == world.restored(*tp).meta.lines == lines, f"{tp}: counters"
        letters = {str(number).encode() for number in range(0, len(world.published), 3)}
        assert set(world.kafka.letters) == letters

    def _expected(self, world: World, topic: str, number: int) -> Counter[int]:
        if topic == SUMMARIES:
            return Counter(one for one in range(len(world.published)) if one % SUMMARY_PARTITIONS == number)
        return Counter(one for one, message in enumerate(world.published) if message.partition == number)


@dataclass
class RealKit:
    """Combine and Roll as they are, with limits that a dozen messages reach. seed: of what the messages say."""

    seed: int
    tps: Sequence[Tp] = tuple(TPS)
    policy: Policy = SMALL

    def combine(self, topic: Callable[[str], Topic], clock: Callable[[], float], instruments: Counted) -> State[Any]:
        summaries, letters = topic(SUMMARIES), topic(LETTERS)
        return Combine(self.policy, summaries, SUMMARY_PARTITIONS, letters, cast("Any", instruments), 30.0, clock)

    def roll(self, instruments: Counted) -> State[Any]:
        return Roll(SMALL.lateness, cast("Any", instruments))

    def detect(self, topic: Callable[[str], Topic], instruments: Counted) -> State[Any] | None:
        return None

    def is_at_rest(self, world: World) -> bool:
        return True

    def raw(self, number: int) -> Record:
        """A line or two, as time goes by; some late, some no records, some messages a second time."""
        chance = random.Random(f"{self.seed}/{number}")
        if chance.random() < 0.1 and number:
            return self.raw(number - 1)
        at = T0 + number * 100 + chance.randint(0, 60)
        lines = [_line(chance, at - chance.choice((0, 0, 30, 400))) for _ in range(chance.randint(1, 2))]
        one = message([*lines, *(["junk"] if chance.random() < 0.2 else [])], 2, "file", number)
        return Record(None, one.value, one.headers())

    def check(self, world: World, raw: Sequence[RawPartition]) -> None:
        """Nobody shows more than there is."""
        flows = sum((one.record.value or b"").count(b" OK\n") for one in world.published)
        for state in raw:
            assert counted(state)["eni"][0] <= flows
        for worker in world.workers:
            for tp, held in _counting(worker.states).items():
                shown = (
                    held.standing().totals(replay=True)["eni"] if tp[0] == SUMMARIES else held.history.value()["eni"]
                )
                assert int(shown.get_column("flows").sum()) <= flows, f"{tp}: shows too much"

    def check_at_rest(self, world: World) -> None:
        """All is as if one worker had read everything and nothing had happened, also for who opens it next."""
        held = {tp: state for worker in world.members for tp, state in worker.states.items()}
        assert set(held) == set(self.tps)
        expected, letters = traffic.Roll(SMALL.lateness), dict[str, str]()
        for number in range(RAW_PARTITIONS):
            steady, folded = _steady(world, number, self.policy)
            expected.take(steady.summaries(SUMMARY_PARTITIONS))
            letters |= _reasons(letter.value for letter in folded.dead_letters)
            assert contents(held[RAW, number]) == contents(steady), f"raw {number}: held"
            assert contents(world.restored(RAW, number)) == contents(steady), f"raw {number}: restored"
        self._check_tables(expected, [held[SUMMARIES, number] for number in range(SUMMARY_PARTITIONS)])
        self._check_tables(expected, [world.restored(SUMMARIES, number) for number in range(SUMMARY_PARTITIONS)])
        assert _reasons(world.kafka.letters) == letters

    def _check_tables(self, expected: traffic.Roll, states: Sequence[SummaryPartition]) -> None:
        found = traffic.Roll(SMALL.lateness, dict(enumerate(states)))
        assert found.totals() == expected.totals()
        assert found.panes() == expected.panes()


class DetectKit(RealKit):
    """With Detect above a detector that says all that it sees, and how many minutes it has seen before."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, (*TPS, (CONVERSATIONS, 0)), _WATCHED)

    def combine(self, topic: Callable[[str], Topic], clock: Callable[[], float], instruments: Counted) -> State[Any]:
        """Without idle partitions: when one is depends on the clock."""
        return Combine(
            self.policy, topic(SUMMARIES), SUMMARY_PARTITIONS, topic(LETTERS), cast("Any", instruments), float("inf"),
            clock, topic(CONVERSATIONS),
        )  # fmt: skip

    def detect(self, topic: Callable[[str], Topic], instruments: Counted) -> State[Any] | None:
        return Detect(_SETUP, [(topic(FINDINGS), render)], cast("Any", instruments))

    def is_at_rest(self, world: World) -> bool:
        """All blocks are taken, and what they gave is safe."""
        end = world.kafka.logs[CONVERSATIONS, 0].end
        held = [worker.states[CONVERSATIONS, 0] for worker in world.members if (CONVERSATIONS, 0) in worker.states]
        sent = not any(sends for worker in world.members for sends in worker.sends.values())
        return sent and [(state.stamp, state._unsaved) for state in held] == [(end - 1, False)]

    def check(self, world: World, raw: Sequence[RawPartition]) -> None:
        """What is acknowledged is not needed any more by whoever opens next."""
        super().check(world, raw)
        acknowledged = world.kafka.committed.get((CONVERSATIONS, 0), 0)
        assert acknowledged <= world.restored(CONVERSATIONS, 0).stamp + 1

    def check_at_rest(self, world: World) -> None:
        """The newest word on each finding is that of one who read everything once."""
        super().check_at_rest(world)
        state, offset, told = WatchingPartition(_SETUP), 0, list[dict[str, Any]]()
        for number in range(RAW_PARTITIONS):
            for block in _steady(world, number, self.policy)[0].whole_blocks(1):
                told += map(as_object, state.apply(block.key.decode(), block.value, offset))
                offset += 1
        assert _newest(map(orjson.loads, world.kafka.findings)) == _newest(told)
        assert world.restored(CONVERSATIONS, 0).closed == state.closed


_WATCHED = replace(SMALL, block_lines=1, watch_lateness=60)
_SETUP = Setup([ECHO], [], RAW_PARTITIONS, 60)


def _newest(told: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of each finding. One who was given up may say once more what has been said: it has come less far."""
    found: dict[str, dict[str, Any]] = {}
    for one in told:
        before = found.setdefault(one["id"], one)
        if (before["updates"], before["closed"]) < (one["updates"], one["closed"]):
            found[one["id"]] = one
    return found


def _counting(held: Mapping[Tp, Any]) -> dict[Tp, Any]:
    """States that have tables."""
    return {tp: state for tp, state in held.items() if tp[0] != CONVERSATIONS}


def _line(chance: random.Random, at: int) -> str:
    eni = chance.choice(sorted(OWN))
    peer = chance.choice(("10.0.7.7", "192.0.2.1"))
    port = chance.choice((22, 443, 3306, 53, 8080, 5000, 31999))
    return Flow(eni, OWN[eni][0], peer, (40000, port), 6, 1, chance.randint(1, 99), at, at).line(2)


def _steady(world: World, number: int, policy: Policy) -> tuple[RawPartition, Folded]:
    """A raw partition that never went anywhere, and what it gave."""
    state = RawPartition(number, policy)
    mine = [one for one in world.published if one.partition == number]
    folded = state.fold((one.offset, RawMessage.from_kafka(one.record.value, one.record.headers, 0)) for one in mine)
    return state, folded


def _reasons(letters: Iterable[bytes]) -> dict[str, str]:
    """Dead letters: id -> reason."""
    rows = [orjson.loads(row) for letter in letters for row in letter.split(b"\n")]
    return {row["id"]: row["reason"] for row in rows}


def _read(record: Record) -> tuple[str, dict[str, Any]]:
    """A summary's name and head."""
    return (record.key or b"").decode(), tables.head(record.value or b"")
