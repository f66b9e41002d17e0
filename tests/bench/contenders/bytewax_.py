"""Flow logs as Bytewax's guide teaches them: a dataflow with an event clock and two folded tumbling windows.

`python -m tests.bench.contenders.bytewax_ BOOTSTRAP TOPIC RECORDS` prints a JSON object. No recovery store, which is
the default: nothing would survive a crash.
https://docs.bytewax.io/stable/guide/concepts/windowing.html
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators.windowing import EventClock, TumblingWindower, fold_window
from bytewax.testing import TestingSink, run_main

from tests.bench.contenders.common import LATE_SECONDS, WINDOW_SECONDS, Flow, Meter, Row, arguments, parse

_Windows = list[tuple[str, tuple[int, Row]]]
"""Key, number of the window, row: of windows that are closed."""


def main() -> None:
    """Count, print, end."""
    bootstrap, topic, records = arguments()
    meter = Meter(records)

    def flow(message: Any) -> Flow | None:
        meter.took()
        return parse(message.value)

    dataflow = Dataflow("flow_logs")
    # Without a tail all windows close at the end of the topic.
    messages = op.input("messages", dataflow, KafkaSource([bootstrap], [topic], tail=False))
    flows = op.filter_map("flows", messages, flow)
    by_eni, by_port = (_windows(flows, name) for name in ("eni", "port"))
    run_main(dataflow)
    meter.stop()
    meter.report(*(_rows(found) for found in (by_eni, by_port)))


def _windows(flows: Any, name: str) -> _Windows:
    found: _Windows = []
    clock = EventClock(_end, wait_for_system_duration=timedelta(seconds=LATE_SECONDS))
    windower = TumblingWindower(length=timedelta(seconds=WINDOW_SECONDS), align_to=datetime(2020, 1, 1, tzinfo=UTC))
    keyed = op.key_on(f"{name}_key", flows, lambda flow: getattr(flow, name))
    windows = fold_window(f"{name}_window", keyed, clock, windower, lambda: (0, 0, 0), _with, _merged)
    op.output(f"{name}_out", windows.down, TestingSink(found))
    return found


def _end(flow: Flow) -> datetime:
    return datetime.fromtimestamp(flow.end, UTC)


def _with(row: Row, flow: Flow) -> Row:
    return row[0] + 1, row[1] + flow.packets, row[2] + flow.octets


def _merged(row: Row, other: Row) -> Row:
    return row[0] + other[0], row[1] + other[1], row[2] + other[2]


def _rows(found: _Windows) -> Iterator[tuple[str, Row]]:
    return ((key, row) for key, (_, row) in found)


if __name__ == "__main__":
    main()
