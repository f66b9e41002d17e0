"""An application whose database starts to refuse it, and a scan before that: an incident, as flow logs show it."""

from __future__ import annotations

from streams.core.raw import RawMessage
from tests.kafka.findings import messages, trailing

FORMAT = "interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action flow-direction"
ENI, HOST, DATABASE, SCANNER = "eni-0a1b2c3d4e5f60718", "10.0.0.5", "10.0.1.9", "10.0.9.7"
MINUTES, SCAN, REFUSED = 60, 10, 30


def refusing(t0: int) -> tuple[list[RawMessage], list[RawMessage]]:
    """An hour of it from `t0` (epoch seconds, a full minute) on, and then what closes all its minutes."""
    given = messages({t0 + 60 * n: _minute(n, t0 + 60 * n) for n in range(MINUTES)}, FORMAT)
    return given, trailing(t0 + 60 * MINUTES, later, FORMAT)


def later(at: int) -> str:
    """A record of the time after that: the application has found another database."""
    return _record(at, (HOST, 40_000, "10.0.1.10", 5432), out=True)


def _minute(n: int, at: int) -> list[str]:
    """The application asks its database, until that refuses; somebody tries twelve ports in the eleventh minute."""
    ask, answer = (HOST, 40_000 + n, DATABASE, 5432), (DATABASE, 5432, HOST, 40_000 + n)
    if n < REFUSED:
        lines = [_record(at, ask, out=True), _record(at, answer, out=False)]
    else:
        lines = [_record(at, ask, out=True, action="REJECT", size=60)] * 3
    if n == SCAN:
        lines += [
            _record(at, (SCANNER, 50_000, HOST, 1000 + port), out=False, action="REJECT", size=60) for port in range(12)
        ]
    return lines


def _record(at: int, route: tuple[str, int, str, int], *, out: bool, action: str = "ACCEPT", size: int = 900) -> str:
    source, srcport, target, dstport = route
    way = "egress" if out else "ingress"
    return f"{ENI} {source} {target} {srcport} {dstport} 6 9 {size} {at} {at + 59} {action} {way}"
