"""The HTTP server of every process: health, metrics, and what else a part brings. On loopback unless told otherwise."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

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
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=5.0, **options)

    @property
    def url(self) -> str:
        """Where it is, without a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

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


def _reason(problem: OSError) -> str:
    """The system's own words: asyncio puts the address around them, or all addresses of a name."""
    if problem.errno and not isinstance(problem, socket.gaierror):
        return os.strerror(problem.errno).lower()
    return (problem.strerror or str(problem)).lower()
