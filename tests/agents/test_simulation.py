"""The real loops on a simulated Kafka, schedule by schedule: whatever dies, pauses, comes late or again, nothing shows.

Two kinds of state are under the loops: numbers that are counted, for thousands of schedules, and the real ones, for
some dozens. A schedule that showed a defect stays as a case. LAW_EXAMPLES=20 tries 20 times as many.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.agents.loop import Loop
from tests.agents import broken, faults
from tests.agents.faults import FAULTS, MIXES, Step
from tests.agents.kits import DetectKit, RealKit, TallyKit
from tests.agents.simulation import Worker
from tests.agents.stored import RAW, SUMMARIES, Kafka
from tests.core.traffic import examples

TRIES = 1000
"""So many schedules by chance find a loop that is broken, or the simulation is weak."""


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of schedules say thousands of times what they read again."""
    caplog.set_level(logging.CRITICAL, "streams.agents.loop")


def _schedules(mix: str) -> st.SearchStrategy[list[Step]]:
    step = st.tuples(st.integers(0, 40), st.sampled_from(MIXES[mix].split()), st.integers(0, 63))
    return st.lists(step, min_size=4, max_size=16)


@pytest.mark.parametrize("mix", MIXES)
@examples(800)
@given(data=st.data())
def test_every_message_is_counted_once_whatever_happens_to_workers(mix: str, data: st.DataObject) -> None:
    faults.run(TallyKit(), data.draw(_schedules(mix)))


@pytest.mark.parametrize("mix", MIXES)
@examples(200)
@given(data=st.data())
def test_rows_that_are_written_in_parts_are_whole_or_those_of_before(mix: str, data: st.DataObject) -> None:
    faults.run(TallyKit(), data.draw(_schedules(mix)), broken.InParts)


@pytest.mark.parametrize("mix", MIXES)
@examples(12)
@given(data=st.data())
def test_tables_are_those_of_a_worker_to_which_nothing_happened(mix: str, data: st.DataObject) -> None:
    """Combine and Roll themselves, to the last counter, dead letter and pane."""
    faults.run(RealKit(data.draw(st.integers(0, 99))), data.draw(_schedules(mix)))


@pytest.mark.parametrize("mix", MIXES)
@examples(8)
@given(data=st.data())
def test_findings_are_those_of_a_worker_to_which_nothing_happened(mix: str, data: st.DataObject) -> None:
    """Detect itself, to the last word of each finding."""
    faults.run(DetectKit(data.draw(st.integers(0, 99))), data.draw(_schedules(mix)))


# -- schedules that showed a defect -----------------------------------------------------------------------------------

FOUND: dict[str, list[Step]] = {
    # Offsets 0 and 2 of a partition hold nothing. While 1 is asked for, 3 comes again and again behind it: after four
    # times, 3 was taken for the next message, and 1 was lost.
    "what stands behind a message comes more often": [
        (8, "leave", 15), (4, "publish", 45), (15, "step_over", 30),
    ],
    "the same after the worker was given up": [
        (36, "oust", 45), (7, "publish", 45), (9, "publish", 50), (7, "retain", 20), (37, "publish", 15),
        (30, "publish", 37),
    ],
    "the same after a rebalance, with messages that come twice": [
        (20, "publish", 62), (30, "rebalance", 22), (13, "leave", 39), (24, "hold", 63), (12, "again", 46),
    ],
}  # fmt: skip


@pytest.mark.parametrize("schedule", FOUND.values(), ids=list(FOUND))
def test_a_schedule_that_showed_a_defect_shows_none(schedule: list[Step]) -> None:
    """And shows it in a loop that still has it: else the case says nothing any more."""
    faults.run(TallyKit(), schedule)

    assert _fails(broken.CountsWhateverComes, schedule)


def _done(worker: Worker, work: Coroutine[Any, Any, Any]) -> Any:
    """What the work gives when nothing happens."""
    task = worker.clock.create_task(work)
    worker.clock.run()
    while not task.done():
        worker.moves()[0]()
        worker.clock.run()
    return task.result()


def test_tries_of_an_assignment_that_is_over_do_not_count() -> None:
    """Faust steps over a message around a rebalance: after four rebalances it was taken for none."""
    worker = Worker(Kafka(), TallyKit(), Loop)
    loop = worker.loops[RAW]

    tries = [loop._tried(0, 0, 1) for _ in range(3)]
    _done(worker, loop.drop())

    assert [*tries, loop._tried(0, 0, 1)] == [1, 2, 3, 1]
    worker.kill(0)


def test_messages_that_are_gone_are_counted_as_lost_and_no_others() -> None:
    """What was read before the broker deleted it is not lost: 3 is in hand when 0 to 4 are gone."""
    # wanted   gone            in hand   the broker's first
    # 0        0   1   2       3         5
    worker = Worker(Kafka(), TallyKit(), Loop)
    worker.kafka.logs[RAW, 0].retain(5)

    assert _done(worker, worker.loops[RAW]._is_hole(0, 0, 3))
    assert worker.counted.messages_lost == 3
    worker.kill(0)


# -- the simulation itself --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loop_type", "mix"), broken.BROKEN.items(), ids=lambda one: getattr(one, "__name__", one))
def test_a_loop_with_one_thing_done_wrong_is_found(loop_type: type[Loop[Any]], mix: str) -> None:
    assert any(_fails(loop_type, faults.steps(random.Random(number), mix)) for number in range(TRIES))


def _fails(loop_type: type[Loop[Any]], schedule: list[Step]) -> bool:
    try:
        faults.run(TallyKit(), schedule, loop_type)
    except AssertionError:
        return True
    return False


def test_the_same_schedule_does_the_same() -> None:
    """Else no failure could be repeated."""
    schedule = [step for number in range(4) for step in faults.steps(random.Random(number), "everything")]

    first, second = (faults.run(TallyKit(), schedule) for _ in range(2))

    assert first.kafka.changelogs == second.kafka.changelogs
    assert first.kafka.logs == second.kafka.logs


def test_all_faults_happen() -> None:
    """The lists above did not lose their members."""
    assert set(MIXES["everything"].split()) == set(FAULTS)
    assert len(FAULTS) >= 15
    world = faults.run(TallyKit(), faults.steps(random.Random(1), "zombies"))
    assert world.kafka.logs[SUMMARIES, 0].end > 0
