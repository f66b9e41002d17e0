"""An event loop that runs what is ready when it is told to, and whose time passes when it is told to."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any


class Clockwork:
    """What tasks, futures and timers ask of an event loop. submit: work for the executor -> a future of its result."""

    def __init__(self, submit: Callable[..., asyncio.Future[Any]]) -> None:
        self.submit = submit
        self.now = 0.0
        self._self: Any = self  # asyncio asks for no more of a loop than there is here; its types ask for all
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._count = 0

    def run(self) -> None:
        """Whatever can go on goes on."""
        asyncio._set_running_loop(self._self)
        try:
            while self._ready:
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()
        finally:
            asyncio._set_running_loop(None)

    def pass_time(self, seconds: float | None = None) -> None:
        """To the next timer; or so far, whatever is due meanwhile."""
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        until = self.now + seconds if seconds is not None else self._timers[0][0] if self._timers else self.now
        while self._timers and self._timers[0][0] <= until:
            self._ready.append(heapq.heappop(self._timers)[2])
        self.now = until

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self._self)

    def create_task(self, coro: Any, **_: Any) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self._self)

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self._self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self._self, context)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer is passed over when its time comes."""

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        return self.submit(func, *args)

    def call_exception_handler(self, context: Any) -> None:
        """Of a task that nobody asked for its exception. Those of workers are asked: see Worker.problem."""
