"""Makes the faults of a schedule happen to a fleet, and notes when each one began and was over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import orjson
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from streams.core import combine, roll, watching
from streams.core.combine import Meta
from streams.names import Names
from tests.chaos.arena import Brokers, Network
from tests.chaos.fleet import Fleet, Member
from tests.chaos.schedule import Fault, Kind
from tests.chaos.verdict import records, stored_rows
from tests.chaos.watch import Watch
from tests.kafka.broker import START_SECONDS, answers

_PATIENCE = 90.0
"""Seconds that a patient fault waits for the fleet. It then happens all the same: the end tells what became of it."""


@dataclass(frozen=True)
class Happened:
    """began, ended: seconds, monotonic. ended: the process is started again, the network mended."""

    fault: Fault
    began: float
    ended: float


@dataclass
class Faults:
    """`run` until all lanes are through."""

    fleet: Fleet
    brokers: Brokers
    network: Network
    watch: Watch
    names: Names
    tell: Callable[[str], None]
    happened: list[Happened] = field(default_factory=list)
    _raw: dict[tuple[int, int], ConsumerRecord] = field(default_factory=dict)

    async def raw(self) -> list[ConsumerRecord]:
        """The raw log, in order: what stands there, and what was deleted."""
        found = await records(self.brokers.cluster.bootstrap, self.names.raw)
        self._raw.update({(one.partition, one.offset): one for one in found})
        return [self._raw[at] for at in sorted(self._raw)]

    async def run(self, lanes: Sequence[Sequence[Fault]]) -> None:
        """All lanes side by side."""
        async with asyncio.TaskGroup() as side_by_side:
            for lane in lanes:
                side_by_side.create_task(self._lane(lane))

    async def _lane(self, lane: Sequence[Fault]) -> None:
        over = time.monotonic()
        for fault in lane:
            if fault.patient:
                await self.watch.until_ready(over, _PATIENCE)
            await asyncio.sleep(fault.pause)
            began = time.monotonic()
            await _HOW[fault.kind](self, fault)
            over = time.monotonic()
            self.tell(f"  {fault.kind} {fault.target}: {over - began:.1f} s")
            self.happened.append(Happened(fault, began, over))
        await self.watch.until_ready(over, _PATIENCE)

    def _worker(self, fault: Fault) -> Member:
        """The one that is meant, or where it does not run the one before it."""
        running = [worker for worker in self.fleet.workers if worker.wanted]
        return running[min(fault.target, len(running)) - 1]

    async def _kill_worker(self, fault: Fault) -> None:
        await _killed(self._worker(fault), fault.seconds)

    async def _kill_ingest(self, fault: Fault) -> None:
        await _killed(self.fleet.ingests[fault.target - 1], fault.seconds)

    async def _kill_bridge(self, fault: Fault) -> None:
        await _killed(self.fleet.bridge, fault.seconds)

    async def _zombie(self, fault: Fault) -> None:
        worker = self._worker(fault)
        worker.pause()
        await asyncio.sleep(fault.seconds)
        worker.go_on()

    async def _rolling(self, fault: Fault) -> None:
        del fault
        for worker in [worker for worker in self.fleet.workers if worker.wanted]:
            await worker.stop()
            worker.start()
            await self.watch.until_ready(time.monotonic(), _PATIENCE)

    async def _scale(self, fault: Fault) -> None:
        for number, worker in enumerate(self.fleet.workers, 1):
            if number <= fault.target and not worker.wanted:
                worker.start()
            elif number > fault.target and worker.wanted:
                await worker.stop()

    async def _cut(self, fault: Fault) -> None:
        self.network.cut(held=fault.kind == "cut, held")
        await asyncio.sleep(fault.seconds)
        self.network.mend()

    async def _kill_broker(self, fault: Fault) -> None:
        cluster, index = self.brokers.cluster, fault.target - 1
        cluster.kill9(index)
        await asyncio.sleep(fault.seconds)
        cluster.launch(cluster.nodes[index])
        end = time.monotonic() + START_SECONDS
        while not await asyncio.to_thread(answers, cluster.nodes[index].address):
            assert time.monotonic() < end, f"the broker does not come back:\n{cluster.nodes[index].log()}"
            await asyncio.sleep(0.2)

    async def _retention(self, fault: Fault) -> None:
        """As hours would do it: what stands in the changelogs for so long must never be needed again."""
        included = await self._included()
        await asyncio.sleep(fault.seconds)
        await self.raw()
        admin = AIOKafkaAdminClient(bootstrap_servers=self.brokers.cluster.bootstrap)
        await admin.start()
        try:
            await admin.delete_records({tp: RecordsToDelete(offset + 1) for tp, offset in included.items()})
        finally:
            await admin.close()

    async def _included(self) -> dict[TopicPartition, int]:
        """The last offset of each partition that the state in its changelog includes."""
        bootstrap, names = self.brokers.cluster.bootstrap, self.names
        raw = await stored_rows(bootstrap, names.combine_changelog)
        summaries = await stored_rows(bootstrap, names.roll_changelog)
        watched = await stored_rows(bootstrap, names.detect_changelog)
        metas = {partition: combine.newest(written).get("meta") for partition, written in raw.items()}
        stamps = {partition: roll.newest(written).get("stamp") for partition, written in summaries.items()}
        settled = {partition: watching.newest(written).get("stamp") for partition, written in watched.items()}
        return {
            **{TopicPartition(names.raw, at): Meta.decode(meta).stamp for at, meta in metas.items() if meta},
            **{TopicPartition(names.summaries, at): roll.held(stamp)[0] for at, stamp in stamps.items() if stamp},
            **{TopicPartition(names.conversations, at): orjson.loads(s)["stamp"] for at, s in settled.items() if s},
        }


async def _killed(member: Member, seconds: float) -> None:
    member.kill9()
    await asyncio.sleep(seconds)
    member.start()


_HOW: dict[Kind, Callable[[Faults, Fault], Awaitable[None]]] = {
    "kill worker": Faults._kill_worker,
    "zombie": Faults._zombie,
    "rolling restart": Faults._rolling,
    "scale": Faults._scale,
    "cut, held": Faults._cut,
    "cut, reset": Faults._cut,
    "kill ingest": Faults._kill_ingest,
    "kill bridge": Faults._kill_bridge,
    "kill broker": Faults._kill_broker,
    "retention": Faults._retention,
}
