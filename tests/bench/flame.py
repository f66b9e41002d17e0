"""`make flame`: where a worker's time goes, drawn as a flame graph: docs/img/flame.svg.

The raw topic is filled, a worker starts on it, and py-spy looks at its threads until all is counted, checkpointed and
acknowledged. Start-up is left out. Width is time, of each thread for itself, waits among it: Polars works in a thread
that has no Python, and whoever asked it waits meanwhile. Without its waits `core` would seem to do little.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from uuid import uuid4

from streams.generate import Version, bulk
from streams.names import Names
from tests.bench.worker import PAUSE, committed, fill, ready
from tests.kafka.broker import KafkaCluster, MissingError
from tests.kafka.process import Vpcflow

LINES = 4_000_000
_RATE = 200
"""Looks a second."""
_TITLE = re.compile(r'(<text id="title"[^>]*>)[^<]*')


class NoProfileError(Exception):
    """py-spy could not look. One line: why, and what to do."""


def main(arguments: Sequence[str]) -> int:
    """Draw. 1: there is no picture, and why is told."""
    parser = argparse.ArgumentParser(prog="make flame", description=__doc__)
    parser.add_argument("--lines", type=int, default=LINES, help="how many records are counted")
    parser.add_argument("--enis", type=int, default=1000, help="of so many interfaces")
    parser.add_argument("--version", type=int, choices=(2, 5), default=2, help="of the lines")
    parser.add_argument("--detecting", action="store_true", help="with detectors")
    parser.add_argument("--svg", type=Path, default=Path("docs/img/flame.svg"), help="where the picture goes")
    options = parser.parse_args(arguments)
    try:
        with KafkaCluster() as kafka:
            asyncio.run(_draw(kafka.bootstrap, options))
    except (MissingError, NoProfileError) as problem:
        print(f"no flame graph: {problem}")
        return 1
    return 0


async def _draw(bootstrap: str, options: argparse.Namespace) -> None:
    names, version = Names(f"flame-{uuid4().hex[:8]}"), _version(options.version)
    chunks = list(bulk(options.lines, enis=options.enis, version=version))
    await fill(bootstrap, names, chunks, version)
    environ = {
        "VPCFLOW_TOPICS__PREFIX": names.prefix,
        "VPCFLOW_DETECTION__LIVE": str(options.detecting).lower(),
        "VPCFLOW_DETECTION__LATENESS_SECONDS": "120",
    }
    with Vpcflow("worker", "--broker", f"kafka://{bootstrap}", environ=environ) as worker:
        await ready(worker)
        looking = _look(worker.pid, options.svg)
        while await committed(bootstrap, names) < len(chunks) and looking.poll() is None:  # noqa: ASYNC110 - as above
            await asyncio.sleep(PAUSE)
        _end(looking)
    more = ", detectors on" if options.detecting else ""
    title = f"A worker: {options.lines:,} records of {options.enis:,} interfaces, version {options.version}{more}"
    options.svg.write_text(titled(options.svg.read_text("utf-8"), title), "utf-8")
    print(f"{options.svg}: {title}")


def _version(number: int) -> Version:
    return 5 if number == 5 else 2


def _look(pid: int, svg: Path) -> subprocess.Popen[str]:
    command = [str(Path(sys.executable).with_name("py-spy")), "record", "--function", "--idle", "--threads"]
    return subprocess.Popen(
        [*command, "--rate", str(_RATE), "--output", str(svg), "--pid", str(pid)],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _end(looking: subprocess.Popen[str]) -> None:
    """It writes the picture when it is interrupted."""
    looking.send_signal(signal.SIGINT)
    said, _ = looking.communicate(timeout=60)
    if looking.returncode:
        last = (said.strip().splitlines() or ["it said nothing"])[-1]
        raise NoProfileError(f"py-spy: {last}; it needs root, or kernel.yama.ptrace_scope=0")


def titled(svg: str, title: str) -> str:
    """The picture with a title of ours: py-spy's is its own command, with the paths of a machine."""
    return _TITLE.sub(lambda found: found[1] + escape(title), svg, count=1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
