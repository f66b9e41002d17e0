"""What waits for the core, bounded by its bytes: a queue of so many messages is small or large as its senders like."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(eq=False)
class Inbox(Generic[T]):
    """In order, for one taker. It is full from `most_bytes` or `most_items` on: the last item may be larger."""

    most_bytes: int
    most_items: int
    _items: deque[T] = field(default_factory=deque)
    _size: int = 0
    _came: asyncio.Event = field(default_factory=asyncio.Event)
    _filled: asyncio.Event = field(default_factory=asyncio.Event)
    _room: asyncio.Event = field(default_factory=asyncio.Event)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._items)

    def full(self) -> bool:
        """Whether `put` would wait."""
        return self._size >= self.most_bytes or len(self._items) >= self.most_items

    async def put(self, item: T, size: int) -> None:
        """Behind all others; waits while it is full. size: bytes."""
        while self.full():
            self._room.clear()
            await self._room.wait()
        self._items.append(item)
        self._size += size
        self._came.set()
        if self.full():
            self._filled.set()

    def take(self) -> list[T]:
        """All of it."""
        items = list(self._items)
        self._items.clear()
        self._size = 0
        for event in (self._came, self._filled):
            event.clear()
        self._room.set()
        return items

    async def wait(self, seconds: float, *, until_full: bool = False) -> None:
        """Until there is something, or until it is full, for so long at most."""
        event = self._filled if until_full else self._came
        with suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), timeout=seconds)
