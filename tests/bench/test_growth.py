"""The curves of growth: their loads, what is judged and told of them; and two points of one, measured for real."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from streams.core.raw import split_lines
from tests.bench import growth
from tests.bench.chart import as_json, markdown, of_json, page, rows, short, svg
from tests.bench.curves import CURVES, TOPICS, Curve, Figures, even, middle, quiet, spread
from tests.bench.loads import EVERY_OTHER, Load, at_second, chunks, every_eni, flows, interfaces
from tests.conftest import missing
from tests.kafka.broker import MissingError, jars

NOW = 1_764_000_000
CURVE = Curve("enis", "Network interfaces", "enis", "ENIs", (100, 1000))
ONE = Figures(
    100, records=1_000_000, interfaces=100, seconds=5.0, cpu_seconds=3.0, limit=1.5, peak_rss_mb=250.0, late=0,
    stored=dict.fromkeys(TOPICS, 500_000), verified=True,
)  # fmt: skip
TWO = replace(ONE, value=1000, cpu_seconds=3.6)


def _lines(load: Load) -> list[bytes]:
    return [line for chunk in chunks(load, NOW) for line in chunk.split(b"\n")]


def _ends(lines: list[bytes]) -> list[int]:
    return [int(line.split()[11]) for line in lines]


# --- loads ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("enis", [1000, 40_000])
def test_a_network_has_all_records_and_is_the_same_again(enis: int) -> None:
    lines = _lines(Load(3000, enis=enis))

    assert len(lines) == 3000
    assert lines == _lines(Load(3000, enis=enis))


def test_copies_of_a_network_share_neither_interface_nor_inner_address() -> None:
    fields = [line.split() for line in _lines(Load(5000, enis=40_000))]
    owners = {(field[3], field[2][:5]) for field in fields if field[3].startswith(b"10.")}

    assert {field[2][:5] for field in fields} == {b"eni-0", b"eni-1"}
    assert len({address for address, _ in owners}) == len(owners)


@pytest.mark.parametrize("percent", [0.1, 1, 20])
def test_so_many_of_a_hundred_records_are_late_and_in_panes_that_are_retained(percent: float) -> None:
    plain, lines = (_ends(_lines(Load(5000, late=late))) for late in (0, percent))
    back = [before - after for before, after in zip(plain, lines, strict=True) if before != after]

    assert len(back) == 50 * percent
    assert 900 + 5 * 60 <= min(back) <= max(back) < 3600 - 5 * 60 - 109


def test_so_many_of_a_hundred_lines_are_broken_and_count_no_flow() -> None:
    whole, broken = (chunks(Load(5000, broken=percent), NOW) for percent in (0, 2))
    cut = [line for chunk in broken for line in chunk.split(b"\n") if len(line.split()) < 14]

    assert len(cut) == 100
    assert flows(whole) - 100 <= flows(broken) < flows(whole)


@pytest.mark.parametrize("size", [1, 4096, 1024 * 1024])
def test_a_load_in_other_messages_has_the_same_lines(size: int) -> None:
    found = chunks(Load(6000, batch=size), NOW)

    assert b"\n".join(found) == b"\n".join(chunks(Load(6000), NOW))
    assert found == split_lines(b"\n".join(found), size)


def test_every_eni_has_so_many_records_in_each_pane_all_of_them_over() -> None:
    made = list(every_eni(50, 3, NOW, rounds=2))
    ends = _ends([line for chunk in made for line in chunk.split(b"\n")])

    assert (flows(made), interfaces(made)) == (50 * 3 * 2, 50)
    assert {end // 60 for end in ends} == {NOW // 60 - back for back in (1, 2, 3)}


@pytest.mark.parametrize(("peers", "expected"), [(1, 1), (4, 4), (EVERY_OTHER, 50 * 8)])
def test_an_eni_talks_to_so_many_addresses(peers: int, expected: int) -> None:
    lines = _lines(Load(enis=50, panes=2, rounds=4, peers=peers))

    assert len({line.split()[4] for line in lines}) == expected


def test_a_live_second_has_its_records_in_so_many_messages() -> None:
    found = at_second(NOW, 1000, 300, 4)
    ends = _ends([line for chunk in found for line in chunk.split(b"\n")])

    assert (len(found), flows(found), interfaces(found)) == (4, 1000, 300)
    assert NOW - 60 < min(ends) <= max(ends) <= NOW


# --- points -----------------------------------------------------------------------------------------------------------


def test_every_curve_varies_something_and_no_two_have_a_name() -> None:
    assert len({curve.name for curve in CURVES}) == len(CURVES) >= 9
    for curve in CURVES:
        setups = [setup for _, setup in curve.setups(quick=False)]
        assert len(set(setups)) == len(curve.values)


def test_a_quick_curve_is_its_first_and_last_point_with_few_records() -> None:
    setups = dict(CURVE.setups(quick=True))

    assert list(setups) == [100, 1000]
    assert all(setup.load.records == 50_000 for setup in setups.values())


def test_small_messages_are_fewer_records() -> None:
    batch = next(curve for curve in CURVES if curve.name == "batch")
    records = {value: setup.load.records for value, setup in batch.setups(quick=False)}

    assert (records[1], records[4096], records[512 * 1024]) == (20_000, 740_000, 1_000_000)


def test_the_median_run_counts_and_one_that_is_not_verified_counts_for_all() -> None:
    runs = [ONE, replace(ONE, cpu_seconds=9.0, verified=False), TWO]

    assert middle(runs) == replace(TWO, verified=False)


def test_costs_within_a_tenth_are_even() -> None:
    assert spread([2.0, 2.2, 2.1]) == pytest.approx(0.1)
    assert list(even([ONE, replace(ONE, cpu_seconds=3.29)])) == []
    assert list(even([ONE, TWO])) == ["the highest cost is 20% above the lowest, 10% is allowed"]


def test_changelogs_of_a_megabyte_a_second_are_too_much() -> None:
    loud = replace(ONE, stored={**ONE.stored, "roll-changelog": 4_500_000})

    assert list(quiet([ONE])) == []
    assert list(quiet([ONE, loud])) == ["at 100 the changelogs take 1.00 MB/s, 1 is allowed"]


# --- telling ----------------------------------------------------------------------------------------------------------


def test_a_table_has_a_row_for_each_point() -> None:
    lines = markdown(rows(CURVE, [ONE, TWO])).splitlines()

    assert lines[0] == "| ENIs | records | CPU-s per million | times Polars | records/s | peak RSS, MB | verified |"
    assert lines[2] == "| 100 | 1,000,000 | 3.00 | 2.00 | 200,000 | 250 | yes |"
    assert len(lines) == 4


def test_a_drawing_is_xml_with_each_figure_in_it() -> None:
    drawn = svg(CURVE, [ONE, TWO])
    words = [element.text for element in ET.fromstring(drawn).iter() if element.text and element.text.strip()]  # noqa: S314  ours

    assert {"3", "3.6", "100", "1,000", "ENIs"} <= set(words)
    assert len(drawn) < 2000


@pytest.mark.parametrize(("number", "expected"), [(1234.5, "1,234"), (12.345, "12.3"), (0.01234, "0.0123"), (0, "0")])
def test_three_digits_are_told(number: float, expected: str) -> None:
    assert short(number) == expected


def test_a_new_run_changes_the_figures_on_the_page_and_not_the_sentences() -> None:
    first = page("", CURVE, [ONE], "2026, quiet").replace("## Network", "Hand-written.\n\n## Network") + "\nThe end.\n"
    second = page(first, CURVE, [TWO], "2027, busy")

    assert "2027, busy" in second
    assert "2026" not in second
    assert page(second, CURVE, [ONE], "2026, quiet") == first


def test_figures_come_back_from_their_file_beside_those_of_other_curves() -> None:
    other = replace(CURVE, name="other")
    text = as_json(as_json("", CURVE, [ONE], "x"), other, [TWO], "y")

    assert of_json(text) == {"enis": [ONE], "other": [TWO]}


# --- for real ---------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(300)  # 30 s, and several times as long on a machine that is busy
def test_two_points_are_measured_and_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        jars()
    except MissingError as problem:
        missing(problem)
    file = tmp_path / "figures.json"

    assert growth.main(["--quick", "--curves", "late", "--json", str(file)]) == 0

    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    points = [row for row in cells if len(row) > 1]
    assert [(row[0], row[2], row[-1]) for row in points] == [("0", "50,000", "yes"), ("20", "50,000", "yes")]
    assert [row[1] == "0.0%" for row in points] == [True, False]
    assert not file.exists()
