"""The limit that a worker is held against: Polars over a file of the same lines, in one thread, no Kafka, no state.

It reads all fields in their types, and sums flows, packets and bytes per minute and ENI, and per minute and port. It
checks no line, learns no direction and keeps nothing. A process of its own, so that CPU and memory are its own:
`python -m tests.bench.limit FILE FIELD...` prints a JSON object. Start-up is left out, as it is for the worker.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Sequence

import polars as pl

from streams.core.fields import dtype

_PANE = 60
_ONE_THREAD = pl.thread_pool_size() == 1  # as in the worker; the variable POLARS_MAX_THREADS says so


def main(arguments: Sequence[str]) -> None:
    """Measure, print."""
    path, *fields = arguments
    began, cpu = time.monotonic(), time.process_time()
    records, tables = added_up(path, fields)
    used, seconds = time.process_time() - cpu, time.monotonic() - began
    report = {
        "records": records,
        "cpu_seconds": used,
        "seconds": seconds,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "verified": _ONE_THREAD and all(table.get_column("flows").sum() == records for table in tables),
    }
    json.dump(report, sys.stdout)


def added_up(path: str, fields: Sequence[str]) -> tuple[int, list[pl.DataFrame]]:
    """How many records a file has, and both tables."""
    frame = pl.read_csv(
        path, has_header=False, separator=" ", quote_char=None, schema={name: dtype(name) for name in fields},
        null_values="-",
    )  # fmt: skip
    keyed = frame.with_columns(
        (pl.col("end") // _PANE).alias("pane"), pl.min_horizontal("srcport", "dstport").alias("port")
    )
    counts = (pl.len().alias("flows"), pl.col("packets", "bytes").sum())
    keys = (["interface-id"], ["port", "protocol"])
    return frame.height, [keyed.group_by(*key, "action", "pane").agg(counts) for key in keys]


if __name__ == "__main__":
    main(sys.argv[1:])
