"""A group, and workers around the real Loop. Whoever drives it says what happens next; the same way, the same run.

Each worker has an event loop and a clock of its own. Whatever a worker waits for (the core's thread, an answer, the
confirmation of a write) is a *point*: it goes on when it is told to, or never. Kafka and Faust keep to this:

- A partition's log grows; retention takes its beginning, and some offsets hold nothing. A changelog keeps the last
  value of a key.
- What one producer sends to a partition lands in that order, some of it twice, some of it unconfirmed, and some after
  its sender died. What landed stays.
- A partition's messages come in order from the committed offset on, to whoever the group gave the partition. Once an
  assignment and partition, a message is stepped over; the consumer goes back whenever somebody likes.
- Members give up all their partitions before anybody gets any. One that the group has given up knows nothing of it: it
  works on, on messages that were there by then, and may write whenever it likes; its commits are refused.
- Retention takes only what the changelog has and what no living worker may still ask for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from itertools import cycle
from typing import Any, Protocol, cast

from streams.agents.changelog import Stored
from streams.agents.inbox import Inbox
from streams.agents.loop import Loop, State
from streams.core.ledger import HoleError
from tests.agents.clockwork import Clockwork
from tests.agents.stored import (
    CONVERSATIONS,
    LOG_OF,
    RAW,
    RAW_PARTITIONS,
    SUMMARIES,
    Event,
    Kafka,
    Message,
    Record,
    Send,
    Sends,
    Topic,
    Tp,
)

MOST_WORKERS = 3

_NEVER = 1e9
"""A time that does not come: `run` flushes and writes a checkpoint when it begins, and it begins anew all the time."""
_ROUNDS = (1, 3)
"""So often `run` takes messages until it begins anew, in turn."""
_BUFFER = 3
_PATIENCE = 20_000
"""So many points without a fault, and all must be at rest."""

# -- a worker ---------------------------------------------------------------------------------------------------------


class Counted:
    """Instruments, as far as they are used. lost: messages that were gone before they could be read."""

    def __init__(self) -> None:
        self.messages_lost = 0

    def lost(self, topic: str, count: int) -> None:
        self.messages_lost += count

    def checkpoint(self, agent: str, seconds: float, size: int) -> None: ...

    def delays(self, counts: Sequence[int], total: int) -> None: ...

    def visible(self, seconds: float) -> None: ...

    def foreign_summary(self) -> None: ...

    def watched(self, seconds: float) -> None: ...


class Kit(Protocol):
    """The states under the loops, and what must hold of them. tps: of all topics that loops read."""

    tps: Sequence[Tp]

    def combine(self, topic: Callable[[str], Topic], clock: Callable[[], float], instruments: Counted) -> State[Any]:
        """The state of raw partitions."""

    def roll(self, instruments: Counted) -> State[Any]:
        """The state of summary partitions."""

    def detect(self, topic: Callable[[str], Topic], instruments: Counted) -> State[Any] | None:
        """The state of watching partitions; None: nobody watches."""

    def is_at_rest(self, world: World) -> bool:
        """Whether all is done, beside what is acknowledged."""

    def raw(self, number: int) -> Record:
        """The raw message of this number."""

    def check(self, world: World, raw: Sequence[Any]) -> None:
        """What holds at every moment. raw: the states of the raw partitions as their next owners would open them."""

    def check_at_rest(self, world: World) -> None:
        """What holds once all has come and nothing is under way."""


def states(
    kit: Kit, topic: Callable[[str], Topic], clock: Callable[[], float], counted: Counted
) -> dict[str, State[Any]]:
    """By the topic whose loop they are under."""
    found = {RAW: kit.combine(topic, clock, counted), SUMMARIES: kit.roll(counted)}
    detect = kit.detect(topic, counted)
    return found if detect is None else {**found, CONVERSATIONS: detect}


class Phase(Enum):
    """joined: without partitions, waiting for some. leaving: giving up those that it has."""

    JOINED = 0
    ASSIGNED = 1
    LEAVING = 2


class Worker:
    """streams.agents.worker without Faust: two loops, what the group tells them, what they wait for."""

    def __init__(self, kafka: Kafka, kit: Kit, loop_type: type[Loop[Any]]) -> None:
        self.kafka = kafka
        self.clock = Clockwork(self._submit)
        self.counted = Counted()
        self.phase = Phase.JOINED
        self.frozen = self.stopped = False
        self.bounds: dict[Tp, int] | None = None
        self.positions: dict[Tp, int] = {}
        self.sends: dict[Tp, Sends] = {}
        self.held: set[Tp] = set()
        self.problem: BaseException | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._may_step_over: set[Tp] = set()
        self._acked: dict[Tp, int] = {}
        self._points: list[tuple[asyncio.Future[Any], Callable[[], Any]]] = []
        self._opening: asyncio.Task[None] | None = None
        self._buffers: dict[str, asyncio.Queue[Event]] = {name: asyncio.Queue() for name in LOG_OF}
        common = (cast("Any", None), cast("Any", self.counted), _NEVER, _NEVER)
        self.loops: dict[str, Loop[Any]] = {
            name: loop_type(name, name, self._topic(LOG_OF[name]), self, state, *common, Inbox(1 << 20, 3))
            for name, state in states(kit, self._topic, self.clock.time, self.counted).items()
        }
        self._runs = [self._begin(self._run(loop)) for loop in self.loops.values()]
        for loop in self.loops.values():
            self._begin(self._agent(loop))
        self.clock.run()

    def _topic(self, name: str) -> Topic:
        return Topic(name, self._send)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self.clock.create_task(work)
        self._tasks.append(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self.problem = self.problem or task.exception()

    # What the real worker does.

    async def _agent(self, loop: Loop[Any]) -> None:
        while True:
            await loop.take(cast("Any", await self._buffers[loop.topic].get()))

    async def _run(self, loop: Loop[Any]) -> None:
        rounds = cycle(_ROUNDS)
        while not self._stopping:
            await loop.run(stopping=self._after(next(rounds)))

    def _after(self, rounds: int) -> Callable[[], bool]:
        left = iter(range(rounds))
        return lambda: self._stopping or next(left, None) is None

    async def _revoked(self) -> None:
        await self._no_opening()
        for loop in self.loops.values():
            await loop.settle()
            await loop.drop()
        self.phase = Phase.JOINED

    async def _no_opening(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])

    async def _open(self, assigned: Sequence[Tp]) -> None:
        for loop in self.loops.values():
            await loop.open([number for topic, number in assigned if topic == loop.topic])

    async def _stop(self) -> None:
        self._stopping = True
        await self._no_opening()
        await asyncio.gather(*self._runs, *(loop.settle() for loop in self.loops.values()))
        self._commit()
        self.stopped = True

    async def _flush(self) -> None:
        for loop in self.loops.values():
            async with loop._lock:
                await loop._flush()

    # What the group and the schedule do to it.

    def assign(self, assigned: Sequence[Tp]) -> None:
        self.phase = Phase.ASSIGNED
        self.positions = {tp: self.kafka.committed.get(tp, 0) for tp in assigned}
        self._may_step_over = set(assigned)
        self._opening = self._do(self._open(assigned))

    def revoke(self) -> None:
        self.phase = Phase.LEAVING
        self._no_flow()
        self._do(self._revoked())

    def learn(self) -> None:
        """That the group has given it up, if so: it settles, too late."""
        if self.bounds is not None and self.phase is Phase.ASSIGNED and not self.is_stopping:
            self.frozen = False
            self.revoke()

    def stop(self) -> None:
        self._do(self._stop())

    def flush(self) -> None:
        self._do(self._flush())

    def _do(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin it; one that is frozen does so when it goes on."""
        task = self._begin(work)
        if not self.frozen:
            self.clock.run()
        return task

    def _no_flow(self) -> None:
        self.positions, self._acked = {}, {}
        for buffer in self._buffers.values():
            while not buffer.empty():
                buffer.get_nowait()

    def kill(self, landing: int) -> list[tuple[Tp, Sends]]:
        """kill -9. Gives what may land all the same: so many records for each partition."""
        ghosts = [(tp, deque(list(sends)[:landing])) for tp, sends in self.sends.items()]
        for task in self._tasks:
            task.cancel()
        self._points, self.sends = [], {}
        self.clock.run()
        self._acked = {}
        return ghosts

    @property
    def is_stopping(self) -> bool:
        return self._stopping

    @property
    def states(self) -> dict[Tp, Any]:
        """What it holds."""
        return {(name, number): state for name, loop in self.loops.items() for number, state in loop.states.items()}

    def step_over(self) -> None:
        """Of the first partition where it may be and something is ahead."""
        for tp in [tp for tp in self.positions if tp in self._may_step_over]:
            ahead = self._next(tp)
            if ahead is not None:
                self.positions[tp] = ahead + 1
                self._may_step_over.discard(tp)
                return

    # What it waits for.

    def moves(self) -> list[Callable[[], None]]:
        """What can happen next to it."""
        self._points = [point for point in self._points if not point[0].done()]
        found: list[Callable[[], None]] = [partial(self._answer, *point) for point in self._points]
        found += [partial(self._confirm, tp) for tp, sends in self.sends.items() if sends and tp not in self.held]
        found += [partial(self._deliver, tp) for tp in self.positions if self._deliverable(tp)]
        if self._acked:
            found.append(self._commit)
        return found or [self.clock.pass_time]

    def _submit(self, work: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        future = self.clock.create_future()
        self._points.append((future, partial(work, *args)))
        return future

    def _answer(self, future: asyncio.Future[Any], work: Callable[[], Any]) -> None:
        try:
            future.set_result(work())
        except Exception as problem:  # noqa: BLE001 - as an executor does
            future.set_exception(problem)

    def _send(self, tp: Tp, key: bytes, value: bytes | None) -> asyncio.Future[int]:
        future = self.clock.create_future()
        self.sends.setdefault(tp, deque()).append(Send(key, value, future))
        return future

    def land(self, tp: Tp, count: int) -> None:
        """The first records on their way to a partition land; those that had landed do so again."""
        for send in list(self.sends[tp])[:count]:
            self.kafka.land(tp, send)

    def _confirm(self, tp: Tp) -> None:
        for send in self.sends.pop(tp):
            if not send.landed:
                self.kafka.land(tp, send)
            if not send.confirmed.done():
                send.confirmed.set_result(0)

    def _end(self, tp: Tp) -> int:
        end = self.kafka.logs[tp].end
        return end if self.bounds is None else min(end, self.bounds.get(tp, 0))

    def _next(self, tp: Tp) -> int | None:
        return self.kafka.logs[tp].next(self.positions[tp], self._end(tp))

    def _deliverable(self, tp: Tp) -> bool:
        return self._buffers[tp[0]].qsize() < _BUFFER and self._next(tp) is not None

    def _deliver(self, tp: Tp) -> None:
        offset = cast("int", self._next(tp))
        self.positions[tp] = offset + 1
        message = Message(offset, tp[1], self.kafka.logs[tp].records[offset])
        self._buffers[tp[0]].put_nowait(Event(message, partial(self._ack, tp)))

    def _ack(self, tp: Tp, offset: int) -> None:
        self._acked[tp] = max(self._acked.get(tp, 0), offset + 1)

    def _commit(self) -> None:
        if self.bounds is None:
            for tp, offset in self._acked.items():
                self.kafka.committed[tp] = max(self.kafka.committed.get(tp, 0), offset)
        self._acked = {}

    # agents.loop.Source

    async def earliest(self, topic: str, partition: int) -> int:
        return cast("int", await self._submit(lambda: self.kafka.logs[topic, partition].start))

    async def stored(self, changelog: str, topic: str, partitions: Iterable[int]) -> dict[int, Stored]:
        mine = list(partitions)
        latest = [await self._submit(self._latest, (topic, number)) for number in mine]
        rows = [await self._submit(dict, self.kafka.changelogs[changelog, number]) for number in mine]
        return dict(zip(mine, map(Stored, rows, latest), strict=True))

    def _latest(self, tp: Tp) -> int:
        return self.kafka.logs[tp].end - 1

    async def seek(self, topic: str, partition: int, offset: int) -> None:
        await self._submit(self._seek, (topic, partition), offset)

    def _seek(self, tp: Tp, offset: int) -> None:
        if tp in self.positions:
            self.positions[tp] = offset


@dataclass
class Published:
    """A raw message, where it is or was."""

    partition: int
    offset: int
    record: Record


# -- the world --------------------------------------------------------------------------------------------------------


class World:
    """Kafka, the group's members, and those that the group has given up and who do not know it."""

    def __init__(self, kit: Kit, loop_type: type[Loop[Any]] = Loop) -> None:
        self.kafka = Kafka(kit.tps)
        self.kit = kit
        self.published: list[Published] = []
        self.members: list[Worker] = []
        self.lost_ones: list[Worker] = []
        self.lost = 0
        self._loop_type = loop_type
        self._turn = self._rotation = 0
        self.probes = states(kit, _nowhere, lambda: 0.0, Counted())
        self.publish(0)
        self.join()

    @property
    def workers(self) -> list[Worker]:
        return [*self.members, *self.lost_ones]

    def check(self) -> None:
        """At every moment: what is acknowledged can be restored, and whatever the kit says."""
        raw = [self.restored(RAW, number) for number in range(RAW_PARTITIONS)]
        for number, stamp in enumerate(map(self.probes[RAW].stamp, raw)):
            acknowledged = self.kafka.committed.get((RAW, number), 0)
            assert acknowledged <= stamp + 1, f"raw {number}: acknowledged, but the changelog has {stamp}"
        assert not self.lost + sum(worker.counted.messages_lost for worker in self.workers), "messages counted as lost"
        self.kit.check(self, raw)

    def restored(self, topic: str, number: int) -> Any:
        """What one would hold who opened the partition now."""
        try:
            return self.probes[topic].open(number, self.kafka.written(topic, number))
        except HoleError as problem:
            raise AssertionError(f"{topic} {number}: {problem}") from problem

    def go_on(self, points: int, order: int = 0) -> None:
        """So many points. order 0: one worker after the other, oldest first; else as a number decides it."""
        chance = order
        for _ in range(points):
            awake = [worker for worker in self.workers if not worker.frozen]
            if not awake:
                return
            self._turn += 1
            chance = (chance * 75 + 74) % 65537 if order else 0
            worker = awake[(self._turn + chance // 256) % len(awake)]
            moves = worker.moves()
            moves[chance % len(moves)]()
            worker.clock.run()
            self.after_move()

    def after_move(self) -> None:
        for worker in self.workers:
            if worker.problem is not None:
                self._ended(worker, worker.problem)
            elif worker.stopped:
                self.remove(worker, 0)
            elif worker.bounds is not None and worker.phase is Phase.JOINED:
                self._rejoin(worker)
        if self.members and all(worker.phase is Phase.JOINED for worker in self.members):
            self._assign()

    def _ended(self, worker: Worker, problem: BaseException) -> None:
        """A write that was not confirmed in time ends a worker; nothing else may."""
        assert isinstance(problem, TimeoutError), f"a worker ended: {problem!r}"
        self.remove(worker, 1)

    def remove(self, worker: Worker, landing: int) -> None:
        (self.members if worker in self.members else self.lost_ones).remove(worker)
        self.kafka.ghosts += [(tp, sends) for tp, sends in worker.kill(landing) if sends]
        self.lost += worker.counted.messages_lost
        if self.members:
            self.rebalance()
        else:
            self.join()

    def _rejoin(self, worker: Worker) -> None:
        self.lost_ones.remove(worker)
        worker.bounds = None
        self.members.append(worker)
        self.rebalance()

    def join(self) -> None:
        self.members.append(Worker(self.kafka, self.kit, self._loop_type))
        self.rebalance()

    def rebalance(self) -> None:
        """All give up what they have; `_assign` follows when all have."""
        self._rotation += 1
        for worker in self.members:
            if worker.phase is Phase.ASSIGNED and not worker.is_stopping:
                worker.revoke()

    def _assign(self) -> None:
        for number, worker in enumerate(self.members):
            worker.assign(
                [tp for n, tp in enumerate(self.kit.tps) if (n + self._rotation) % len(self.members) == number]
            )

    def end(self) -> None:
        for worker in self.workers:
            worker.kill(0)

    def publish(self, argument: int) -> None:
        """A raw message on one of the partitions; sometimes with an offset before it that holds nothing."""
        number, record = argument % RAW_PARTITIONS, self.kit.raw(len(self.published))
        self.kafka.logs[RAW, number].append(record, gap=argument // RAW_PARTITIONS % 8 == 7)
        self.published.append(Published(number, self.kafka.logs[RAW, number].end - 1, record))

    def come_to_rest(self) -> None:
        """No more faults. Messages come once more: what was stepped over is missed when the next one comes."""
        for number in range(RAW_PARTITIONS):
            self.publish(number)
        while self.kafka.ghosts:
            self.kafka.land_late(0)
        for worker in self.workers:
            worker.held.clear()
            worker.frozen = False
        for worker in self.lost_ones:
            worker.learn()
        for _ in range(_PATIENCE // 16):
            self.go_on(16)
            if self._is_at_rest():
                self.check()
                self.kit.check_at_rest(self)
                return
        raise AssertionError("does not come to rest")

    def _is_at_rest(self) -> bool:
        return (
            not self.lost_ones
            and all(
                self.kafka.committed.get(tp, 0) == logged.end
                for tp, logged in self.kafka.logs.items()
                if tp[0] != CONVERSATIONS
            )
            and self.kit.is_at_rest(self)
            and all(loop.is_open for worker in self.members for loop in worker.loops.values())
        )

    def whom(self, argument: int) -> Worker:
        return self.workers[argument % len(self.workers)]


def _nowhere(name: str) -> Topic:
    return Topic(name, cast("Any", None))
