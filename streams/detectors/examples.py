"""Lines for the detectors' examples, as an interface writes them (version 2): what fires, and what stays silent."""

from __future__ import annotations

from collections.abc import Iterable

from streams.core.detection import Example

HEADER = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"
)
START = 1_790_000_040
"""Epoch seconds, the beginning of a minute: examples begin there."""

ENI, INSIDE, NEIGHBOUR, PUBLIC = "eni-0a", "10.0.0.5", "10.0.9.7", "198.51.100.7"
_REPLY = (8, 2400)


def record(  # noqa: PLR0913 - the fields of a line
    at: int, src: str, dst: str, ports: tuple[int, int], size: tuple[int, int] = (1, 44), *,
    seconds: int = 0, protocol: int = 6, action: str = "ACCEPT", eni: str = ENI,
) -> str:  # fmt: skip
    """A line. at: seconds after START. ports: source and destination. size: packets and bytes."""
    begin = START + at
    return (
        f"2 123456789012 {eni} {src} {dst} {ports[0]} {ports[1]} {protocol} {size[0]} {size[1]} "
        f"{begin} {begin + seconds} {action} OK"
    )


def answered(  # noqa: PLR0913 - who asks whom for what
    at: int, client: str, server: str, port: int, *, socket: int = 40_001, size: tuple[int, int] = (10, 1200),
    reply: tuple[int, int] = _REPLY, seconds: int = 2, protocol: int = 6, eni: str = ENI,
) -> list[str]:  # fmt: skip
    """Both half-flows of a connection. socket: the client's port. size, reply: packets and bytes there and back."""
    return [
        record(at, client, server, (socket, port), size, seconds=seconds, protocol=protocol, eni=eni),
        record(at, server, client, (port, socket), reply, seconds=seconds, protocol=protocol, eni=eni),
    ]


def refused(at: int, client: str, server: str, port: int, *, socket: int = 40_001) -> list[str]:
    """A try that a security group or NACL refuses."""
    return [record(at, client, server, (socket, port), action="REJECT")]


def silent(at: int, client: str, server: str, port: int, *, socket: int = 40_001) -> list[str]:
    """A try that nobody answers."""
    return [record(at, client, server, (socket, port))]


def fires(what: str, *lines: Iterable[str]) -> Example:
    """A case for the detector."""
    return Example(what, tuple(line for some in lines for line in some), fires=True)


def quiet(what: str, *lines: Iterable[str]) -> Example:
    """No case for the detector."""
    return Example(what, tuple(line for some in lines for line in some), fires=False)
