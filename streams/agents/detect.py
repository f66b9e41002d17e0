"""Agent on the conversations topic: blocks of conversations to findings (design, hops 5 and 6). See core.watching."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from streams.agents.loop import Event, Outgoing
from streams.core.findings import Finding
from streams.core.ledger import Rows, Written
from streams.core.watching import Setup, WatchingPartition, newest
from streams.metrics import Instruments

Render = Callable[[Finding], bytes]
log = logging.getLogger(__name__)


@dataclass
class Detect:
    """agents.loop.State over watching partitions.

    setup: may be replaced at any time. outputs: Faust topics, each with the form of findings on it.
    """

    setup: Setup
    outputs: Sequence[tuple[Any, Render]]
    instruments: Instruments

    def open(self, partition: int, written: Written) -> WatchingPartition:
        """State of a watching partition. Raises ValueError."""
        del partition
        return WatchingPartition(self.setup, newest(written))

    def apply(self, state: WatchingPartition, events: Sequence[Event]) -> list[Outgoing]:
        """Take blocks; gives the findings of the minutes that they close, under their ids: topics keep the newest."""
        return [
            Outgoing(topic, None, finding.id.encode(), render(finding))
            for event in events
            for finding in (*self._renewed(state), *self._take(state, event))
            for topic, render in self.outputs
        ]

    def flush(self, state: WatchingPartition) -> list[Outgoing]:
        """Findings leave as they are made."""
        del state
        return []

    def checkpoint(self, state: WatchingPartition) -> tuple[Rows, Rows]:
        """What is remembered, then how far it goes."""
        return state.checkpoint()

    def stamp(self, state: WatchingPartition) -> int:
        """The last offset that the state has taken."""
        return state.stamp

    def settled(self, state: WatchingPartition) -> int:
        """Conversations that wait for their minute are in no checkpoint."""
        return state.settled

    def _renewed(self, state: WatchingPartition) -> list[Finding]:
        """By the rules that are in force now."""
        return state.renew(self.setup) if state.setup is not self.setup else []

    def _take(self, state: WatchingPartition, event: Event) -> list[Finding]:
        """A message that is not ours is counted and passed over: it holds no conversations."""
        message, closed, began = event.message, state.closed, time.monotonic()
        try:
            findings = state.apply((message.key or b"").decode(), message.value or b"", message.offset)
        except ValueError as problem:
            self.instruments.foreign_summary()
            log.warning("message %s of the conversations topic is not ours: %s", message.offset, problem)
            return []
        if state.closed > closed:
            self.instruments.watched(time.monotonic() - began)
        return findings
