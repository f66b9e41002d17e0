"""The parts of `make chaos` that can be wrong by themselves: a comparison that sees nothing finds no difference."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from streams.embedded import LOOPBACK, free_port
from tests.chaos.findings import Replayed, in_findings
from tests.chaos.proxy import Proxy, door
from tests.chaos.report import FaultReport, Result, as_json, as_markdown
from tests.chaos.run import reported
from tests.chaos.schedule import MEANINGS, SHORT, Fault, full
from tests.chaos.traffic import is_junk, traffic
from tests.chaos.verdict import Panes, Truth, at_metrics, in_letters, in_panes, on_the_way, truth
from tests.chaos.watch import Highs, Labels, Reading, counted_once
from tests.kafka.letters import Letter

NOW = 1_800_000_000
ENI, PORT = ("eni-1", "ACCEPT"), ("443", "tcp", "ACCEPT")
RIGHT = Truth(
    Counter(flow=2, reject=1), {ENI: (2, 20, 200)}, {PORT: (2, 20, 200)},
    {("60", *ENI): (2, 20, 200)}, {("60", *PORT): (2, 20, 200)}, Counter([b"x"]),
)  # fmt: skip
PANES = Panes(RIGHT.pane_enis, RIGHT.pane_ports, RIGHT.enis, RIGHT.ports)


def _samples(flows: int, partition: str = "0") -> dict[str, dict[Labels, float]]:
    """A worker that has so many flow records, of 10 packets and 100 bytes, of one ENI and one port."""
    eni = (("action", "ACCEPT"), ("direction", "ingress"), ("eni", "eni-1"))
    port = (("action", "ACCEPT"), ("port", "443"), ("protocol", "tcp"))
    tables: dict[str, dict[Labels, float]] = {
        f"vpcflow_{table}_{unit}_total": {labels: flows * each}
        for table, labels in (("eni", eni), ("port", port))
        for unit, each in (("flows", 1.0), ("packets", 10.0), ("bytes", 100.0))
    }
    outcomes = {"flow": flows, "reject": 1}
    lines: dict[Labels, float] = {
        (("outcome", name), ("partition", partition)): float(count) for name, count in outcomes.items()
    }
    return {**tables, "vpcflow_lines_total": lines}


# -- schedule and traffic ---------------------------------------------------------------------------------------------


def test_a_schedule_follows_from_its_seed() -> None:
    assert full(7) == full(7)
    assert len({str(full(seed)) for seed in range(20)}) == 20


def test_twenty_schedules_hold_every_kind_of_fault_and_the_short_ones_all_but_the_slowest() -> None:
    kinds = {fault.kind for seed in range(1, 21) for lane in full(seed).lanes for fault in lane}

    assert kinds == set(MEANINGS)
    assert {kind for lanes in SHORT for lane in lanes for kind in lane} == kinds - {"rolling restart"}


def test_traffic_follows_from_its_seed_and_holds_all_lines_once() -> None:
    made = traffic(3, 20_000, NOW)
    posted = [line for post in made.posts for line in post.lines]
    plain = [line for line in made.messages if not is_junk(line)]

    assert made == traffic(3, 20_000, NOW)
    last = [line for posts in made.last for post in posts for line in post.lines]
    assert len(made.wide) + len(plain) == 20_000 + len(last)
    assert Counter(posted) + Counter(last) == Counter(made.wide) + Counter(made.junk)
    assert made.junk
    assert len(set(made.junk) | set(made.messages)) >= len(made.junk)
    assert any(is_junk(line) for line in made.messages)


def test_the_truth_has_every_line_in_both_tables_and_in_the_panes() -> None:
    made = traffic(3, 20_000, NOW)

    found = truth(made, made.messages)

    assert found.lines == 20_000 + sum(map(len, made.last)) + found.junk.total()
    for table in (found.enis, found.ports, found.pane_enis, found.pane_ports):
        assert sum(flows for flows, _, _ in table.values()) == found.outcomes["flow"]
    assert len({start for start, *_ in found.pane_enis}) == 61


# -- the comparison sees what is wrong --------------------------------------------------------------------------------


def test_what_is_right_has_no_difference() -> None:
    assert at_metrics(RIGHT, [_samples(2)]) == []
    assert in_panes(RIGHT, PANES) == []
    assert in_letters(RIGHT, [Letter("0/1", "r", b"x"), Letter("0/1", "r", b"x")]) == []


@pytest.mark.parametrize("flows", [1, 3])
def test_a_flow_too_few_or_too_many_shows_in_lines_and_both_tables(flows: int) -> None:
    found = at_metrics(RIGHT, [_samples(flows)])

    assert [line.split()[0] for line in found] == ["lines,", "eni", "port"]


def test_what_two_workers_show_is_added() -> None:
    assert len(at_metrics(RIGHT, [_samples(2), _samples(2, "1")])) == 4


def test_a_message_that_was_lost_is_a_difference() -> None:
    lost: dict[Labels, float] = {(("topic", "raw"),): 1.0}

    assert len(at_metrics(RIGHT, [{**_samples(2), "vpcflow_lost_messages_total": lost}])) == 1


@pytest.mark.parametrize("name", ["enis", "ports", "all_enis", "all_ports"])
def test_a_pane_that_is_off_by_one_is_a_difference(name: str) -> None:
    table = {key: (flows, packets, octets + 1) for key, (flows, packets, octets) in getattr(PANES, name).items()}

    assert len(in_panes(RIGHT, replace(PANES, **{name: table}))) == 1


@pytest.mark.parametrize(
    ("letters", "differences"),
    [([], 1), ([Letter("0/1", "r", b"x"), Letter("0/2", "r", b"x")], 1), ([Letter("0/1", "r", b"y")], 2)],
)
def test_a_dead_letter_that_is_missing_doubled_or_another_is_a_difference(
    letters: list[Letter], differences: int
) -> None:
    assert len(in_letters(RIGHT, letters)) == differences


def test_what_was_counted_twice_for_a_moment_is_a_difference() -> None:
    highs = Highs()
    highs.note(_samples(2))
    assert on_the_way(RIGHT, highs, [_samples(2)]) == []
    highs.note(_samples(3))
    assert len(on_the_way(RIGHT, highs, [_samples(2)])) == 3


def test_a_partition_that_two_workers_show_is_counted_once() -> None:
    assert counted_once([_samples(2), _samples(5), _samples(1, "1")]) == (5 + 1) + (1 + 1)


_WORD = b'{"id":"a","detector":"flood","updates":1,"closed":false,"sentence":"s"}'
_OTHER = _WORD.replace(b'"s"', b'"t"')
_TOLD = Replayed(frozenset([_WORD]), Counter(flood=1), 60, Counter({"0": 2}))


def _watching(findings: int = 1, unwatched: int = 2) -> dict[str, dict[Labels, float]]:
    """A worker's figures of what it watches."""
    return {
        "vpcflow_findings_total": {(("detector", "flood"), ("severity", "low")): float(findings)},
        "vpcflow_unwatched_records_total": {(("partition", "0"),): float(unwatched)},
    }


def test_a_finding_that_is_told_again_in_the_same_words_is_no_difference() -> None:
    assert in_findings(_TOLD, [_WORD, _WORD], [_watching(), {}]) == []


@pytest.mark.parametrize(
    ("told", "scrapes", "differences"),
    [
        ([], [_watching()], 1), ([_WORD, _OTHER], [_watching()], 1), ([_OTHER], [_watching()], 2),
        ([_WORD], [_watching(), _watching()], 1), ([_WORD], [_watching(0)], 1), ([_WORD], [_watching(unwatched=3)], 1),
    ],
)  # fmt: skip
def test_a_word_that_is_missing_or_another_and_a_finding_counted_twice_are_differences(
    told: list[bytes], scrapes: list[dict[str, dict[Labels, float]]], differences: int
) -> None:
    assert len(in_findings(_TOLD, told, scrapes)) == differences


# -- the proxy --------------------------------------------------------------------------------------------------------


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.readline())
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def test_what_is_held_back_arrives_late_and_what_is_reset_breaks() -> None:
    target, outer = free_port(), door()
    async with await asyncio.start_server(_echo, LOOPBACK, target), Proxy(outer, target) as proxy:
        reader, writer = await asyncio.open_connection(LOOPBACK, proxy.port)
        proxy.hold()
        writer.write(b"late\n")
        answer = asyncio.create_task(reader.readline())
        assert not (await asyncio.wait([answer], timeout=0.2))[0]
        proxy.mend()
        assert await answer == b"late\n"
        writer.close()

        proxy.reset()
        reader, writer = await asyncio.open_connection(LOOPBACK, proxy.port)
        assert await reader.read() == b""  # it was over before it began
        writer.close()
    outer.close()


# -- the report -------------------------------------------------------------------------------------------------------


def test_recovery_is_counted_from_the_end_of_the_fault() -> None:
    readings = [Reading(4, ready=True, lag=0), Reading(6, ready=False, lag=3), Reading(8, ready=True, lag=3)]
    readings.append(Reading(11, ready=True, lag=0))

    found = reported(Fault("zombie", 2), 2.0, 5.0, began=1.0, readings=readings)

    assert found == FaultReport(1.0, "zombie", 2, 3.0, 3.0, 6.0)


def test_the_report_has_every_run_and_every_fault() -> None:
    fault = FaultReport(1.0, "zombie", 2, 9.0, 3.0, None)
    result = Result(
        7, "make chaos SEEDS=1 SEED=7", 1000, 2, 5, 60.0, 10, 1, 2, 30, 4.5, [fault], ["worker-1: x"], ["wrong"]
    )

    page = as_markdown([result], {"machine": "2 CPUs"}, "make chaos SEEDS=1")

    assert "| **differences** | **1** |" in page
    assert "| `make chaos SEEDS=1 SEED=7` | 1,000 | 2 | 5 | 60 | 1 | 10 | 1 | 2 | 1 | 4.5 | 1 |" in page
    assert "| 7 | 1.0 | zombie | 2 | 9.0 | 3.0 | - |" in page
    assert "seed 7, worker-1: x" in page
    assert '"seed": 7' in as_json([result], {})
