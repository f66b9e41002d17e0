"""Blocks: the conversations of a run of raw messages, for the detectors.

Conversations are too many to be told again and again as they grow, as panes are. A block holds those of the messages
from one raw offset on and is told once, when it is whole. Where it ends is a function of the messages alone: whoever
reads them again makes the same blocks under the same names, so one that comes twice changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import polars as pl

from streams.core import conversations, direction, statuses, tables
from streams.core.raw import RawMessage
from streams.core.rows import Row
from streams.core.tables import Frames

TALKS, STATUSES = "talks", "statuses"
"""The names of a block's frames (core.conversations, core.statuses). Its row is `talks/` and the raw offset that it
begins with.
"""

MOST_LINES = 65_536
"""Of a block, so that it fits into one Kafka message, whatever is in its records (tests/core/test_blocks.py)."""

BLOCK_SECONDS = 10
_BACK = 6
"""So many of those backwards, and a clock was wrong: else blocks ended by their lines alone until it is right again."""


@dataclass
class Cut:
    """Where blocks end: before a message with which there were too many lines, or that arrived so much later than the
    first one.

    slot: the arrival of the block's first message, in BLOCK_SECONDS. lines: of its messages so far.
    """

    slot: int = 0
    lines: int = 0

    def begins(self, message: RawMessage, most: int) -> bool:
        """Whether a block begins with this message, which is the next one; most: lines. Take each message once."""
        slot = message.arrival_ms // (1000 * BLOCK_SECONDS)
        begins = self.lines + message.lines > most or not self.slot - _BACK <= slot <= self.slot
        if begins:
            self.slot, self.lines = slot, 0
        self.lines += message.lines
        return begins


@dataclass
class Block(Row):
    """A row of the state. watermark: behind its last message (epoch seconds), once it is whole."""

    watermark: int | None = None
    whole: bool = False

    @classmethod
    def resting(cls, value: bytes) -> Block:
        """As it was saved. Raises ValueError."""
        head = tables.head(value)
        watermark = cast("int | None", head["watermark"])
        return cls(cast("int", head["stamp"]), value, watermark=watermark, whole=bool(head["whole"]))

    def head(self) -> dict[str, object]:
        """What is saved beside the conversations."""
        return {"stamp": self.stamp, "watermark": self.watermark, "whole": self.whole}

    def end(self, offset: int, owners: pl.DataFrame, watermark: int | None) -> None:
        """Nothing is added any more. offset: of its last message; owners, watermark: what is known behind that."""
        self.frames = self.told(owners)
        self.watermark, self.whole = watermark, True
        self.touch(offset)

    def told(self, owners: pl.DataFrame) -> Frames:
        """What it has so far, directions told as far as `owners` (core.direction) can."""
        now = self.value()
        if not now[TALKS].select((pl.col("direction") >= direction.LOW4).any()).item():
            return now
        return {**now, TALKS: conversations.merged([direction.resolved(now[TALKS], owners)])}

    def nothing(self) -> Frames:
        """Before anything is added."""
        return {TALKS: conversations.empty(), STATUSES: statuses.empty()}

    def merged(self, name: str, frames: list[pl.DataFrame]) -> pl.DataFrame:
        """Frames of one kind as one."""
        return conversations.merged(frames) if name == TALKS else statuses.merged(frames)
