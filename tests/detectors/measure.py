"""`python -m tests.detectors.measure` holds the detectors against traffic whose truth is known: docs/detection.md.

Folders of `../shared/data/labelled` (flows.log.gz, truth.jsonl.gz), and the generator's own incidents among its
ordinary traffic, a seed that nothing was tuned to.
"""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import orjson

from streams.brokerless import detect_files
from streams.core.evaluation import Evaluation, evaluate
from streams.core.findings import Finding
from streams.detection import days_of, read_truth
from streams.generate import FORMATS, Network, Version, incidents, slice_lines
from streams.settings import Panes

ROOT = Path(__file__).parents[2]
LABELLED = ROOT.parent / "shared/data/labelled"
PAGE = ROOT / "docs/detection.md"

HOURS, RATE, ENIS, START = 6, 20.0, 40, 1_790_000_040
"""Of generated traffic: hours, records a second, interfaces, first second."""


def labelled() -> list[Path]:
    """Folders with traffic that somebody else wrote, those that are there."""
    return sorted(path.parent for path in LABELLED.glob("**/truth.jsonl.gz"))


def measured(flows: Path, truth: Path) -> tuple[Evaluation, list[Finding]]:
    """The detectors on a file."""
    report, findings = detect_files([flows], None, Panes())
    return evaluate(findings, read_truth(truth), *days_of(report)), findings


def generated(folder: Path, seed: int, version: Version, hours: float = HOURS) -> tuple[Path, Path]:
    """Flows and truth of made-up traffic."""
    network, end = Network(seed, ENIS), START + int(hours * 3600)
    flows, truth = folder / f"flows-v{version}.log.gz", folder / f"truth-v{version}.jsonl.gz"
    with gzip.open(flows, "wb", 1) as out:
        out.write(f"{FORMATS[version]}\n".encode())
        for at in range(START, end, 60):
            out.write(slice_lines(network, at, at + 60, RATE, version=version))
    rows = [
        {"kind": one.kind, "start": one.start, "end": one.end, "attacker": one.source, "victim": one.target}
        for one in incidents(network, START, end)
    ]
    truth.write_bytes(gzip.compress(b"\n".join(map(orjson.dumps, rows))))
    return flows, truth


def _sets(folder: Path) -> Iterator[tuple[str, Evaluation]]:
    for path in labelled():
        yield path.name, measured(path / "flows.log.gz", path / "truth.jsonl.gz")[0]
    for version in get_args(Version):
        flows, truth = generated(folder, 11, version)
        yield f"generated, version {version}", measured(flows, truth)[0]


def _row(name: str, found: Evaluation) -> Iterator[str]:
    for one in found.kinds:
        low, high = one.interval
        delay = "-" if one.delay is None else f"{one.delay:,.0f} s"
        yield (
            f"| {name} | {one.kind} | {one.caught} of {one.episodes} | {low:.0%} to {high:.0%} | {delay} "
            f"| {', '.join(one.detectors) or 'any'} |"
        )


def page(sets: Sequence[tuple[str, Evaluation]], today: str) -> str:
    """The measured part of docs/detection.md."""
    lines = [f"Measured on {today} with `python -m tests.detectors.measure`.", ""]
    lines += ["| traffic | kind | caught | 95 % | known after (median) | by |", "|---|---|---|---|---|---|"]
    lines += [row for name, found in sets for row in _row(name, found)]
    lines += [
        "",
        "| traffic | days | interfaces | false findings | a day and interface | 95 % |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in sets:
        low, high = found.false_interval
        lines.append(
            f"| {name} | {found.days:.2f} | {found.enis} | {len(found.false)} | {found.false_rate:.2f} "
            f"| {low:.2f} to {high:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, and put the tables where docs/detection.md has its marks."""
    with tempfile.TemporaryDirectory() as folder:
        sets = list(_sets(Path(folder)))
    before, _, rest = PAGE.read_text("utf-8").partition("<!-- measured -->\n")
    _, _, after = rest.partition("<!-- end -->")
    table = page(sets, datetime.now(UTC).date().isoformat())
    PAGE.write_text(f"{before}<!-- measured -->\n\n{table}\n\n<!-- end -->{after}", "utf-8")
    for name, found in sets:
        for one in found.false:
            print(f"{name}: {one.detector}: {one.sentence}")


if __name__ == "__main__":
    main()
