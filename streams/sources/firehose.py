"""Amazon Data Firehose's HTTP endpoint. 200 says "stored": it is answered when the broker has confirmed, and only then.

Firehose tries again on every other answer, with one exception: on 413 it throws the batch away. So nothing here answers
413, whatever is too large. A retry has the same request id, and so the same origin: the workers drop it.
https://docs.aws.amazon.com/firehose/latest/dev/httpdeliveryrequestresponse.html
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from streams.core.raw import RawMessage
from streams.sources.decode import decode_firehose
from streams.sources.inflate import compression, inflate
from streams.sources.keys import AccessKeys
from streams.sources.messages import Arrival, Counts, count_skipped, format_names, messages
from streams.sources.publish import BrokerUnavailable

log = logging.getLogger(__name__)

Publish = Callable[[Sequence[RawMessage]], Awaitable[None]]

PATH = "/firehose"
SOURCE = "firehose"
MIB = 1024 * 1024

FIREHOSE_WAITS = 180
"""Seconds that Firehose waits for an answer."""

RUNNER_OPTIONS: Mapping[str, Any] = {"auto_decompress": False, "max_field_size": 128 * 1024}
"""For web.AppRunner. The body is to come as it was sent: it is bounded here, and a Content-Encoding that is not true is
forgiven. 50 common attributes of 1,280 characters are one header of 64 KiB and more."""

_REQUEST_ID = "X-Amz-Firehose-Request-Id"
_ACCESS_KEY = "X-Amz-Firehose-Access-Key"
_ARN = "X-Amz-Firehose-Source-Arn"
_VERSION = "X-Amz-Firehose-Protocol-Version"
_ATTRIBUTES = "X-Amz-Firehose-Common-Attributes"
_PROTOCOL = "1.0"

_INLINE_BYTES = 64 * 1024
_LONGEST_ID = 1024
_LONGEST_MESSAGE = 1024
_DECODERS = 2
_QUIET_SECONDS = 30.0


@dataclass(frozen=True)
class FirehoseSettings:
    """How the endpoint works. Sizes in bytes; each request may use both of the first two.

    access_keys, access_key_file: see AccessKeys. max_body_bytes: as it comes. max_decompressed_bytes: of the body, and
    again of what its records hold. max_in_flight_bytes: of all requests together. body_seconds: for the body to come.
    deadline_seconds: for the broker to confirm. formats: delivery stream ARN -> format, as AWS or people write it.
    Raises ValueError, with the name of the setting first.
    """

    access_keys: tuple[str, ...] = field(default=(), repr=False)
    access_key_file: Path | None = None
    max_body_bytes: int = 64 * MIB
    max_decompressed_bytes: int = 64 * MIB
    max_in_flight_bytes: int = 256 * MIB
    body_seconds: float = 60.0
    deadline_seconds: float = 60.0
    formats: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse settings that can't work."""
        if self.body_seconds + self.deadline_seconds >= FIREHOSE_WAITS:
            msg = f"deadline_seconds: with body_seconds expected less than {FIREHOSE_WAITS}, which Firehose waits"
            raise ValueError(msg)
        if self.max_in_flight_bytes < self.max_body_bytes:
            msg = f"max_in_flight_bytes: expected max_body_bytes ({self.max_body_bytes}) or more"
            raise ValueError(msg)


def firehose_routes(
    settings: FirehoseSettings, publish: Publish, counts: Counts, clock: Callable[[], float] = time.time
) -> list[web.RouteDef]:
    """POST /firehose. publish: comes back when everything is stored, or raises BrokerUnavailable. clock: epoch seconds.

    Raises ValueError for settings that can't work, with the name of the setting first.
    """
    return [web.post(PATH, Endpoint(settings, publish, counts, clock).post)]


class RefusedError(Exception):
    """A request that is not taken. status: what Firehose gets. outcome: what is counted."""

    def __init__(self, status: int, outcome: str, message: str) -> None:
        """message: what the sender is told."""
        super().__init__(message)
        self.status, self.outcome = status, outcome


@dataclass
class _Delivery:
    """One request on its way. request_id: the header's, or once it was read the body's."""

    request_id: str
    arrival_ms: int
    held: int = 0


@dataclass(frozen=True)
class Read:
    """A body that was understood. ignored, duplicates: as in Decoded."""

    request_id: str
    ignored: int
    duplicates: int
    messages: list[RawMessage]


class Endpoint:
    """The handler and what it shares between requests: keys, bytes in flight."""

    def __init__(
        self, settings: FirehoseSettings, publish: Publish, counts: Counts, clock: Callable[[], float]
    ) -> None:
        """See firehose_routes."""
        self._settings = settings
        self._publish = publish
        self._counts = counts
        self._clock = clock
        self._keys = AccessKeys(settings.access_keys, settings.access_key_file)
        self._formats = {arn: _format(f"formats.{arn}", text) for arn, text in settings.formats.items()}
        self._decoders = asyncio.Semaphore(_DECODERS)
        self._in_flight = 0
        self._told: dict[str, float] = {}

    async def post(self, request: web.Request) -> web.Response:
        """Take a delivery and say what became of it."""
        delivery = _Delivery(request.headers.get(_REQUEST_ID, "")[:_LONGEST_ID], self._now())
        status, outcome, error = 200, "ok", ""
        try:
            await self._take(request, delivery)
        except ConnectionError:
            self._counts.requests(SOURCE, "bad_request")
            raise
        except RefusedError as refused:
            status, outcome, error = refused.status, refused.outcome, str(refused)
            self._tell(outcome, error)
        finally:
            self._in_flight -= delivery.held
        self._counts.requests(SOURCE, outcome)
        return answer(status, delivery.request_id, self._now(), error)

    async def _take(self, request: web.Request, delivery: _Delivery) -> None:
        if not self._keys.accept(request.headers.get(_ACCESS_KEY)):
            raise RefusedError(401, "unauthorized", "the access key is missing or not valid")
        version = request.headers.get(_VERSION, _PROTOCOL)
        if version != _PROTOCOL:
            raise RefusedError(400, "bad_request", f"protocol version {version[:20]!r} is not known, {_PROTOCOL} is")
        fmt = self._format_of(request)
        body = await self._body(request, delivery)
        self._counts.bytes(SOURCE, len(body))
        read = await self._read(body, delivery, fmt)
        del body
        count_skipped(self._counts, SOURCE, read.ignored, read.duplicates)
        if read.messages:
            # The lines are held until they are stored, and weigh what they weigh.
            self._hold(delivery, sum(len(message.value) for message in read.messages))
            await self._store(read.messages)

    def _format_of(self, request: web.Request) -> str | None:
        """The format of the lines: what the delivery says itself, else what the settings say of its stream."""
        told = attributes_format(request.headers.get(_ATTRIBUTES, ""))
        return told or self._formats.get(request.headers.get(_ARN, ""))

    # -- the body ---------------------------------------------------------------------------------------------------

    async def _body(self, request: web.Request, delivery: _Delivery) -> bytes:
        """Read the body, bounded in size and time while it comes."""
        # Only what has come is counted: who announces much and sends nothing must not keep others out.
        self._check_size(request.content_length or 0)
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._settings.body_seconds):
                while chunk := await request.content.readany():
                    size += len(chunk)
                    self._check_size(size)
                    self._reserve(delivery, size)
                    chunks.append(chunk)
        except TimeoutError:
            raise RefusedError(408, "bad_request", "the body did not come in time") from None
        except web.RequestPayloadError as problem:
            raise RefusedError(400, "bad_request", f"the body can't be read: {problem}") from None
        return b"".join(chunks)

    def _check_size(self, size: int) -> None:
        limit = self._settings.max_body_bytes
        if size > limit:
            # 413 is the natural answer, and the one on which Firehose throws the batch away.
            raise RefusedError(400, "too_large", f"the body is larger than {limit} bytes")

    def _reserve(self, delivery: _Delivery, size: int) -> None:
        """Back-pressure: what does not fit beside the others is refused at once, and Firehose comes again."""
        if size <= delivery.held:
            return
        if self._in_flight - delivery.held + size > self._settings.max_in_flight_bytes:
            raise RefusedError(503, "overloaded", "too much is on its way already")
        self._hold(delivery, size)

    def _hold(self, delivery: _Delivery, size: int) -> None:
        self._in_flight += size - delivery.held
        delivery.held = size

    async def _read(self, body: bytes, delivery: _Delivery, fmt: str | None) -> Read:
        arrival = Arrival(SOURCE, delivery.request_id, delivery.arrival_ms, fmt)
        limit = self._settings.max_decompressed_bytes
        if len(body) <= _INLINE_BYTES and not compression(body):
            read = read_body(body, arrival, limit)
        else:
            # Off the event loop, and few at a time: each can need several times the decompressed size.
            async with self._decoders:
                read = await asyncio.to_thread(read_body, body, arrival, limit)
        delivery.request_id = read.request_id
        return read

    async def _store(self, found: Sequence[RawMessage]) -> None:
        try:
            async with asyncio.timeout(self._settings.deadline_seconds):
                await self._publish(found)
        except BrokerUnavailable as problem:
            raise RefusedError(503, "unavailable", f"not stored: {problem}") from None
        except TimeoutError:
            raise RefusedError(503, "unavailable", "not stored: the broker did not confirm in time") from None

    # -- saying it --------------------------------------------------------------------------------------------------

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _tell(self, outcome: str, error: str) -> None:
        """One line a problem and half a minute; the counter has the rest."""
        now = self._clock()
        if now - self._told.get(outcome, 0.0) >= _QUIET_SECONDS:
            self._told[outcome] = now
            log.warning("firehose request refused (%s): %s", outcome, error[:_LONGEST_MESSAGE])


def attributes_format(header: str) -> str | None:
    """The format that the header of common attributes tells, as RawMessage.format has it; None: it tells none.

    Raises RefusedError for a format that is none.
    """
    try:
        told = orjson.loads(header)["commonAttributes"].get("format")
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None
    return _format_or_refuse(told) if isinstance(told, str) else None


def read_body(body: bytes, arrival: Arrival, limit_bytes: int) -> Read:
    """Decompress, decode and cut into messages. Raises RefusedError, and nothing else, whatever the bytes.

    arrival: its name is the header's request id, empty where there is none.
    """
    if compression(body):
        inflated = inflate(body, limit_bytes)
        if inflated.error == "too_large":
            raise RefusedError(400, "too_large", f"the body is larger than {limit_bytes} bytes when decompressed")
        if inflated.error:
            raise RefusedError(400, "bad_request", "the body is not whole: its compression is broken")
        body = inflated.data
    found = decode_firehose(body, limit_bytes)
    if isinstance(found, str):
        raise RefusedError(400, "bad_request", found)
    name = found.request_id or arrival.name
    if not name or len(name) > _LONGEST_ID:
        raise RefusedError(400, "bad_request", "neither the header nor the body has a request id")
    if arrival.name and name != arrival.name:
        raise RefusedError(400, "bad_request", "the request id of the body is not the one of the header")
    decoded = found.decoded
    return Read(name, decoded.ignored, decoded.duplicates, list(messages(decoded, replace(arrival, name=name))))


def answer(status: int, request_id: str, now_ms: int, error: str) -> web.Response:
    """The response as Firehose can read it: it takes any other for a 500."""
    body: dict[str, str | int] = {"requestId": request_id, "timestamp": now_ms}
    if error:
        body["errorMessage"] = error[:_LONGEST_MESSAGE]
    text = orjson.dumps({key: _printable(value) for key, value in body.items()})
    return web.Response(body=text, status=status, content_type="application/json")


def _printable(value: str | int) -> str | int:
    """Text as JSON can hold it: a header may have bytes that are not UTF-8."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _format(setting: str, text: str) -> str:
    try:
        return format_names(text)
    except ValueError as problem:
        message = f"{setting}: {problem}"
        raise ValueError(message) from None


def _format_or_refuse(text: str) -> str:
    try:
        return format_names(text)
    except ValueError as problem:
        raise RefusedError(400, "bad_request", f"common attribute `format`: {problem}") from None
