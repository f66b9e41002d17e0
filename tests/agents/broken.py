"""Loops with one thing done wrong each: the simulation must see it."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from streams.agents.loop import Event, Loop, Taken
from streams.core.ledger import Ledger


class AcknowledgesBeforeWriting(Loop[Any]):
    """The changelog's confirmation is awaited after the acknowledgement."""

    async def _checkpoint(self) -> None:
        for events in self._waiting.values():
            for event in events:
                event.ack()
        self._waiting.clear()
        await super()._checkpoint()


class DoesNotWaitForWrites(Loop[Any]):
    """Writes are on their way, which is taken for done."""

    async def _confirm(self, futures: Sequence[Awaitable[Any]]) -> None:
        pass


class ChecksNoAssignment(Loop[Any]):
    """An event that waited while partitions moved is applied."""

    async def _apply(self, taken: list[Taken], *, show: bool = False) -> None:
        await super()._apply([(self._assignment, event) for _, event in taken], show=show)


class WritesUnderOneName(Loop[Any]):
    """Whoever opens a partition writes under the same keys."""

    async def open(self, partitions: Iterable[int]) -> None:
        mine = list(partitions)
        await super().open(mine)
        for number in mine:
            self.ledgers[number] = Ledger(number, "w", {}, -1)


class SettlesFirst(Loop[Any]):
    """The row that settles a checkpoint is written before what it speaks of."""

    async def _checkpoint(self) -> None:
        await self._confirm(self._sent)
        self._sent.clear()
        for partition, state in self.states.items():
            first, then = await self.in_core(self.state.checkpoint, state)
            await self._write(partition, self.ledgers[partition].then(then, self.state.stamp(state)))
            await self._write(partition, self.ledgers[partition].first(first))
            for event in self._waiting.pop(partition, []):
                event.ack()


class SavesBeforeSending(Loop[Any]):
    """A checkpoint says that summaries were sent, and they may not have been."""

    async def _checkpoint(self) -> None:
        sent, self._sent = self._sent, []
        await super()._checkpoint()
        self._sent += sent


class TrustsOffsets(Loop[Any]):
    """What comes is taken, whatever the state includes."""

    async def _in_sequence(self, partition: int, state: Any, events: list[Event]) -> list[Event]:
        return events


class KeepsStates(Loop[Any]):
    """States of partitions that went to others are still there when new ones come."""

    async def drop(self) -> None:
        states, ledgers = dict(self.states), dict(self.ledgers)
        await super().drop()
        self.states.update(states)
        self.ledgers.update(ledgers)


class DropsWithoutSaying(Loop[Any]):
    """Events of before are those of now: the assignment's number stays."""

    async def drop(self) -> None:
        await super().drop()
        self._assignment -= 1


class DeletesTooEarly(Loop[Any]):
    """What others wrote is deleted before this one is as far as they were."""

    async def open(self, partitions: Iterable[int]) -> None:
        mine = list(partitions)
        await super().open(mine)
        for number in mine:
            self.ledgers[number]._fence = -1


class _InPlace(Ledger):
    """Each save has the number of the first."""

    @property
    def _saves(self) -> int:
        return 1

    @_saves.setter
    def _saves(self, value: int) -> None:
        pass


@dataclass(eq=False)
class InParts(Loop[Any]):
    """Nothing is wrong with this one: rows are written in parts that are as small as that."""

    part_bytes: int = 48


class ReplacesParts(InParts):
    """The parts of a row are written over those of before."""

    async def open(self, partitions: Iterable[int]) -> None:
        mine = list(partitions)
        await super().open(mine)
        for number in mine:
            self.ledgers[number].__class__ = _InPlace


class CountsWhateverComes(Loop[Any]):
    """A message that is there is passed over when one behind it has come often enough."""

    async def _is_hole(self, partition: int, expected: int, found: int) -> bool:
        self.tries = getattr(self, "tries", {})
        self.tries[expected, found] = self.tries.get((expected, found), 0) + 1
        if self.tries[expected, found] > 3:
            return True
        await self.source.seek(self.topic, partition, expected)
        return False


BROKEN: dict[type[Loop[Any]], str] = {
    AcknowledgesBeforeWriting: "crashes",
    DoesNotWaitForWrites: "crashes",
    ChecksNoAssignment: "zombies",
    WritesUnderOneName: "zombies",
    SettlesFirst: "crashes",
    SavesBeforeSending: "crashes",
    TrustsOffsets: "delivery",
    KeepsStates: "delivery",
    DropsWithoutSaying: "delivery",
    DeletesTooEarly: "everything",
    CountsWhateverComes: "delivery",
    ReplacesParts: "crashes",
}
"""Each with what happens in the schedules that find it soon (tests.agents.faults.MIXES)."""
