"""How a process ends: when it is asked to, or when something failed, it stops in good order, and in any case it ends.

Libraries leave threads and tasks that never end when their broker is gone. So an end that was begun is over after
STOP_SECONDS, and a second signal ends at once: with one line, and exit code 1.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable
from types import FrameType
from typing import Any, NoReturn

STOP_SECONDS = 15.0
"""From the first signal, or the failure, to the end of the process at the latest."""

_SHOW_CURSOR = b"\x1b[?25h"
_STDERR = 2


class Ending:
    """The end of this process. `asked` is set once it has begun."""

    def __init__(self, seconds: float = STOP_SECONDS) -> None:
        """Nothing ends yet."""
        self.asked = asyncio.Event()
        self._seconds = seconds

    def listen(self) -> None:
        """SIGINT and SIGTERM begin the end; the second one is the end. Call in the main thread, in the loop.

        Plain handlers, not the loop's: they run as well while a library blocks the loop.
        """
        loop = asyncio.get_running_loop()

        def signalled(_number: int, _frame: FrameType | None) -> None:
            for again in (signal.SIGINT, signal.SIGTERM):
                signal.signal(again, _signalled_again)
            self._arm()
            loop.call_soon_threadsafe(self.asked.set)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signalled)

    def begin(self) -> None:
        """It ends now, in good order or not."""
        if not self.asked.is_set():
            self._arm()
            self.asked.set()

    def _arm(self) -> None:
        said = f"not stopped within {self._seconds:.0f} s: cut off"
        watchdog = threading.Timer(self._seconds, _cut_off, (said,))
        watchdog.daemon = True
        watchdog.start()


async def within(seconds: float, work: Awaitable[Any]) -> bool:
    """Whether `work` was done in time; what it raises is raised. Work that ignores its cancelling is left behind."""
    task = asyncio.ensure_future(work)
    await asyncio.wait({task}, timeout=seconds)
    if not task.done():
        task.cancel()
        return False
    task.result()
    return True


def leave(code: int) -> NoReturn:
    """End the process now that all is done and said: threads that libraries left behind can't hold it."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    logging.shutdown()
    os._exit(code)


def _signalled_again(number: int, _frame: FrameType | None) -> None:
    _cut_off(f"{signal.Signals(number).name} came again: ended at once")


def _cut_off(said: str) -> None:
    """End with no more ado. Straight to the descriptor: whoever holds the lock of stderr may be what hangs."""
    cursor = _SHOW_CURSOR if os.isatty(_STDERR) else b""
    with contextlib.suppress(OSError):
        os.write(_STDERR, cursor + f"vpcflow: {said}; what was not saved is read again\n".encode())
    os._exit(1)
