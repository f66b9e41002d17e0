"""Rows of a raw partition's state in memory: frames that grow, and the bytes of their last checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from streams.core import tables
from streams.core.tables import TABLES, Frames

_PATIENCE = 16


@dataclass
class Row:
    """Open ones are frames, quiet ones the encoded bytes of their last checkpoint. stamp: the last raw offset in it.

    unsaved, unsent: it has changed since it was saved, sent.
    """

    stamp: int = -1
    encoded: bytes | None = None
    frames: Frames | None = None
    pending: dict[str, list[pl.DataFrame]] = field(default_factory=dict)
    unsaved: bool = False
    unsent: bool = False

    def add(self, rows: Mapping[str, pl.DataFrame], offset: int) -> None:
        """Add rows, by table, that come from raw offsets up to `offset`."""
        for name, frame in rows.items():
            self.pending.setdefault(name, []).append(frame)
        self.touch(offset)
        if max(map(len, self.pending.values()), default=0) >= _PATIENCE:
            self.value()

    def touch(self, offset: int, *, send: bool = True) -> None:
        """Say that the row has changed; send: in what its summary shows."""
        self.stamp, self.unsaved, self.unsent = max(self.stamp, offset), True, self.unsent or send

    def value(self) -> Frames:
        """All rows, each key once."""
        if self.frames is None:
            self.frames = tables.decode(self.encoded)[1] if self.encoded else self.nothing()
        for name, rows in self.pending.items():
            self.frames[name] = self.merged(name, [self.frames[name], *rows])
        self.pending = {}
        return self.frames

    def save(self, head: Mapping[str, object], frames: Frames) -> bytes:
        """Its bytes, which are safe soon."""
        self.encoded = tables.encode(head, frames)
        self.unsaved = False
        return self.encoded

    def rest(self) -> None:
        """Keep only the encoded form (unless something is to be done with the rows)."""
        if not (self.unsaved or self.unsent):
            self.frames = None

    def nothing(self) -> Frames:
        """Before anything is added."""
        return tables.empty_frames()

    def merged(self, name: str, frames: list[pl.DataFrame]) -> pl.DataFrame:
        """Frames of one table as one."""
        return tables.merge(TABLES[name], frames)
