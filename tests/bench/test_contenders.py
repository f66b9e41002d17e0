"""What the benchmark works out of its runs, and what it says of contenders that are not there."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from tests.bench.contenders.common import Flow, parse
from tests.bench.contenders.others import OTHERS, Contender, Found, Sample, look_for, result
from tests.bench.contenders.result import (
    COLUMNS,
    POLARS,
    Load,
    Result,
    Skipped,
    markdown,
    rated,
    report,
    sound,
    summary,
)

LOAD = Load(4_000_000, 1000, 2)
OURS = Result("vpcflow", LOAD.name, 4_000_000, 5.0, 180_000, 301, verified=True)
LIMIT = Result(POLARS, LOAD.name, 4_000_000, 2.0, 550_000, 1945, verified=True)
MISSING = Skipped("bytewax", LOAD.name, "No module named 'bytewax'")
LINE = b"2 123456789012 eni-1 10.0.0.1 10.0.0.2 40000 443 6 7 840 1700000000 1700000050 ACCEPT OK"


def _here(package: str) -> Contender:
    return Contender("x", "x", package, "pytest", 1, 1, Path(sys.executable))


def test_a_ratio_is_to_polars_in_the_same_turn() -> None:
    ours, limit, missing = rated([OURS, LIMIT, MISSING])

    assert ours == replace(OURS, times_polars=2.5)
    assert limit == replace(LIMIT, times_polars=1.0)
    assert missing == MISSING


def test_the_median_run_is_told_with_the_median_of_the_ratios() -> None:
    runs = [replace(OURS, cpu_seconds_per_million=cpu, times_polars=ratio) for cpu, ratio in ((9, 2), (5, 7), (6, 3))]

    assert summary([[one] for one in runs]) == [replace(OURS, cpu_seconds_per_million=6, times_polars=3)]


def test_one_run_that_is_not_verified_counts_for_all() -> None:
    wrong = replace(OURS, cpu_seconds_per_million=50, verified=False, times_polars=20)
    found = summary([[replace(OURS, times_polars=2)], [wrong], [replace(OURS, times_polars=2)]])

    assert not sound(found)


def test_one_run_without_figures_leaves_none() -> None:
    broken = Skipped("vpcflow", LOAD.name, "broke", failed=True)

    assert summary([[OURS], [broken]]) == [broken]


def test_what_is_missing_is_no_fault_and_what_broke_is_one() -> None:
    assert sound([OURS, MISSING])
    assert not sound([OURS, replace(MISSING, failed=True)])


def test_the_report_has_a_row_of_figures_for_each_contender() -> None:
    found = json.loads(report([*rated([OURS, LIMIT]), MISSING], "2 CPUs", {"vpcflow": "0.1"}))

    assert found["results"][0] == {
        "contender": "vpcflow",
        "load": "v2, 1,000 ENIs",
        "records": 4_000_000,
        "cpu_seconds_per_million": 5.0,
        "records_per_second": 180_000,
        "peak_rss_mb": 301,
        "verified": True,
        "times_polars": 2.5,
    }
    assert [one["contender"] for one in found["results"]] == ["vpcflow", "polars-file"]
    assert [(one["contender"], one["reason"]) for one in found["skipped"]] == [("bytewax", MISSING.reason)]


def test_the_table_says_why_a_contender_has_no_figures() -> None:
    lines = markdown([OURS, MISSING]).splitlines()

    assert {line.count("|") for line in lines} == {len(COLUMNS) + 1}
    assert lines[2] == "| vpcflow | v2, 1,000 ENIs | 4,000,000 | 5.00 | - | 180,000 | 301 | yes |"
    assert lines[3].endswith("| skipped: No module named 'bytewax' |")


def test_a_contender_that_is_here_has_a_version() -> None:
    found = look_for(_here("pytest"))

    assert found.version
    assert not found.reason


def test_a_contender_that_can_not_be_imported_says_why(tmp_path: Path) -> None:
    found = look_for(_here("no_such_package"), tmp_path / "none")

    assert found == Found("", "ModuleNotFoundError: No module named 'no_such_package'")


def test_without_an_environment_the_end_of_its_installation_says_why(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("resolving\nerror: no network\n\n", "utf-8")
    nowhere = replace(_here("pytest"), python=tmp_path / "python")

    assert look_for(nowhere, log) == look_for(_here("no_such_package"), log) == Found("", "error: no network")
    assert look_for(nowhere, tmp_path / "none").reason


def test_totals_that_differ_from_duckdbs_are_not_verified() -> None:
    given = Sample([LINE], {"eni-1": (1, 7, 840)}, {"443": (1, 7, 840)})
    printed = {
        "records": 1, "cpu_seconds": 0.5, "seconds": 2.0, "peak_rss_mb": 30,
        "enis": {"eni-1": [1, 7, 840]}, "ports": {"443": [1, 7, 840]},
    }  # fmt: skip

    assert result("x", LOAD, printed, given) == Result("x", LOAD.name, 1, 500_000, 0, 30, verified=True)
    assert not result("x", LOAD, {**printed, "ports": {"443": [1, 7, 841]}}, given).verified
    assert not result("x", LOAD, {**printed, "records": 2}, given).verified


def test_contenders_split_a_line_and_leave_out_what_is_no_flow() -> None:
    assert parse(LINE) == Flow("eni-1", "443", 7, 840, 1_700_000_050)
    assert parse(LINE + b" vpc-1 subnet-1") == parse(LINE)
    assert parse(b"2 123456789012 eni-1 - - - - - - - 1700000000 1700000050 - NODATA") is None


def test_every_contender_has_its_module_and_no_two_a_name() -> None:
    folder = Path(__file__).parent / "contenders"

    assert OTHERS
    assert all((folder / f"{one.module}.py").is_file() for one in OTHERS)
    assert len({one.name for one in OTHERS}) == len(OTHERS)
