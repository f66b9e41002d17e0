"""Agent on the summaries topic: summaries to rolling tables (design, hop 5). The work is core.roll's."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from streams.agents.loop import Event, Outgoing
from streams.core.ledger import Rows, Written
from streams.core.roll import SummaryPartition, newest
from streams.metrics import Instruments

log = logging.getLogger(__name__)


@dataclass
class Roll:
    """agents.loop.State over summary partitions. lateness in seconds."""

    lateness: int
    instruments: Instruments

    def open(self, partition: int, written: Written) -> SummaryPartition:
        """State of a summary partition. Raises ValueError."""
        del partition
        return SummaryPartition(self.lateness, newest(written))

    def apply(self, state: SummaryPartition, events: Sequence[Event]) -> list[Outgoing]:
        """Take summaries; one that is not ours is counted and passed over: it holds no records."""
        for event in events:
            self._take(state, event)
            state.stamp = max(state.stamp, event.message.offset)
        return []

    def flush(self, state: SummaryPartition) -> list[Outgoing]:
        """Nothing goes on from here yet."""
        del state
        return []

    def checkpoint(self, state: SummaryPartition) -> tuple[Rows, Rows]:
        """The rows, then how far they go."""
        return state.checkpoint()

    def stamp(self, state: SummaryPartition) -> int:
        """The last offset that the state includes."""
        return state.stamp

    def settled(self, state: SummaryPartition) -> int:
        """The same: a checkpoint holds all of the state."""
        return self.stamp(state)

    def _take(self, state: SummaryPartition, event: Event) -> None:
        try:
            arrival = state.apply((event.message.key or b"").decode(), event.message.value or b"")
        except ValueError as problem:
            self.instruments.foreign_summary()
            log.warning("message %s of the summaries topic is not ours: %s", event.message.offset, problem)
            return
        if arrival:
            self.instruments.visible(time.time() - arrival / 1000)
