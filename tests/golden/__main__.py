"""Writes the changelogs of this release: `python -m tests.golden`. Run it when a release is made, never to mend a test.

What a release has written, the next one must read: its rows stay here as they were, under the release's number.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import orjson

from streams.core.combine import Policy, RawPartition
from streams.core.ledger import Ledger
from streams.core.roll import SummaryPartition
from tests.core.traffic import OWN, SUMMARY_PARTITIONS, T0, Flow, count, message

FOLDER = Path(__file__).parent
POLICY = Policy(retained=5, lateness=240)
"""A history, expired panes and late records in twenty minutes."""


def lines() -> list[str]:
    """Traffic of twenty minutes, the same for every release: a record a second, over all ENIs, in both directions."""
    enis = sorted(OWN)
    found = []
    for n in range(1200):
        eni, six = enis[n % len(enis)], n % 7 == 0
        ends = OWN[eni][six], "2001:db8:f::1" if six else ("198.51.100.9", "10.0.7.7")[n % 2]
        src, dst = ends if n % 3 else ends[::-1]
        ports = (40000 + n % 9, (22, 443, 3306)[n % 3])
        at = T0 + n - (300 if n % 50 == 0 else 0)
        action = "REJECT" if n % 11 == 0 else "ACCEPT"
        found.append(Flow(eni, src, dst, ports, 6, n % 5 + 1, n * 10, at - 5, at, action).line(2))
    return found


def rows() -> tuple[dict[bytes, bytes], list[dict[bytes, bytes]]]:
    """The rows that combine and each of the roll partitions have in their changelogs."""
    state = RawPartition(0, POLICY)
    rolled = [SummaryPartition(POLICY.lateness) for _ in range(SUMMARY_PARTITIONS)]
    combine: dict[bytes, bytes] = {}
    ledger = Ledger(0, "golden", {}, fence=-1)
    every = lines()
    for n in range(0, len(every), 100):
        state.fold([(n // 100, message(every[n : n + 100], 2, "golden", n))])
        for one in state.summaries(SUMMARY_PARTITIONS):
            rolled[one.partition].apply(one.key.decode(), one.value)
        first, then = state.checkpoint()
        _keep(combine, ledger.first(first))
        _keep(combine, ledger.then(then, state.meta.stamp))
    return combine, [_rolled(partition, at) for at, partition in enumerate(rolled)]


def _rolled(state: SummaryPartition, partition: int) -> dict[bytes, bytes]:
    ledger, found = Ledger(partition, "golden", {}, fence=-1), dict[bytes, bytes]()
    first, then = state.checkpoint()
    _keep(found, ledger.first(first))
    _keep(found, ledger.then(then, state.stamp))
    return found


def _keep(store: dict[bytes, bytes], keyed: Mapping[bytes, bytes | None]) -> None:
    for key, value in keyed.items():
        store.pop(key, None)
        if value is not None:
            store[key] = value


def read(path: Path) -> list[dict[bytes, bytes]]:
    """The changelogs of a release: combine's, then one for each roll partition."""
    return [
        {base64.b64decode(key): base64.b64decode(value) for key, value in orjson.loads(line).items()}
        for line in path.read_bytes().splitlines()
    ]


def main() -> None:
    """Write the file of this release, unless it is there."""
    path = FOLDER / f"changelogs-{version('vpcflow-streams')}.jsonl"
    if path.exists():
        sys.exit(f"{path.name} is there already: a release's rows do not change")
    combine, rolled = rows()
    encoded = [
        orjson.dumps({base64.b64encode(key).decode(): base64.b64encode(value).decode() for key, value in one.items()})
        for one in (combine, *rolled)
    ]
    path.write_bytes(b"\n".join(encoded) + b"\n")
    counted = count(lines(), 2)
    sys.stdout.write(f"{path.name}: {len(combine)} rows, {counted.totals[0]} flows\n")


if __name__ == "__main__":
    main()
