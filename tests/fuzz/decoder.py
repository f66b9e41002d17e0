"""Fuzz target: any payload is decoded without raising, and what stands beside it is never lost with it."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Callable

import orjson
import zstandard

from streams.core.parse import REASONS
from streams.core.raw import split_lines
from streams.sources.decode import Decoded, decode, decode_firehose
from streams.sources.messages import Arrival, messages

LIMIT = 64 * 1024
CANARY = b"2 123456789010 eni-canary 192.0.2.1 198.51.100.2 1 443 6 1 40 1418530010 1418530070 ACCEPT OK"
_EXPANSION = 8
"""JSON may write a byte as six (`\\u0000`); a shipper's object gets the fields of its format that it lacks."""
_ROOM = 4096


def _json(data: bytes) -> object:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return data.decode("utf-8", "replace")


def _firehose(data: bytes) -> bytes:
    records = [base64.b64encode(one).decode() for one in (*data.split(b"\0"), CANARY)]
    return orjson.dumps({"requestId": "r", "timestamp": 1, "records": [{"data": one} for one in records]})


def _events(data: bytes) -> bytes:
    texts = [part.decode("utf-8", "replace") for part in data.split(b"\0")]
    events = [{"id": str(n), "message": text} for n, text in enumerate([*texts, CANARY.decode()])]
    return orjson.dumps({"messageType": "DATA_MESSAGE", "logEvents": events})


def _sns(data: bytes) -> bytes:
    text = json.dumps({"TopicArn": "arn:aws:sns:x", "Message": data.decode("latin-1") + "\n" + CANARY.decode()})
    return json.dumps({"messageId": "1", "body": text}).encode()


BESIDE: tuple[Callable[[bytes], bytes], ...] = (
    lambda data: data,
    lambda data: data + b"\n" + CANARY,
    lambda data: CANARY + b"\n" + data,
    lambda data: orjson.dumps([_json(data), {"message": CANARY.decode()}]),
    lambda data: orjson.dumps({"Records": [{"log": _text(data)}, {"log": CANARY.decode()}]}),
    lambda data: gzip.compress(data + b"\n" + CANARY, 1, mtime=0),
    lambda data: base64.b64encode(zlib.compress(data + b"\n" + CANARY, 6)),
    lambda data: zstandard.compress(data + b"\n" + CANARY),
    _events,
    _firehose,
    _sns,
)
"""How the first byte of the input wraps the rest, the canary beside it; the first way: not at all."""


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def target(data: bytes) -> None:
    """One input."""
    wrap = data[0] % len(BESIDE) if data else 0
    try:
        payload = BESIDE[wrap](data[1:])
    except (TypeError, RecursionError):  # orjson does not write all that it reads: nested too deep
        return
    found = decode(payload, LIMIT)
    _sound(payload, found)
    if wrap:
        assert CANARY in _everything(found), "the neighbour is gone"
    if BESIDE[wrap] is _firehose:
        request = decode_firehose(payload, LIMIT)
        assert not isinstance(request, str)
        assert CANARY in _everything(request.decoded), "the neighbour in the request is gone"


def _sound(payload: bytes, found: Decoded) -> None:
    assert found or not payload.strip(), "a payload is gone"
    assert all(batch.lines.strip(b"\r\n") for batch in found.batches), "a batch without a line"
    assert {error.reason for error in found.errors} <= REASONS.keys()
    size = sum(len(batch.lines) for batch in found.batches) + sum(len(error.payload) for error in found.errors)
    assert size <= _EXPANSION * (len(payload) + LIMIT) + _ROOM * (1 + len(found.batches)), "it has grown"
    for batch in found.batches:
        cut = b"\n".join(split_lines(batch.lines, 50))  # the end of the last line is left or not
        assert cut.removesuffix(b"\n") == batch.lines.removesuffix(b"\n")
    made = list(messages(found, Arrival("file", "f", 1)))
    assert len({one.origin.key() for one in made}) == len(made)


def _everything(found: Decoded) -> bytes:
    return b"\n".join([*(batch.lines for batch in found.batches), *(error.payload for error in found.errors)])
