"""The server under clients that are slow, or send no HTTP: they are cut off, nobody else waits, and no log tells it."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from streams.server import IDLE_SECONDS, Server, health_routes
from streams.settings import Settings
from streams.sources.firehose import RUNNER_OPTIONS, FirehoseSettings, firehose_routes
from tests.sources.fakes import Broker, Counted
from tests.sources.samples import MIB, A, body, message

SOON = 20.0
HEAD = b"POST /firehose HTTP/1.1\r\nHost: x\r\n"
SECRET = b"sesame-of-forty-thieves"


async def scrape() -> bytes:
    return b"# nothing\n"


@asynccontextmanager
async def served(idle_seconds: float = IDLE_SECONDS, **settings: Any) -> AsyncIterator[Server]:
    """As `vpcflow ingest` serves, with a broker that is there."""
    routes = firehose_routes(FirehoseSettings(**settings), Broker().publish, Counted())
    options = {**RUNNER_OPTIONS, "keepalive_timeout": idle_seconds}
    server = Server("127.0.0.1:0", [*health_routes(lambda: (True, "ready"), scrape), *routes], options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def send(server: Server, content: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    with suppress(ConnectionError):
        writer.write(content)
        await writer.drain()
    return reader, writer


async def answer(server: Server, content: bytes) -> bytes:
    """All that comes back until the server hangs up; nothing, where it does so in the middle of a flood."""
    reader, writer = await send(server, content)
    try:
        async with asyncio.timeout(SOON):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def status(server: Server, path: bytes = b"/livez") -> bytes:
    return (await answer(server, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))[9:12]


def post(content: bytes, *headers: bytes) -> bytes:
    length = b"Content-Length: %d" % len(content)
    return HEAD + b"\r\n".join([b"Connection: close", length, *headers]) + b"\r\n\r\n" + content


# -- slow -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [b"", b"P", HEAD, HEAD + b"X: y"], ids=["nothing", "a letter", "a line", "a header"])
async def test_who_does_not_finish_a_head_is_cut_off_and_nobody_waits_for_him(start: bytes) -> None:
    async with served(idle_seconds=0.3) as server:
        slow = [await send(server, start) for _ in range(50)]
        others = [await status(server), (await answer(server, post(body([message(A)]))))[9:12]]
        async with asyncio.timeout(SOON):
            left = [await reader.read() for reader, _ in slow]
        for _, writer in slow:
            writer.close()

    assert others == [b"200", b"200"]
    assert left == [b""] * 50


async def test_a_connection_that_served_and_drips_the_next_head_is_cut_off() -> None:
    async with served(idle_seconds=0.3) as server:
        reader, writer = await send(server, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" + HEAD)
        async with asyncio.timeout(SOON):
            left = await reader.read()
        writer.close()

    assert left.startswith(b"HTTP/1.1 200 ")
    assert left.count(b"HTTP/1.1 ") == 1


def test_a_head_has_a_bounded_time_and_less_than_firehose_waits() -> None:
    assert 60 < IDLE_SECONDS < 180


async def test_who_announces_much_and_sends_nothing_keeps_nobody_out() -> None:
    async with served(max_body_bytes=MIB, max_in_flight_bytes=MIB) as server:
        slow = [await send(server, HEAD + b"Content-Length: %d\r\n\r\n{" % MIB) for _ in range(20)]
        accepted = await answer(server, post(body([message(A)])))
        for _, writer in slow:
            writer.close()

    assert accepted[9:12] == b"200"


async def test_a_body_that_does_not_come_is_answered_in_time_and_the_connection_ends() -> None:
    async with served(body_seconds=0.2, idle_seconds=0.5) as server:
        slow = [await send(server, HEAD + b"Content-Length: 1000\r\n\r\n{") for _ in range(20)]
        other = await status(server)
        async with asyncio.timeout(SOON):
            heads = [await reader.readuntil(b"\r\n") for reader, _ in slow]
            for reader, writer in slow:
                writer.write_eof()
                await reader.read()
                writer.close()

    assert other == b"200"
    assert heads == [b"HTTP/1.1 408 Request Timeout\r\n"] * 20


# -- floods and no HTTP -----------------------------------------------------------------------------------------------

FLOODS = {
    "many headers": HEAD + b"".join(b"X-%d: y\r\n" % n for n in range(10_000)) + b"\r\n",
    "many headers without an end": HEAD + b"X: y\r\n" * 1_000_000,
    "a large header": HEAD + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
    "a header without an end": HEAD + b"X: " + b"y" * (8 * MIB),
    "a long path": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00" + b"\xff" * 1000,
    "a secret in a header that is none": HEAD + b"X-Amz-Firehose-Access-Key: " + SECRET + b"\0\r\n\r\n",
    "a secret in a header that is too large": HEAD + b"X-Amz-Firehose-Access-Key: " + SECRET * 10_000 + b"\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "two framings": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a length that is none": HEAD + b"Content-Length: -5\r\n\r\n",
    "a length beyond all numbers": HEAD + b"Content-Length: " + b"9" * 100 + b"\r\n\r\n",
    "chunks that are none": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
async def test_a_flood_is_refused_and_is_no_traceback(flood: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with served() as server:
        refused = await answer(server, flood)
        assert await status(server) == b"200"

    assert refused[9:10] in (b"4", b"")
    assert "Traceback" not in caplog.text
    assert SECRET.decode() not in caplog.text


async def test_what_is_no_http_is_told_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    async with served() as server:
        for _ in range(20):
            await answer(server, FLOODS["a long path"])

    [line] = caplog.records
    assert line.getMessage() == "a request was refused that is no HTTP as it should be: LineTooLong"


async def test_who_hangs_up_in_the_middle_is_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async with served() as server:
        _, writer = await send(server, HEAD + b"Content-Length: 1000\r\n\r\n{")
        writer.transport.abort()
        assert await status(server) == b"200"

    assert "Traceback" not in caplog.text


async def test_an_error_of_ours_keeps_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def broken() -> bytes:
        raise ZeroDivisionError

    server = Server("127.0.0.1:0", health_routes(lambda: (True, "ready"), broken), {})
    await server.start()
    assert await status(server, b"/metrics") == b"500"
    await server.stop()

    assert "ZeroDivisionError" in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


@pytest.mark.parametrize("times", [1, 2, 5])
async def test_gzip_in_gzip_in_gzip_stops_at_the_limit(times: int) -> None:
    content = bytes(64 * MIB)
    for _ in range(times):
        content = gzip.compress(content, 1)
    async with served(max_decompressed_bytes=MIB) as server:
        refused = await answer(server, post(content))

    assert refused[9:12] == b"400"


# -- what is open -----------------------------------------------------------------------------------------------------


def test_nothing_listens_beyond_loopback_unless_it_is_told_to() -> None:
    assert Settings().listen == "127.0.0.1:8080"


async def test_a_server_listens_where_it_is_told_and_nowhere_else() -> None:
    async with served() as server:
        assert [address[0] for address in server.addresses] == ["127.0.0.1"]
