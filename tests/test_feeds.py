"""What puts records on the raw topic by itself: in messages of the right size, in time, and until they are stored."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from streams.core.raw import TARGET_BYTES, Origin, RawMessage
from streams.feeds import Replay, generate, lasting, replay
from streams.sources.publish import BrokerUnavailable
from tests.sources.samples import A, B, C

NOW = 1_700_000_000.0


class EnoughError(Exception):
    """Ends what runs for ever."""


async def test_no_rate_makes_a_message_that_is_too_large() -> None:
    found: list[RawMessage] = []

    async def send(messages: Sequence[RawMessage]) -> None:
        found.extend(messages)
        raise EnoughError

    with pytest.raises(EnoughError):
        await generate(send, 20_000, clock=lambda: NOW)

    assert len(found) > 5
    assert max(len(message.value) for message in found) < TARGET_BYTES + 1000
    assert len({message.origin.key() for message in found}) == len(found)


async def test_a_feed_tries_again_until_it_is_stored() -> None:
    tries: list[Sequence[RawMessage]] = []

    async def send(messages: Sequence[RawMessage]) -> None:
        tries.append(messages)
        if len(tries) < 3:
            raise BrokerUnavailable("gone")

    message = RawMessage(A.encode(), Origin("generator", "7"), arrival_ms=1)
    await lasting(send, pause=0.0)([message])

    assert tries == [[message]] * 3


async def test_records_without_a_time_do_not_hold_a_paced_replay_up(tmp_path: Path) -> None:
    first, second = tmp_path / "1.log", tmp_path / "2.log"
    first.write_text("bad\n")
    second.write_text(f"{A}\n{B}\n{C}\n")
    sent: list[RawMessage] = []

    async def send(messages: Sequence[RawMessage]) -> None:
        sent.extend(messages)

    async with asyncio.timeout(10):
        await replay(send, [first, second], Replay(pace=1000.0), lambda *_: None)

    assert [message.value.count(b"eni-") for message in sent] == [0, 3]
