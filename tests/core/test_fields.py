"""The table of fields: complete, and the names people write are found in it."""

from __future__ import annotations

import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.fields import (
    FIELDS,
    TAG_FIELDS,
    TGW_DEFAULT,
    V2_DEFAULT,
    canonical,
    cumulative,
    dtype,
    fields_markdown,
    header_format,
    parse_format,
    unknown_names,
)


@pytest.mark.parametrize(
    ("version", "count"),
    [(2, 14), (3, 21), (4, 25), (5, 29), (6, 29), (7, 39), (8, 40), (9, 41), (10, 42), (11, 54)],
)
def test_each_version_has_as_many_fields_as_aws_says(version: int, count: int) -> None:
    assert len(cumulative(version)) == count


def test_the_default_is_version_two() -> None:
    assert " ".join(V2_DEFAULT) == (
        "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action"
        " log-status"
    )


def test_the_transit_gateway_default_is_what_the_table_marks() -> None:
    assert len(TGW_DEFAULT) == 36
    assert set(TGW_DEFAULT) == {field.name for field in FIELDS.values() if field.tgw}
    assert not {"interface-id", "action", "traffic-path"} & set(TGW_DEFAULT)


def test_numbers_are_integers_and_ids_are_text() -> None:
    numeric = {name for name in FIELDS if dtype(name) == pl.Int64}

    assert numeric == {
        "version", "srcport", "dstport", "protocol", "packets", "bytes", "start", "end", "tcp-flags", "traffic-path",
        "encryption-status", "packets-lost-no-route", "packets-lost-blackhole", "packets-lost-mtu-exceeded",
        "packets-lost-ttl-expired",
    }  # fmt: skip
    assert dtype("account-id") == dtype("a-field-of-tomorrow") == pl.String


def test_every_row_is_whole() -> None:
    for name, field in FIELDS.items():
        assert re.fullmatch("[a-z][a-z0-9-]*", name)
        assert field.name == name
        assert field.meaning.endswith((".", "`"))
        assert re.fullmatch(field.looks, "-") is None, "`-` is no value"
    assert len(TAG_FIELDS) == 6


@pytest.mark.parametrize(
    "text",
    [
        "${version} ${account-id} ${srcaddr}",
        "version account-id srcaddr",
        "  version,account_id,\n srcAddr ",
        "version accountId srcaddr",
        "VERSION ACCOUNT_ID SRCADDR",
    ],
)
def test_a_format_is_read_however_it_is_written(text: str) -> None:
    assert parse_format(text) == ("version", "account-id", "srcaddr")


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("pktSrcAddr", "pkt-srcaddr"),
        ("pkt_src_aws_service", "pkt-src-aws-service"),
        ("nextHopAzId", "next-hop-az-id"),
        ("instanceTag2", "instance-tag-2"),
        ("startTime", "start"),
        ("endTime", "end"),
        ("someNewField", "some-new-field"),
        ("some_new_field", "some-new-field"),
    ],
)
def test_a_name_is_spelled_as_aws_does(name: str, want: str) -> None:
    assert canonical(name) == want


@given(st.sampled_from(list(FIELDS)), st.sampled_from(["-", "_", ""]))
def test_every_field_is_known_in_every_spelling(name: str, separator: str) -> None:
    assert canonical(name.replace("-", separator).upper()) == name


def test_unknown_names_are_kept_with_the_nearest_known_one_as_a_hint() -> None:
    fmt = parse_format("version scraddr shiny-new")

    assert fmt == ("version", "scraddr", "shiny-new")
    assert unknown_names(fmt) == {"scraddr": "srcaddr", "shiny-new": None}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "needs field names"),
        (" , ", "needs field names"),
        ("version ${}", "needs field names"),
        ("version srcaddr srcAddr", "'srcaddr' comes twice"),
        ("scraddr scraddr", "is one of them 'srcaddr'?"),
        ("version line", "cannot be called 'line'"),
    ],
)
def test_a_format_that_cannot_be_is_refused_with_the_name(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_format(text)


@pytest.mark.parametrize(
    ("text", "is_header"),
    [
        ("version account-id", True),
        ("srcaddr dstaddr brand-new", True),
        ("srcaddr brand-new", False),
        ("srcaddr dstaddr brand-new other-new", False),
        ("srcaddr", False),
        ("srcaddr srcaddr", False),
        ("srcaddr dstaddr srcAddr", False),
        ("srcaddr dstaddr line", False),
        ("srcaddr dstaddr 5", False),
        ("srcaddr dstaddr -", False),
        ("", False),
    ],
)
def test_a_header_is_names_most_of_them_known(text: str, is_header: bool) -> None:
    assert (header_format(text) is not None) is is_header


def test_the_page_has_a_row_per_field() -> None:
    page = fields_markdown()

    assert all(f"| `{name}` |" in page for name in FIELDS)
    assert page.count("\n| ") == len(FIELDS) + 1
