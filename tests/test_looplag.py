"""What holds the event loop up is seen at /metrics, in every process that has one of ours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial

from streams.embedded import free_port
from streams.looplag import EVERY_SECONDS, watch_lag
from streams.metrics import Exposition, Instruments, Snapshot
from tests.kafka.process import Vpcflow, until

BLOCK = 0.2
CLOCK = 0.01
"""So much a timer may be early, and a busy machine late."""
NAME = "vpcflow_event_loop_lag_seconds"


def _hold(seconds: float) -> None:
    """Work that does not let go of the loop."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def _counts(instruments: Instruments) -> dict[str, float]:
    """Upper bound -> timers that were no later."""
    text = Exposition(instruments, {"eni": 1, "port": 1}, 1).render(Snapshot()).decode()
    lines = [line.split('"') for line in text.splitlines() if line.startswith(f"{NAME}_bucket")]
    return {bound: float(count.split()[-1]) for _, bound, count in lines}


async def _observed(held: float) -> list[float]:
    """Three observations of a loop that is held up when it has just asked for the second timer."""
    queue: asyncio.Queue[float] = asyncio.Queue()
    watching = asyncio.create_task(watch_lag(queue.put_nowait))
    found = [await queue.get()]
    _hold(held)
    found += [await queue.get(), await queue.get()]
    watching.cancel()
    await asyncio.wait([watching])
    return found


async def test_a_loop_that_is_held_up_is_seen_in_the_histogram() -> None:
    # 0          0.1         0.2
    # |-- timer --|
    # |-------- held --------|      0.1 late
    instruments = Instruments()

    for seconds in await _observed(BLOCK):
        instruments.loop_lag(seconds)

    counts = _counts(instruments)
    assert counts["+Inf"] == 3
    assert counts["0.05"] <= 2


async def test_what_is_seen_is_the_rest_of_the_block_and_no_more_than_has_passed() -> None:
    began = time.monotonic()

    found = await _observed(BLOCK)

    assert min(found) >= 0
    assert found[1] >= BLOCK - EVERY_SECONDS - CLOCK
    assert sum(found) + len(found) * EVERY_SECONDS <= time.monotonic() - began + CLOCK


async def test_every_process_shows_it_even_while_it_waits_for_its_broker() -> None:
    nowhere = {"VPCFLOW_BROKER__URL": "kafka://127.0.0.1:1", "VPCFLOW_BRIDGE__TOPICS": '["logs"]'}
    with ExitStack() as stack:
        processes = [_launched(stack, part, nowhere) for part in ("worker", "ingest", "bridge", "up")]
        for process in processes:
            process.wait_for_line("(can't reach Kafka)")
            await until("timers ran", partial(_shows, process), 20)


def _shows(process: Vpcflow) -> bool:
    return process.samples()[f"{NAME}_count"][()] > 3


def _launched(stack: ExitStack, part: str, environ: Mapping[str, str]) -> Vpcflow:
    """With a server that answers, though it will never say that it is ready."""
    address = f"127.0.0.1:{free_port()}"
    process = Vpcflow(part, environ=environ, listen=address)
    process.url = f"http://{address}"
    process.launch()
    stack.callback(process.__exit__)
    return process
