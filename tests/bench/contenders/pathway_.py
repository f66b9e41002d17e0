"""Flow logs as Pathway's guide teaches them: a table over the topic, two `windowby` and a reduction of each.

`python -m tests.bench.contenders.pathway_ BOOTSTRAP TOPIC RECORDS` prints a JSON object. Nothing is persisted, which
is the default. Its engine reads ahead of Python: what it takes is measured from its start, not from the first record.
https://pathway.com/developers/user-guide/temporal-data/windows-manual
"""

from __future__ import annotations

from typing import Any

import pathway as pw

from tests.bench.contenders.common import WINDOW_SECONDS, Meter, Row, arguments, parse

_Windows = dict[Any, tuple[str, Row]]
"""Pathway's key of a window -> its key, its row."""


def main() -> None:
    """Count, print, end."""
    bootstrap, topic, records = arguments()
    meter = Meter(records)
    settings = {"bootstrap.servers": bootstrap, "group.id": topic, "auto.offset.reset": "earliest"}
    messages = pw.io.kafka.read(settings, topic=topic, format="raw", mode="static")

    def fields(line: bytes) -> tuple[str, str, int, int, int] | None:
        meter.left -= 1
        return parse(line)

    split = messages.select(flow=pw.apply_with_type(fields, tuple[str, str, int, int, int] | None, pw.this.data))
    flows = split.filter(pw.this.flow.is_not_none()).select(
        **{name: pw.unwrap(pw.this.flow)[at] for at, name in enumerate(("eni", "port", "packets", "octets", "end"))}
    )
    by_eni, by_port = (_windows(flows, name) for name in ("eni", "port"))
    meter.start()
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)
    meter.stop()
    meter.report(*(iter(found.values()) for found in (by_eni, by_port)))


def _windows(flows: Any, name: str) -> _Windows:
    found: _Windows = {}

    def changed(key: Any, row: dict[str, Any], time: int, is_addition: bool) -> None:
        if is_addition:
            found[key] = row["key"], (row["flows"], row["packets"], row["octets"])

    window = pw.temporal.tumbling(duration=WINDOW_SECONDS)
    sums = flows.windowby(flows.end, window=window, instance=flows[name]).reduce(
        key=pw.this._pw_instance,
        flows=pw.reducers.count(),
        packets=pw.reducers.sum(pw.this.packets),
        octets=pw.reducers.sum(pw.this.octets),
    )
    pw.io.subscribe(sums, on_change=changed)
    return found


if __name__ == "__main__":
    main()
