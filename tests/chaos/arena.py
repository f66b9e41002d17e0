"""Three brokers, and a second door to each of them: what one worker sees of them goes through proxies.

Kafka tells a client the addresses to go on with by the listener that it came to. The second listener of each broker
advertises a proxy, so the worker that begins there never finds a way around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from socket import socket
from types import TracebackType
from typing import Self

from streams.embedded import LOOPBACK, free_port
from tests.chaos.proxy import Proxy, door
from tests.chaos.schedule import BROKERS
from tests.kafka.broker import KafkaCluster, Node

SETTINGS = {
    "min.insync.replicas": "2",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "PLAINTEXT",
}
_ATTEMPTS = 3


class Brokers:
    """The cluster; a context manager, entered in the main thread (see KafkaCluster)."""

    def __init__(self) -> None:
        """Raises MissingError."""
        self.doors: dict[int, tuple[int, socket]] = {}
        self._choose()

    def __enter__(self) -> Self:
        """Other ports when somebody took one of them before a broker did."""
        for attempt in range(_ATTEMPTS):
            try:
                self.cluster.__enter__()
            except RuntimeError:
                if attempt == _ATTEMPTS - 1:
                    raise
                self._choose()
            else:
                break
        return self

    def __exit__(self, *problem: object) -> None:
        self.cluster.__exit__(*problem)
        self._close()

    def _choose(self) -> None:
        """Brokers advertise the outer doors at their start; a run opens them later, so they are held from the first."""
        self._close()
        self.cluster = KafkaCluster(BROKERS, SETTINGS, self._second_listener)
        self.doors = {number: (free_port(), door()) for number in range(1, BROKERS + 1)}

    def _close(self) -> None:
        for _, outer in self.doors.values():
            outer.close()

    def _second_listener(self, node: Node) -> Mapping[str, str]:
        inner, outer = self.doors[node.number]
        plain, proxied = f"PLAINTEXT://{node.address}", f"PROXIED://{LOOPBACK}"
        return {
            "listeners": f"{plain},{proxied}:{inner},CONTROLLER://{LOOPBACK}:{node.controller_port}",
            "advertised.listeners": f"{plain},{proxied}:{outer.getsockname()[1]}",
        }


class Network:
    """The proxies, in the event loop of a run."""

    def __init__(self, brokers: Brokers) -> None:
        self._proxies = [Proxy(outer, inner) for inner, outer in brokers.doors.values()]
        self._stack = AsyncExitStack()

    @property
    def bootstrap(self) -> str:
        """host:port[,host:port...] of the second doors."""
        return ",".join(f"{LOOPBACK}:{proxy.port}" for proxy in self._proxies)

    async def __aenter__(self) -> Self:
        for proxy in self._proxies:
            await self._stack.enter_async_context(proxy)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, problem, trace)

    def cut(self, *, held: bool) -> None:
        """Between the worker and all brokers."""
        for proxy in self._proxies:
            proxy.hold() if held else proxy.reset()

    def mend(self) -> None:
        """See Proxy.mend."""
        for proxy in self._proxies:
            proxy.mend()
