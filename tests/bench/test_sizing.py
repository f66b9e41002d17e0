"""The model of what a rate needs: that it finds back what figures were made from, and that it grows as it must."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from tests.bench.chart import of_json
from tests.bench.curves import CURVES, OURS, TOPICS, Figures
from tests.bench.sizing import (
    BUSY,
    ENIS,
    FIGURES,
    MOST,
    PAGE,
    RATES,
    RETAINED,
    Model,
    Rested,
    cells,
    fit,
    least_squares,
    need,
    page,
    rested,
    setup_cells,
    tables,
)

MODEL = Model(
    base_cores=0.03, record_cores=4e-6, cell_cores=Rested(5e-6, 4e-5), base_mb=200.0, cell_mb=6e-5, record_raw=22.0,
    cell_summaries=Rested(20.0, 4e-5), cell_changelogs=Rested(5.0, 1e-5),
)  # fmt: skip
POINT = Figures(
    0, records=1000, interfaces=1000, seconds=1.0, cpu_seconds=1.0, limit=1.0, peak_rss_mb=100.0, late=0,
    stored=dict.fromkeys(TOPICS, 22_000), verified=True,
)  # fmt: skip


def _made_from(model: Model) -> dict[str, list[Figures]]:
    """The figures that a machine which is exactly so would give."""
    found = {"bytes": [replace(POINT, value=OURS, stored={**POINT.stored, "raw": int(model.record_raw * 1000)})]}
    found["memory"] = [
        replace(POINT, value=enis, interfaces=enis, peak_rss_mb=model.base_mb + model.cell_mb * enis * RETAINED)
        for enis in (1000, 50_000)
    ]
    cost = 1e6 * model.record_cores
    found["enis"] = [
        replace(POINT, interfaces=enis, records=10**6, cpu_seconds=cost * enis / 100) for enis in (100, 1000)
    ]
    for curve in CURVES:
        if curve.name.startswith("live") or curve.name == "away":
            found[curve.name] = []
            for value, setup in curve.setups(quick=False):
                many = setup_cells(setup)
                cores = model.base_cores + model.record_cores * setup.live + model.cell_cores.of(many)
                stored = {
                    **dict.fromkeys(TOPICS, 0),
                    "summaries": round(100 * model.cell_summaries.of(many)),
                    "combine-changelog": round(100 * model.cell_changelogs.of(many)),
                }
                point = replace(POINT, value=value, seconds=100.0, cpu_seconds=100 * cores, stored=stored)
                found[curve.name].append(point)
    return found


def test_a_fit_finds_back_what_the_figures_were_made_from() -> None:
    found = fit(_made_from(MODEL))

    for name in ("cell_cores", "cell_summaries", "cell_changelogs"):
        assert asdict(getattr(found, name)) == pytest.approx(asdict(getattr(MODEL, name)), rel=1e-3)
    for name in ("base_cores", "record_cores", "base_mb", "cell_mb", "record_raw"):
        assert getattr(found, name) == pytest.approx(getattr(MODEL, name), rel=1e-3)


def test_what_takes_more_than_in_proportion_is_taken_for_proportional() -> None:
    assert rested([1000.0, 2000.0], [10.0, 30.0]) == Rested(40 / 3000, 0.0)


def test_least_squares_is_the_line_nearest_to_points_that_are_on_none() -> None:
    rows = [(1.0, float(x)) for x in range(4)]

    assert least_squares(rows, [1.0, 2.0, 2.0, 3.0]) == pytest.approx([1.1, 0.6])


@pytest.mark.parametrize(
    ("partitions", "records", "expected"),
    [(1, 60_000, 1000), (4, 1000, 1000), (4, 1_000_000, 4000), (64, 2000, 1984)],
)
def test_an_eni_has_a_cell_in_each_partition_that_has_a_record_of_it(
    partitions: int, records: float, expected: int
) -> None:
    assert round(cells(1000, partitions, records)) == expected


@pytest.mark.parametrize("enis", ENIS)
def test_more_records_never_need_less(enis: int) -> None:
    needs = [need(MODEL, rate, enis) for rate in RATES]

    for name in ("partitions", "workers", "cores", "raw", "disk"):
        values = [getattr(one, name) for one in needs]
        assert values == sorted(values)


def test_each_worker_has_a_partition_and_is_not_too_busy() -> None:
    for rate in RATES:
        found = need(MODEL, rate, 1000)

        assert found.workers <= found.partitions
        assert found.busy <= BUSY


def test_many_cells_make_the_figures_old_and_not_the_worker_busy() -> None:
    few, many = (MODEL.cell_cores.of(x) for x in (1e5, 1e7))

    assert few < many < 1.3 * few
    assert need(MODEL, 10_000, 50_000).age > 2 * need(MODEL, 10_000, 1000).age


def test_where_a_record_costs_too_much_no_number_of_partitions_is_enough() -> None:
    found = need(replace(MODEL, record_cores=1e-3), 10_000_000, 1000)

    assert (found.partitions, found.workers) == (MOST, MOST)
    assert found.busy > BUSY


def test_the_tables_have_a_row_for_each_rate_and_number_of_enis() -> None:
    found = tables(_made_from(MODEL))

    assert len(found["needs"].splitlines()) == 2 + len(RATES) * len(ENIS)
    assert "| CPU-seconds a second | 0.178 | 0.178 | 1.00 |" in found["away"]


def test_the_page_has_the_tables_of_the_figures_that_are_kept() -> None:
    """As long as none are kept (tests/bench/growth.json, by `make growth`), it says so in each place."""
    text = PAGE.read_text("utf-8")
    kept = FIGURES.exists()

    assert text.count("No figures yet.") == (0 if kept else text.count("made by `make growth` -->"))
    assert not kept or text == page(text, of_json(FIGURES.read_text("utf-8"))), "python -m tests.bench.sizing"
