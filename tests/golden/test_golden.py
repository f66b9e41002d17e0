"""Changelogs that earlier releases wrote are read by this one, to the same tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.core import combine, ledger, roll
from streams.core.combine import RawPartition
from streams.core.roll import SummaryPartition
from tests.core.traffic import Roll, contents, count, message
from tests.golden.__main__ import FOLDER, POLICY, lines, read

RELEASES = sorted(FOLDER.glob("changelogs-*.jsonl"))


def test_there_are_releases() -> None:
    assert RELEASES


@pytest.mark.parametrize("path", RELEASES, ids=lambda path: path.stem)
def test_the_tables_of_a_release_are_read_back(path: Path) -> None:
    _, *rolled = read(path)

    tables = Roll(POLICY.lateness)
    for at, store in enumerate(rolled):
        tables.states[at] = SummaryPartition(POLICY.lateness, roll.newest(ledger.read(at, store)))

    counted = count(lines(), 2)
    assert tables.totals() == {"eni": counted.enis, "port": counted.ports}
    last = max(counted.panes)
    kept = [last - 60 * n for n in range(POLICY.retained)]
    assert {at: found for at, found in tables.panes().items() if at in kept} == {
        at: {"eni": counted.panes[at][0], "port": counted.panes[at][1]} for at in sorted(kept)
    }


@pytest.mark.parametrize("path", RELEASES, ids=lambda path: path.stem)
def test_the_state_of_a_release_goes_on_as_if_nothing_had_happened(path: Path) -> None:
    every = lines()
    messages = [(n // 100, message(every[n : n + 100], 2, "golden", n)) for n in range(0, len(every), 100)]
    steady = RawPartition(0, POLICY)
    steady.fold(messages)

    state = RawPartition(0, POLICY, combine.newest(ledger.read(0, read(path)[0])))

    assert contents(state) == contents(steady)
    more = [(len(messages), message(every[:50], 2, "more")), (len(messages) + 1, messages[0][1])]
    for one in (state, steady):
        one.fold(more)
    assert state.meta.duplicates["file"] == 100
    assert contents(state) == contents(steady)
