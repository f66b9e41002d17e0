"""A TCP proxy whose network can be cut: what comes is held back and arrives late, or connections break."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
from socket import socket
from typing import Self

from streams.embedded import LOOPBACK

_CHUNK = 256 * 1024


def door() -> socket:
    """Bound to a free port of loopback, which nobody else gets until it is closed."""
    found = socket()
    found.bind((LOOPBACK, 0))
    return found


class Proxy:
    """Listens at `door`, which is bound, and carries what comes to port `target` of loopback and back."""

    def __init__(self, door: socket, target: int) -> None:
        self.port = int(door.getsockname()[1])
        self._door = door
        self._target = target
        self._carries = asyncio.Event()
        self._carries.set()
        self._refuses = False
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: set[StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, sock=self._door.dup())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server:
            self._server.close()
        self._break()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hold(self) -> None:
        """Carry nothing; nobody is told."""
        self._carries.clear()

    def reset(self) -> None:
        """Break what is open, and each connection that is made."""
        self._refuses = True
        self._break()

    def mend(self) -> None:
        """Carry on: what was held back arrives now."""
        self._refuses = False
        self._carries.set()

    def _break(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    def _connected(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._open.add(writer)
        try:
            if not self._refuses:
                await self._carry(reader, writer)
        except OSError:
            pass  # nobody is at the target now: whoever came sees a broken connection
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _carry(self, reader: StreamReader, writer: StreamWriter) -> None:
        await self._carries.wait()
        there, back = await asyncio.open_connection(LOOPBACK, self._target)
        self._open.add(back)
        pumps = [asyncio.create_task(self._pump(reader, back)), asyncio.create_task(self._pump(there, writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._open.discard(back)
            back.transport.abort()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, reader: StreamReader, writer: StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await self._carries.wait()
                writer.write(data)
                await writer.drain()
