"""Small things that tests of the sources share: lines, Firehose bodies, foreign data where it is there."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

from streams.sources.decode import Decoded

MIB = 1024 * 1024
SHARED = Path(__file__).parents[2].parent / "shared"

V2 = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"
)

A = "2 123456789010 eni-1235b8ca123456789 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1418530010 1418530070 ACCEPT OK"
B = "2 123456789010 eni-1235b8ca123456789 172.31.9.69 172.31.9.12 49761 3389 6 20 4249 1418530010 1418530070 REJECT OK"
C = "2 123456789010 eni-1235b8ca123456789 - - - - - - - 1431280876 1431280934 - NODATA"


def shared(path: str) -> Path:
    """Foreign test data; the test is skipped where it is absent."""
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"no foreign test data at {found}")
    return found


def many(count: int, first: int = 0) -> list[str]:
    """Lines that are all different."""
    return [
        f"2 123456789010 eni-{n % 97:017x} 10.0.{n // 250 % 250}.{n % 250} 192.0.2.7 {1024 + n % 60000} 443 6 "
        f"{n} {n * 40} 1418530010 1418530070 ACCEPT OK"
        for n in range(first, first + count)
    ]


def message(line: str) -> bytes:
    """A record as AWS puts it into Firehose."""
    return b'{"message":"' + line.encode() + b'"}'


def body(records: Sequence[bytes], request_id: str = "r-1", timestamp: int = 1578090901599) -> bytes:
    """A Firehose request body, as AWS writes it."""
    data = [{"data": base64.b64encode(record).decode()} for record in records]
    return orjson.dumps({"requestId": request_id, "timestamp": timestamp, "records": data})


def lines(decoded: Decoded) -> list[str]:
    """All lines of all batches."""
    found = [line for batch in decoded.batches for line in batch.lines.decode("utf-8", "replace").split("\n")]
    return [line.removesuffix("\r") for line in found]


def reasons(decoded: Decoded) -> list[str]:
    return [error.reason for error in decoded.errors]
