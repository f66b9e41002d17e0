"""Flow logs as Faust's own guide teaches them: a record a message, an agent, two windowed tables in memory.

`python -m tests.bench.contenders.faust_naive BOOTSTRAP TOPIC RECORDS` prints a JSON object.
https://faust-streaming.github.io/faust/userguide/tables.html
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import faust
from faust.serializers.codecs import Codec

from tests.bench.contenders.common import WINDOW_SECONDS, Meter, Row, arguments, parse


class Record(faust.Record):
    """A message. end: epoch seconds, what the windows go by; eni is empty where nothing was recorded."""

    eni: str
    port: str
    packets: int
    octets: int
    end: float


_PAUSE = 0.1
_STUCK_SECONDS = 60.0
_END: Any = Record.end  # of the class it is not the float that mypy sees, but what Faust asks for


class FlowLine(Codec):
    """A line of a flow log as the fields of a Record."""

    def _loads(self, s: bytes) -> dict[str, Any]:
        flow = parse(s)
        return flow._asdict() if flow else {"eni": "", "port": "", "packets": 0, "octets": 0, "end": 0}


def main() -> None:
    """Count, print, end."""
    bootstrap, topic, records = arguments()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_counted(bootstrap, topic, Meter(records), folder))


async def _counted(bootstrap: str, topic: str, meter: Meter, folder: str) -> None:
    app = faust.App(
        topic, broker=f"kafka://{bootstrap}", store="memory://", datadir=folder, topic_partitions=1, web_enabled=False,
        consumer_auto_offset_reset="earliest", topic_disable_leader=True,
    )  # fmt: skip
    tables = {name: app.Table(f"by-{name}", default=lambda: (0, 0, 0)) for name in ("eni", "port")}
    by_eni, by_port = (
        table.tumbling(WINDOW_SECONDS, expires=timedelta(days=1)).relative_to_field(_END) for table in tables.values()
    )

    async def count(records: faust.StreamT[Record]) -> None:
        async for record in records:
            meter.took()
            if record.eni:
                by_eni[record.eni] = _with(by_eni[record.eni].value(), record)
                by_port[record.port] = _with(by_port[record.port].value(), record)
            if not meter.left:
                meter.stop()

    app.agent(app.topic(topic, value_type=Record, value_serializer=FlowLine()))(count)
    worker = faust.Worker(app, loglevel="error", redirect_stdouts=False, daemon=False)
    await worker.start()
    await _all_counted(meter)
    meter.report(*(_rows(table) for table in tables.values()))
    await worker.stop()


async def _all_counted(meter: Meter) -> None:
    """Once, on a busy machine, they never were, though all offsets were committed. Why is not known."""
    left, since = meter.left, 0.0
    while meter.left:
        await asyncio.sleep(_PAUSE)
        since = since + _PAUSE if meter.left == left else 0.0
        left = meter.left
        if since > _STUCK_SECONDS:
            sys.exit(f"{left} records were not counted")


def _with(row: Row, record: Record) -> Row:
    flows, packets, octets = row
    return flows + 1, packets + record.packets, octets + record.octets


def _rows(table: Any) -> Iterator[tuple[str, Row]]:
    """Of all windows: the table's own keys are (key, window)."""
    return ((key, tuple(row)) for (key, _), row in table.data.items())


if __name__ == "__main__":
    main()
