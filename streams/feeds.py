"""What puts records on the raw topic by itself: generated traffic of the present, and files, as fast as asked for."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from streams.core.fields import parse_format
from streams.core.parse import parse
from streams.core.raw import Origin, RawMessage, digest, split_lines
from streams.generate import FORMATS, Network, Version, slice_lines
from streams.sources.files import read
from streams.sources.publish import BrokerUnavailable

log = logging.getLogger(__name__)

Send = Callable[[Sequence[RawMessage]], Awaitable[None]]

_VERSION: Version = 5
_BATCH = 16
_BEHIND = 2
"""Seconds that generated records lie in the past: records of the running second are not written yet."""
_MOST_SECONDS = 5
"""Of generated records in one go: after a wait for the broker they are made up for in steps."""
_PAUSE = 1.0


def lasting(send: Send, pause: float = _PAUSE) -> Send:
    """`send`, tried again until everything is stored: repeats have the same origin and are dropped. pause: seconds."""

    async def send_until_stored(messages: Sequence[RawMessage]) -> None:
        while True:
            try:
                return await send(messages)
            except BrokerUnavailable as problem:
                log.debug("not stored, trying again: %s", problem)
            await asyncio.sleep(pause)

    return send_until_stored


async def generate(send: Send, rate: int, *, seed: int = 7, clock: Callable[[], float] = time.time) -> None:
    """Send about `rate` records a second (and incidents) as they end, until cancelled."""
    network = Network(seed=seed)
    sent = int(clock()) - _BEHIND - 1
    while True:
        due = min(int(clock()) - _BEHIND, sent + _MOST_SECONDS)
        if due > sent:
            lines = await asyncio.to_thread(slice_lines, network, sent, due, rate, version=_VERSION)
            await send(_generated(lines, seed, due, int(clock() * 1000)))
            sent = due
        await asyncio.sleep(max(0.05, due + 1 + _BEHIND - clock()))


def _generated(lines: bytes, seed: int, second: int, arrival_ms: int) -> list[RawMessage]:
    """Messages of the size that the topic takes, however high the rate."""
    return [
        RawMessage(
            part, Origin("generator", str(seed), f"{second}/{number}", digest(part)), arrival_ms, FORMATS[_VERSION]
        )
        for number, part in enumerate(split_lines(lines))
    ]


@dataclass(frozen=True)
class Replay:
    """How files are replayed. pace: so many times as fast as it happened, None: as fast as it can.

    live: counted as live traffic, not as history. again: files that were replayed before count once more.
    """

    pace: float | None = None
    live: bool = False
    again: bool = False
    format: str | None = None


async def replay(send: Send, paths: Sequence[Path], how: Replay, sent: Callable[[int, int], None]) -> None:
    """Send the records of files, folders or `-`. sent: called with lines and bytes of each batch once it is stored."""
    run = secrets.token_hex(8) if how.again else None
    messages = read(paths, again=run, replay=not how.live, format=how.format)
    began: tuple[float, int] | None = None
    size = _BATCH if how.pace is None else 1
    while batch := await asyncio.to_thread(_some, messages, size):
        if how.pace is not None:
            began = await _keep_pace(batch[0], began, how.pace)
        await send(batch)
        sent(sum(message.value.count(b"\n") + 1 for message in batch), sum(len(message.value) for message in batch))


def _some(messages: Iterator[RawMessage], size: int) -> list[RawMessage]:
    now = int(time.time() * 1000)
    return [replace(message, arrival_ms=now) for message in islice(messages, size)]


async def _keep_pace(message: RawMessage, began: tuple[float, int] | None, pace: float) -> tuple[float, int] | None:
    """Wait until this message's time has come: seconds since the first record, divided by `pace`.

    began: when the first record was sent (by the monotonic clock) and when it ended; None before there was one.
    """
    end = _first_end(message)
    if end is None:
        return began
    began = began or (time.monotonic(), end)
    due = began[0] + (end - began[1]) / pace
    await asyncio.sleep(max(0.0, due - time.monotonic()))
    return began


def _first_end(message: RawMessage) -> int | None:
    fmt = parse_format(message.format) if message.format else None
    records = parse(message.value, fmt).records
    return records.get_column("end").drop_nulls().first() if "end" in records.columns and records.height else None  # type: ignore[return-value]
