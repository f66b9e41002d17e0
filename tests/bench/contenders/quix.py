"""Flow logs as Quix Streams' guide teaches them: a data frame over the topic, two branches, two tumbling windows.

`python -m tests.bench.contenders.quix BOOTSTRAP TOPIC RECORDS` prints a JSON object. State is in RocksDB and in
changelog topics, as it is by default.
https://quix.io/docs/quix-streams/windowing.html
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any

from quixstreams import Application
from quixstreams.dataframe.windows import Count, Sum

from tests.bench.contenders.common import LATE_SECONDS, WINDOW_SECONDS, Meter, Row, arguments, parse

_Windows = dict[tuple[str, int], Row]
"""(key, start of the window) -> its row as it was sent last."""


def main() -> None:
    """Count, print, end."""
    bootstrap, topic, records = arguments()
    with tempfile.TemporaryDirectory() as folder:
        _count(bootstrap, topic, Meter(records), folder)


def _count(bootstrap: str, topic: str, meter: Meter, folder: str) -> None:
    app = Application(
        broker_address=bootstrap, consumer_group=topic, auto_offset_reset="earliest", state_dir=folder, loglevel="ERROR"
    )

    def fields(line: bytes) -> dict[str, Any] | None:
        meter.took()
        if not meter.left:
            app.stop()  # after this record
        flow = parse(line)
        return flow._asdict() if flow else None

    flows = app.dataframe(app.topic(topic, value_deserializer="bytes")).apply(fields)
    flows = flows.filter(lambda flow: flow is not None).set_timestamp(lambda flow, *_: flow["end"] * 1000)
    by_eni, by_port = (_windows(flows, name) for name in ("eni", "port"))
    app.run()
    meter.stop()
    meter.report(*(_rows(found) for found in (by_eni, by_port)))


def _windows(flows: Any, name: str) -> _Windows:
    """Every change of a window goes to what is returned: a live view shows windows before they close."""
    found: _Windows = {}

    def shown(window: Any, key: str, *_: Any) -> None:
        found[key, window["start"]] = window["flows"], window["packets"], window["octets"]

    windows = flows.group_by(name).tumbling_window(WINDOW_SECONDS * 1000, grace_ms=LATE_SECONDS * 1000)
    sums = windows.agg(flows=Count(), packets=Sum("packets"), octets=Sum("octets"))
    sums.current().update(shown, metadata=True)
    return found


def _rows(found: _Windows) -> Iterator[tuple[str, Row]]:
    return ((key, row) for (key, _), row in found.items())


if __name__ == "__main__":
    main()
