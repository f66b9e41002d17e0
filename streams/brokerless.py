"""The core without a broker: `vpcflow parse` and `vpcflow analyze` over files of any size, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import orjson
import polars as pl

from streams.core.analysis import Analysis
from streams.core.detection import Detector, Watch, last_of_each
from streams.core.fields import Format, parse_format
from streams.core.findings import Finding, as_object
from streams.core.parse import Parsed, decode_tags, parse, reject_text, to_ndjson
from streams.core.suppression import told
from streams.settings import ConfigError, Panes
from streams.sources.files import Piece, files, pieces
from streams.tuning import Rules

_ALL = Rules()


@dataclass(frozen=True)
class Read:
    """A piece of a file, parsed; error: a reject reason, when the piece could not even be decoded."""

    piece: Piece
    parsed: Parsed | None
    error: str | None


def read_files(paths: Sequence[Path], fmt: str | None) -> Iterator[Read]:
    """Files, folders and `-`, piece by piece. fmt: the fields of a line, for what has no header line.

    Raises ConfigError for a format that can't be one, OSError for a path that can't be read.
    """
    given = _format(fmt)
    for piece in pieces(paths):
        if piece.error:
            yield Read(piece, None, piece.error)
        else:
            yield Read(piece, parse(piece.lines, parse_format(piece.format) if piece.format else given), None)


def parse_files(paths: Sequence[Path], fmt: str | None, out: BinaryIO, rejects: BinaryIO | None) -> int:
    """Write a JSON object a record to `out`, one a bad line to `rejects`; gives the number of bad lines."""
    bad = 0
    for read in read_files(paths, fmt):
        if read.parsed is not None:
            out.write(to_ndjson(decode_tags(read.parsed.records)))
        rows = _rejected(read)
        bad += rows.height
        if rejects is not None:
            rejects.write(rows.write_ndjson().encode())
    return bad


def analyze_files(paths: Sequence[Path], fmt: str | None, panes: Panes, rules: Rules = _ALL) -> dict[str, object]:
    """The object that `vpcflow analyze --json` prints: that of core.analysis, findings, what became of them, and files.

    suppressed: how many findings a suppression keeps back. passed_over: hits beyond what is kept. unused_rules: of the
    policy. files: path, lines, error, of each one that was looked into, the empty ones too.
    """
    analysis, found = analysed(paths, fmt, panes)
    talks, watch = analysis.talks(), Watch(rules.detectors)
    findings = last_of_each(watch.see_all(talks, analysis.silent())) if rules.detectors else []
    kept = told(findings, rules.suppressions)
    return {
        **analysis.report(), "findings": [as_object(finding) for finding in kept],
        "suppressed": len(findings) - len(kept), "passed_over": watch.over,
        "unused_rules": [str(rule) for rule in rules.matrix.unused(talks)], "files": list(found.values()),
    }  # fmt: skip


def detect_files(
    paths: Sequence[Path], fmt: str | None, panes: Panes, detectors: Sequence[Detector] = _ALL.detectors
) -> tuple[dict[str, object], list[Finding]]:
    """The object of core.analysis, and the newest word on each finding."""
    analysis, _ = analysed(paths, fmt, panes)
    return analysis.report(), last_of_each(Watch(detectors).see_all(analysis.talks(), analysis.silent()))


def analysed(paths: Sequence[Path], fmt: str | None, panes: Panes) -> tuple[Analysis, dict[str, dict[str, object]]]:
    """All that is in the files; and of each file its path, lines, error."""
    analysis = Analysis(panes.seconds, panes.assign, panes.max_span_seconds)
    all_files = files(paths)
    found: dict[str, dict[str, object]] = {
        str(path): {"path": str(path), "lines": 0, "error": None} for path in all_files
    }
    for read in read_files(all_files, fmt):
        entry = found[read.piece.path]
        if read.parsed is not None:
            analysis.add(read.parsed)
            entry["lines"] = int(str(entry["lines"])) + read.parsed.lines
        else:
            analysis.add_undecodable(read.error or "undecodable")
            entry["error"] = read.error
    return analysis, found


def write_json(report: Mapping[str, object]) -> bytes:
    """The report, for a program."""
    return orjson.dumps(report, option=orjson.OPT_INDENT_2)


def _format(text: str | None) -> Format | None:
    if not text:
        return None
    try:
        return parse_format(text)
    except ValueError as problem:
        raise ConfigError([f"format: {problem}"]) from None


def _rejected(read: Read) -> pl.DataFrame:
    """path, number (of the line in its file, from 1), reason, line: a row a bad line."""
    if read.parsed is None:
        rows = {"number": [read.piece.first_line + 1], "reason": [read.error], "line": [None]}
        return pl.DataFrame(rows, schema_overrides={"line": pl.String}).with_columns(
            pl.lit(read.piece.path).alias("path")
        )
    rejects = read.parsed.rejects
    return rejects.select(
        (pl.col("line").cast(pl.Int64) + read.piece.first_line + 1).alias("number"),
        "reason",
        reject_text(rejects).alias("line"),
    ).with_columns(pl.lit(read.piece.path).alias("path"))
