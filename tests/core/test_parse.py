"""Lines to columns: every line is accounted for, the fast way and the slow way agree, and cutting changes nothing."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.core.fields import FIELDS, TGW_DEFAULT, V2_DEFAULT, Format, cumulative, dtype, header_format, kind
from streams.core.parse import (
    CONFIDENT,
    MAX_LINE,
    REASONS,
    Parsed,
    decode_tags,
    fast,
    is_flow,
    is_nodata,
    is_skipdata,
    line_ends,
    parse,
    reject_text,
    slow,
    status,
    to_ndjson,
)

SHARED = Path(__file__).resolve().parents[2] / "../shared"
OWN_CASES = Path(__file__).with_name("cases.jsonl")
V5 = cumulative(5)
NO_NUMBERS: Format = ("interface-id", "action", "note")
ONE_FIELD: Format = ("srcaddr",)
ALL_TEXT: Format = ("interface-id", "vpc-id")

GOOD = b"2 123456789010 eni-1235b8ca 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1418530010 1418530070 ACCEPT OK"
NODATA = b"2 123456789010 eni-1235b8ca - - - - - - - 1431280876 1431280934 - NODATA"
V5_LINE = GOOD + b" vpc-1 subnet-1 i-1 19 IPv4 10.0.0.1 10.0.0.2 us-east-1 use1-az4 - - S3 - egress 8"
HEADER = " ".join(V2_DEFAULT).encode()

Row = dict[str, Any]


def accounted(parsed: Parsed) -> bool:
    """Law 1."""
    return parsed.lines == parsed.records.height + parsed.rejects.height + parsed.headers + parsed.blank


def row(name: str, word: str) -> bytes:
    """A good v2 line with the field `name` replaced."""
    words = GOOD.decode().split(" ")
    words[V2_DEFAULT.index(name)] = word
    return " ".join(words).encode()


def rows(parsed: Parsed) -> list[Row]:
    return [{name: value for name, value in one.items() if value is not None} for one in parsed.records.to_dicts()]


def reasons(value: bytes, fmt: Format | None = V2_DEFAULT) -> list[str]:
    return parse(value, fmt).rejects.get_column("reason").to_list()


# -- cases: ours and our peers' ----------------------------------------------------------------------------------------


def cases(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize("case", cases(OWN_CASES), ids=lambda case: case["id"])
def test_own_case_is_read_as_it_says(case: Row) -> None:
    fmt = tuple(case["format"].split()) if "format" in case else V2_DEFAULT
    parsed = parse(case["line"].encode("latin-1" if case.get("latin1") else "utf-8"), fmt)

    assert accounted(parsed)
    if case["verdict"] == "record":
        (found,) = parsed.records.drop("line").to_dicts()
        assert {name: found[name] for name in case["expect"]} == case["expect"]
    else:
        counts = {"header": parsed.headers, "blank": parsed.blank, "reject": parsed.rejects.height}
        assert counts == dict.fromkeys(counts, 0) | {case["verdict"]: 1}
        assert parsed.rejects.get_column("reason").to_list() == ([case["reason"]] if "reason" in case else [])


def test_own_cases_cover_every_reason_of_a_line_and_every_kind_of_field() -> None:
    own = cases(OWN_CASES)
    of_messages = {"undecodable", "bad_base64", "bad_gzip", "bad_json", "too_large", "no_lines", "bad_parquet"}
    of_batches = {"unknown_format", "too_long"}  # below, in code: one needs no format, the other 32 KiB

    assert {case["reason"] for case in own if "reason" in case} == set(REASONS) - of_messages - of_batches
    assert {kind(name) for case in own for name in case.get("expect", {})} == {field.kind for field in FIELDS.values()}


DISAGREE = {"otel-collector-contrib/too-few-fields"}
"""Peers do not agree on these: they must only be accounted for."""


@pytest.mark.parametrize("case", cases(SHARED / "data/parser/cases.jsonl"), ids=lambda case: case["id"])
def test_what_a_peer_calls_a_record_is_read_with_its_values(case: Row) -> None:
    names = case["format"]
    fmt = V2_DEFAULT if names is None else tuple(names if isinstance(names, list) else names.split())
    parsed = parse(case["line"].encode(), fmt)

    assert accounted(parsed)
    assert parsed.lines == 1
    if case["id"] in DISAGREE:
        return
    assert {"record": parsed.records.height, "skip": parsed.headers, "error": parsed.rejects.height}[
        case["verdict"]
    ] == 1
    if case["verdict"] == "record":
        (found,) = parsed.records.to_dicts()
        assert {name: found[name] for name in case["expect"]} == case["expect"]


@pytest.mark.parametrize("case", cases(SHARED / "data/parser/cases.jsonl"), ids=lambda case: case["id"])
def test_a_peers_line_alone_without_a_format_is_accounted_for(case: Row) -> None:
    assert accounted(parse(case["line"].encode()))


def test_shared_cases_are_there() -> None:
    if not (SHARED / "data").exists():
        pytest.skip("no ../shared/data beside this checkout")
    assert len(cases(SHARED / "data/parser/cases.jsonl")) >= 90


ORDERS = {
    "custom-nat-gateway.log": "instance-id interface-id srcaddr dstaddr pkt-srcaddr pkt-dstaddr",
    "v10-encryption-status-aws-blog.log": """flow-direction traffic-path srcaddr dstaddr srcport dstport
        encryption-status""",
    "v11-vrl-fixture.log": """version srcaddr dstaddr srcport dstport protocol start end action log-status reject-reason
        resource-id encryption-status instance-tag instance-tag-2 interface-tag interface-tag-2 asg-tag asg-tag-2
        interface-type next-hop-interface-id next-hop-subnet-id next-hop-az-id next-hop-vpc-id
        next-hop-interface-type""",
    "v3-custom-tcp-flag-sequence.log": """version vpc-id subnet-id instance-id interface-id account-id type srcaddr
        dstaddr srcport dstport pkt-srcaddr pkt-dstaddr protocol bytes packets start end action tcp-flags log-status""",
    "v3-custom-through-transit-gateway.log": """version interface-id account-id vpc-id subnet-id instance-id srcaddr
        dstaddr srcport dstport protocol tcp-flags type pkt-srcaddr pkt-dstaddr action log-status""",
    "v5-all-fields-elastic-fixture.log": " ".join(V5),
    "v5-alphabetical-order-skipdata.log": " ".join(sorted(V5)),
    "v5-custom-service-path-direction.log": """version srcaddr dstaddr srcport dstport protocol start end type packets
        bytes account-id vpc-id subnet-id instance-id interface-id region az-id sublocation-type sublocation-id action
        tcp-flags pkt-srcaddr pkt-dstaddr pkt-src-aws-service pkt-dst-aws-service traffic-path flow-direction
        log-status""",
    "v6-tgw-beats-fixture.log": " ".join(TGW_DEFAULT[1:]),
    "v6-tgw-elastic-fixture.log": " ".join(TGW_DEFAULT),
    "v7-ecs-aws-blog.log": " ".join(V2_DEFAULT) + """ ecs-task-id ecs-task-arn ecs-task-definition-arn ecs-cluster-name
        ecs-cluster-arn ecs-container-instance-id ecs-container-instance-arn ecs-container-id ecs-second-container-id
        ecs-service-name""",
    "v7-ecs-all-fields-elastic-fixture.log": " ".join(cumulative(7)),
    "v8-reject-reason-elastic-fixture.log": " ".join(cumulative(8)),
}  # fmt: skip
"""Sample file -> its format, as SOURCES.md lists them. The others are v2."""

SAMPLES = SHARED / "reference/samples"


@pytest.mark.skipif(not SAMPLES.exists(), reason="no ../shared/reference/samples beside this checkout")
@pytest.mark.parametrize("file", ORDERS)
def test_sample_of_a_custom_format_is_read_whole(file: str) -> None:
    fmt = tuple(ORDERS[file].split())
    value = (SAMPLES / file).read_bytes()
    parsed = parse(value, fmt)

    assert parsed.records.height == parsed.lines == len(value.splitlines())
    words = [line.split() for line in value.decode().splitlines()]
    assert [[str(v) if v is not None else "-" for v in one] for one in parsed.records.select(fmt).rows()] == words


@pytest.mark.skipif(not SAMPLES.exists(), reason="no ../shared/reference/samples beside this checkout")
@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.log")), ids=lambda path: path.name)
def test_sample_without_a_format_is_accounted_for(path: Path) -> None:
    parsed = parse(path.read_bytes())

    assert accounted(parsed)
    if path.name.startswith(("v2", "s3")):
        assert (parsed.rejects.height, parsed.confidence, parsed.format) == (0, 1.0, V2_DEFAULT)


@pytest.mark.parametrize(
    "file", ["real-vpc/lambda-promtail/vpcflowlog.log.gz", "labelled/iot23-34-1-mirai/flows.log.gz"]
)
def test_shared_lines_give_the_totals_of_a_plain_count(file: str) -> None:
    path = SHARED / "data" / file
    if not path.exists():
        pytest.skip("no ../shared/data beside this checkout")
    value = gzip.decompress(path.read_bytes())
    parsed = parse(value)
    words = [line.split() for line in value.decode().splitlines()]
    flows = [one for one in words if one[-1] == "OK"]

    assert accounted(parsed)
    assert parsed.rejects.height == 0
    assert status(parsed.records)["flow"] == len(flows)
    assert parsed.records.get_column("bytes").sum() == sum(int(one[9]) for one in flows)


# -- lines -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "lines", "blank"),
    [
        (b"", 0, 0),
        (b"\n", 1, 1),
        (b"\n\n", 2, 2),
        (GOOD, 1, 0),
        (GOOD + b"\n", 1, 0),
        (GOOD + b"\n\n", 2, 1),
        (b" \t\r\n", 1, 1),
    ],
)
def test_a_line_ends_at_each_line_feed_and_at_the_end(value: bytes, lines: int, blank: int) -> None:
    parsed = parse(value)

    assert (parsed.lines, parsed.blank) == (lines, blank)
    assert accounted(parsed)


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_a_carriage_return_belongs_to_the_line_end(end: bytes) -> None:
    parsed = parse(end.join([GOOD, NODATA, GOOD + b" x"]) + end)

    assert parsed.records.height == 2
    assert parsed.rejects.row(0) == (2, "too_many_fields", GOOD + b" x")


@pytest.mark.parametrize("other", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\r\r"])
def test_nothing_else_ends_a_line(other: str) -> None:
    assert parse(GOOD + other.encode() + b"\n" + GOOD, V2_DEFAULT).lines == 2


def test_a_good_line_keeps_its_number_among_bad_ones() -> None:
    parsed = parse(b"\n".join([b"junk", GOOD, b"", HEADER, NODATA, b"more junk"]), V2_DEFAULT)

    assert parsed.records.get_column("line").to_list() == [1, 4]
    assert parsed.rejects.get_column("line").to_list() == [0, 5]
    assert parsed.rejects.get_column("text").to_list() == [b"junk", b"more junk"]
    assert (parsed.blank, parsed.headers) == (1, 1)


def test_a_line_is_too_long_from_one_byte_over_the_limit() -> None:
    fmt: Format = ("srcport", "note")
    room = MAX_LINE - len(b"80 ")

    assert reasons(b"80 " + b"x" * room, fmt) == []
    assert reasons(b"80 " + b"x" * (room + 1), fmt) == ["too_long"]
    assert reasons(b"80 " + b"x" * (room + 1) + b"\r\n80 x", fmt) == ["too_long"]


def test_a_line_that_is_not_utf8_costs_only_itself() -> None:
    replacement = row("interface-id", "eni-\ufffd")
    bad = GOOD.replace(b"eni", b"en\xff")
    parsed = parse(b"\n".join([GOOD, bad, replacement]), V2_DEFAULT)

    assert parsed.records.get_column("line").to_list() == [0, 2]
    assert parsed.rejects.rows() == [(1, "not_utf8", bad)]


def test_reject_text_is_null_only_where_it_is_not_utf8() -> None:
    parsed = parse("j\u00fcnk\n\ufffd\n".encode() + b"\xff" * 40, V2_DEFAULT)

    assert reject_text(parsed.rejects).to_list() == ["j\u00fcnk", "\ufffd", None]
    assert reject_text(parse(b"").rejects).to_list() == []


def test_frames_have_the_same_types_whatever_came() -> None:
    want = {**{name: dtype(name) for name in V2_DEFAULT}, "line": pl.UInt32}
    rejects = {"line": pl.UInt32, "reason": pl.String, "text": pl.Binary}

    for value in (
        b"",
        b"\n",
        GOOD,
        NODATA,
        b"junk",
        GOOD + b"\njunk",
        GOOD + b"\n \n" + row("end", "1512564058000"),
        b"\xff",
    ):
        parsed = parse(value, V2_DEFAULT)
        assert dict(parsed.records.schema) == want
        assert dict(parsed.rejects.schema) == rejects


# -- formats -----------------------------------------------------------------------------------------------------------


def test_a_header_on_top_decides_the_format() -> None:
    parsed = parse(b"dstaddr srcaddr new-field\n10.0.0.1 10.0.0.2 x\n", V2_DEFAULT)

    assert parsed.records.to_dicts() == [{"dstaddr": "10.0.0.1", "srcaddr": "10.0.0.2", "new-field": "x", "line": 1}]
    assert (parsed.headers, parsed.confidence, parsed.format) == (1, 1.0, ("dstaddr", "srcaddr", "new-field"))


@pytest.mark.parametrize(
    "header",
    [b"version account_id", b"version accountId", b"  version\taccount-id ", b"\xef\xbb\xbfversion account-id"],
)
def test_a_header_is_known_in_every_spelling(header: bytes) -> None:
    parsed = parse(header + b"\n2 123456789010")

    assert parsed.headers == 1
    assert parsed.records.row(0) == (2, "123456789010", 1)


def test_a_header_in_mid_stream_changes_the_format_of_the_lines_after_it() -> None:
    value = b"\n".join([GOOD, b"srcaddr dstaddr bytes", b"10.0.0.1 10.0.0.2 7", GOOD, HEADER, GOOD])
    parsed = parse(value, V2_DEFAULT)

    assert parsed.records.get_column("line").to_list() == [0, 2, 5]
    assert parsed.records.get_column("bytes").to_list() == [4249, 7, 4249]
    assert parsed.records.get_column("srcport").to_list() == [20641, None, 20641]
    assert parsed.records.columns == [*V2_DEFAULT, "line"]
    assert parsed.rejects.rows() == [(3, "too_many_fields", GOOD)]
    assert (parsed.headers, parsed.format) == (2, V2_DEFAULT)


def test_the_same_header_again_is_only_counted() -> None:
    parsed = parse(b"\n".join([HEADER, GOOD, HEADER, GOOD]))

    assert (parsed.headers, parsed.records.height, parsed.rejects.height) == (2, 2, 0)


@pytest.mark.parametrize(
    "line", [b"start", b"version version", b"some words with version in", b"version 2", b"line version srcaddr"]
)
def test_what_only_resembles_a_header_is_none(line: bytes) -> None:
    assert parse(line + b"\n" + GOOD, V2_DEFAULT).headers == 0


def test_a_header_is_seen_where_any_word_would_be_a_value() -> None:
    value = b"eni-1 ACCEPT x\ninterface-id action note\neni-2 REJECT y"
    parsed = parse(value, NO_NUMBERS)

    assert (parsed.headers, parsed.records.get_column("note").to_list()) == (1, ["x", "y"])


def test_a_header_is_seen_where_all_is_text() -> None:
    parsed = parse(b"eni-1 vpc-1\ninterface-id vpc-id\neni-2 vpc-2", ALL_TEXT)

    assert (parsed.headers, parsed.records.get_column("vpc-id").to_list()) == (1, ["vpc-1", "vpc-2"])


def test_records_stay_in_the_order_of_their_lines_when_formats_alternate() -> None:
    other = b"srcaddr dstaddr bytes"
    parsed = parse(b"\n".join([HEADER, GOOD, other, b"10.0.0.1 10.0.0.2 7", HEADER, NODATA, other, b"10.0.0.1 - 8"]))

    assert parsed.records.get_column("line").to_list() == [1, 3, 5, 7]
    assert parsed.records.get_column("bytes").to_list() == [4249, 7, None, 8]
    assert parsed.format == ("srcaddr", "dstaddr", "bytes")


def test_a_given_format_is_not_overridden_by_lines_that_fit_another() -> None:
    assert reasons(b"\n".join([GOOD] * 50), V5) == ["too_few_fields"] * 50


def test_one_bad_line_among_v2_lines_does_not_change_their_format() -> None:
    parsed = parse(b"\n".join([GOOD, row("srcport", "http"), GOOD, GOOD + b" x", b"x"]))

    assert (parsed.format, parsed.confidence) == (V2_DEFAULT, 1.0)
    assert parsed.rejects.get_column("reason").to_list() == ["not_a_number", "too_many_fields", "too_few_fields"]


def test_a_bad_v2_line_alone_is_a_bad_v2_line() -> None:
    parsed = parse(row("srcport", "http"))

    assert parsed.rejects.get_column("reason").to_list() == ["not_a_number"]


def test_many_v2_lines_with_the_same_fault_are_bad_v2_lines() -> None:
    parsed = parse(b"\n".join([row("srcport", "http")] * 40))

    assert parsed.rejects.get_column("reason").to_list() == ["not_a_number"] * 40
    assert (parsed.format, parsed.confidence) == (V2_DEFAULT, 1.0)


def test_a_guess_that_is_not_sure_is_not_used() -> None:
    parsed = parse(b"10.0.0.1 10.0.0.2\n" * 40)

    assert parsed.rejects.get_column("reason").to_list() == ["unknown_format"] * 40
    assert parsed.format is None
    assert 0 < parsed.confidence < CONFIDENT


def test_v2_lines_stay_v2_lines_among_fewer_of_another_format() -> None:
    parsed = parse(b"\n".join([GOOD, GOOD, V5_LINE] * 10))

    assert (parsed.records.height, parsed.format, parsed.confidence) == (20, V2_DEFAULT, 1.0)


def test_lines_of_no_known_format_are_all_rejected_as_such() -> None:
    for default in (V2_DEFAULT, None):
        parsed = parse(b"the quick brown fox\n" * 30 + b"\n", default=default)
        assert parsed.rejects.get_column("reason").to_list() == ["unknown_format"] * 30
        assert parsed.format is None
        assert parsed.confidence < CONFIDENT
        assert accounted(parsed)


def test_a_format_that_is_neither_given_nor_default_is_inferred() -> None:
    value = b"\n".join(b" ".join(reversed(GOOD.split())) for _ in range(40))
    parsed = parse(value)

    assert parsed.records.height == 40
    assert parsed.records.get_column("interface-id").unique().to_list() == ["eni-1235b8ca"]
    assert CONFIDENT <= parsed.confidence < 1.0


def test_a_flood_of_different_headers_is_accounted_for() -> None:
    names = list(FIELDS)
    value = "\n".join(f"{a} {b}\nx y" for a in names[:20] for b in names[:20] if a != b).encode()

    assert accounted(parse(value))


# -- outcomes ----------------------------------------------------------------------------------------------------------


def test_log_status_alone_decides_the_outcome() -> None:
    value = b"\n".join(
        [GOOD, NODATA, row("log-status", "NODATA"), row("log-status", "SKIPDATA"), row("log-status", "-")]
    )
    records = parse(value).records

    assert status(records) == {"flow": 2, "nodata": 2, "skipdata": 1}
    assert records.select(is_flow(records)).to_series().to_list() == [True, False, False, False, True]
    assert records.filter(is_nodata(records)).height == 2
    assert records.filter(is_skipdata(records)).height == 1


def test_without_log_status_every_record_is_a_flow() -> None:
    records = parse(b"10.0.0.1\n-", ONE_FIELD).records

    assert status(records) == {"flow": 2, "nodata": 0, "skipdata": 0}
    assert records.filter(is_flow(records)).height == 2
    assert records.filter(is_nodata(records) | is_skipdata(records)).height == 0


def test_ndjson_has_awss_names_integers_and_null() -> None:
    first, second = to_ndjson(parse(GOOD + b"\n" + NODATA).records).splitlines()

    assert json.loads(first)["account-id"] == "123456789010"
    assert json.loads(first)["srcport"] == 20641
    assert json.loads(second)["srcport"] is None
    assert "line" not in json.loads(first)


def test_tags_are_decoded_on_demand() -> None:
    fmt: Format = ("srcport", "instance-tag", "asg-tag", "interface-tag")
    records = parse(b"80 a%20b%C3%A9 plain -\n80 100%25 - -", fmt).records

    assert records.get_column("instance-tag").to_list() == ["a%20b%C3%A9", "100%25"]
    assert decode_tags(records).get_column("instance-tag").to_list() == ["a b\u00e9", "100%"]
    assert decode_tags(records).get_column("asg-tag").to_list() == ["plain", None]


# -- laws --------------------------------------------------------------------------------------------------------------

NUMBERS = """+5 -5 -0 0 007 5 1.0 1e3 0x1f 1_0 255 256 65535 65536 99999 9223372036854775807 9223372036854775808
    00000000000000000000000443 18446744073709551616 2147483647 2147483648 1512564058000 253402300799999
    253402300800000"""
OTHERS = """- + ACCEPT REJECT accept OK NODATA SKIPDATA ok ingress egress 10.0.0.1 ::1 2001:db8::ff g.1 fe80 12345.
    host.example eni-1 version srcaddr \" ' # a,b"""
ODD = ["", "\u0665", "\uff15", "\u00e9", "\x00", "\ufeff", "\x0b", "\x1c", "\u00a0", "\u2028", "\r", "5\x0b", "\x1c5"]
WORDS = st.sampled_from([*NUMBERS.split(), *OTHERS.split(), *ODD])
FORMATS = (V2_DEFAULT, V5, NO_NUMBERS, ONE_FIELD, ALL_TEXT, ("srcport", "note", "end"), ("note", "bytes"))
PLAIN = [GOOD, NODATA, V5_LINE, b"eni-1 ACCEPT x", b"10.0.0.1", b"443 x 1418530070", b"note 77", b"- - -", b"-"]
HEADERS = [" ".join(fmt).encode() for fmt in FORMATS]


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """A line with a word or two replaced, or some too many or too few, and with odd spaces."""
    words = draw(st.sampled_from(PLAIN)).decode().split(" ")
    for _ in range(draw(st.integers(0, 2))):
        words[draw(st.integers(0, len(words) - 1))] = draw(WORDS)
    words = words[: draw(st.integers(len(words) - 1, len(words)))] + draw(st.lists(WORDS, max_size=1))
    separator = draw(st.sampled_from([" ", " ", "  ", "\t", " \t "]))
    return (
        draw(st.sampled_from(["", "", " ", "\ufeff"])) + separator.join(words) + draw(st.sampled_from(["", "", " "]))
    ).encode()


LINES = st.one_of(
    st.sampled_from(PLAIN),
    st.sampled_from(PLAIN[:3]),
    spoilt(),
    st.sampled_from(
        [b"", b" ", b"\t", b"\r", *HEADERS, b"version srcaddr new", b"x" * (MAX_LINE + 1), b"\xff\xfe", b"\xe2\x28"]
    ),
    st.binary(max_size=12).map(lambda junk: junk.replace(b"\n", b" ")),
)
ENDS = st.sampled_from([b"\n", b"\n", b"\r\n"])


@st.composite
def batches(draw: st.DrawFn) -> list[bytes]:
    """Lines with their ends; the last one may have none."""
    ended = [line + draw(ENDS) for line in draw(st.lists(LINES, max_size=12))]
    mostly = draw(st.sampled_from(PLAIN)) + b"\n"
    return ended + [mostly] * draw(st.integers(0, 3)) + draw(st.lists(st.sampled_from(PLAIN), max_size=1))


def expected(lines: Iterable[bytes], fmt: Format) -> Iterator[tuple[str, Row]]:
    """What each line is, told by a parser that is nothing but plain: (outcome, record)."""
    for line in lines:
        outcome, record, fmt = one_line(line.removesuffix(b"\n").removesuffix(b"\r"), fmt)
        yield outcome, record


def one_line(line: bytes, fmt: Format) -> tuple[str, Row, Format]:
    try:
        text = line.decode().removeprefix("\ufeff")
    except UnicodeDecodeError:
        return "not_utf8", {}, fmt
    words = [word for word in re.split("[ \t]+", text) if word]
    header = header_format(" ".join(words))
    if len(line) > MAX_LINE:
        return "too_long", {}, fmt
    if header or not words:
        return ("header", {}, header) if header else ("blank", {}, fmt)
    if len(words) != len(fmt):
        return "too_few_fields" if len(words) < len(fmt) else "too_many_fields", {}, fmt
    values = [(name, *one_word(name, word)) for name, word in zip(fmt, words, strict=True) if word != "-"]
    reason = next((reason for _, _, reason in values if reason), "record")
    return reason, {name: value for name, value, _ in values} if reason == "record" else {}, fmt


CHOICES = {
    "action": ("bad_action", "ACCEPT|REJECT"),
    "log-status": ("bad_log_status", "OK|NODATA|SKIPDATA"),
    "direction": ("bad_direction", "ingress|egress"),
    "address": ("bad_address", "[0-9A-Fa-f]{0,4}[.:][0-9A-Fa-f.:]*"),
}
LIMITS = {"number": 2**63 - 1, "time": 253402300799999, "port": 65535, "octet": 255}


def one_word(name: str, word: str) -> tuple[Any, str | None]:
    """(value, reason why it is none)."""
    if kind(name) in CHOICES:
        reason, pattern = CHOICES[kind(name)]
        return word, None if re.fullmatch(pattern, word) else reason
    if kind(name) == "text":
        return word, None
    if not re.fullmatch("-?[0-9]+", word):
        return None, "not_a_number"
    number = int(word)
    if word.startswith("-") or number > LIMITS[kind(name)]:
        return None, "out_of_range"
    return number // 1000 if kind(name) == "time" and number > 2147483647 else number, None


def found(parsed: Parsed) -> dict[int, tuple[str, Row]]:
    records = {one.pop("line"): ("record", one) for one in rows(parsed)}
    return records | {line: (reason, {}) for line, reason, _ in parsed.rejects.rows()}


@settings(max_examples=300, deadline=None)
@given(batches(), st.sampled_from(FORMATS))
@example([b"2  x\n", b"\n"], ("version", "srcport", "note"))
@example([GOOD + b"\n", row("packets", "") + b"\n"], V2_DEFAULT)
def test_every_line_is_what_a_plain_parser_says(lines: list[bytes], fmt: Format) -> None:
    parsed = parse(b"".join(lines), fmt)
    told = list(expected(lines, fmt))

    assert parsed.lines == len(lines)
    assert found(parsed) == {n: one for n, one in enumerate(told) if one[0] not in ("header", "blank")}
    assert [parsed.headers, parsed.blank] == [sum(one[0] == name for one in told) for name in ("header", "blank")]
    assert [text for _, _, text in parsed.rejects.rows()] == [
        line.removesuffix(b"\n").removesuffix(b"\r")
        for line, one in zip(lines, told, strict=True) if one[0] not in ("record", "header", "blank")
    ]  # fmt: skip


GOOD_WORDS = {
    "text": ["-", "eni-1", "a%20b", '"x', "#"],
    "number": ["-", "0", "007", "1234567890"],
    "time": ["-", "1418530010", "1512564058000", "12"],
    "port": ["-", "0", "443", "65535"],
    "octet": ["-", "6", "255", "017"],
    "address": ["-", "10.0.0.1", "2001:db8::1", "::"],
    "action": ["-", "ACCEPT", "REJECT"],
    "log-status": ["-", "OK", "NODATA", "SKIPDATA"],
    "direction": ["-", "ingress", "egress"],
}


@st.composite
def neighbours(draw: st.DrawFn) -> tuple[bytes, Format]:
    """Plain lines of one format, of which at most one has a word that may be odd."""
    fmt = draw(st.sampled_from([*FORMATS, ("dstport", "end"), ("note", "action"), ("bytes", "pkt-dstaddr")]))
    lines = [[draw(st.sampled_from(GOOD_WORDS[kind(name)])) for name in fmt] for _ in range(draw(st.integers(1, 4)))]
    if draw(st.booleans()):
        draw(st.sampled_from(lines))[draw(st.integers(0, len(fmt) - 1))] = draw(WORDS)
    return "\n".join(map(" ".join, lines)).encode() + draw(st.sampled_from([b"", b"\n"])), fmt


@settings(max_examples=400, deadline=None)
@given(neighbours())
def test_what_the_fast_way_takes_the_slow_way_reads_alike(batch: tuple[bytes, Format]) -> None:
    value, fmt = batch
    quick, judged = fast(value, fmt), slow(value, fmt)

    assert accounted(judged)
    if quick is not None:
        assert judged.rejects.height == judged.headers == judged.blank == 0
        assert quick.equals(judged.records.drop("line"))
        assert quick.schema == judged.records.drop("line").schema


@settings(max_examples=300, deadline=None)
@given(batches(), st.sampled_from([*FORMATS, None]), st.sampled_from([V2_DEFAULT, V5, None]))
@example([GOOD + b"\n"] * 3, None, V2_DEFAULT)
def test_the_fast_and_the_slow_way_agree(lines: list[bytes], fmt: Format | None, default: Format | None) -> None:
    value = b"".join(lines)
    one, other = parse(value, fmt, default=default), slow(line_ends(value), fmt, default=default)

    assert one.records.equals(other.records)
    assert one.records.schema == other.records.schema
    assert one.rejects.equals(other.rejects)
    assert (one.lines, one.headers, one.blank) == (other.lines, other.headers, other.blank)
    assert (one.format, one.confidence) == (other.format, other.confidence)


def test_plain_lines_take_the_fast_way() -> None:
    assert fast(GOOD + b"\n" + NODATA, V2_DEFAULT) is not None
    assert fast(V5_LINE, V5) is not None


@settings(max_examples=150, deadline=None)
@given(batches(), st.sampled_from(FORMATS), st.data())
def test_cutting_at_line_ends_changes_nothing(lines: list[bytes], fmt: Format, data: st.DataObject) -> None:
    whole = found(parse(b"".join(lines), fmt))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(lines)), max_size=3)) | {0, len(lines)})

    assert fed(lines, cuts, fmt) == whole
    assert fed(lines, list(range(len(lines) + 1)), fmt) == whole


def fed(lines: list[bytes], cuts: list[int], fmt: Format) -> dict[int, tuple[str, Row]]:
    """Parse part by part; a part starts with the format that the last one ended with."""
    outcomes: dict[int, tuple[str, Row]] = {}
    for start, end in pairwise(cuts):
        parsed = parse(b"".join(lines[start:end]), fmt)
        outcomes |= {start + line: outcome for line, outcome in found(parsed).items()}
        fmt = parsed.format or fmt
    return outcomes


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([V2_DEFAULT, ONE_FIELD, NO_NUMBERS, None]))
@example(b"\xef\xbb\xbf", None)
@example(b"\x00\n\r\n\r", None)
def test_any_bytes_are_accounted_for(value: bytes, fmt: Format | None) -> None:
    parsed = parse(value, fmt)

    assert accounted(parsed)
    assert parsed.lines == value.count(b"\n") + (not value.endswith(b"\n") and value != b"")
    assert set(parsed.rejects.get_column("reason")) <= set(REASONS)
