"""Dead letters, end to end: bad lines are posted, listed, shown, put back with a format, and then counted once."""

from __future__ import annotations

import asyncio
import gzip
from collections import Counter
from dataclasses import dataclass
from io import StringIO
from typing import Any

import aiohttp
import orjson
import pytest

from streams import app
from streams.core.deadletter import Wanted, groups
from streams.core.raw import RawMessage
from streams.deadletters import Listing
from streams.kafka import our_topics, prepare_topics
from streams.names import Names
from streams.settings import Settings, load
from streams.sources.deadletters import LetterError, Putting, opened
from streams.sources.publish import Publisher
from tests.kafka.process import Vpcflow, by_label, flows_shown, total, until, vpcflow
from tests.sources.firehose_sender import FirehoseSender

pytestmark = pytest.mark.timeout(180)

FORMAT = "interface-id srcaddr bytes packets start end action log-status"
STRANGE = [
    f"eni-{n} 192.0.2.{n} {1000 * n} {n} 1700000000 1700000060 {action} OK"
    for n, action in ((1, "ACCEPT"), (2, "REJECT"), (3, "ACCEPT"))
]
HOPELESS = gzip.compress(b"x" * 1000)[:20]


async def _posted(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        sender = FirehoseSender(session, f"{url}/firehose")
        assert (await sender.deliver([line.encode() for line in STRANGE])).accepted
        assert (await sender.deliver([b"bogus!"])).accepted
        assert (await sender.deliver([HOPELESS])).accepted


@dataclass(frozen=True)
class Here:
    """What the commands run, without the seconds that a process takes to begin."""

    settings: Settings

    async def letters(self, **wanted: Any) -> Counter[tuple[str, str]]:
        """Letters by reason and source, as `list --json` has them."""
        out = StringIO()
        await app.list_letters(self.settings, Listing(Wanted(**wanted), as_json=True), out)
        rows = [orjson.loads(line) for line in out.getvalue().splitlines()]
        return Counter((row["reason"], row["source"]) for row in rows)

    async def until_listed(self, letters: int) -> Counter[tuple[str, str]]:
        """The worker counts a line, and then writes its letter."""
        found: Counter[tuple[str, str]] = Counter()
        while found.total() < letters:
            found = await self.letters()
        return found

    async def shown(self, **listing: Any) -> list[str]:
        """The lines that `show` prints."""
        out = StringIO()
        await app.show_letters(self.settings, Listing(**listing), out, lambda _: None)
        return [line.strip() for line in out.getvalue().splitlines()]

    async def replayed(self, **how: Any) -> dict[str, int]:
        """What `replay --json` prints."""
        out = StringIO()
        await app.replay_letters(self.settings, Putting(**how), out, lambda _: None, as_json=True)
        found: dict[str, int] = orjson.loads(out.getvalue())
        return found


async def _interrupted(bootstrap: str, prefix: str) -> None:
    """What a replay leaves that ends between storing a group and marking it."""
    names, publisher = Names(prefix), Publisher(bootstrap, Names(prefix).raw, 4, {})
    await publisher.start()
    again: list[RawMessage] = []
    async with opened(bootstrap, names.dead_letters, {}, lambda *_: None) as reader:
        async for page in reader.pages(marks_only=False):
            again += [one.lines_again(FORMAT) for one in groups(page) if one.first.content in _strange()]
    assert sum(message.lines for message in again) == len(STRANGE)
    await publisher.send(again)
    await publisher.stop()


def _strange() -> list[bytes]:
    return [line.encode() for line in STRANGE]


async def test_lines_that_could_not_be_read_are_listed_shown_put_back_and_counted_once(
    apache_kafka: str, prefix: str
) -> None:
    environ = {"VPCFLOW_TOPICS__PREFIX": prefix, "VPCFLOW_CHECKPOINT__SECONDS": "1"}
    broker = ("--broker", f"kafka://{apache_kafka}")
    here = Here(load(None, environ, {"broker.url": broker[1]}))
    strange = Wanted(reasons=frozenset({"unknown_format"}))
    bad = len(STRANGE) + 2
    with Vpcflow("ingest", *broker, environ=environ) as ingest, Vpcflow("worker", *broker, environ=environ) as worker:
        await _posted(ingest.url)
        await until("all is read", lambda: total(worker.samples(), "vpcflow_rejected_lines_total") >= bad)
        found = await here.until_listed(bad)
        shown = await here.shown(wanted=strange)
        payload = await here.shown(wanted=Wanted(reasons=frozenset({"bad_gzip"})))

        trial = await here.replayed(wanted=strange, format=FORMAT, trial=True)
        await _interrupted(apache_kafka, prefix)
        command = ("deadletters", "replay", *broker, "--reason", "unknown_format", "--format", FORMAT)
        done = await asyncio.to_thread(vpcflow, *command, environ=environ)
        again = await here.replayed(wanted=strange, format=FORMAT)
        everything = await here.replayed()

        await until("they are flows", lambda: flows_shown(worker.samples()) >= len(STRANGE))
        await until("repeats are known", lambda: total(worker.samples(), "vpcflow_duplicate_lines_total") >= 3)
        listed = await here.until_listed(bad + 1)
        hopeless = await here.replayed()
        samples = worker.samples()
        table = await asyncio.to_thread(vpcflow, "deadletters", "list", *broker, environ=environ)

    assert found == Counter({("unknown_format", "firehose"): 4, ("bad_gzip", "firehose"): 1})
    assert [line for line in shown if line in STRANGE] == STRANGE
    assert [line for line in payload if line.startswith("20 bytes of gzip: ")]
    assert (trial["put"], trial["readable"], trial["unreadable"]) == (4, 3, 1)
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    assert done.stderr.decode() == f"4 dead letters put back on {prefix}.raw, in 2 messages\n"
    assert (again["put"], again["before"]) == (0, 4)
    assert (everything["put"], everything["before"], everything["undecodable"]) == (0, 4, 1)
    assert by_label(samples, "vpcflow_lines_total", "outcome") == Counter(reject=bad + 1, flow=len(STRANGE))
    assert by_label(samples, "vpcflow_eni_bytes_total", "eni") == Counter({"eni-1": 1000, "eni-2": 2000, "eni-3": 3000})
    assert by_label(samples, "vpcflow_duplicate_lines_total", "source") == Counter(deadletter=len(STRANGE))
    assert listed - found == Counter({("too_few_fields", "deadletter"): 1})
    assert (hopeless["put"], hopeless["bad_again"]) == (0, 1)
    assert table.stdout.decode().startswith(f"{bad + 1} dead letters on {prefix}.dead-letter\n")
    assert "4 from firehose" in table.stdout.decode()
    assert ", 4 put back\n" in table.stdout.decode()


async def test_a_topic_or_a_letter_that_is_not_there_is_one_line(apache_kafka: str, prefix: str) -> None:
    environ = {"VPCFLOW_TOPICS__PREFIX": prefix}
    broker = ("--broker", f"kafka://{apache_kafka}")
    settings = load(None, environ, {"broker.url": broker[1]})

    done = await asyncio.to_thread(vpcflow, "deadletters", "list", *broker, environ=environ)
    await prepare_topics(apache_kafka, our_topics(Names(prefix), settings.topics), {}, print)
    with pytest.raises(LetterError) as missing:
        await Here(settings).shown(id="9/9/9")

    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode() == (
        f"vpcflow: Kafka at {apache_kafka} has no topic {prefix}.dead-letter: "
        "no worker has run there, or topics.prefix is another\n"
    )
    assert str(missing.value).startswith(f"no dead letter 9/9/9 on {prefix}.dead-letter; ")
