"""Puts messages on the raw topic at a rate, a step at a time: one message for each partition.

`python -m tests.load.feeder` is a process of its own: what it costs is neither the worker's nor the watcher's. It
prints JSON at its end: how many seconds it took. Step n of a topic carries kind n modulo KINDS, whoever sends it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import for_code
from aiokafka.protocol.produce import ProduceRequest

from streams.core.raw import Origin
from tests.load.batches import KINDS, Mould, kinds

_IN_FLIGHT = 4
_ALL = -1
_TIMEOUT_MS = 60_000
_MINUTE = 60
_DIGITS = 12


@dataclass(frozen=True)
class Plan:
    """first, steps: which ones. rate: steps a second, 0: as fast as the broker takes them."""

    first: int
    steps: int
    rate: float = 0.0

    def arguments(self) -> list[str]:
        """Of the command."""
        return [f"--{name}={value}" for name, value in self.__dict__.items()]


@dataclass
class Feeder:
    """Sends to the only broker: in order, as all goes over one connection."""

    client: AIOKafkaClient
    topic: str
    partitions: int
    moulds: Sequence[Mould] = field(default_factory=lambda: [Mould(lines) for lines in kinds()])

    async def run(self, plan: Plan) -> float:
        """Seconds until all is confirmed. Raises KafkaError."""
        places, began = asyncio.Semaphore(_IN_FLIGHT), time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(plan.steps):
                await _until(began + (number / plan.rate if plan.rate else 0))
                await places.acquire()
                group.create_task(self._send(plan, number)).add_done_callback(lambda _: places.release())
        return time.monotonic() - began

    async def _send(self, plan: Plan, number: int) -> None:
        node = self.client.cluster.brokers().copy().pop().nodeId
        request = ProduceRequest(None, _ALL, _TIMEOUT_MS, [(self.topic, list(self._step(plan, number)))])
        answer = await self.client.send(node, request)
        for code in (partition[1] for _, partitions in answer.topics for partition in partitions):
            if code:
                raise for_code(code)

    def _step(self, plan: Plan, number: int) -> Iterator[tuple[int, bytes]]:
        now, step = time.time(), plan.first + number
        for partition in range(self.partitions):
            origin = Origin("generator", f"load/{partition}", f"{step:0{_DIGITS}}")
            # The last minute that is over: nothing is of the future.
            yield partition, self.moulds[step % KINDS].copy(int(now) // _MINUTE - 1, origin, int(now * 1000))


async def _until(moment: float) -> None:
    left = moment - time.monotonic()
    if left > 0:
        await asyncio.sleep(left)


async def _main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.load.feeder", description=__doc__)
    parser.add_argument("bootstrap")
    parser.add_argument("topic")
    parser.add_argument("partitions", type=int)
    for name, kind in (("first", int), ("steps", int), ("rate", float)):
        parser.add_argument(f"--{name}", type=kind, default=0)
    options = parser.parse_args(arguments)
    client = AIOKafkaClient(bootstrap_servers=options.bootstrap, request_timeout_ms=_TIMEOUT_MS)
    await client.bootstrap()
    try:
        plan = Plan(options.first, options.steps, options.rate)
        seconds = await Feeder(client, options.topic, options.partitions).run(plan)
    finally:
        await client.close()
    print(json.dumps({"seconds": round(seconds, 1)}))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1:]))
