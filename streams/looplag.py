"""How late the event loop is: whoever holds it, or the GIL, for long makes everybody else wait.

Ten times a second a timer is asked for, and how much later it ran is observed: what any other timer, message or request
would have waited at that moment. A block is seen in part, as it may begin before the timer was due: one of 0.2 s as
0.1 to 0.2 s, one of 0.05 s half of the time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

EVERY_SECONDS = 0.1
"""A slow virtual machine that has nothing else to do takes 0.3 ms of CPU each time: 0.3 % of one CPU at the most."""


async def watch_lag(observe: Callable[[float], None]) -> None:
    """Until it is cancelled; `observe` gets seconds, 0 at the least."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + EVERY_SECONDS
        await asyncio.sleep(EVERY_SECONDS)
        observe(max(0.0, loop.time() - due))
