"""What waits for the core: in order, and bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from streams.agents.inbox import Inbox

LONG = 60.0


async def _put(inbox: Inbox[int], sizes: Sequence[int]) -> None:
    for number, size in enumerate(sizes):
        await inbox.put(number, size)


async def _breathe() -> None:
    """Time for others to do what they can."""
    for _ in range(5):
        await asyncio.get_running_loop().run_in_executor(None, int)


@pytest.mark.parametrize(
    ("sizes", "first"),
    [((1, 1, 1, 1, 1), [0, 1, 2, 3]), ((40, 60, 1), [0, 1]), ((99, 500, 1), [0, 1]), ((500, 1), [0])],
    ids=["so many", "so large", "the last may be larger", "the first too"],
)
async def test_what_does_not_fit_waits_outside(sizes: Sequence[int], first: Sequence[int]) -> None:
    inbox = Inbox[int](most_bytes=100, most_items=4)
    putting = asyncio.create_task(_put(inbox, sizes))
    await _breathe()

    assert inbox.full()
    assert not putting.done()
    assert inbox.take() == first
    await putting
    assert inbox.take() == list(range(len(sizes)))[len(first) :]
    assert not inbox


async def test_what_is_given_up_outside_never_was_inside() -> None:
    inbox = Inbox[int](most_bytes=1, most_items=9)
    putting = asyncio.create_task(_put(inbox, (1, 1)))
    await _breathe()
    putting.cancel()
    await asyncio.wait([putting])

    assert inbox.take() == [0]
    assert inbox.take() == []


async def test_a_wait_ends_with_what_it_waits_for() -> None:
    """With the first item, or with the one that fills it; not before."""
    inbox = Inbox[int](most_bytes=100, most_items=2)
    first = asyncio.create_task(inbox.wait(LONG))
    full = asyncio.create_task(inbox.wait(LONG, until_full=True))
    await _breathe()
    assert not first.done()
    await inbox.put(0, 1)
    await first
    await _breathe()
    assert not full.done()
    await inbox.put(1, 1)
    await full


async def test_a_wait_ends_when_its_time_is_over() -> None:
    inbox = Inbox[int](most_bytes=100, most_items=2)
    async with asyncio.timeout(LONG):
        await inbox.wait(0.01)
        await inbox.put(0, 1)
        inbox.take()
        await inbox.wait(0.01)
        await inbox.wait(0.01, until_full=True)
