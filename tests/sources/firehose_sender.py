"""Amazon Data Firehose as an HTTP endpoint meets it, after AWS's specification of requests, responses and retries.

https://docs.aws.amazon.com/firehose/latest/dev/httpdeliveryrequestresponse.html
Firehose itself speaks https on port 443 only; this sender takes any URL.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

MOST_RECORDS = 10_000
LARGEST_BODY = 64 * 1024 * 1024
LARGEST_RECORD = 1_024_000
LARGEST_ANSWER = 1024 * 1024
LONGEST_ERROR = 8192
ANSWER_SECONDS = 180

FIRST_PAUSE, FACTOR, JITTER, LONGEST_PAUSE = 1.0, 2.0, 0.15, 120.0

ARN = "arn:aws:firehose:eu-west-1:123456789010:deliverystream/flow-logs"


@dataclass(frozen=True)
class Attempt:
    """One post. accepted: the answer says that the batch is stored; problem: why it does not count as such.

    status 0: nobody was there, or nobody answered.
    """

    status: int
    answer: dict[str, Any]
    problem: str = ""

    @property
    def accepted(self) -> bool:
        return not self.problem

    @property
    def final(self) -> bool:
        """413: Firehose gives the batch up, and does not even write it to the error bucket."""
        return self.accepted or self.status == 413


@dataclass(frozen=True)
class Delivery:
    """What became of a batch. lost: neither accepted nor kept for the error prefix."""

    request_id: str
    attempts: list[Attempt]

    @property
    def accepted(self) -> bool:
        return self.attempts[-1].accepted

    @property
    def lost(self) -> bool:
        return self.attempts[-1].status == 413


@dataclass
class FirehoseSender:
    """A delivery stream with an HTTP endpoint as its destination.

    attributes: the common attributes. compressed: Content-Encoding GZIP is chosen. retry_seconds: RetryOptions'
    duration. sleep, clock, jitter: time and chance, so that a test needs neither.
    """

    session: aiohttp.ClientSession
    url: str
    access_key: str | None = None
    arn: str = ARN
    attributes: Mapping[str, str] = field(default_factory=dict)
    compressed: bool = False
    retry_seconds: float = 300.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.time
    jitter: Callable[[], float] = random.random

    async def deliver(self, records: Sequence[bytes], request_id: str | None = None) -> Delivery:
        """Post a batch until it is accepted, given up or the time is over. All attempts have one request id."""
        name = request_id or str(uuid.uuid4())
        attempts: list[Attempt] = []
        waited, pause = 0.0, FIRST_PAUSE
        while True:
            attempts.append(await self.post(records, name))
            if attempts[-1].final or waited >= self.retry_seconds:
                return Delivery(name, attempts)
            wait = pause * (1 + JITTER * (2 * self.jitter() - 1))
            await self.sleep(wait)
            waited += wait
            pause = min(FACTOR * pause, LONGEST_PAUSE)

    async def deliver_all(self, records: Sequence[bytes], batch: int = 500) -> list[Delivery]:
        """Post any number of records, `batch` in a request."""
        return [await self.deliver(records[at : at + batch]) for at in range(0, len(records), batch)]

    async def post(self, records: Sequence[bytes], request_id: str) -> Attempt:
        """Post a batch once."""
        timestamp = int(self.clock() * 1000)
        return await self.post_body(write_body(records, request_id, timestamp), request_id)

    async def post_body(self, body: bytes, request_id: str, headers: Mapping[str, str | None] | None = None) -> Attempt:
        """Post any body. headers: besides those that Firehose sends, or instead; None: left out."""
        sent = {**dict(self.headers(request_id)), **(headers or {})}
        data = gzip.compress(body, 6) if self.compressed else body
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        wanted = {name: value for name, value in sent.items() if value is not None}
        try:
            async with self.session.post(
                self.url, data=data, headers=wanted, timeout=timeout, allow_redirects=False
            ) as response:
                return judge(response.status, dict(response.headers), await response.read(), request_id)
        except (aiohttp.ClientError, OSError) as problem:
            return Attempt(0, {}, f"no answer: {problem}")

    def headers(self, request_id: str) -> Iterator[tuple[str, str]]:
        yield "X-Amz-Firehose-Protocol-Version", "1.0"
        yield "X-Amz-Firehose-Request-Id", request_id
        yield "X-Amz-Firehose-Source-Arn", self.arn
        yield "Content-Type", "application/json"
        if self.access_key is not None:
            yield "X-Amz-Firehose-Access-Key", self.access_key
        if self.attributes:
            yield "X-Amz-Firehose-Common-Attributes", json.dumps({"commonAttributes": dict(self.attributes)})
        if self.compressed:
            yield "Content-Encoding", "gzip"


def write_body(records: Sequence[bytes], request_id: str, timestamp: int) -> bytes:
    """The body of a request. Raises ValueError for what Firehose never sends."""
    if not len(records) <= MOST_RECORDS or any(len(record) > LARGEST_RECORD for record in records):
        raise ValueError("Firehose sends 10,000 records of 1,024,000 bytes at most")
    data = [{"data": base64.b64encode(record).decode()} for record in records]
    body = orjson.dumps({"requestId": request_id, "timestamp": timestamp, "records": data})
    if len(body) > LARGEST_BODY:
        raise ValueError("Firehose sends 64 MiB at most")
    return body


def judge(status: int, headers: Mapping[str, str], body: bytes, request_id: str) -> Attempt:
    """Read an answer as Firehose does: what does not conform is a failure, whatever its status."""
    try:
        answer = json.loads(body)
    except ValueError:
        return Attempt(status, {}, "the answer is not JSON")
    if not isinstance(answer, dict):
        return Attempt(status, {}, "the answer is not a JSON object")
    error = answer.get("errorMessage", "")
    checks = {
        "the status is outside of 2xx, 4xx and 5xx": status // 100 in (2, 4, 5),
        "Content-Type is not application/json": headers.get("Content-Type") == "application/json",
        "Content-Encoding is not allowed": "Content-Encoding" not in headers,
        "Content-Length is missing": headers.get("Content-Length") == str(len(body)),
        "the answer is too large": len(body) <= LARGEST_ANSWER,
        "requestId is not that of the request": answer.get("requestId") == request_id,
        "timestamp is not an integer": isinstance(answer.get("timestamp"), int),
        "errorMessage is too long": isinstance(error, str) and len(error) <= LONGEST_ERROR,
        f"the status is {status}": status == 200,
    }
    problem = next((problem for problem, passed in checks.items() if not passed), "")
    return Attempt(status, answer, problem)
