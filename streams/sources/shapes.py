"""The wrappings that flow logs travel in, a row each in `SHAPES`: which key tells it, and how it is undone.

A shape gets an object that has its key, hands what is inside on to the work, and says True; or False: it is another.
- Lambda events (S3, SQS, SNS, Kinesis, MSK): https://docs.aws.amazon.com/lambda/latest/dg/lambda-services.html
- S3 notifications: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
- S3 by EventBridge: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
- CloudWatch Logs: https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html
- what Firehose leaves at its error prefix: https://docs.aws.amazon.com/firehose/latest/dev/retry.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

import orjson

if TYPE_CHECKING:
    from streams.sources.decode import Work

Json = Mapping[str, object]
Shape = Callable[["Work", Json, int], bool]


@dataclass(frozen=True, slots=True)
class S3Object:
    """An object that was created, by an S3 notification. key: decoded. size in bytes. sequencer: orders one key's."""

    bucket: str
    key: str
    etag: str = ""
    size: int = 0
    sequencer: str = ""

    def json(self) -> bytes:
        """As a JSON object. A key need not be UTF-8, nor a size fit 64 bits: then orjson does not write it."""
        try:
            return orjson.dumps(self)
        except TypeError:
            return json.dumps(asdict(self)).encode()


def _line_at(key: str) -> Shape:
    """The line is this key's text."""

    def shape(work: Work, value: Json, depth: int) -> bool:
        return _line(work, value[key], depth)

    return shape


def _base64_at(key: str, inner_key: str = "") -> Shape:
    """What is inside is this key's base64."""

    def shape(work: Work, value: Json, depth: int) -> bool:
        found = value[key]
        if inner_key:
            found = found.get(inner_key) if isinstance(found, dict) else None
        if found is not None:
            work.base64(found, depth)
        return found is not None

    return shape


def _list_at(key: str) -> Shape:
    """What is inside is this key's list of objects."""

    def shape(work: Work, value: Json, depth: int) -> bool:
        found = value[key]
        if not (isinstance(found, list) and all(isinstance(one, dict) for one in found)):
            return False
        for one in found:
            work.value(one, depth + 1)
        return True

    return shape


def _line(work: Work, line: object, depth: int) -> bool:
    if not isinstance(line, str) or not line.strip("\r\n"):
        return False
    work.message(line, depth)
    return True


def _cloudwatch(work: Work, value: Json, depth: int) -> bool:
    """A subscription's envelope. CONTROL_MESSAGE: CloudWatch tries whether its destination is there."""
    if value.get("messageType") == "CONTROL_MESSAGE":
        work.ignore()
        return True
    events = value.get("logEvents")
    if not isinstance(events, list):
        return False
    work.events(events, depth)
    return True


def _firehose_or_kafka(work: Work, value: Json, depth: int) -> bool:
    """`records` is Firehose's list, or what Lambda reads from MSK: a list for each partition."""
    found = value["records"]
    if isinstance(found, list):
        work.records(found, depth + 1)
        return True
    if not (isinstance(found, dict) and all(isinstance(one, list) for one in found.values())):
        return False
    for one in (record for partition in found.values() for record in partition):
        if isinstance(one, dict) and one.get("value") is None:
            work.ignore()
        else:
            work.base64(one["value"] if isinstance(one, dict) else one, depth)
    return True


def _pipe(work: Work, value: Json, depth: int) -> bool:
    """A Kinesis record as EventBridge Pipes hand it on: without a wrapping of its own."""
    if value.get("eventSource") != "aws:kinesis":
        return False
    work.base64(value["data"], depth)
    return True


def _sqs(work: Work, value: Json, depth: int) -> bool:
    """A message of a queue."""
    return not value.keys().isdisjoint(("eventSource", "messageId", "receiptHandle")) and _line(
        work, value["body"], depth
    )


def _sns(work: Work, value: Json, depth: int) -> bool:
    """A notification as a queue gets it."""
    return "TopicArn" in value and _line(work, value["Message"], depth)


def _sns_record(work: Work, value: Json, depth: int) -> bool:
    """A notification as Lambda gets it."""
    inner = value["Sns"]
    return isinstance(inner, dict) and "Message" in inner and _sns(work, inner, depth)


def _s3(work: Work, value: Json, _: int) -> bool:
    """An event of a bucket. Only what was created can be read."""
    created = str(value.get("eventName", "ObjectCreated:")).startswith("ObjectCreated:")
    return _s3_event(work, value["s3"], created=created)


def _eventbridge(work: Work, value: Json, _: int) -> bool:
    """An event of a bucket that came by EventBridge."""
    created = value.get("detail-type") == "Object Created"
    return value.get("source") == "aws.s3" and _s3_event(work, value["detail"], created=created)


def _s3_event(work: Work, event: object, *, created: bool) -> bool:
    bucket, thing = (event.get("bucket"), event.get("object")) if isinstance(event, dict) else (None, None)
    if not (isinstance(bucket, dict) and isinstance(thing, dict)):
        return False
    name, key = bucket.get("name"), thing.get("key")
    if not (isinstance(name, str) and isinstance(key, str)):
        return False
    if created:
        work.notify(_s3_object(name, key, thing))
    else:
        work.ignore()
    return True


def _s3_object(bucket: str, key: str, thing: Json) -> S3Object:
    etag, size, sequencer = thing.get("eTag", thing.get("etag")), thing.get("size"), thing.get("sequencer")
    return S3Object(
        bucket,
        unquote_plus(key),
        etag if isinstance(etag, str) else "",
        size if isinstance(size, int) else 0,
        sequencer if isinstance(sequencer, str) else "",
    )


def _s3_test(work: Work, value: Json, _: int) -> bool:
    """What S3 sends once, when notifications are set up."""
    if value["Event"] != "s3:TestEvent":
        return False
    work.ignore()
    return True


def _connect(work: Work, value: Json, depth: int) -> bool:
    """Kafka Connect's JsonConverter with schemas."""
    schema, inner = value.get("schema"), value["payload"]
    if "schema" not in value or not isinstance(inner, dict | list | str):
        return False
    if isinstance(schema, dict) and schema.get("type") == "bytes":
        work.base64(inner, depth)
    else:
        work.value(inner, depth + 1)
    return True


def _nested(work: Work, value: Json, depth: int) -> bool:
    """A shipper's event whose message it has parsed as JSON."""
    inner = value["message"]
    if not (isinstance(inner, dict | list) and inner):
        return False
    work.value(inner, depth + 1)
    return True


def _event(work: Work, value: Json, depth: int) -> bool:
    """ECS: `event.original` is the line that the other fields were made of. Splunk: `event` is."""
    event = value["event"]
    return _line(work, event.get("original") if isinstance(event, dict) else event, depth)


SHAPES: tuple[tuple[str, Shape], ...] = (
    ("messageType", _cloudwatch),
    ("logEvents", _cloudwatch),
    ("awslogs", _base64_at("awslogs", "data")),
    ("records", _firehose_or_kafka),
    ("Records", _list_at("Records")),
    ("events", _list_at("events")),
    ("kinesis", _base64_at("kinesis", "data")),
    ("s3", _s3),
    ("body", _sqs),
    ("Sns", _sns_record),
    ("Message", _sns),
    ("detail", _eventbridge),
    ("Event", _s3_test),
    ("data", _pipe),
    ("rawData", _base64_at("rawData")),
    ("payload", _connect),
    ("message", _nested),
    ("@message", _line_at("@message")),
    ("event.original", _line_at("event.original")),
    ("event", _event),
    ("log", _line_at("log")),
    ("short_message", _line_at("short_message")),
)
"""Key -> shape; the first that says True. An object whose `message` is text comes before all of them."""
