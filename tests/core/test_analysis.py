"""The report over files: what the records don't tell is null in it, and everything adds up all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streams.brokerless import analyze_files
from streams.core.analysis import Analysis
from streams.core.panes import Assign
from streams.core.parse import parse
from streams.settings import Panes

FIELDS = "interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"
ASSIGNS: tuple[Assign, ...] = ("start", "end", "spread")


def record(eni: str, start: object = "-", end: object = "-") -> str:
    return f"{eni} 192.0.2.1 192.0.2.2 50000 443 6 2 90 {start} {end} ACCEPT OK"


def analyzed(*pieces: str, how: Assign = "end") -> dict[str, Any]:
    """The report over pieces that begin with their header."""
    analysis = Analysis(how=how)
    for piece in pieces:
        analysis.add(parse(piece.encode()))
    return analysis.report()


def of(*records: str) -> str:
    return "\n".join((FIELDS, *records))


def period(found: dict[str, Any]) -> dict[str, tuple[int | None, int | None]]:
    return {row["eni"]: (row["first"], row["last"]) for row in found["enis"]}


@pytest.mark.parametrize("how", ASSIGNS)
def test_a_record_without_a_time_counts_but_has_none_and_is_in_no_pane(how: Assign) -> None:
    found = analyzed(of(record("eni-0a"), record("eni-0a")), how=how)

    assert found["totals"] == {"flows": 2, "packets": 4, "bytes": 180, "accepted": 2, "rejected": 0}
    assert [(row["port"], row["flows"]) for row in found["ports"]] == [(443, 2)]
    assert period(found) == {"eni-0a": (None, None)}
    assert (found["panes"], found["undated"]) == ([], 2)


@pytest.mark.parametrize("how", ASSIGNS)
def test_a_format_without_times_invents_none(how: Assign) -> None:
    found = analyzed("interface-id srcaddr dstaddr bytes packets\neni-0a 192.0.2.1 192.0.2.2 90 2", how=how)

    assert period(found) == {"eni-0a": (None, None)}
    assert (found["panes"], found["undated"]) == ([], 1)


@pytest.mark.parametrize("how", ASSIGNS)
def test_an_eni_has_the_times_of_its_dated_records(how: Assign) -> None:
    dated, undated = of(record("eni-0a", 600, 630), record("eni-0a", 700, 719)), of(record("eni-0a"), record("eni-0b"))
    for pieces in ((dated, undated), (undated, dated)):
        found = analyzed(*pieces, how=how)

        assert period(found) == {"eni-0a": (600, 719), "eni-0b": (None, None)}
        assert {row["start"]: row["flows"] for row in found["panes"]} == {600: 1, 660: 1}
        assert sum(row["flows"] for row in found["panes"]) + found["undated"] == found["totals"]["flows"] == 4


@pytest.mark.parametrize(("start", "end"), [(600, "-"), ("-", 600)])
@pytest.mark.parametrize("how", ASSIGNS)
def test_one_of_the_two_times_serves_for_both(start: object, end: object, how: Assign) -> None:
    found = analyzed(of(record("eni-0a", start, end)), how=how)

    assert period(found) == {"eni-0a": (600, 600)}
    assert ([row["start"] for row in found["panes"]], found["undated"]) == ([600], 0)


@pytest.mark.parametrize(("start", "end"), [(0, 0), (0, 1), (5, 20)])
@pytest.mark.parametrize("how", ASSIGNS)
def test_a_record_of_1970_is_a_record_with_a_time(start: int, end: int, how: Assign) -> None:
    found = analyzed(of(record("eni-0a", start, end)), how=how)

    assert period(found) == {"eni-0a": (start, end)}
    assert ([row["start"] for row in found["panes"]], found["undated"]) == ([0], 0)


def test_an_interval_without_traffic_is_no_undated_record() -> None:
    nodata = "eni-0a - - - - - - - - - - NODATA"

    assert analyzed(of(nodata))["undated"] == 0


def test_an_empty_file_is_among_the_files(tmp_path: Path) -> None:
    for name, content in (("a.log", ""), ("b.log", of(record("eni-0a", 600, 630)))):
        (tmp_path / name).write_text(content)
    found = analyze_files([tmp_path], None, Panes())

    assert found["files"] == [
        {"path": str(tmp_path / "a.log"), "lines": 0, "error": None},
        {"path": str(tmp_path / "b.log"), "lines": 2, "error": None},
    ]
