"""Law 4 and the others under faults: three short runs of `make chaos`, on three brokers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.arena import Brokers
from tests.chaos.run import Plan, run
from tests.chaos.schedule import SHORT, short
from tests.conftest import missing
from tests.kafka.broker import MissingError

LINES = 60_000


@pytest.fixture(scope="module")
def brokers() -> Iterator[Brokers]:
    """Three of them, for all runs here: each has topics of its own."""
    try:
        found = Brokers()
    except MissingError as error:
        missing(error)
        return
    with found:
        yield found


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(1, len(SHORT) + 1))
async def test_no_figure_is_wrong_whatever_breaks(brokers: Brokers, seed: int) -> None:
    """Workers, ingests, bridge and brokers die, hang and are cut off; every line is counted once, per key and pane,
    and what the detectors say is what they say of the same raw log in peace.
    """
    command = f'make chaos SEEDS=1 SEED={seed} CHAOS_ARGS="--lines {LINES} --short"'

    found = await run(brokers, Plan(seed, LINES, short(seed), command), print)

    assert found.differences == [], found.logs
    assert found.lines >= LINES
    assert found.findings > 1000
    assert len(found.faults) == sum(map(len, short(seed).lanes))
    assert found.posts > found.posts_repeated > 0
