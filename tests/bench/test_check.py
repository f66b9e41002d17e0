"""The guard of the hot path: a third slower fails, noise does not."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import pytest

from streams.core import tables
from tests.bench.check import LIMITS, LINES, TOLERATED, Core, Limits, judged, load, main, round_ratio

KEPT = Limits("2026-11-27", "3.11.7", "2.1.0", {"v2": 4.0, "v5": 2.5})
NOISE = 0.12
"""Standard deviation of the ratio of a round, as a part of it: more than was seen (docs/performance.md)."""


def _rounds(seed: int, count: int = 25) -> Mapping[str, float]:
    """Medians of rounds as a busy machine gives them: some of them are far off."""
    rng = random.Random(seed)
    one = [rng.gauss(1.0, NOISE) * rng.choice([1.0] * 19 + [1.8]) for _ in range(count)]
    return {name: ratio * median(one) for name, ratio in KEPT.ratios.items()}


def test_noise_does_not_fail() -> None:
    assert [judged(_rounds(seed), KEPT) for seed in range(200)] == [[]] * 200


def test_a_third_slower_fails_in_the_same_noise() -> None:
    found = [judged(_rounds(seed), KEPT, slower=1.3) for seed in range(200)]

    assert {len(one) for one in found} == {2}


def test_one_load_that_is_slower_is_named() -> None:
    [told] = judged({"v2": 5.2, "v5": 2.5}, KEPT)

    assert told == "v2: 1.30 times as slow as on 2026-11-27, 1.14 is tolerated"


@pytest.mark.parametrize(("times", "fails"), [(0.5, False), (1.0, False), (TOLERATED, False), (TOLERATED + 0.01, True)])
def test_what_is_tolerated_is_the_middle_between_noise_and_a_third(times: float, fails: bool) -> None:
    assert bool(judged({"v2": 4.0 * times}, KEPT)) == fails


def test_the_limits_that_are_kept_are_of_what_is_measured() -> None:
    assert set(Limits.read(LIMITS).ratios) == {f"v{version}" for version in LINES}


def test_the_core_counts_every_line_that_it_is_given(tmp_path: Path) -> None:
    given = load(2, 6000, tmp_path)
    core = Core()
    for batch in given.batches:
        core.raw.fold(batch.messages)
    core.settle()

    counted = tables.merge(tables.ENI, [one.totals()["eni"] for one in core.tables]).get_column("flows").sum()
    assert sum(core.raw.meta.lines.values()) == 6000
    assert counted == core.raw.meta.lines["flow"]
    assert sum(Path(batch.path).read_bytes().count(b"\n") for batch in given.batches) == 6000


def test_a_core_that_is_three_times_as_slow_is_measured_as_such(tmp_path: Path) -> None:
    """Once with a real clock, and by so much that a busy machine can't hide it."""
    given = load(2, 20_000, tmp_path)
    round_ratio(given)

    usual, slow = (median(round_ratio(given, slower) for _ in range(5)) for slower in (1.0, 3.0))

    assert slow > 1.5 * usual


def test_it_renews_its_limit_holds_to_it_and_fails_above_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limits = tmp_path / "limits.json"
    quick = ["--lines", "500", "--seconds", "0", "--limits", str(limits)]

    assert main([*quick, "--renew"]) == 0
    found = Limits.read(limits)
    Limits("2026-01-01", "3.0", "0.1", {name: 100 * ratio for name, ratio in found.ratios.items()}).write(limits)
    assert main(quick) == 0
    Limits("2026-01-01", "3.0", "0.1", {name: ratio / 100 for name, ratio in found.ratios.items()}).write(limits)
    assert main(quick) == 1

    told = capsys.readouterr().out
    assert told.count("2026-01-01, 1.14 is tolerated") == 4
    assert "that of Python 3.0 and Polars 0.1" in told
