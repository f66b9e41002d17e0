"""The HTTP server of every process: health, metrics, and what else a part brings. On loopback unless told otherwise.

A client may send anything, or nothing, for ever: it is cut off, and what it sent is in no log.
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client import CONTENT_TYPE_LATEST

IDLE_SECONDS = 75.0
"""For the whole head of a request to come, and between requests. A load balancer in front should wait less: 60 s is
the usual."""

_QUIET_SECONDS = 30.0

Ready = Callable[[], tuple[bool, str]]
Scrape = Callable[[], Awaitable[bytes]]


def health_routes(ready: Ready, scrape: Scrape) -> list[web.RouteDef]:
    """GET /livez (the loop turns), /readyz (200 or 503, with the reason), /metrics (Prometheus text)."""

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def readyz(_: web.Request) -> web.Response:
        is_ready, reason = ready()
        return web.Response(text=f"{reason}\n", status=200 if is_ready else 503)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=await scrape(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)]


class Server:
    """An aiohttp server; `port` is known once it has started."""

    def __init__(
        self,
        listen: str,
        routes: Iterable[web.AbstractRouteDef],
        options: Mapping[str, Any],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """listen: HOST:PORT; port 0 takes a free one. options: of aiohttp's runner, which the routes ask for.

        Limits on bodies are the routes' own.
        """
        host, _, port = listen.rpartition(":")
        self.host, self.port = host.strip("[]"), int(port)
        self.scheme = "https" if tls else "http"
        self._tls = tls
        app = web.Application(client_max_size=0)
        app.add_routes(routes)
        wanted = {"keepalive_timeout": IDLE_SECONDS, "logger": _logger(), **options}
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=5.0, **wanted)

    @property
    def url(self) -> str:
        """Where it is, without a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def addresses(self) -> list[Any]:
        """Where it listens, once it has started: (host, port, ...) of each socket."""
        return self._runner.addresses

    async def start(self) -> None:
        """Listen. Raises OSError, with one line that says why: the address is taken or not ours."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port, ssl_context=self._tls)
        try:
            await site.start()
        except OSError as problem:
            await self._runner.cleanup()
            raise OSError(
                f"can't listen at {self.host}:{self.port}: {_reason(problem)}; --listen takes another"
            ) from None
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Finish what is being answered, for 5 s at most."""
        await self._runner.cleanup()


def _logger() -> logging.Logger:
    """For aiohttp: what a client does wrong it tells with a traceback, and with the bytes, an access key among them."""
    logger = logging.Logger(__name__)  # noqa: LOG001 - each server has its own, which remembers what it has told
    logger.parent = logging.getLogger(__name__)
    told = -_QUIET_SECONDS

    def discreet(record: logging.LogRecord) -> bool:
        nonlocal told
        problem = record.exc_info[1] if record.exc_info else None
        if not isinstance(problem, HttpProcessingError | ConnectionError):
            return True
        now = time.monotonic()
        if isinstance(problem, ConnectionError) or now - told < _QUIET_SECONDS:
            return False
        told = now
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg, record.args = "a request was refused that is no HTTP as it should be: %s", (type(problem).__name__,)
        record.exc_info = None
        return True

    logger.addFilter(discreet)
    return logger


def _reason(problem: OSError) -> str:
    """The system's own words: asyncio puts the address around them, or all addresses of a name."""
    if problem.errno and not isinstance(problem, socket.gaierror):
        return os.strerror(problem.errno).lower()
    return (problem.strerror or str(problem)).lower()
