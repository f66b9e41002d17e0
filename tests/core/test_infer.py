"""A format told from the types of the columns: right where they tell, unsure where they do not."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.fields import FIELDS, TGW_DEFAULT, V2_DEFAULT, Format, cumulative
from streams.core.infer import KNOWN_ORDERS, infer, resembles
from streams.core.parse import CONFIDENT, parse

SAMPLES = Path(__file__).resolve().parents[2] / "../shared/reference/samples"
LOOK_ALIKE = {
    "srcaddr", "dstaddr", "pkt-srcaddr", "pkt-dstaddr", "srcport", "dstport",
    "pkt-src-aws-service", "pkt-dst-aws-service",
}  # fmt: skip
"""Only a convention tells these from each other."""

Rows = list[list[str]]


def traffic(fmt: Format, count: int = 60, seed: int = 1) -> Rows:
    """Lines of a plausible network, as words."""
    random = Random(seed)
    return [[record[name] for name in fmt] for record in (one_record(random) for _ in range(count))]


def one_record(random: Random) -> dict[str, str]:
    def hexadecimal(prefix: str) -> str:
        return f"{prefix}{random.getrandbits(68):017x}"

    protocol = random.choice([6, 6, 6, 17, 1])
    ingress = random.random() < 0.5
    packets = random.randrange(1, 4000)
    start = 1_700_000_000 + random.randrange(600)
    ours, theirs = f"10.0.{random.randrange(4)}.{random.randrange(1, 255)}", f"198.51.100.{random.randrange(1, 255)}"
    ports = [random.randrange(1024, 65536), random.choice([443, 80, 53, 22, 3306])]
    random.shuffle(ports)
    record = dict.fromkeys(FIELDS, "-")
    record |= {name: hexadecimal("vpc-") for name in FIELDS if name.endswith("vpc-id")}
    record |= {name: hexadecimal("subnet-") for name in FIELDS if name.endswith("subnet-id")}
    record |= {name: hexadecimal("eni-") for name in FIELDS if name.endswith(("interface-id", "-eni"))}
    record |= {name: "210987654321" for name in FIELDS if name.endswith("vpc-account-id")}
    record |= {name: f"use1-az{random.randrange(1, 7)}" for name in FIELDS if name.endswith("az-id")}
    record |= {name: str(random.randrange(3)) for name in FIELDS if name.startswith("packets-lost")}
    record |= {name: hexadecimal("tgw-attach-") for name in ("tgw-attachment-id", "tgw-pair-attachment-id")}
    sides = (theirs, ours) if ingress else (ours, theirs)
    return record | {
        "version": "5", "account-id": "012345678901", "region": "us-east-1", "type": "IPv4", "log-status": "OK",
        "srcaddr": sides[0], "dstaddr": sides[1], "pkt-srcaddr": sides[0], "pkt-dstaddr": sides[1],
        "srcport": str(ports[0]), "dstport": str(ports[1]), "protocol": str(protocol),
        "packets": str(packets), "bytes": str(packets * random.randrange(40, 1400)),
        "start": str(start), "end": str(start + random.randrange(60)),
        "action": random.choice(["ACCEPT", "ACCEPT", "REJECT"]), "reject-reason": random.choice(["-", "BPA"]),
        "tcp-flags": random.choice(["0", "1", "2", "3", "18", "19"]) if protocol == 6 else "-",
        "flow-direction": "ingress" if ingress else "egress", "traffic-path": "-" if ingress else random.choice("128"),
        "pkt-src-aws-service": "S3" if ingress else "-", "pkt-dst-aws-service": "-" if ingress else "AMAZON",
        "instance-id": hexadecimal("i-"), "encryption-status": random.choice("0123"), "interface-type": "nat_gateway",
        "next-hop-interface-type": "vpc_endpoint", "resource-type": "TransitGateway", "tgw-id": hexadecimal("tgw-"),
        "ecs-cluster-arn": "arn:aws:ecs:us-east-1:012345678901:cluster/web", "ecs-cluster-name": "web",
    }  # fmt: skip


@pytest.mark.parametrize("fmt", KNOWN_ORDERS, ids=lambda fmt: f"{len(fmt)}-{fmt[0]}")
def test_a_known_order_is_found(fmt: Format) -> None:
    found, confidence = infer(traffic(fmt))

    assert found == fmt
    assert CONFIDENT <= confidence < 1


@pytest.mark.parametrize("seed", range(12))
def test_fields_in_any_order_get_the_names_that_their_values_tell(seed: int) -> None:
    chosen = [name for name in cumulative(5) if not name.startswith("sublocation") and name != "version"]
    Random(seed).shuffle(chosen)
    fmt = ("version", *chosen)
    found, confidence = infer(traffic(fmt, seed=seed))

    assert found is not None
    assert CONFIDENT <= confidence < 1
    assert [name for name in found if name not in LOOK_ALIKE] == [name for name in fmt if name not in LOOK_ALIKE]
    assert [name in LOOK_ALIKE for name in found] == [name in LOOK_ALIKE for name in fmt]
    addresses = [name for name in found if name.endswith("addr")]
    assert addresses == ["srcaddr", "dstaddr", "pkt-srcaddr", "pkt-dstaddr"]


def test_names_in_the_order_of_the_alphabet_settle_look_alikes() -> None:
    fmt = (*sorted(set(V2_DEFAULT) - {"account-id"}), "vpc-id")

    assert infer(traffic(fmt))[0] == fmt


def test_transit_gateway_fields_in_another_order_get_their_own_names() -> None:
    fmt = (
        "tgw-id",
        "tgw-attachment-id",
        "tgw-src-eni",
        "tgw-dst-eni",
        "srcaddr",
        "dstaddr",
        "log-status",
        "tgw-src-vpc-id",
        "tgw-dst-vpc-id",
    )

    assert infer(traffic(fmt))[0] == fmt


def test_counters_are_told_apart_by_what_must_hold_between_them() -> None:
    fmt = ("interface-id", "bytes", "packets", "end", "start", "action", "log-status", "srcaddr", "dstaddr", "protocol")

    assert infer(traffic(fmt))[0] == fmt


def test_a_column_that_tells_nothing_gets_a_number_for_a_name_and_costs_confidence() -> None:
    fmt = ("interface-id", "srcaddr", "dstaddr", "start", "end", "action", "log-status")
    plain, strange = traffic(fmt), [[*row, "what?"] for row in traffic(fmt)]
    found, confidence = infer(strange)

    assert found == (*fmt, "column-8")
    assert confidence < infer(plain)[1]


def test_one_line_of_an_unknown_order_is_not_enough() -> None:
    fmt = tuple(reversed(V2_DEFAULT))

    assert infer(traffic(fmt, count=1))[1] < CONFIDENT <= infer(traffic(fmt, count=60))[1]


def test_one_line_of_a_known_order_is_enough() -> None:
    assert infer(traffic(cumulative(5), count=1))[1] >= CONFIDENT


def test_a_few_bad_lines_do_not_change_the_format() -> None:
    rows = traffic(cumulative(3))
    rows[3] = ["junk"]
    rows[5] = ["?"] * 21

    assert infer(rows)[0] == cumulative(3)


def test_a_column_of_dashes_contradicts_nothing() -> None:
    rows = [["-" if n == 4 else word for n, word in enumerate(row)] for row in traffic(V2_DEFAULT)]

    assert infer(rows)[0] == V2_DEFAULT


@pytest.mark.parametrize(
    "line",
    [
        "127.0.0.1 - - [10/Oct/2025:13:55:36 -0700] GET / HTTP/1.0 200 2326",
        "Oct 11 22:14:15 host su: session opened for user root",
        "the quick brown fox",
        "1 2 3 4 5 6",
        "- - - - - - - - - - - - - -",
        "10.0.0.1 10.0.0.2",
    ],
)
def test_lines_of_something_else_give_no_confidence(line: str) -> None:
    assert infer([line.split()] * 100)[1] < CONFIDENT


def test_no_lines_are_no_format() -> None:
    assert infer([]) == (None, 0.0)


def test_a_line_with_few_bad_words_resembles_its_format() -> None:
    (row,) = traffic(V2_DEFAULT, count=1)

    assert resembles(V2_DEFAULT, [["2", *row[1:5], "http", *row[6:]]])
    assert not resembles(V2_DEFAULT, [row[:-1]])
    assert not resembles(V2_DEFAULT, [list(reversed(row))])
    assert not resembles(V2_DEFAULT, [])


@pytest.mark.skipif(not SAMPLES.exists(), reason="no ../shared/reference/samples beside this checkout")
@pytest.mark.parametrize(
    ("file", "fmt"),
    [
        ("v5-all-fields-elastic-fixture.log", cumulative(5)),
        ("v5-alphabetical-order-skipdata.log", tuple(sorted(cumulative(5)))),
        ("v6-tgw-beats-fixture.log", TGW_DEFAULT[1:]),
        ("v6-tgw-elastic-fixture.log", TGW_DEFAULT),
        ("v7-ecs-all-fields-elastic-fixture.log", cumulative(7)),
        ("v8-reject-reason-elastic-fixture.log", cumulative(8)),
    ],
)
def test_sample_lines_tell_their_format(file: str, fmt: Format) -> None:
    parsed = parse((SAMPLES / file).read_bytes())

    assert parsed.format == fmt
    assert parsed.rejects.height == 0


WORDS = st.one_of(
    st.sampled_from(["-", "1", "eni-1", "10.0.0.1", "1700000000", "OK", "\u0665", "\u00b2", "9" * 30]),
    st.text(max_size=4),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(WORDS, min_size=1, max_size=8), max_size=8))
def test_any_words_give_a_format_of_their_length_or_none(rows: Rows) -> None:
    fmt, confidence = infer(rows)

    assert 0 <= confidence < 1
    assert (fmt is None) == (confidence == 0)
    if fmt is not None:
        assert len(fmt) in {len(row) for row in rows}
        assert len(set(fmt)) == len(fmt)
