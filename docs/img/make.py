"""Makes the pictures of the README from the program's own rendering.

To run it again: python docs/img/make.py. Traffic comes from the generator with a fixed seed and a fixed clock, so the
pictures change only when the program does. They name no host: fonts are those of whoever looks.
"""  # noqa: INP001 - a script beside its pictures, not a package

from __future__ import annotations

import gzip
import io
import logging
import tempfile
import time
from pathlib import Path
from typing import cast
from zlib import crc32

from rich.console import Console, RenderableType
from rich.terminal_theme import TerminalTheme

from streams import live
from streams.brokerless import analyze_files
from streams.core import tables
from streams.core.combine import Meta, Policy, RawPartition
from streams.core.parse import REASONS
from streams.core.raw import Origin, RawMessage, digest
from streams.core.roll import SummaryPartition
from streams.core.tables import TABLES
from streams.core.watching import Setup, WatchingPartition
from streams.detectors.registry import DETECTORS
from streams.generate import FORMATS, Network, minute, slice_lines
from streams.metrics import Snapshot
from streams.report import Report
from streams.report import render as render_report
from streams.settings import Panes
from streams.watch import LastError, Watcher

HERE = Path(__file__).parent
START = 1_792_403_400
SECONDS = 197
RATE = 200
DELAY = 3
PARTITIONS = 4
LATENESS = 60
MINUTES = 60
RECORDS_A_MINUTE = 2_400
BAD = b"2 123456789012 eni-0a1b2c3d4e5f60718 10.0.1.5 10.0.2.9 49152 44\n2 123456789012 eni-0a1b2c3d4e5f60718 - -"

THEME = TerminalTheme(
    (22, 27, 34),
    (201, 209, 217),
    [
        (72, 79, 88),
        (255, 123, 114),
        (63, 185, 80),
        (210, 153, 34),
        (88, 166, 255),
        (188, 140, 255),
        (57, 197, 207),
        (201, 209, 217),
    ],
)
SVG = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace;
  font-size: {char_height}px;
  line-height: {line_height}px;
  white-space: pre;
}}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix" xml:space="preserve">
{matrix}
</g>
</g>
</svg>
"""


def main() -> None:
    """Write live.svg and analyze.svg beside this file."""
    logging.disable()
    save(live.render(watched()), "live", "make run")
    save(lambda console: render_report(analyzed(), console, REASONS), "analyze", "vpcflow analyze flows.log.gz")


def watched() -> live.View:
    """What `vpcflow up` shows after some minutes of generated traffic, through the core's states."""
    network, policy = Network(seed=7), Policy(watched=True, watch_lateness=LATENESS)
    watching = WatchingPartition(Setup(DETECTORS, [], PARTITIONS, LATENESS))
    raw = [RawPartition(number, policy) for number in range(PARTITIONS)]
    rolled = [SummaryPartition(policy.lateness) for _ in range(PARTITIONS)]
    url = "http://127.0.0.1:8080"
    urls = (("metrics", f"{url}/metrics"), ("firehose", f"{url}/firehose"), ("ready", f"{url}/readyz"))
    watcher = Watcher(live.View(uptime_seconds=0.0, broker="127.0.0.1:36121", urls=urls), LastError())
    began = time.monotonic()
    for second in range(SECONDS):
        end = START + second
        lines = slice_lines(network, end - 1, end, RATE, version=5)
        message = RawMessage(lines, Origin("generator", "7", str(end), digest(lines)), end * 1000, FORMATS[5])
        raw[crc32(message.origin.partition_key()) % PARTITIONS].fold([(second, message)])
        for summary in [one for state in raw for one in state.summaries(PARTITIONS)]:
            rolled[summary.partition].apply(summary.key.decode(), summary.value)
        for block in [one for state in raw for one in state.whole_blocks(1)]:
            watching.apply(block.key.decode(), block.value, watching.stamp + 1)
        watcher.look(snapshot(raw, rolled, watching), (True, "ready"), began + second, float(end + DELAY))
    return watcher.view


def snapshot(raw: list[RawPartition], rolled: list[SummaryPartition], watching: WatchingPartition) -> Snapshot:
    """As a worker takes it."""
    found = [state.totals() for state in rolled]
    totals = {name: tables.merge(table, [frames[name] for frames in found]) for name, table in TABLES.items()}
    metas = {state.partition: Meta.decode(state.meta.encode()) for state in raw}
    return Snapshot(metas=metas, totals=totals, watched={0: watching.figures}, ready=True)


def analyzed() -> Report:
    """The report over an hour of generated records in a gzip file, with a header line and two lines cut off."""
    network = Network(seed=7)
    hour = START - START % 60
    parts = [minute(network, hour + 60 * n, RECORDS_A_MINUTE, version=5) for n in range(MINUTES)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "flows.log.gz")
        path.write_bytes(gzip.compress(FORMATS[5].encode() + b"\n" + b"\n".join([*parts, BAD])))
        return cast("Report", analyze_files([path], None, Panes()))


def save(shown: object, name: str, title: str) -> None:
    """Render on a terminal of 90 columns and write it as SVG."""
    console = Console(record=True, width=90, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    if callable(shown):
        shown(console)
    else:
        console.print(cast("RenderableType", shown))
    svg = console.export_svg(title=title, theme=THEME, code_format=SVG, unique_id=name)
    (HERE / f"{name}.svg").write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n", "utf-8")


if __name__ == "__main__":
    main()
