"""Suppressions: findings that somebody has looked at and does not want to be told of, until a day that they named.

A suppressed finding is not gone: it is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

from streams.core.findings import Finding

Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Suppression:
    """All that is given must fit; None fits everything. until: epoch seconds, of the finding's first record; None:
    for good. who, why: in the words of whoever suppresses.
    """

    who: str
    why: str
    detector: str | None = None
    eni: str | None = None
    source: Network | None = None
    target: Network | None = None
    port: int | None = None
    until: int | None = None

    def fits(self, finding: Finding) -> bool:
        """Whether the finding is one of those."""
        return (
            self.detector in (None, finding.detector)
            and self.eni in (None, finding.eni)
            and self.port in (None, finding.port)
            and (self.until is None or finding.first <= self.until)
            and _within(finding.source, self.source)
            and _within(finding.target, self.target)
        )


def suppressed_by(finding: Finding, suppressions: Iterable[Suppression]) -> Suppression | None:
    """The first one that fits."""
    return next((one for one in suppressions if one.fits(finding)), None)


def told(findings: Sequence[Finding], suppressions: Sequence[Suppression]) -> list[Finding]:
    """Those that nobody suppresses."""
    return [one for one in findings if suppressed_by(one, suppressions) is None]


def _within(address: str | None, network: Network | None) -> bool:
    if network is None:
        return True
    try:
        return address is not None and ip_address(address) in network
    except ValueError:
        return False
