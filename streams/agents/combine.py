"""Agent on the raw topic: lines to panes to summaries (design, hops 2-4). The work is core.combine's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from streams.agents.loop import Event, Outgoing
from streams.core.combine import Policy, RawPartition, Summary, newest
from streams.core.ledger import Rows, Written
from streams.core.raw import RawMessage
from streams.metrics import Instruments

_OVER_SECONDS = 2.0
"""What was sent last is there by then."""


@dataclass
class Combine:
    """agents.loop.State over raw partitions. summaries, dead_letters: Faust topics.

    conversations: too, None if nobody watches. idle_seconds: a raw partition without messages for so long is idle, by
    `clock` (seconds, monotonic). over: nothing more is to come, and a partition is idle sooner.
    """

    policy: Policy
    summaries: Any
    summary_partitions: int
    dead_letters: Any
    instruments: Instruments
    idle_seconds: float
    clock: Callable[[], float] = time.monotonic
    conversations: Any = None
    conversation_partitions: int = 1
    over: bool = False
    _busy: dict[int, float] = field(default_factory=dict)

    def open(self, partition: int, written: Written) -> RawPartition:
        """State of a raw partition. Raises ValueError."""
        return RawPartition(partition, self.policy, newest(written))

    def apply(self, state: RawPartition, events: Sequence[Event]) -> list[Outgoing]:
        """Fold raw messages; gives their dead letters."""
        self._busy[state.partition] = self.clock()
        folded = state.fold((event.message.offset, _raw(event)) for event in events)
        self.instruments.delays(folded.delays, folded.delay_sum)
        return [Outgoing(self.dead_letters, None, letter.key, letter.value) for letter in folded.dead_letters]

    def flush(self, state: RawPartition) -> list[Outgoing]:
        """The summaries of what changed, and the blocks that are whole."""
        quiet = self.clock() - self._busy.setdefault(state.partition, self.clock())
        idle = quiet > (min(_OVER_SECONDS, self.idle_seconds) if self.over else self.idle_seconds)
        found = _outgoing(self.summaries, state.summaries(self.summary_partitions, idle=idle))
        if self.conversations is None:
            return found
        blocks = state.whole_blocks(self.conversation_partitions, idle=idle, over=idle and self.over)
        return found + _outgoing(self.conversations, blocks)

    def checkpoint(self, state: RawPartition) -> tuple[Rows, Rows]:
        """Panes first, then the row that settles them."""
        return state.checkpoint()

    def stamp(self, state: RawPartition) -> int:
        """The last offset that the state includes."""
        return state.meta.stamp

    def settled(self, state: RawPartition) -> int:
        """The same: a checkpoint holds all of the state."""
        return self.stamp(state)


def _outgoing(topic: Any, messages: Iterable[Summary]) -> list[Outgoing]:  # noqa: ANN401 - faust.Topic is untyped
    return [Outgoing(topic, one.partition, one.key, one.value) for one in messages]


def _raw(event: Event) -> RawMessage:
    message = event.message
    arrival_ms = int((message.timestamp or time.time()) * 1000)
    return RawMessage.from_kafka(message.value, message.headers or (), arrival_ms)
