"""Keys and passwords are in nothing that the processes print, log, answer or serve, whatever goes wrong around them."""

from __future__ import annotations

import asyncio
import signal
import struct
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from streams.embedded import free_port
from tests.kafka.process import Vpcflow, vpcflow

PASSWORD, SOURCE_PASSWORD = "Pa55w0rd-of-our-broker", "Pa55w0rd-of-their-broker"
KEY, FILE_KEY, WRONG_KEY = "k3y-from-a-variable", "k3y-from-a-file", "k3y-of-somebody-else"
SECRETS = (PASSWORD, SOURCE_PASSWORD, KEY, FILE_KEY, WRONG_KEY)

NOWHERE = "kafka://127.0.0.1:1"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Logins for brokers that are not there, keys for posts, and every line that can be logged."""
    keys = tmp_path / "keys"
    keys.write_text(f"{FILE_KEY}\n")
    login = {"SASL_MECHANISM": "SCRAM-SHA-256", "SASL_USERNAME": "flows", "SECURITY_PROTOCOL": "SASL_PLAINTEXT"}
    return {
        **{f"VPCFLOW_BROKER__{name}": value for name, value in login.items()},
        **{f"VPCFLOW_BRIDGE__BROKER__{name}": value for name, value in login.items()},
        "VPCFLOW_BROKER__SASL_PASSWORD": PASSWORD,
        "VPCFLOW_BRIDGE__BROKER__SASL_PASSWORD": SOURCE_PASSWORD,
        "VPCFLOW_BRIDGE__BROKER__URL": NOWHERE,
        "VPCFLOW_BRIDGE__TOPICS": "theirs",
        "VPCFLOW_BROKER__URL": NOWHERE,
        "VPCFLOW_INGEST__ACCESS_KEYS": KEY,
        "VPCFLOW_INGEST__ACCESS_KEY_FILE": str(keys),
        "VPCFLOW_LOG__LEVEL": "debug",
    }


def found(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]


def post(url: str, key: str, body: bytes = b"{}") -> str:
    """All of the answer: status, headers, body."""
    request = urllib.request.Request(f"{url}/firehose", body, {"X-Amz-Firehose-Access-Key": key})  # noqa: S310 - http
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - the same
            return f"{answer.status} {answer.headers} {answer.read().decode()}"
    except urllib.error.HTTPError as refused:
        return f"{refused.code} {refused.headers} {refused.read().decode()}"


def test_check_shows_that_a_secret_is_set_and_not_which(environ: dict[str, str]) -> None:
    done = vpcflow("check", environ=environ)
    shown = (done.stdout + done.stderr).decode()

    assert done.returncode == 0
    assert shown.count("'***'") == 3
    assert "2 access keys" in shown
    assert found(shown) == []


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A broker that speaks SASL PLAIN and lets nobody in."""
    answers = {
        18: struct.pack(">hihhhhhhhhh", 0, 3, 18, 0, 0, 17, 0, 1, 36, 0, 0),
        17: struct.pack(">hih5s", 0, 1, 5, b"PLAIN"),
        36: struct.pack(">hh4si", 58, 4, b"nope", 0),
    }
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            (size,) = struct.unpack(">i", await reader.readexactly(4))
            request = await reader.readexactly(size)
            key, _, number = struct.unpack(">hhi", request[:8])
            answer = struct.pack(">i", number) + answers[key]
            writer.write(struct.pack(">i", len(answer)) + answer)
    writer.close()


def ran(part: str, environ: dict[str, str], until: str) -> str:
    """All that a part printed and answered while it could not reach its broker, and was posted to with each key."""
    url = f"127.0.0.1:{free_port()}"
    process = Vpcflow(part, environ=environ, listen=url)
    process.launch()
    try:
        process.wait_for_line(f"({until})")
        pages = [post(f"http://{url}", key) for key in (KEY, FILE_KEY, WRONG_KEY)] if part == "ingest" else []
        process.url = f"http://{url}"
        pages += [process.get(path)[1] for path in ("/metrics", "/readyz", "/livez", "/nowhere")]
        process.end(signal.SIGTERM)
        assert "vpcflow_ready 0.0" in pages[-4]
        return process.printed() + "".join(pages)
    finally:
        process.__exit__()


@pytest.mark.parametrize("part", ["ingest", "worker", "bridge"])
async def test_a_part_that_is_not_let_in_tells_no_secret(part: str, environ: dict[str, str]) -> None:
    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        address = f"kafka://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        plain = {
            "VPCFLOW_BROKER__URL": address,
            "VPCFLOW_BRIDGE__BROKER__URL": address,
            "VPCFLOW_BROKER__SASL_MECHANISM": "PLAIN",
            "VPCFLOW_BRIDGE__BROKER__SASL_MECHANISM": "PLAIN",
        }
        told = await asyncio.to_thread(ran, part, {**environ, **plain}, "can't reach Kafka at")

    assert "DEBUG aiokafka" in told
    assert found(told) == []


def test_a_part_whose_broker_is_not_there_tells_no_secret(environ: dict[str, str]) -> None:
    told = ran("ingest", environ, "can't reach Kafka at 127.0.0.1:1")

    assert "the access key is missing or not valid" in told
    assert found(told) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"VPCFLOW_BROKER__URL": f"kafka://flows:{PASSWORD}@127.0.0.1:1"},
        {"VPCFLOW_INGEST__ACCESS_KEYS": f'["{KEY}", 5]'},
    ],
)
def test_a_wrong_configuration_tells_no_secret(wrong: dict[str, str], environ: dict[str, str]) -> None:
    done = vpcflow("ingest", environ={**environ, **wrong})

    assert done.returncode == 2
    assert done.stderr
    assert found((done.stdout + done.stderr).decode()) == []
