"""Every shape that flow logs travel in, and every byte string."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.core.fields import cumulative, parse_format
from streams.core.parse import REASONS
from streams.sources.decode import (
    MOST_ERRORS,
    MOST_FORMATS,
    MOST_LOOKS,
    Batch,
    Undecodable,
    decode,
    decode_firehose,
)
from streams.sources.headers import MOST_CANDIDATES
from streams.sources.messages import Arrival, messages
from streams.sources.records import firehose_chunks, firehose_lines, plain_lines, unwrapped
from streams.sources.shapes import S3Object
from tests.sources.samples import MIB, V2, A, B, C, body, lines, many, message, reasons, shared

LIMIT = 16 * MIB


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def envelope(*messages: str, first_id: int = 0, **more: Any) -> dict[str, Any]:
    events = [{"id": f"{n:056}", "timestamp": 1418530010000, "message": m} for n, m in enumerate(messages, first_id)]
    return {
        "messageType": "DATA_MESSAGE",
        "owner": "123456789010",
        "logGroup": "flow-logs",
        "logStream": "eni-1235b8ca123456789-all",
        "subscriptionFilters": ["all"],
        "logEvents": events,
        **more,
    }


def dumps(value: object) -> bytes:
    return orjson.dumps(value)


TWO = envelope(A, B)

SHAPES: dict[str, bytes] = {
    "raw lines": f"{A}\n{B}".encode(),
    "raw lines with line ends": f"{A}\r\n{B}\r\n".encode(),
    "raw lines with a byte order mark": b"\xef\xbb\xbf" + f"{A}\n{B}\n".encode(),
    "aws direct put, one a line": message(A) + b"\n" + message(B) + b"\n",
    "aws direct put, nothing between": message(A) + message(B),
    "aws direct put, pretty": json.dumps([{"message": A}, {"message": B}], indent=2).encode(),
    "aws direct put, pretty and nothing between": json.dumps({"message": A}, indent=2).encode() * 1
    + json.dumps({"message": B}, indent=2).encode(),
    "two lines in a message": dumps({"message": f"{A}\n{B}\n"}),
    "strings": dumps([A, B]),
    "a string a line": dumps(A) + b"\n" + dumps(B),
    "json text sequence": b"\x1e" + message(A) + b"\n\x1e" + message(B),
    "json and raw lines": message(A) + b"\n" + B.encode(),
    "gzip": gzip.compress(f"{A}\n{B}\n".encode()),
    "zlib": zlib.compress(f"{A}\n{B}\n".encode()),
    "gzip members": gzip.compress(f"{A}\n".encode()) + gzip.compress(B.encode()),
    "gzip in gzip": gzip.compress(gzip.compress(f"{A}\n{B}".encode())),
    "firehose body": body([message(A), message(B)]),
    "firehose body with newlines": body([message(A) + b"\n", message(B) + b"\n"]),
    "firehose body of raw lines": body([A.encode(), B.encode() + b"\n"]),
    "firehose body of gzip envelopes": body(
        [gzip.compress(dumps(envelope(A))), gzip.compress(dumps(envelope(B, first_id=1)))]
    ),
    "firehose body, compressed": gzip.compress(body([message(A), message(B)])),
    "firehose body, pretty": json.dumps(json.loads(body([message(A), message(B)])), indent=1).encode(),
    "firehose body with empty records": body([message(A), b"", message(B)]),
    "envelope": dumps(TWO),
    "envelope, pretty": json.dumps(TWO, indent=2).encode(),
    "envelope, gzip": gzip.compress(dumps(TWO)),
    "envelope, zlib": zlib.compress(dumps(TWO)),
    "envelope, bare base64": b64(gzip.compress(dumps(TWO))).encode(),
    "envelope, base64 in short lines": base64.encodebytes(gzip.compress(dumps(TWO))),
    "envelope for lambda": dumps({"awslogs": {"data": b64(gzip.compress(dumps(TWO)))}}),
    "envelopes, base64 a line": b"\n".join(
        b64(gzip.compress(dumps(e))).encode() for e in (envelope(A), envelope(B, first_id=1))
    ),
    "envelopes, nothing between": dumps(envelope(A)) + dumps(envelope(B, first_id=1)),
    "envelope with extracted fields": dumps(
        {
            **TWO,
            "policyLevel": "ACCOUNT_LEVEL_POLICY",
            "logEvents": [{**e, "extractedFields": {"x": "1"}} for e in TWO["logEvents"]],
        }
    ),
    "answer of FilterLogEvents": dumps({"events": [{"eventId": "1", "message": A}, {"eventId": "2", "message": B}]}),
    "FilterLogEvents, one a line": b"\n".join(
        dumps({"logStreamName": "s", "timestamp": 1, "message": m, "ingestionTime": 2, "eventId": m}) for m in (A, B)
    ),
    "kinesis for lambda": dumps(
        {"Records": [{"kinesis": {"data": b64(m.encode())}, "eventSource": "aws:kinesis"} for m in (A, B)]}
    ),
    "kinesis by pipes": dumps([{"data": b64(m.encode()), "eventSource": "aws:kinesis"} for m in (A, B)]),
    "sqs for lambda": dumps({"Records": [{"messageId": "1", "body": f"{A}\n{B}", "eventSource": "aws:sqs"}]}),
    "sns for lambda": dumps(
        {"Records": [{"EventSource": "aws:sns", "Sns": {"TopicArn": "t", "Message": f"{A}\n{B}"}}]}
    ),
    "sns in sqs in firehose": body(
        [
            dumps(
                {
                    "messageId": "1",
                    "body": json.dumps({"TopicArn": "t", "Message": f"{A}\n{B}"}),
                    "eventSource": "aws:sqs",
                }
            )
        ]
    ),
    "msk for lambda": dumps(
        {
            "eventSource": "aws:kafka",
            "records": {"t-0": [{"value": b64(A.encode())}], "t-1": [{"value": b64(message(B))}]},
        }
    ),
    "firehose's error prefix": b"".join(dumps({"errorCode": "x", "rawData": b64(message(m))}) for m in (A, B)),
    "vector": b"\n".join(dumps({"message": m, "bucket": "b", "region": "r", "source_type": "aws_s3"}) for m in (A, B)),
    "filebeat with event.original": b"\n".join(
        dumps({"@timestamp": "t", "event": {"original": m}, "log": {"offset": 1}, "aws": {"s3": {}}}) for m in (A, B)
    ),
    "flattened event.original": b"\n".join(dumps({"@timestamp": "t", "event.original": m}) for m in (A, B)),
    "fluent bit": b"\n".join(dumps({"@timestamp": 1.5, "log": m}) for m in (A, B)),
    "logs insights": dumps([{"@message": A, "@ptr": "x"}, {"@message": B, "@ptr": "y"}]),
    "gelf": b"\n".join(dumps({"version": "1.1", "host": "h", "short_message": m}) for m in (A, B)),
    "splunk hec": dumps({"event": A}) + dumps({"event": B}),
    "kafka connect with a schema": b"\n".join(dumps({"schema": {"type": "string"}, "payload": m}) for m in (A, B)),
    "kafka connect with bytes": dumps({"schema": {"type": "bytes"}, "payload": b64(f"{A}\n{B}".encode())}),
    "a message that was JSON itself": dumps({"message": {"message": f"{A}\n{B}"}}),
    "JSON in a message": dumps({"message": json.dumps([{"message": A}, {"message": B}])}),
}


@pytest.mark.parametrize("payload", SHAPES.values(), ids=SHAPES)
def test_every_shape_gives_its_lines_and_nothing_else(payload: bytes) -> None:
    found = decode(payload, LIMIT)

    assert (lines(found), found.errors, found.ignored, found.notifications) == ([A, B], [], 0, [])


@pytest.mark.parametrize("payload", SHAPES.values(), ids=SHAPES)
def test_every_shape_reads_the_same_inside_a_firehose_record(payload: bytes) -> None:
    found = decode_firehose(body([payload]), LIMIT)

    assert not isinstance(found, str)
    assert (sorted(lines(found.decoded)), found.decoded.errors) == (sorted([A, B]), [])


# -- headers ----------------------------------------------------------------------------------------------------------


def test_a_header_gives_the_format_and_stays_in_the_lines() -> None:
    assert decode(f"{V2}\n{A}\n{B}\n".encode(), LIMIT).batches == [Batch(f"{V2}\n{A}\n{B}".encode(), V2)]


def test_blank_lines_before_a_header_make_no_batch() -> None:
    assert decode(f"\n\r\n{V2}\n{A}\n".encode(), LIMIT).batches == [Batch(f"{V2}\n{A}".encode(), V2)]


def test_a_header_of_another_format_begins_another_batch() -> None:
    nat = "instance-id interface-id srcaddr dstaddr pkt-srcaddr pkt-dstaddr"
    text = f"{A}\n{V2}\n{A}\n{nat}\ni-1 eni-1 10.0.0.1 10.0.0.2 10.0.0.1 10.0.0.2\n{V2}\n{B}"

    batches = decode(text.encode(), LIMIT).batches

    assert [batch.format for batch in batches] == [None, V2, nat]
    assert [batch.lines.count(b"\n") + 1 for batch in batches] == [1, 4, 2]


def test_a_line_of_names_that_are_no_fields_is_a_line() -> None:
    text = f"{A}\nhello dear world\n{B}".encode()

    assert decode(text, LIMIT).batches == [Batch(text)]


# -- parsed objects ---------------------------------------------------------------------------------------------------

RECORD = {
    "version": 2, "account_id": "123456789010", "interface_id": "eni-1235b8ca123456789", "srcaddr": "172.31.16.139",
    "dstaddr": "172.31.16.21", "srcport": 20641, "dstport": 22, "protocol": 6, "packets": 20, "bytes": 4249,
    "start": 1418530010, "end": 1418530070, "action": "ACCEPT", "log_status": "OK",
}  # fmt: skip


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


SPELLINGS = {
    "underscores": RECORD,
    "hyphens": {name.replace("_", "-"): value for name, value in RECORD.items()},
    "camel case": {camel(name): value for name, value in RECORD.items()},
    "camel case of Insights": {
        **{camel(n): v for n, v in RECORD.items() if n != "srcaddr"},
        "srcAddr": "172.31.16.139",
    },
    "another order": dict(sorted(RECORD.items())),
    "numbers as text": {name: str(value) for name, value in RECORD.items()},
    "numbers as floats": {n: float(v) if isinstance(v, int) else v for n, v in RECORD.items()},
    "account as a number": {**RECORD, "account_id": 123456789010},
    "with the shipper's own": {
        **RECORD,
        "@timestamp": "t",
        "host": {"name": "h"},
        "timestamp": "2014",
        "source_type": "s3",
    },
    "filebeat": {"aws": {"vpcflow": {**RECORD, "start": "2014-12-14T04:06:50Z", "end": "2014-12-14T04:07:50Z"}}},
    "filebeat in ecs": {
        "aws": {"vpcflow": {"interface_id": "eni-1235b8ca123456789", "log_status": "OK", "version": 2}},
        "cloud": {"account": {"id": "123456789010"}},
        "source": {"address": "172.31.16.139", "port": 20641, "bytes": 4249, "packets": 20},
        "destination": {"address": "172.31.16.21", "port": 22},
        "network": {"iana_number": "6", "bytes": 4249, "packets": 20},
        "event": {"start": "2014-12-14T04:06:50Z", "end": "2014-12-14T04:07:50Z", "action": "accept"},
    },
}


def as_record(batch: Batch) -> dict[str, str]:
    assert batch.format is not None
    return dict(zip(parse_format(batch.format), batch.lines.decode().split(" "), strict=True))


@pytest.mark.parametrize("record", SPELLINGS.values(), ids=SPELLINGS)
def test_a_parsed_record_becomes_the_line_that_it_was(record: dict[str, object]) -> None:
    found = decode(dumps(record), LIMIT)

    # Filebeat's direction and zone are fields of later versions; where it has none they are unknown.
    values = {name: value for name, value in as_record(found.batches[0]).items() if value != "-"}
    assert (values, found.errors) == (dict(zip(V2.split(), A.split(), strict=True)), [])


def test_vector_loses_the_zeros_of_an_account_and_they_come_back() -> None:
    found = decode(dumps({**RECORD, "account_id": 58694856476}), LIMIT)

    assert as_record(found.batches[0])["account-id"] == "058694856476"


def test_null_and_missing_values_are_unknown_and_the_format_stays_the_same() -> None:
    nodata = {**dict.fromkeys(RECORD, None), "interface_id": "eni-1", "log_status": "NODATA"}
    left_out = {name: value for name, value in nodata.items() if value is not None}

    found = decode(dumps([RECORD, nodata, left_out]), LIMIT)

    assert [batch.format for batch in found.batches] == [V2]
    assert lines(found)[1:] == ["- - eni-1 - - - - - - - - - - NODATA"] * 2


def test_spaces_in_values_and_unknown_fields_are_kept() -> None:
    found = decode(dumps({**RECORD, "instance_tag": "web server\n1", "brand_new": "x y", "log_status": ""}), LIMIT)

    record = as_record(found.batches[0])
    assert (record["instance-tag"], record["brand-new"], record["log-status"]) == ("web%20server%0A1", "x%20y", "-")
    assert list(record)[:-1] == list(cumulative(11))


def test_an_object_that_only_has_words_in_common_is_no_record() -> None:
    event = {"version": "0", "region": "eu-west-1", "type": "x", "action": "ACCEPT", "start": 1, "end": 2, "bytes": 3}

    assert reasons(decode(dumps(event), LIMIT)) == ["no_lines"]


# -- what holds no lines ----------------------------------------------------------------------------------------------


def test_a_control_message_is_counted_and_holds_nothing() -> None:
    probe = envelope("CWL CONTROL MESSAGE: Checking health of destination Firehose.", messageType="CONTROL_MESSAGE")

    found = decode(gzip.compress(dumps(probe)), LIMIT)

    assert (found.ignored, found.batches, found.errors) == (1, [], [])


def test_an_event_that_comes_again_in_a_payload_is_counted_once() -> None:
    again = envelope(A, C, first_id=0)
    again["logEvents"][1]["id"] = "2".zfill(56)

    found = decode(dumps(TWO) + dumps(again), LIMIT)

    assert (lines(found), found.duplicates) == ([A, B, C], 1)


def test_two_records_that_look_the_same_are_two() -> None:
    found = decode(dumps(envelope(A, A)), LIMIT)

    assert (lines(found), found.duplicates) == ([A, A], 0)


def test_an_event_without_text_does_not_cost_its_neighbours() -> None:
    broken = envelope(A, B)
    broken["logEvents"].insert(1, {"id": "x", "message": None})
    broken["logEvents"].append("text")

    found = decode(dumps(broken), LIMIT)

    assert (lines(found), reasons(found)) == ([A, B], ["no_lines", "no_lines"])


def s3_record(**more: object) -> dict[str, object]:
    thing = {"key": "AWSLogs/1/vpcflowlogs/a+b%3Dc.log.gz", "size": 12, "eTag": "e", "sequencer": "05"}
    return {
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "b"}, "object": thing},
        **more,
    }


CREATED = S3Object("b", "AWSLogs/1/vpcflowlogs/a b=c.log.gz", "e", 12, "05")
EVENTBRIDGE = {
    "version": "0", "detail-type": "Object Created", "source": "aws.s3",
    "detail": {
        "bucket": {"name": "b"},
        "object": {"key": CREATED.key.replace(" ", "+"), "size": 12, "etag": "e", "sequencer": "05"},
    },
}  # fmt: skip
NOTIFICATIONS = {
    "s3 for lambda": {"Records": [s3_record()]},
    "s3 in sqs": {
        "Records": [{"messageId": "1", "body": json.dumps({"Records": [s3_record()]}), "eventSource": "aws:sqs"}]
    },
    "s3 in sns": {"TopicArn": "t", "Message": json.dumps({"Records": [s3_record()]})},
    "eventbridge": EVENTBRIDGE,
}


@pytest.mark.parametrize("payload", NOTIFICATIONS.values(), ids=NOTIFICATIONS)
def test_a_notification_names_its_object_and_holds_no_lines(payload: dict[str, object]) -> None:
    found = decode(dumps(payload), LIMIT)

    assert (found.notifications, found.batches, found.errors) == ([CREATED], [], [])


@pytest.mark.parametrize(
    "payload",
    [
        {"Records": [s3_record(eventName="ObjectRemoved:Delete")]},
        {**EVENTBRIDGE, "detail-type": "Object Deleted"},
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"},
        {"eventSource": "aws:kafka", "records": {"t-0": [{"value": None}]}},
    ],
)
def test_what_is_meant_to_hold_nothing_is_counted(payload: dict[str, object]) -> None:
    found = decode(dumps(payload), LIMIT)

    assert (found.ignored, found.notifications, found.errors) == (1, [], [])


# -- what is broken ---------------------------------------------------------------------------------------------------

BROKEN: dict[str, tuple[bytes, list[str], list[Undecodable]]] = {
    "no line": (b'{"x":1}', [], [Undecodable(b'{"x":1}', "no_lines")]),
    "an empty object": (b"{}", [], [Undecodable(b"{}", "no_lines")]),
    "an empty list": (b"[]", [], [Undecodable(b"[]", "no_lines")]),
    "numbers": (b"[[1,2]]", [], [Undecodable(b"[1,2]", "no_lines")]),
    "an empty message": (b'{"message":""}', [], [Undecodable(b'{"message":""}', "no_lines")]),
    "an empty envelope": (b'{"logEvents":[]}', [], [Undecodable(b'{"logEvents":[]}', "no_lines")]),
    "cut JSON": (b'{"message":"2 12', [], [Undecodable(b'{"message":"2 12', "bad_json")]),
    "a cut list": (b'[{"message":"a"},{"mess', [], [Undecodable(b'[{"message":"a"},{"mess', "bad_json")]),
    "a cut behind good ones": (message(A) + b'{"mess', [A], [Undecodable(b'{"mess', "bad_json")]),
    "a broken line of many": (
        message(A) + b'\n{"message":\n' + message(B),
        [A, B],
        [Undecodable(b'{"message":', "bad_json")],
    ),
    "junk behind JSON": (message(A) + b"1 2 3", [A], [Undecodable(b"1 2 3", "bad_json")]),
    "cut gzip": (gzip.compress(b"abc")[:-1], [], [Undecodable(gzip.compress(b"abc")[:-1], "bad_gzip")]),
    "not gzip": (b"\x1f\x8bhello", [], [Undecodable(b"\x1f\x8bhello", "bad_gzip")]),
    "not base64": (b'{"awslogs":{"data":"%%%"}}', [], [Undecodable(b"%%%", "bad_base64")]),
    "no base64 at all": (b'{"awslogs":{"data":7}}', [], [Undecodable(b"7", "bad_base64")]),
    "base64 with a hole": (b'{"awslogs":{"data":"QUJD*"}}', [], [Undecodable(b"QUJD*", "bad_base64")]),
    "a Parquet file": (b"PAR1\x15\x80", [], [Undecodable(b"PAR1\x15\x80", "undecodable")]),
    "a record without data": (
        b'{"records":[{"data":"%s"},{"id":1}]}' % b64(A.encode()).encode(),
        [A],
        [Undecodable(b'{"id":1}', "no_lines")],
    ),
}


@pytest.mark.parametrize(("payload", "good", "errors"), BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_kept_with_its_reason(payload: bytes, good: list[str], errors: list[Undecodable]) -> None:
    found = decode(payload, LIMIT)

    assert (lines(found), found.errors) == (good, errors)


@pytest.mark.parametrize(
    "line", [b"hello", b"[ERROR] x", b'"2 123', b"\xff\xfe", b"2", b"null", b"12", b"x^2", b"- - -"]
)
def test_a_line_that_looks_odd_is_a_line(line: bytes) -> None:
    assert decode(line, LIMIT).batches == [Batch(line)]


def test_bytes_that_are_not_utf8_pass_through_json() -> None:
    assert decode(b'{"message":"a\xffb\x01","x":"\xfe"}', LIMIT).batches == [Batch(b"a\xffb\x01")]


def test_half_a_surrogate_is_not_lost() -> None:
    assert decode(rb'{"message":"a\ud800b"}', LIMIT).batches == [Batch("a\ud800b".encode("utf-8", "surrogatepass"))]


@pytest.mark.parametrize("payload", [b"", b"\n", b" \n\t\n", b"\r\n"])
def test_nothing_is_nothing(payload: bytes) -> None:
    assert not decode(payload, LIMIT).errors


# -- bounds -----------------------------------------------------------------------------------------------------------


def test_the_limit_holds_for_all_that_is_decompressed_in_a_payload() -> None:
    ten = [gzip.compress(b"x" * 1000) for _ in range(10)]
    found = decode_firehose(body(ten), 4500)

    assert not isinstance(found, str)
    assert reasons(found.decoded) == ["too_large"] * 6
    assert [error.payload for error in found.decoded.errors] == ten[4:]


def test_a_thousand_bombs_cost_no_more_than_one() -> None:
    bomb = gzip.compress(b"\0" * (64 * MIB))
    found = decode_firehose(body([bomb] * 1000), LIMIT)

    assert not isinstance(found, str)
    assert reasons(found.decoded) == ["too_large"] * 1000


@pytest.mark.parametrize(
    "payload",
    [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 900 + b"]" * 900, b'{"message":' * 500 + b'"x"' + b"}" * 500],
    ids=["lists", "objects", "closed lists", "messages"],
)
def test_depth_is_bounded_and_the_payload_kept(payload: bytes) -> None:
    found = decode(payload, LIMIT)

    assert len(found.errors) == 1
    assert found.errors[0].reason in {"bad_json", "undecodable"}


def test_wrapping_without_end_stops() -> None:
    payload = A.encode()
    for _ in range(40):
        payload = gzip.compress(payload)

    assert reasons(decode(payload, LIMIT)) == ["undecodable"]


# -- laws -------------------------------------------------------------------------------------------------------------

KEYS = [
    "message", "records", "Records", "data", "logEvents", "events", "awslogs", "s3", "body", "Sns", "detail", "payload",
    "schema", "event", "messageType", "srcaddr", "dstAddr", "log-status", "id", "object", "bucket", "key", "name",
    "value", "kinesis", "aws", "vpcflow", "x",
]  # fmt: skip
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JUNK = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.recursive(
        VALUES,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=5)
        ),
        max_leaves=20,
    ).map(lambda value: json.dumps(value).encode()),
)


@given(JUNK, st.sampled_from([bytes, gzip.compress, base64.b64encode, lambda d: d[: len(d) // 2], lambda d: d + d]))
@settings(max_examples=400, deadline=None)
def test_any_bytes_are_decoded_and_all_of_them_accounted_for(payload: bytes, wrap: Any) -> None:
    payload = wrap(payload)
    found = decode(payload, 10_000)

    assert bool(found) or not payload.strip()
    assert {error.reason for error in found.errors} <= REASONS.keys()
    assert all(batch.lines and not batch.lines.endswith(b"\r\n") for batch in found.batches)


@given(st.lists(JUNK, max_size=5))
@example([b"\r", b"\0"])
@example([b"x\1"])
@settings(max_examples=200, deadline=None)
def test_a_request_holds_what_its_records_hold_one_by_one(records: list[bytes]) -> None:
    request = decode_firehose(body(records), LIMIT)
    alone = [decode(record, LIMIT) for record in records]

    assert not isinstance(request, str)
    found = request.decoded
    if not found.duplicates:
        assert sorted(lines(found)) == sorted(line for one in alone for line in lines(one))
    # A record that holds an empty wrapping is an error by itself only.
    assert set(found.errors) <= {error for one in alone for error in one.errors}
    assert found.ignored == sum(one.ignored for one in alone)


WORDS = st.text("0123456789abcdef.-:OKACEPTR ", max_size=60).filter(lambda text: bool(text.strip()))
ODD = st.text('{}[]"\\\x00é\r ab', max_size=8)


@given(st.lists(WORDS | ODD, min_size=1, max_size=20), st.sampled_from([b"", b"\n"]))
@settings(max_examples=400, deadline=None)
def test_the_fast_way_gives_the_lines_of_the_slow_way(texts: list[str], end: bytes) -> None:
    records = [dumps({"message": text}) + end for text in texts]
    data = body(records).partition(b'[{"data":"')[2].removesuffix(b'"}]}')
    fast = firehose_lines(data)
    slow = decode(b"[" + b",".join(record.strip() for record in records) + b"]", LIMIT)

    if fast is not None:
        assert fast.split(b"\n") == [text.encode() for text in texts]
        assert lines(slow) == texts or not "".join(texts).strip()
    for joined in (unwrapped(b"\n".join(r.strip() for r in records)), plain_lines(records)):
        assert joined is None or joined.split(b"\n") == [text.encode() for text in texts]


def test_the_fast_way_is_taken_for_what_aws_sends() -> None:
    records = [message(line) for line in many(20_000)]
    data = body(records).partition(b'[{"data":"')[2].removesuffix(b'"}]}')
    chunks = list(firehose_chunks(data))

    assert len(chunks) > 3
    assert b"\n".join(firehose_lines(chunk) or b"" for chunk in chunks).decode().split("\n") == many(20_000)


@given(st.integers(0, 40), st.sampled_from([b"{", b"!!!", b'{"x":1}', b'{"message":"a\\"b"}', b"\xff", b"", b"a\nb"]))
@settings(max_examples=60, deadline=None)
def test_one_odd_record_changes_nothing_for_the_others(at: int, odd: bytes) -> None:
    good = many(40)
    records = [message(line) for line in good]
    records.insert(at, odd)

    found = decode_firehose(body(records), LIMIT)

    assert not isinstance(found, str)
    assert [line for line in lines(found.decoded) if line in set(good)] == good


# -- foreign data -----------------------------------------------------------------------------------------------------


def test_every_foreign_envelope_is_decoded() -> None:
    paths = sorted(shared("data/transport").rglob("*.json"))
    assert len(paths) > 20
    found = {path.name: decode(path.read_bytes(), LIMIT) for path in paths}

    assert all(found.values())
    assert {reason for one in found.values() for reason in reasons(one)} <= {"no_lines"}
    assert sum(len(one.notifications) for one in found.values()) >= 10
    assert found["s3-test-event.json"].ignored == 1
    assert lines(found["kinesisStreamCloudWatchLogsEvent.json"])[0].startswith("START RequestId: ")
    assert lines(found["cloudWatchLogEventWithPolicyLevel.json"]) == lines(found["cloudWatchLogEvent.json"])
    assert lines(found["entry_vpc_flow_logs.json"]) == [
        "2 463657938898 eni-9f825df9 - - - - - - - 1548934870 1548934929 - NODATA"
    ]


def test_the_sample_records_of_aws_are_decoded() -> None:
    folder = shared("reference/samples")
    encoded = (folder / "firehose-direct-put-records.b64").read_bytes().split()
    plain = (folder / "firehose-direct-put-records.jsonl").read_bytes()
    request = orjson.dumps({"requestId": "r", "timestamp": 1, "records": [{"data": text.decode()} for text in encoded]})

    found = decode_firehose(request, LIMIT)

    assert not isinstance(found, str)
    assert lines(found.decoded) == lines(decode(plain, LIMIT))[:5]
    subscription = decode((folder / "cwl-subscription-data.b64").read_bytes(), LIMIT)
    assert lines(subscription) == lines(decode((folder / "cwl-subscription-decoded.json").read_bytes(), LIMIT))
    assert len(lines(decode((folder / "cwl-filterlogevents-v7-ecs.ndjson").read_bytes(), LIMIT))) == 4
    assert decode((folder / "s3-plain-text-with-header.log").read_bytes(), LIMIT).batches[0].format == V2


# -- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "not JSON"), (b"{", "not JSON"), (b"[]", "not a JSON object"), (b"{}", "no list"),
        (b'{"records":{}}', "no list"), (body([message(A)])[:-1], "not JSON"), (body([message(A)]) + b"}", "not JSON"),
        (body([message(A), message(B)]).replace(b'"},{"', b'"}{"'), "not JSON"),
    ],
)  # fmt: skip
def test_what_is_no_request_is_told(text: bytes, says: str) -> None:
    found = decode_firehose(text, LIMIT)

    assert isinstance(found, str)
    assert says in found


@pytest.mark.parametrize(
    "text",
    [
        body([message(A), message(B)]),
        json.dumps(json.loads(body([message(A), message(B)])), indent=2).encode(),
        b'{"records":[{"data":"%s"},{"data":"%s"}],"timestamp":1578090901599,"requestId":"r-1"}'
        % (b64(message(A)).encode(), b64(message(B)).encode()),
        b'{"requestId":"r-1","timestamp":1578090901599,"records":[{"data":"%s","x":[{"data":"y"},{"data":"z"}]},{"data":"%s"}]}'
        % (b64(message(A)).encode(), b64(message(B)).encode()),
    ],
    ids=["as AWS writes it", "pretty", "another order", "more in a record"],
)
def test_a_request_is_read_however_it_is_written(text: bytes) -> None:
    found = decode_firehose(text, LIMIT)

    assert not isinstance(found, str)
    assert (found.request_id, found.timestamp_ms, lines(found.decoded)) == ("r-1", 1578090901599, [A, B])


@pytest.mark.parametrize("at", range(3))
def test_zeros_in_a_record_are_not_taken_for_padding(at: int) -> None:
    records = [message(A), message(B), message(C)]
    records[at] = message("2 \0 3")
    found = decode_firehose(body(records), LIMIT)

    assert not isinstance(found, str)
    assert lines(found.decoded)[at] == "2 \0 3"


@pytest.mark.parametrize("padding", ["MyA=", "A==="])
def test_padding_inside_of_a_record_is_bad_base64_and_no_line(padding: str) -> None:
    """Found by fuzzing: read as zeros, it took a field out of a line that was counted as good."""
    spoilt = b64(b'{"message":"x44') + padding + b64(b' 1 40"}')
    text = body([message(A), message(B)]).replace(b64(message(B)).encode(), spoilt.encode())

    found = decode_firehose(text, LIMIT)

    assert not isinstance(found, str)
    assert lines(found.decoded) == [A]
    assert found.decoded.errors == [Undecodable(spoilt.encode(), "bad_base64")]


def test_a_request_without_records_is_one() -> None:
    found = decode_firehose(body([]), LIMIT)

    assert not isinstance(found, str)
    assert not found.decoded


# -- hostile payloads -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ['"k\xff"', '"\\ud800"'])
def test_a_notification_whose_key_is_no_text_is_a_message_all_the_same(key: str) -> None:
    """Found by fuzzing: it raised, so Firehose got 500 for ever and the bridge ended."""
    thing = '"size":123456789012345678901234567890,"key":' + key
    text = f'{{"s3":{{"bucket":{{"name":"b"}},"object":{{{thing}}}}}}} '
    found = decode(text.encode("latin-1"), LIMIT)

    [told] = messages(found, Arrival("firehose", "r", 1))

    assert (json.loads(told.value)["bucket"], told.error) == ("b", "no_lines")


def test_parts_that_cannot_be_written_again_do_not_multiply_the_payload() -> None:
    one = b'{"a":' * 990 + b"1" + b"}" * 990 + b" "
    found = decode(one * 50, LIMIT)

    assert sum(len(error.payload) for error in found.errors) <= 2 * len(one * 50)
    assert [error.reason for error in found.errors if error.payload]


@pytest.mark.parametrize("junk", [b"{}", b"{}\n", b"[],"], ids=["concatenated", "lines", "list"])
def test_a_flood_of_errors_is_few_messages_that_hold_all_of_it(junk: bytes) -> None:
    count = MOST_ERRORS + 1000
    text = junk * count if junk != b"[]," else b"[" + junk * count + b'"x"]'
    found = decode(text, LIMIT)

    assert len(found.errors) == MOST_ERRORS + 1
    assert sum(error.payload.count(junk[:2]) for error in found.errors) == count
    assert reasons(found) == ["no_lines"] * len(found.errors)


def test_a_flood_of_notifications_is_few_messages() -> None:
    notice = '{"s3":{"bucket":{"name":"b"},"object":{"key":"k"}}}'
    found = decode(f"[{','.join([notice] * (MOST_ERRORS + 10))}]".encode(), LIMIT)

    assert (len(found.notifications), len(found.errors)) == (MOST_ERRORS, 10)


def test_a_flood_of_formats_is_few_batches_and_no_line_is_lost() -> None:
    found = decode("".join(f"srcaddr dstaddr x{n}\n1.1.1.1 - -\n" for n in range(1000)).encode(), LIMIT)
    left = [line for error in found.errors for line in error.payload.split(b"\n")]

    assert len(found.batches) == MOST_FORMATS
    assert len(lines(found)) + len(left) == 2000
    assert set(reasons(found)) == {"unknown_format"}


def test_names_that_are_no_headers_are_looked_at_up_to_a_limit_and_stay_lines() -> None:
    text = b"a b\n" * (MOST_CANDIDATES + 1) + b"srcaddr dstaddr bytes"

    assert decode(text, LIMIT).batches == [Batch(text)]


def test_a_request_of_too_many_parts_is_given_up_as_a_whole_and_keeps_its_lines() -> None:
    junk = (',{"data":""}' * 50 + ',{"data":"%"}') * (MOST_LOOKS // 50 + 1000)
    text = f'{{"requestId":"r","records":[{{"data":"{b64(message(A))}"}}{junk}]}}'.encode()
    found = decode_firehose(text, LIMIT)

    assert not isinstance(found, str)
    assert lines(found.decoded) == [A]
    assert [len(error.payload) for error in found.decoded.errors if error.reason == "too_large"] == [len(text)]


def test_a_payload_of_too_many_parts_is_given_up_as_a_whole() -> None:
    text = b'{"records":{"t-0":[{"value":""}%s]}}' % (b',{"value":""}' * MOST_LOOKS)

    assert decode(text, LIMIT).errors == [Undecodable(text, "too_large")]
