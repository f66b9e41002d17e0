"""The loop around a state: when what is due is done."""

from __future__ import annotations

import pytest

from streams.agents.loop import due


@pytest.mark.parametrize(
    ("took", "next_after_end"),
    [(0.1, 4.9), (0.5, 6.0), (20.0, 15.0)],
    ids=["in its turn", "a share of the time under load", "one that waited for a broker was no work"],
)
def test_a_checkpoint_of_every_5_seconds_is_due_again(took: float, next_after_end: float) -> None:
    assert due(5.0, 100.0, 100.0 + took) - (100.0 + took) == pytest.approx(next_after_end)
