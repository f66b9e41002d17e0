"""The endpoint as Firehose meets it: a real server on loopback, a sender after AWS's specification."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
import textwrap
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from streams.core.raw import TARGET_BYTES
from streams.sources.firehose import RUNNER_OPTIONS, FirehoseSettings, firehose_routes
from streams.sources.messages import OUTCOMES
from tests.sources.fakes import Broker, Counted
from tests.sources.firehose_sender import ARN, MOST_RECORDS, Attempt, FirehoseSender
from tests.sources.samples import MIB, V2, A, B, C, body, many, message

NOW = 1_700_000_000.25
RECORDS = [message(A), message(B) + b"\n"]


@dataclass
class Served:
    """An endpoint with what stands behind it, and a sender before it."""

    sender: FirehoseSender
    broker: Broker
    counts: Counted
    port: int

    async def post(self, content: bytes, request_id: str = "r-1", **headers: str | None) -> Attempt:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.sender.post_body(content, request_id, named)


@asynccontextmanager
async def serve(broker: Broker | None = None, **settings: Any) -> AsyncIterator[Served]:
    broker, counts = broker or Broker(), Counted()
    app = web.Application(client_max_size=0)
    app.add_routes(firehose_routes(FirehoseSettings(**settings), broker.publish, counts, clock=lambda: NOW))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, **RUNNER_OPTIONS)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        async with aiohttp.ClientSession() as session:
            yield Served(FirehoseSender(session, f"http://127.0.0.1:{port}/firehose"), broker, counts, port)
    finally:
        broker.go_on.set()
        await runner.cleanup()


class Sleeps:
    """Time that passes at once. then: what happens during the sleep of that number."""

    def __init__(self, **then: Callable[[], None]) -> None:
        self.waited: list[float] = []
        self._then = then

    async def __call__(self, seconds: float) -> None:
        self.waited.append(seconds)
        self._then.get(f"after_{len(self.waited)}", lambda: None)()


# -- taking -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [False, True])
async def test_a_delivery_is_stored_and_answered_as_aws_asks(compressed: bool) -> None:
    async with serve() as served:
        served.sender.compressed = compressed
        delivery = await served.sender.deliver(RECORDS, "ed4acda5-034f-9f42-bba1-f29aea6d7d8f")

    assert delivery.attempts == [
        Attempt(200, {"requestId": "ed4acda5-034f-9f42-bba1-f29aea6d7d8f", "timestamp": 1_700_000_000_250})
    ]
    assert served.broker.lines == [A, B]
    assert served.counts.outcomes == {("firehose", "ok"): 1}
    assert served.counts.sizes["firehose"] > 0


async def test_200_is_answered_only_when_the_broker_has_confirmed() -> None:
    broker = Broker(slow=True)
    async with serve(broker) as served:
        posting = asyncio.create_task(served.sender.post(RECORDS, "r-1"))
        await broker.asked.wait()
        assert not posting.done()
        assert not broker.stored
        broker.go_on.set()

        assert (await posting).accepted
        assert broker.lines == [A, B]


async def test_a_message_says_where_it_came_from_and_when() -> None:
    async with serve() as served:
        await served.sender.deliver(RECORDS, "r-1")

    [stored] = served.broker.stored
    assert (stored.origin.source, stored.origin.name, stored.origin.part) == ("firehose", "r-1", "0")
    assert (stored.arrival_ms, stored.format, stored.replay, stored.error) == (1_700_000_000_250, None, False, None)


async def test_a_retry_has_the_origins_of_the_first_attempt_and_other_lines_have_others() -> None:
    async with serve() as served:
        for records in (RECORDS, RECORDS, [message(C)]):
            await served.sender.post(records, "r-1")

    first, again, other = (stored.origin.key() for stored in served.broker.stored)
    assert first == again != other


async def test_a_large_delivery_is_cut_into_messages_of_the_right_size() -> None:
    lines = many(MOST_RECORDS)
    async with serve() as served:
        served.sender.compressed = True
        assert (await served.sender.deliver([message(line) for line in lines])).accepted

    assert served.broker.lines == lines
    assert [stored.origin.part for stored in served.broker.stored] == ["0", "1", "2"]
    assert all(len(stored.value) < TARGET_BYTES + 200 for stored in served.broker.stored)


async def test_a_delivery_without_records_is_taken() -> None:
    async with serve() as served:
        assert (await served.sender.post([], "r-1")).accepted
        assert (await served.sender.post([b"", b""], "r-2")).accepted

    assert not served.broker.asked.is_set()


async def test_junk_goes_on_with_its_reason_and_costs_nobody_else() -> None:
    junk = [b'{"message":', b"\x1f\x8bjunk", b'{"x":1}', b"hello"]
    content = body([message(A), *junk, message(B)]).replace(b'"}]}', b'"},{"data":"%%%"},{"other":1}]}')
    async with serve() as served:
        assert (await served.post(content)).accepted

    assert served.broker.lines == [A, "hello", B]
    assert served.broker.errors == [
        (b'{"message":', "bad_json"),
        (b"\x1f\x8bjunk", "bad_gzip"),
        (b'{"x":1}', "no_lines"),
        (b"%%%", "bad_base64"),
        (b'{"other":1}', "no_lines"),
    ]
    assert [stored.origin.part for stored in served.broker.stored] == ["0", "1", "2", "3", "4", "5"]


async def test_what_holds_no_lines_is_counted() -> None:
    event = {"id": "1", "timestamp": 1, "message": A}
    envelope = {"messageType": "DATA_MESSAGE", "logEvents": [event, event]}
    probe = {**envelope, "messageType": "CONTROL_MESSAGE"}
    async with serve() as served:
        await served.sender.deliver([gzip.compress(json.dumps(one).encode()) for one in (probe, envelope)])

    assert served.broker.lines == [A]
    assert served.counts.passed_over == {("firehose", "probe"): 1, ("firehose", "duplicate"): 1}


async def test_an_s3_notification_is_not_lost_silently() -> None:
    notice = {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": {"key": "k"}}}]}
    async with serve() as served:
        await served.sender.deliver([json.dumps(notice).encode()])

    [(payload, reason)] = served.broker.errors
    assert (json.loads(payload)["bucket"], json.loads(payload)["key"], reason) == ("b", "k", "no_lines")


# -- formats ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["${srcaddr} ${dstaddr}", "srcaddr dstaddr", "srcaddr,dstAddr"])
async def test_the_format_comes_with_the_common_attributes(text: str) -> None:
    async with serve(formats={ARN: "version bytes"}) as served:
        served.sender.attributes = {"format": text, "team": "network"}
        await served.sender.deliver(RECORDS)

    assert served.broker.stored[0].format == "srcaddr dstaddr"


@pytest.mark.parametrize("attributes", [None, "{", "[]", '{"commonAttributes":7}', '{"commonAttributes":{"format":7}}'])
async def test_else_it_is_that_of_the_delivery_stream(attributes: str | None) -> None:
    async with serve(formats={ARN: "${version} ${bytes}"}) as served:
        assert (await served.post(body(RECORDS), X_Amz_Firehose_Common_Attributes=attributes)).accepted

    assert served.broker.stored[0].format == "version bytes"


async def test_a_header_line_knows_better() -> None:
    async with serve(formats={ARN: "version bytes"}) as served:
        await served.sender.deliver([f"{V2}\n{A}".encode()])

    assert served.broker.stored[0].format == V2


async def test_a_format_that_is_none_is_refused_for_the_operator_to_see() -> None:
    async with serve() as served:
        served.sender.attributes = {"format": "bytes bytes"}
        attempt = await served.sender.post(RECORDS, "r-1")

    assert (attempt.status, "comes twice" in attempt.answer["errorMessage"]) == (400, True)


async def test_fifty_attributes_of_full_length_fit() -> None:
    async with serve() as served:
        served.sender.attributes = {f"{n}".ljust(256, "x"): "y" * 1024 for n in range(50)}

        assert (await served.sender.post(RECORDS, "r-1")).accepted


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"formats": {"arn:x": "bytes bytes"}}, "formats.arn:x: "),
        ({"deadline_seconds": 130.0}, "deadline_seconds: "),
        ({"max_in_flight_bytes": 1}, "max_in_flight_bytes: "),
        ({"access_key_file": Path("nowhere")}, "access_key_file: "),
    ],
)
async def test_settings_that_cannot_work_are_refused_by_name(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        async with serve(**settings):
            pass


# -- access keys ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, "", "wrong", "one,two", "on", "onee", "é", " one two "])
async def test_a_key_that_is_not_valid_is_refused_before_the_body(key: str | None) -> None:
    async with serve(access_keys=("one", "two")) as served:
        served.sender.access_key = key
        attempt = await served.sender.post(RECORDS, "r-1")

    assert (attempt.status, attempt.answer["requestId"], attempt.final) == (401, "r-1", False)
    assert (served.broker.stored, served.counts.sizes) == ([], {})
    assert served.counts.outcomes == {("firehose", "unauthorized"): 1}


@pytest.mark.parametrize("key", ["one", "two", "schlüssel", "k" * 4096])
async def test_each_of_several_keys_is_valid(key: str) -> None:
    async with serve(access_keys=("one", "two", "schlüssel", "k" * 4096)) as served:
        served.sender.access_key = key

        assert (await served.sender.post(RECORDS, "r-1")).accepted


async def test_without_keys_everybody_may_post() -> None:
    async with serve() as served:
        served.sender.access_key = "anything"

        assert (await served.sender.post(RECORDS, "r-1")).accepted


async def test_keys_in_a_file_are_exchanged_without_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("old\n")
    async with serve(access_key_file=file, access_keys=("always",)) as served:
        statuses = []
        for content in ("old\n", "\n old \r\nnew", "new\n"):
            file.write_text(content)
            for key in ("old", "new", "always"):
                served.sender.access_key = key
                statuses.append((await served.sender.post(RECORDS, "r-1")).status)

    assert statuses == [200, 401, 200, 200, 200, 200, 401, 200, 200]


async def test_an_emptied_or_lost_file_opens_no_door_and_closes_none(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("key")
    async with serve(access_key_file=file) as served:
        statuses = []
        for change in (lambda: file.write_text(""), file.unlink):
            change()
            for key in ("key", "", None):
                served.sender.access_key = key
                statuses.append((await served.sender.post(RECORDS, "r-1")).status)

    assert statuses == [200, 401, 401, 200, 401, 401]


async def test_keys_stay_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with serve(access_keys=("sesame",)) as served:
        served.sender.access_key = "wrong-sesame-wrong"
        await served.sender.post(RECORDS, "r-1")

    assert "unauthorized" in caplog.text
    assert "sesame" not in caplog.text
    assert "sesame" not in repr(FirehoseSettings(access_keys=("sesame",)))


# -- refusing ---------------------------------------------------------------------------------------------------------

GOOD = body(RECORDS)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b"{}", GOOD[:-2], GOOD + b"x", b'{"requestId":"r-1","records":[', b"\xff\xfe",
        b"PAR1", gzip.compress(GOOD)[:-9], gzip.compress(GOOD) + b"junk", b"\x1f\x8b", zlib.compress(b"{}"),
        b'{"records":7}', body(RECORDS, request_id="r-2"), b'{"records":[],"requestId":"' + b"x" * 5000 + b'"}',
    ],
    ids=range(17),
)  # fmt: skip
@pytest.mark.parametrize("encoding", [None, "gzip", "identity", "br"])
async def test_what_is_no_request_gets_an_answer_that_firehose_reads(content: bytes, encoding: str | None) -> None:
    async with serve() as served:
        attempt = await served.post(content, Content_Encoding=encoding)

    assert (attempt.status, attempt.problem) == (400, "the status is 400")
    assert attempt.answer["errorMessage"]
    assert (served.broker.stored, served.counts.outcomes) == ([], {("firehose", "bad_request"): 1})


@pytest.mark.parametrize("content", [GOOD, gzip.compress(GOOD), gzip.compress(GOOD[:9]) + gzip.compress(GOOD[9:])])
@pytest.mark.parametrize("encoding", [None, "gzip", "identity", "br"])
async def test_the_bytes_say_whether_it_is_gzip_not_the_header(content: bytes, encoding: str | None) -> None:
    async with serve() as served:
        attempt = await served.post(content, Content_Encoding=encoding)

    assert attempt.accepted
    assert served.broker.lines == [A, B]


async def test_a_missing_header_is_forgiven_when_the_body_has_the_id() -> None:
    async with serve() as served:
        attempt = await served.post(GOOD, X_Amz_Firehose_Request_Id=None, X_Amz_Firehose_Protocol_Version=None)

    assert (attempt.accepted, served.broker.stored[0].origin.name) == (True, "r-1")


async def test_a_request_without_any_id_is_refused() -> None:
    async with serve() as served:
        attempt = await served.post(b'{"timestamp":1,"records":[]}', X_Amz_Firehose_Request_Id=None)

    assert (attempt.status, attempt.answer["requestId"]) == (400, "")


async def test_another_version_of_the_protocol_is_refused() -> None:
    async with serve() as served:
        assert (await served.post(GOOD, X_Amz_Firehose_Protocol_Version="2.0")).status == 400


async def test_an_error_is_short_whatever_came() -> None:
    async with serve() as served:
        attempt = await served.post(GOOD, "x" * 7000)

    assert (attempt.status, len(attempt.answer["requestId"])) == (400, 1024)


# -- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"x" * 5001, gzip.compress(b" " * 9001)], ids=["as it comes", "decompressed"])
async def test_too_large_is_never_413(content: bytes) -> None:
    async with serve(max_body_bytes=5000, max_decompressed_bytes=9000) as served:
        attempt = await served.post(content)

    assert (attempt.status, attempt.problem, attempt.final) == (400, "the status is 400", False)
    assert "larger than" in attempt.answer["errorMessage"]
    assert served.counts.outcomes == {("firehose", "too_large"): 1}


async def test_a_body_of_unknown_length_is_bounded_while_it_comes() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 1000

    async with (
        serve(max_body_bytes=50_000) as served,
        served.sender.session.post(served.sender.url, data=chunks()) as response,
    ):
        assert response.status == 400

    assert served.counts.outcomes == {("firehose", "too_large"): 1}


async def test_a_bomb_in_a_record_is_a_dead_letter_and_the_request_is_taken() -> None:
    bomb = gzip.compress(b"\0" * MIB)
    async with serve(max_decompressed_bytes=100_000) as served:
        assert (await served.sender.post([message(A), bomb], "r-1")).accepted

    assert (served.broker.lines, served.broker.errors) == ([A], [(bomb, "too_large")])


async def raw_request(port: int, head: bytes, part: bytes) -> bytes:
    """Send the head and a part of the body, then nothing; gives back the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /firehose HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n" + part)
    answer = await reader.readuntil(b"\r\n\r\n") + await reader.readuntil(b"}")
    writer.close()
    return answer


async def test_a_body_that_drips_is_cut_off() -> None:
    async with serve(body_seconds=0.05) as served:
        answer = await raw_request(served.port, b"Content-Length: 1000\r\nX-Amz-Firehose-Request-Id: r-1", b'{"requ')

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"Content-Type: application/json\r\n" in answer
    assert served.counts.outcomes == {("firehose", "bad_request"): 1}


async def test_a_sender_that_goes_away_leaves_nothing_behind() -> None:
    async with serve(max_body_bytes=1000, max_in_flight_bytes=1000) as served:
        for _ in range(5):
            _, writer = await asyncio.open_connection("127.0.0.1", served.port)
            writer.write(b"POST /firehose HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n{")
            await writer.drain()
            writer.transport.abort()
        served.sender.sleep = Sleeps()

        assert (await served.sender.deliver(RECORDS)).accepted


BOMBS = """
    import asyncio, gzip, resource, aiohttp
    from aiohttp import web
    from streams.sources.firehose import RUNNER_OPTIONS, FirehoseSettings, firehose_routes
    from tests.sources.fakes import Broker, Counted

    async def main():
        app = web.Application(client_max_size=0)
        app.add_routes(firehose_routes(FirehoseSettings(), Broker().publish, Counted()))
        runner = web.AppRunner(app, **RUNNER_OPTIONS)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/firehose"
        bomb = b"".join([gzip.compress(bytes(2**24))] * 64)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        async with aiohttp.ClientSession() as session:
            async def post():
                async with session.post(url, data=bomb, headers={"Content-Encoding": "gzip"}) as response:
                    return response.status
            statuses = await asyncio.gather(*(post() for _ in range(6)))
        print(set(statuses), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
        await runner.cleanup()

    asyncio.run(main())
"""


def test_six_bombs_of_a_gibibyte_cost_bounded_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BOMBS)],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    statuses, grown = done.stdout.rsplit(" ", 1)

    assert statuses == "{400}"
    # Two are decompressed at a time, up to 64 MiB each.
    assert int(grown) < 200


# -- the broker -------------------------------------------------------------------------------------------------------


async def test_nothing_is_accepted_that_is_not_stored_and_firehose_comes_again() -> None:
    broker = Broker(down=True)
    sleeps = Sleeps(after_3=lambda: setattr(broker, "down", False))
    async with serve(broker) as served:
        served.sender.sleep = sleeps
        served.sender.jitter = lambda: 0.5
        delivery = await served.sender.deliver(RECORDS)

    assert [attempt.status for attempt in delivery.attempts] == [503, 503, 503, 200]
    assert "broker:9092" in delivery.attempts[0].answer["errorMessage"]
    assert sleeps.waited == [1.0, 2.0, 4.0]
    assert broker.lines == [A, B]
    assert served.counts.outcomes == {("firehose", "unavailable"): 3, ("firehose", "ok"): 1}


async def test_a_broker_that_does_not_confirm_in_time_is_503() -> None:
    async with serve(Broker(slow=True), deadline_seconds=0.01) as served:
        attempt = await served.sender.post(RECORDS, "r-1")

    assert (attempt.status, attempt.problem) == (503, "the status is 503")
    assert served.counts.outcomes == {("firehose", "unavailable"): 1}


async def test_what_does_not_fit_beside_the_others_is_refused_at_once() -> None:
    broker = Broker(slow=True)
    half = [message(line) for line in many(20)]
    async with serve(broker, max_body_bytes=5000, max_in_flight_bytes=5000) as served:
        first = asyncio.create_task(served.sender.post(half, "r-1"))
        await broker.asked.wait()
        refused = await served.sender.post(half, "r-2")
        small = asyncio.create_task(served.sender.post([message(A)], "r-3"))
        broker.go_on.set()

        assert (await first).accepted
        assert (await small).accepted
        assert (await served.sender.post(half, "r-2")).accepted
    assert (refused.status, refused.problem) == (503, "the status is 503")
    assert served.counts.outcomes["firehose", "overloaded"] == 1


async def test_many_at_once_are_each_answered_for_themselves() -> None:
    async with serve() as served:
        lines = many(2000)
        served.sender.compressed = True
        deliveries = await asyncio.gather(
            *(served.sender.deliver([message(line) for line in lines[at : at + 100]]) for at in range(0, 2000, 100))
        )

    assert all(delivery.accepted for delivery in deliveries)
    assert sorted(served.broker.lines) == sorted(lines)


async def test_an_outcome_is_one_of_the_closed_set() -> None:
    async with serve(Broker(down=True), access_keys=("k",), max_body_bytes=10_000) as served:
        tries: list[Callable[[], Awaitable[Attempt]]] = [
            lambda: served.post(GOOD),
            lambda: served.post(GOOD, X_Amz_Firehose_Access_Key="k"),
            lambda: served.post(b"{", X_Amz_Firehose_Access_Key="k"),
            lambda: served.post(b"x" * 10_001, X_Amz_Firehose_Access_Key="k"),
        ]
        for attempt in tries:
            await attempt()

    assert {outcome for _, outcome in served.counts.outcomes} == {
        "unauthorized", "unavailable", "bad_request", "too_large",
    } <= set(OUTCOMES)  # fmt: skip
