"""The model of what a rate needs: that it finds back what figures were made from, and that it grows as it must."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from tests.bench.curves import CURVES, OURS, TOPICS, Figures
from tests.bench.sizing import ENIS, MOST, RATES, RETAINED, Model, cells, fit, least_squares, need, setup_cells, tables

MODEL = Model(
    base_cores=0.03, record_cores=4e-6, cell_cores=5e-7, base_mb=200.0, cell_mb=6e-5, record_raw=22.0,
    base_summaries=2000.0, cell_summaries=10.0, base_changelogs=1000.0, cell_changelogs=4.0,
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
    for curve in CURVES:
        if curve.name.startswith("live"):
            found[curve.name] = []
            for value, setup in curve.setups(quick=False):
                many = setup_cells(setup)
                cores = model.base_cores + model.record_cores * setup.live + model.cell_cores * many
                stored = {
                    **dict.fromkeys(TOPICS, 0),
                    "summaries": round(100 * (model.base_summaries + model.cell_summaries * many)),
                    "combine-changelog": round(100 * (model.base_changelogs + model.cell_changelogs * many)),
                }
                point = replace(POINT, value=value, seconds=100.0, cpu_seconds=100 * cores, stored=stored)
                found[curve.name].append(point)
    return found


def test_a_fit_finds_back_what_the_figures_were_made_from() -> None:
    assert asdict(fit(_made_from(MODEL))) == pytest.approx(asdict(MODEL), rel=1e-3)


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

    for name in ("partitions", "workers", "cores", "raw", "summaries", "changelogs", "disk"):
        values = [getattr(one, name) for one in needs]
        assert values == sorted(values)


def test_each_worker_has_a_partition() -> None:
    assert all(need(MODEL, rate, 1000).workers <= need(MODEL, rate, 1000).partitions for rate in RATES)


def test_where_cells_cost_too_much_no_number_of_partitions_is_enough() -> None:
    found = need(replace(MODEL, cell_cores=2e-5), 10_000_000, 50_000)

    assert found.partitions == MOST
    assert found.workers > found.partitions


def test_the_tables_have_a_row_for_each_rate_and_number_of_enis() -> None:
    lines = tables(MODEL).splitlines()

    assert len([line for line in lines if line.startswith(tuple(f"| {rate:,} |" for rate in RATES))]) == 10
