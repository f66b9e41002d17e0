"""The generator's promises: the same lines for the same seed and second, and lines that look as AWS writes them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from ipaddress import ip_address, ip_network
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams import generate
from streams.core.raw import TARGET_BYTES
from streams.generate import Incident, Network

START = 1_763_938_800
NETWORK = Network(seed=5)
DOCUMENTATION = [
    ip_network(text) for text in ("203.0.113.0/24", "198.51.100.0/24", "192.0.2.0/24", "2001:db8::/32", "10.0.0.0/16")
]
Record = dict[str, str]


def records(text: bytes, version: int = 2) -> list[Record]:
    names = generate.FORMATS[version].split()
    return [dict(zip(names, line.split(" "), strict=True)) for line in text.decode().split("\n") if line]


def quiet_start(network: Network) -> int:
    """A minute with no incident but beacons, which every hour has."""
    starts = range(START, START + 7200, 60)
    return next(
        start for start in starts if all(one.kind == "beacon" for one in generate.incidents(network, start, start + 60))
    )


@pytest.fixture(scope="module")
def plain() -> list[Record]:
    """30,000 records of version 5, some of a beacon."""
    return records(generate.minute(NETWORK, quiet_start(NETWORK), 30_000, version=5), version=5)


@pytest.fixture(scope="module")
def flows(plain: list[Record]) -> list[Record]:
    return [record for record in plain if record["log-status"] == "OK"]


def first_incident(kind: str) -> Incident:
    return next(one for one in generate.incidents(NETWORK, START, START + 7200) if one.kind == kind)


# --- The same lines, always


def test_the_same_seed_and_second_give_the_same_bytes_in_another_process() -> None:
    code = (
        "import sys; from streams import generate as g; sys.stdout.buffer.write(g.minute(g.Network(seed=5), %d, 900))"
    )
    for hash_seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", code % START],
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "POLARS_MAX_THREADS": hash_seed},
        )

        assert run.stdout == generate.minute(NETWORK, START, 900)


def test_another_seed_or_minute_gives_other_lines() -> None:
    texts = {generate.minute(Network(seed=seed), start, 600) for seed in (1, 2) for start in (START, START + 60)}

    assert len(texts) == 4


@settings(max_examples=15, deadline=None)
@given(cuts=st.sets(st.integers(START - 70, START + 70), min_size=2, max_size=6), rate=st.floats(0, 80))
def test_slices_that_join_give_the_lines_of_the_whole(cuts: set[int], rate: float) -> None:
    bounds = sorted(cuts)
    parts = [generate.slice_lines(NETWORK, low, high, rate) for low, high in pairwise(bounds)]

    assert b"\n".join(filter(None, parts)) == generate.slice_lines(NETWORK, bounds[0], bounds[-1], rate)


@pytest.mark.parametrize("kind", ["broken_dependency", "port_scan"])
def test_slices_join_during_incidents_too(kind: str) -> None:
    incident = first_incident(kind)
    low, high = incident.start - 5, incident.start + 5
    parts = [generate.slice_lines(NETWORK, second, second + 1, 500) for second in range(low, high)]

    assert b"\n".join(filter(None, parts)) == generate.slice_lines(NETWORK, low, high, 500)


def test_a_slice_holds_only_records_that_end_in_it_in_order() -> None:
    ends = [int(record["end"]) for record in records(generate.slice_lines(NETWORK, START + 7, START + 91, 300))]

    assert ends == sorted(ends)
    assert (ends[0], ends[-1]) == (START + 7, START + 90)


@pytest.mark.parametrize("count", [0, 1, 5, 6, 7, 1000, 10_001])
def test_a_minute_has_as_many_records_as_asked_for_and_those_of_incidents(count: int) -> None:
    network = NETWORK
    start = next(s for s in range(START, START + 36_000, 60) if not generate.incidents(network, s, s + 60))

    assert len(records(generate.minute(network, start, count))) == count


def test_the_rate_of_a_minute_that_is_not_aligned_is_kept() -> None:
    start = next(s for s in range(START + 17, START + 36_000, 60) if not generate.incidents(NETWORK, s, s + 60))

    assert len(records(generate.minute(NETWORK, start, 1200))) == 1200


def test_seconds_differ_in_how_much_they_hold() -> None:
    ends = Counter(record["end"] for record in records(generate.minute(NETWORK, START, 12_000)))

    assert len(ends) == 60
    assert max(ends.values()) > 1.3 * min(ends.values())


# --- As AWS writes them


def test_version_2_is_the_first_fourteen_fields_of_version_5() -> None:
    short, long = (generate.minute(NETWORK, START, 600, version=version).split(b"\n") for version in (2, 5))

    assert [b"5" + line[1:] for line in short] == [b" ".join(line.split(b" ")[:14]) for line in long]


def test_addresses_are_private_or_kept_for_documentation(plain: list[Record]) -> None:
    addresses = {record[name] for record in plain for name in ("srcaddr", "dstaddr", "pkt-srcaddr", "pkt-dstaddr")}
    outside = [text for text in addresses - {"-"} if not any(ip_address(text) in network for network in DOCUMENTATION)]

    assert outside == []
    assert all(str(ip_address(text)) == text for text in addresses - {"-"})


def test_an_eni_is_dstaddr_of_what_comes_in_and_srcaddr_of_what_goes_out(flows: list[Record]) -> None:
    own: dict[tuple[str, str], set[str]] = {}
    for record in flows:
        side = {"ingress": "dstaddr", "egress": "srcaddr"}[record["flow-direction"]]
        own.setdefault((record["interface-id"], record["type"]), set()).add(record[side])

    assert {len(addresses) for addresses in own.values()} == {1}
    assert len(own) > 30


def test_a_flow_between_enis_is_four_records(flows: list[Record]) -> None:
    seen = Counter(
        (record["interface-id"], record["flow-direction"])
        for record in flows
        if {record["srcport"], record["dstport"]} & {"5432"} and record["action"] == "ACCEPT"
    )
    enis = {eni for eni, _ in seen}

    assert seen
    assert all((eni, way) in seen for eni in enis for way in ("ingress", "egress"))
    assert sum(n for (_, way), n in seen.items() if way == "ingress") == sum(
        n for (_, way), n in seen.items() if way == "egress"
    )


def test_what_is_accepted_has_its_other_half_at_the_same_eni(flows: list[Record]) -> None:
    halves: Counter[tuple[str, frozenset[tuple[str, str]]]] = Counter()
    for record in flows:
        if record["action"] == "ACCEPT":
            there = (record["srcaddr"], record["srcport"])
            back = (record["dstaddr"], record["dstport"])
            halves[record["interface-id"], frozenset((there, back))] += 1 if there < back else -1

    assert set(halves.values()) == {0}


def test_a_nat_gateway_shows_its_own_address_and_the_real_ends_in_the_packet(flows: list[Record]) -> None:
    # host -> NAT: dstaddr is the NAT's; NAT -> host: srcaddr is the NAT's
    inward = [r for r in flows if r["dstaddr"] != r["pkt-dstaddr"]]
    outward = [r for r in flows if r["srcaddr"] != r["pkt-srcaddr"]]
    gateways = {r["interface-id"] for r in inward}

    assert len(inward) == len(outward) > 1000
    assert gateways == {r["interface-id"] for r in outward}
    assert all(r["flow-direction"] == "ingress" and r["pkt-dstaddr"].startswith("203.") for r in inward)
    assert all(r["flow-direction"] == "egress" and r["pkt-srcaddr"].startswith("203.") for r in outward)
    assert {r["instance-id"] for r in flows if r["interface-id"] in gateways} == {"-"}


def test_nat_gateways_carry_a_big_share(flows: list[Record]) -> None:
    gateways = {r["interface-id"] for r in flows if r["dstaddr"] != r["pkt-dstaddr"]}

    assert 0.2 < sum(r["interface-id"] in gateways for r in flows) / len(flows) < 0.6


def test_intervals_are_mostly_58_to_61_seconds_and_not_aligned(plain: list[Record]) -> None:
    spans = Counter(int(record["end"]) - int(record["start"]) for record in plain)
    usual = sum(spans[span] for span in (58, 59, 60, 61)) / len(plain)

    assert 0.7 < usual < 0.95
    assert min(spans) >= 1
    assert max(spans) == 61
    assert len({int(record["end"]) % 60 for record in plain}) == 60


def test_shares_of_refused_and_missing_records(plain: list[Record]) -> None:
    outcomes = Counter((record["action"], record["log-status"]) for record in plain)

    assert set(outcomes) == {("ACCEPT", "OK"), ("REJECT", "OK"), ("-", "NODATA"), ("-", "SKIPDATA")}
    assert 0.04 < outcomes["REJECT", "OK"] / len(plain) < 0.07
    assert 0.005 < outcomes["-", "NODATA"] / len(plain) < 0.015
    assert 0 < outcomes["-", "SKIPDATA"] < outcomes["-", "NODATA"]


def test_records_without_data_have_their_window_and_nothing_else(plain: list[Record]) -> None:
    told = {"version", "account-id", "interface-id", "start", "end", "log-status"}
    told |= {"vpc-id", "subnet-id", "instance-id", "region", "az-id"}
    for record in plain:
        if record["log-status"] != "OK":
            assert {name for name, value in record.items() if value != "-"} | {"instance-id"} == told


def test_flags_ports_and_paths_are_those_of_the_protocol(flows: list[Record]) -> None:
    assert {r["tcp-flags"] for r in flows if r["protocol"] == "6"} >= {"0", "1", "2", "3", "18", "19"}
    assert {r["tcp-flags"] for r in flows if r["protocol"] != "6"} == {"-"}
    assert {(r["srcport"], r["dstport"]) for r in flows if r["protocol"] == "1"} == {("0", "0")}
    assert {r["traffic-path"] for r in flows if r["flow-direction"] == "ingress"} == {"-"}
    assert {r["traffic-path"] for r in flows if r["flow-direction"] == "egress"} == {"1", "8"}
    assert {r["tcp-flags"] for r in flows if r["action"] == "REJECT" and r["protocol"] == "6"} == {"2"}


def test_the_services_of_a_small_company_are_there(flows: list[Record]) -> None:
    ports = {(port, r["protocol"]) for r in flows for port in (r["srcport"], r["dstport"])}
    wanted = {(port, "6") for port in ("443", "80", "5432", "3306", "6379", "22", "9092", "8080")}

    assert ports >= wanted | {("53", "17"), ("123", "17")}


def test_packets_have_possible_sizes_and_flows_a_heavy_tail(flows: list[Record]) -> None:
    sizes = sorted((int(r["bytes"]), int(r["packets"])) for r in flows)

    assert all(28 <= octets / packets <= 1520 for octets, packets in sizes)
    median, top = sizes[len(sizes) // 2][0], sizes[-len(sizes) // 100 :]
    assert median < 10_000
    assert sum(octets for octets, _ in top) > 0.3 * sum(octets for octets, _ in sizes)


def test_account_ids_keep_a_leading_zero(plain: list[Record]) -> None:
    assert {len(r["account-id"]) for r in plain} == {12}
    assert any(r["account-id"].startswith("0") for r in plain)


def test_both_ip_versions_are_told(flows: list[Record]) -> None:
    assert {(":" in r["srcaddr"], r["type"]) for r in flows} == {(True, "IPv6"), (False, "IPv4")}


def test_a_long_connection_goes_on_for_minutes_with_its_flags_at_its_ends() -> None:
    states: dict[tuple[str, ...], list[str]] = {}
    sizes: dict[tuple[str, ...], set[str]] = {}
    for start in range(START, START + 22 * 60, 60):
        for r in records(generate.minute(NETWORK, start, 1500, version=5), version=5):
            if r["protocol"] == "6" and r["flow-direction"] == "egress" and r["dstport"] == "6379":
                key = (r["interface-id"], r["srcaddr"], r["srcport"], r["dstaddr"])
                states.setdefault(key, []).append(r["tcp-flags"])
                sizes.setdefault(key, set()).add(r["bytes"])
    complete = {key: flags for key, flags in states.items() if len(flags) == 20 and flags[0] == "2"}

    assert complete
    assert all(flags == ["2", *["0"] * 18, "1"] for flags in complete.values())
    assert all(len(sizes[key]) > 10 for key in complete)


def test_few_enis_and_ports_hold_most_of_the_records() -> None:
    text = b"\n".join(generate.bulk(30_000, enis=1000))
    enis = [n for _, n in Counter(r["interface-id"] for r in records(text)).most_common()]

    assert sum(enis[:50]) > 0.5 * sum(enis)
    assert len(enis) > 600


# --- Incidents


@pytest.mark.parametrize("kind", generate.INCIDENTS)
def test_an_incident_happens_once_in_its_cycle_and_lasts_as_told(kind: str) -> None:
    plot = generate.INCIDENTS[kind]
    start = START // plot.every * plot.every
    found = [one for one in generate.incidents(NETWORK, start, start + 3 * plot.every) if one.kind == kind]

    assert [one.start // plot.every for one in found] == [start // plot.every + n for n in range(3)]
    assert {one.end - one.start for one in found} == {plot.seconds}


def test_an_incident_is_told_for_any_second_that_it_touches_and_no_other() -> None:
    one = first_incident("port_scan")

    assert one in generate.incidents(NETWORK, one.start, one.start + 1)
    assert one in generate.incidents(NETWORK, one.end - 1, one.end)
    assert one not in generate.incidents(NETWORK, one.end, one.end + 1)
    assert one not in generate.incidents(NETWORK, one.start - 1, one.start)


def during(one: Incident, rate: int = 0) -> list[Record]:
    return records(generate.slice_lines(NETWORK, one.start, one.end, rate, version=5), version=5)


def test_a_port_scan_meets_many_closed_ports_and_a_few_open_ones() -> None:
    one = first_incident("port_scan")
    seen = [
        r for r in during(one) if (r["srcaddr"], r["dstaddr"], r["interface-id"]) == (one.source, one.target, one.who)
    ]

    assert len({r["dstport"] for r in seen if r["action"] == "REJECT"}) > 1000
    assert {"22", "443"} <= {r["dstport"] for r in seen if r["action"] == "ACCEPT"}


def test_an_ssh_brute_force_is_many_short_accepted_connections() -> None:
    one = first_incident("ssh_brute_force")
    seen = [
        r for r in during(one) if r["srcaddr"] == one.source and r["dstport"] == "22" and r["interface-id"] == one.who
    ]

    assert len(seen) == 2 * (one.end - one.start)
    assert {r["action"] for r in seen} == {"ACCEPT"}


def test_an_exfiltration_moves_gigabytes_out_through_nat() -> None:
    one = first_incident("exfiltration")
    seen = [r for r in during(one) if r["interface-id"] == one.who and r["pkt-dstaddr"] == one.target]

    assert sum(int(r["bytes"]) for r in seen) > 4_000_000_000
    assert {r["srcaddr"] for r in seen} == {one.source}


def test_a_broken_dependency_refuses_the_application_that_it_accepted_before_and_after() -> None:
    one = first_incident("broken_dependency")

    def clients(low: int, high: int) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {"ACCEPT": set(), "REJECT": set(), "sent to no answer": set()}
        for r in records(generate.slice_lines(NETWORK, low, high, 500, version=5), version=5):
            if (r["interface-id"], r["dstaddr"], r["dstport"]) == (one.who, one.target, "5432"):
                found[r["action"]].add(r["srcaddr"])
            elif (r["dstaddr"], r["dstport"], r["tcp-flags"]) == (one.target, "5432", "2"):
                found["sent to no answer"].add(r["srcaddr"])
        return found

    before, broken, after = (clients(low, low + 60) for low in (one.start - 60, one.start, one.end))
    # the other database still replicates: it is not the application
    assert before["REJECT"] == after["REJECT"] == set()
    assert len(broken["REJECT"]) >= 3
    assert broken["REJECT"] <= before["ACCEPT"] & after["ACCEPT"]
    assert not broken["REJECT"] & broken["ACCEPT"]
    assert broken["REJECT"] <= broken["sent to no answer"]


def test_a_beacon_comes_every_minute_with_the_same_size() -> None:
    one = first_incident("beacon")
    seen = [r for r in during(one) if r["interface-id"] == one.who and r["pkt-dstaddr"] == one.target]
    seen = [r for r in seen if r["bytes"] == "1126"]

    assert [int(r["end"]) - one.start for r in seen] == list(range(0, 2400, 60))


# --- Bulk


@pytest.mark.parametrize("version", [2, 5])
@pytest.mark.parametrize("lines", [0, 1, 7, 25_000])
def test_bulk_is_as_many_lines_as_asked_for(lines: int, version: generate.Version) -> None:
    chunks = list(generate.bulk(lines, enis=200, version=version))

    assert sum(len(records(chunk, version)) for chunk in chunks) == lines
    assert chunks == list(generate.bulk(lines, enis=200, version=version))


def test_bulk_comes_in_chunks_of_half_a_megabyte_that_end_between_lines() -> None:
    *chunks, last = generate.bulk(40_000, enis=200)

    assert len(chunks) > 5
    assert all(TARGET_BYTES <= len(chunk) < TARGET_BYTES + 200 for chunk in chunks)
    assert all(chunk.startswith(b"2 ") and chunk.endswith((b"OK", b"DATA")) for chunk in (*chunks, last))


def test_bulk_is_in_disorder_but_stays_in_its_minutes() -> None:
    ends = [int(r["end"]) for chunk in generate.bulk(30_000, minutes=3, start_epoch=START) for r in records(chunk)]
    latest, behind = ends[0], []
    for end in ends:
        behind.append(latest - end)
        latest = max(latest, end)

    assert START <= min(ends) <= max(ends) < START + 180
    assert 60 < max(behind) < 180
    assert ends != sorted(ends)


@pytest.mark.parametrize("enis", [14, 20_001])
def test_a_network_of_an_impossible_size_is_refused_with_the_bounds(enis: int) -> None:
    with pytest.raises(ValueError, match=f"expected 15 to 20000, got {enis}"):
        Network(enis=enis)


@pytest.mark.parametrize("enis", [15, 40, 200, 20_000])
def test_every_eni_has_a_role_and_addresses_of_its_own(enis: int) -> None:
    enis_seen = {r["interface-id"] for chunk in generate.bulk(20_000, enis=enis) for r in records(chunk)}

    assert sum(role.least for role in generate.ROLES) == generate.SMALLEST
    assert len(enis_seen) > min(enis, 2000) * 0.9
    assert len(enis_seen) <= enis
