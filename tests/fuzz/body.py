"""Fuzz target: a post's headers and body, whatever they are, give messages or a refusal with a status that is allowed.

A request's records give the same lines all at once as they do one by one.
"""

from __future__ import annotations

from collections import Counter

import orjson

from streams.core.parse import REASONS
from streams.sources.decode import Decoded, Work, decode_firehose
from streams.sources.firehose import Read, RefusedError, answer, attributes_format, read_body
from streams.sources.messages import Arrival

LIMIT = 64 * 1024
STATUSES = {400}
_HEADERS = 3


def target(data: bytes) -> None:
    """One input: request id, common attributes and arn's format, each ended by a line feed; then the body."""
    *head, body = data.split(b"\n", _HEADERS) if data.count(b"\n") >= _HEADERS else (b"", b"", b"", data)
    request_id, attributes, fmt = (part.decode("utf-8", "surrogateescape") for part in head)
    read = _read(body, request_id, attributes, fmt)
    if isinstance(read, RefusedError):
        assert read.status in STATUSES
        _readable(request_id, str(read))
        return
    _readable(read.request_id, "")
    assert read.request_id
    for message in read.messages:
        assert message.error in {None, *REASONS}
        assert message.error or message.value, "a message without lines"
        message.headers()
    assert len({one.origin.key() for one in read.messages}) == len(read.messages)
    _alike(body)


def _read(body: bytes, request_id: str, attributes: str, fmt: str) -> Read | RefusedError:
    try:
        told = attributes_format(attributes)
        return read_body(body, Arrival("firehose", request_id, 1, told or fmt or None), LIMIT)
    except RefusedError as refused:
        return refused


def _readable(request_id: str, error: str) -> None:
    body = answer(400, request_id, 1, error).body
    assert isinstance(body, bytes)
    found = orjson.loads(body)
    assert isinstance(found["requestId"], str)
    assert found["timestamp"] == 1


def _alike(body: bytes) -> None:
    """The fast way and the plain one. Not where a limit was met, nor for keys that stand twice: the last one wins."""
    request = decode_firehose(body, LIMIT)
    if isinstance(request, str) or body.count(b'"records"') > 1:
        return
    whole = orjson.loads(body)
    work = Work(body, LIMIT)
    for one in whole["records"]:
        work.records([one], 1)
    one_by_one = work.decoded()
    if "too_large" in _reasons(request.decoded) | _reasons(one_by_one):
        return
    assert _found(request.decoded) == _found(one_by_one), "all at once is not one by one"


def _reasons(found: Decoded) -> set[str]:
    return {error.reason for error in found.errors}


def _found(found: Decoded) -> tuple[object, ...]:
    lines = {batch.format: batch.lines for batch in found.batches}
    errors = Counter((error.payload, error.reason) for error in found.errors)
    return lines, errors, found.ignored, found.duplicates, found.notifications
