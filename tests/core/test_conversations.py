"""Conversations: both half-flows of an interface in one row, the client told apart from the server."""

from __future__ import annotations

from typing import Any

import pytest

from streams.core.analysis import Analysis
from streams.core.parse import parse
from streams.detectors.examples import HEADER, INSIDE, PUBLIC, START, answered, record, refused

SIDES = ("client", "server", "port")


def talks(*lines: str, header: str = HEADER) -> list[dict[str, Any]]:
    """Conversations of lines, by minute and client."""
    analysis = Analysis()
    analysis.add(parse("\n".join((header, *lines)).encode()))
    return analysis.talks().sort("pane", "client", "server", "port").to_dicts()


def sides(*lines: str, header: str = HEADER) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in SIDES) for row in talks(*lines, header=header)]


def test_both_half_flows_are_one_row() -> None:
    [row] = talks(*answered(5, PUBLIC, INSIDE, 443, socket=50_001, size=(10, 1200), reply=(8, 2400)))

    assert (row["client"], row["server"], row["port"], row["protocol"]) == (PUBLIC, INSIDE, 443, 6)
    assert (row["flows"], row["packets"], row["bytes"]) == (1, 10, 1200)
    assert (row["replies"], row["reply_packets"], row["reply_bytes"]) == (1, 8, 2400)
    assert (row["rejected"], row["reply_rejected"], row["refusals"]) == (0, 0, 0)
    assert (row["pane"], row["first"], row["last"]) == (START, START + 5, START + 7)
    assert (row["smallest"], row["largest"]) == (1200, 1200)
    assert (row["seconds"], row["sockets"]) == (1 << 5, 1 << 50_001 % 64)


@pytest.mark.parametrize(
    ("there", "back", "expected"),
    [
        ((50_001, 22), (22, 50_001), (PUBLIC, INSIDE, 22)),
        ((22, 50_001), (50_001, 22), (INSIDE, PUBLIC, 22)),
        ((50_001, 32_000), (32_000, 50_001), (PUBLIC, INSIDE, 32_000)),
        ((123, 123), (123, 123), (INSIDE, PUBLIC, 123)),
    ],
    ids=["a service's port", "the other way round", "the port that is none of a client's", "a private address asks"],
)
def test_the_client_is_told_by_the_ports(there: Any, back: Any, expected: tuple[Any, ...]) -> None:
    """Whichever half-flow comes first, or alone."""
    lines = [record(0, PUBLIC, INSIDE, there), record(0, INSIDE, PUBLIC, back)]

    assert sides(*lines) == sides(*reversed(lines)) == [expected]
    assert sides(lines[0]) == sides(lines[1]) == [expected]


def test_between_equal_ports_and_equal_addresses_the_lower_one_asks() -> None:
    lines = [record(0, a, b, (53, 53), protocol=17) for a, b in ((INSIDE, "10.0.0.9"), ("10.0.0.9", INSIDE))]

    assert sides(*lines) == [(INSIDE, "10.0.0.9", 53)]


def test_what_is_refused_is_a_try_whatever_its_port() -> None:
    """A scan from port 40,001 reaches port 50,001: accepted, that would be a service on 40,001."""
    assert sides(*refused(0, PUBLIC, INSIDE, 50_001)) == [(PUBLIC, INSIDE, 50_001)]


def test_an_answer_that_comes_too_late_is_no_try() -> None:
    [row] = talks(record(0, PUBLIC, INSIDE, (443, 50_001), action="REJECT"))

    assert tuple(row[name] for name in SIDES) == (INSIDE, PUBLIC, 443)
    assert (row["flows"], row["rejected"], row["replies"], row["reply_rejected"]) == (0, 0, 1, 1)


FLAGS = "interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status tcp-flags"


@pytest.mark.parametrize(("flags", "expected"), [(2, (PUBLIC, INSIDE, 50_001)), (18, (INSIDE, PUBLIC, 443))])
def test_flags_tell_more_than_ports(flags: int, expected: tuple[Any, ...]) -> None:
    """SYN is the client's, SYN-ACK the server's."""
    line = f"eni-0a {PUBLIC} {INSIDE} 443 50001 6 3 180 {START} {START} ACCEPT OK {flags}"

    assert sides(line, header=FLAGS) == [expected]


@pytest.mark.parametrize(
    ("flags", "size", "refusals"),
    [(4, "9 900", 1), (19, "1 40", 0), ("-", "1 40", 1), ("-", "2 80", 0), (6, "1 40", 0)],
)
def test_a_lone_reset_says_no(flags: object, size: str, refusals: int) -> None:
    """By its flags where there are any, else by its size."""
    line = f"eni-0a {INSIDE} {PUBLIC} 443 50001 6 {size} {START} {START} ACCEPT OK {flags}"

    assert [(row["replies"] + row["flows"], row["refusals"]) for row in talks(line, header=FLAGS)] == [(1, refusals)]


def test_behind_a_nat_gateway_the_packet_names_the_parties() -> None:
    """Where the packet's address is not told, the interface's stands."""
    header = f"{HEADER} pkt-srcaddr pkt-dstaddr"
    line = record(0, "10.0.0.220", PUBLIC, (50_001, 443))

    assert sides(f"{line} 10.0.9.9 {PUBLIC}", header=header) == [("10.0.9.9", PUBLIC, 443)]
    assert sides(f"{line} - -", header=header) == [("10.0.0.220", PUBLIC, 443)]
    told = [f"{line} {pair}" for pair in (f"10.0.9.9 {PUBLIC}", f"10.0.0.220 {PUBLIC}", "- -")]
    assert sum(row["relayed"] for row in talks(*told, header=header)) == 1


def test_a_record_stands_in_the_minute_in_which_it_starts() -> None:
    rows = talks(record(59, PUBLIC, INSIDE, (50_001, 443), seconds=58), record(60, PUBLIC, INSIDE, (50_001, 443)))

    assert [(row["pane"] - START, row["seconds"]) for row in rows] == [(0, 1 << 59), (60, 1)]


def test_the_direction_is_that_of_what_the_client_sends() -> None:
    """Also where it is learnt only later whose interface it is."""
    lines = [
        *answered(0, INSIDE, PUBLIC, 443),
        *answered(1, INSIDE, "203.0.113.9", 443),
        *answered(2, PUBLIC, INSIDE, 22),
    ]

    assert [(row["client"], row["direction"]) for row in talks(*lines)] == [(INSIDE, 2), (INSIDE, 2), (PUBLIC, 1)]


def test_of_too_many_the_first_minutes_are_kept_whole() -> None:
    """However the pieces come, and the report says from when on nothing was looked for."""
    lines = [record(60 * n, PUBLIC, INSIDE, (50_001, port)) for n in range(4) for port in (22, 80, 443)]
    for order in (lines, lines[::-1]):
        analysis = Analysis(most_talks=7)
        for line in order:
            analysis.add(parse(f"{HEADER}\n{line}".encode()))

        assert analysis.talks().get_column("pane").unique().sort().to_list() == [START, START + 60]
        assert analysis.report()["unwatched_from"] == START + 120


def test_records_without_an_address_or_a_time_have_no_conversation() -> None:
    assert talks(f"2 1 eni-0a - {INSIDE} 1 2 6 1 40 {START} {START} ACCEPT OK") == []
    assert talks(f"2 1 eni-0a {PUBLIC} {INSIDE} 1 2 6 1 40 - - ACCEPT OK") == []


@pytest.mark.parametrize(
    "header", ["interface-id packets bytes start end", "interface-id packets bytes start end srcport dstport"]
)
def test_a_format_without_addresses_has_none_at_all(header: str) -> None:
    """Nor where the ports tell who asks, and do not."""
    ports = {"srcport": "50001", "dstport": "443"}
    line = f"eni-1 3 120 {START} {START + 5} {' '.join(ports.values()) if 'srcport' in header else ''}".strip()

    assert talks(line, line.replace("443", "50001"), header=header) == []
