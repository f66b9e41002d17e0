"""The command line as a user meets it: a process with an exit code, output for programs, and one line for a mistake."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import polars as pl
import pytest

from tests.kafka.broker import answers
from tests.kafka.process import COMMAND, ROOT, Vpcflow, total, until, vpcflow
from tests.sources.firehose_sender import FirehoseSender
from tests.sources.samples import A, B, C, many

NAMES = (
    "version", "account-id", "interface-id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol", "packets", "bytes",
    "start", "end", "action", "log-status",
)  # fmt: skip
RECORD = {
    "version": 2, "account-id": "123456789010", "interface-id": "eni-1235b8ca123456789", "srcaddr": "172.31.16.139",
    "dstaddr": "172.31.16.21", "srcport": 20641, "dstport": 22, "protocol": 6, "packets": 20, "bytes": 4249,
    "start": 1418530010, "end": 1418530070, "action": "ACCEPT", "log-status": "OK",
}  # fmt: skip
KEYS = {
    "lines",
    "rejects",
    "totals",
    "enis",
    "ports",
    "panes",
    "undated",
    "unwatched_from",
    "findings",
    "suppressed",
    "passed_over",
    "unused_rules",
}
COUNTS = {"flows", "packets", "bytes", "accepted", "rejected"}


FORKS = """
import json, os, sys
from streams.cli import main

for number, arguments in enumerate(json.loads(sys.argv[1])):
    child = os.fork()
    if not child:
        for descriptor, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{number}.{name}", os.O_CREAT | os.O_WRONLY), descriptor)
        sys.argv = ["vpcflow", *arguments]
        sys.exit(main())
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
"""Processes that begin when everything is imported, which takes longer than what most of them do."""


@dataclass(frozen=True)
class Done:
    """What became of a command."""

    code: int
    out: str
    err: str


def ran(commands: Sequence[Sequence[str]], folder: Path) -> list[Done]:
    """Run commands in `folder`, each in a process of its own."""
    script = [sys.executable, "-c", FORKS, json.dumps(commands)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    printed = subprocess.run(script, cwd=folder, env=environ, stdout=subprocess.PIPE, check=True, timeout=100).stdout
    codes = [int(line) for line in printed.split()]
    assert len(codes) == len(commands)
    return [
        Done(code, *((folder / f"{number}.{name}").read_text("utf-8") for name in ("out", "err")))
        for number, code in enumerate(codes)
    ]


def the_line(done: Done, code: int) -> str:
    """The one line of a command that ended with `code`, without the name in front; it printed nothing else."""
    assert (done.code, done.out) == (code, ""), done
    [line] = done.err.splitlines()
    name, _, said = line.partition(": ")
    assert name == "vpcflow"
    return said


def records(*arguments: str | Path, **more: Any) -> list[dict[str, object]]:
    """What `parse` prints."""
    done = vpcflow("parse", *arguments, **more)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def flows(tmp_path: Path) -> Path:
    """A file with two flows, an interface without any, and a line that nobody understands."""
    path = tmp_path / "flows.log"
    path.write_text(f"{A}\n{B}\n{C}\n2 oops\n")
    return path


# -- mistakes ---------------------------------------------------------------------------------------------------------


WRONG = (
    ("nosuch", "No such command 'nosuch'; vpcflow --help shows what there is"),
    ("parse", "name a file, a folder or - for standard input; vpcflow parse --help shows what there is"),
    ("parse missing.log", "missing.log: no such file or folder; vpcflow parse --help shows what there is"),
    ("analyze missing.log", "missing.log: no such file or folder; vpcflow analyze --help shows what there is"),
    ("replay NOBODY missing.log", "missing.log: no such file or folder; vpcflow replay --help shows what there is"),
    ("up --replay missing.log", "missing.log: no such file or folder; vpcflow up --help shows what there is"),
    ("up --replay", "--replay goes with one PATH or more"),
    ("replay NOBODY --pace fast -", "Invalid value for '--pace': expected a factor such as 60x, found 'fast'"),
    ("replay NOBODY --pace 0x -", "Invalid value for '--pace': expected a factor such as 60x, found '0x'"),
    ("parse --format bogus -", "format: expected fields of flow logs, '${version} ${account-id} ...', found 'bogus'"),
    ("check --format bogus", "format: expected fields of flow logs, '${version} ${account-id} ...', found 'bogus'"),
    ("parse --format end,end -", "format: field 'end' comes twice"),
    ("worker NOBODY --format end,end", "format: field 'end' comes twice"),
    ("worker", "broker.url: expected kafka://HOST:PORT (--broker sets it), found embedded"),
    ("worker --broker kafka.example:9092", 'broker.url: expected "embedded" or kafka://HOST:PORT'),
    ("ingest NOBODY --listen 8080", "listen: expected HOST:PORT, such as 127.0.0.1:8080"),
    ("bridge NOBODY", "bridge.topics: expected one topic or more, found none; --topic NAME adds one"),
    ("ingest NOBODY --access-key-file no", "ingest.access_key_file: expected a file that can be read, or null, found"),
    ("deadletters list", "broker.url: expected kafka://HOST:PORT (--broker sets it), found embedded"),
    ("deadletters lst", "No such command 'lst'; vpcflow deadletters --help shows what there is"),
    (
        "deadletters list NOBODY --reason too_few",
        "Invalid value for '--reason': expected a reason, found 'too_few'; the nearest is too_few_fields; vpcflow dead",
    ),
    (
        "deadletters show NOBODY --since yesterday",
        "Invalid value for '--since': expected a span such as 90m, 2h or 3d, or a time such as 2026-01-31T12:00, found",
    ),
    ("deadletters replay NOBODY --source nowhere", "Invalid value for '--source': 'nowhere' is not one of 'firehose'"),
    ("deadletters replay NOBODY --format end,end", "format: field 'end' comes twice"),
    ("check --config missing.yaml", "missing.yaml: expected a configuration file, found none"),
    ("check --config unknown.yaml", "panes.second: unknown key; the nearest is panes.seconds (in unknown.yaml)"),
    ("check --config type.yaml", 'panes.seconds: expected an integer >= 1 and <= 3600, found "many" (in type.yaml)'),
    ("check --config format.yaml", "ingest.formats.arn: field 'end' comes twice"),
    ("check --config key.yaml", "ingest.access_key_file: expected a file with an access key a line, found empty"),
    ("check --config cert.yaml", "ingest.tls_cert: expected a certificate chain and its key"),
    ("check --config ca.yaml", "broker.ssl_*: expected certificates and a key in PEM"),
)
"""Command lines, and what is said of them."""

SETTINGS = {
    "unknown": "panes: {second: 5}",
    "type": "panes: {seconds: many}",
    "format": "ingest: {formats: {arn: end end}}",
    "key": "ingest: {access_key_file: empty}",
    "cert": "ingest: {tls_cert: empty, tls_key: empty}",
    "ca": "broker: {url: 'kafka://a:1', security_protocol: SSL, ssl_cafile: empty}",
}


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Done]:
    """What became of the command lines of WRONG."""
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "empty").write_text("\n")
    for name, text in SETTINGS.items():
        (folder / f"{name}.yaml").write_text(text)
    lines = [line for line, _ in WRONG]
    commands = [line.replace("NOBODY", "--broker kafka://127.0.0.1:1").split() for line in lines]
    return dict(zip(lines, ran(commands, folder), strict=True))


@pytest.mark.parametrize(("line", "said"), WRONG, ids=[line for line, _ in WRONG])
def test_a_wrong_command_line_or_setting_is_one_line_and_exit_code_2(
    wrong: dict[str, Done], line: str, said: str
) -> None:
    assert the_line(wrong[line], 2).startswith(said)


def test_an_address_that_cannot_be_had_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = ["ingest", "--broker", "kafka://127.0.0.1:1", "--listen"]
        in_use, nowhere = ran([[*command, address], [*command, "nohost.invalid:80"]], tmp_path)

    assert the_line(in_use, 1) == f"can't listen at {address}: address already in use; --listen takes another"
    assert the_line(nowhere, 1).startswith("can't listen at nohost.invalid:80: ")
    assert "rrno" not in nowhere.err


# -- help and check ---------------------------------------------------------------------------------------------------

HELP = {
    "up": "everything in one process",
    "worker": "count, and serve /metrics",
    "ingest": "Amazon Data Firehose",
    "bridge": "other Kafka topics on the raw topic",
    "replay": "records of files on the raw topic",
    "deadletters": "replay lines that could not be read",
    "parse": "records of files as JSON",
    "analyze": "Report what is in files",
    "detectors": "looked for in the traffic",
    "evaluate": "Measure the detectors",
    "check": "Validate the settings",
    "completion": "complete commands and flags",
}


def test_help_says_what_every_command_does(tmp_path: Path) -> None:
    everything, *each = ran([["--help"], *([command, "--help"] for command in HELP)], tmp_path)

    lines = everything.out.partition("Commands:\n")[2].splitlines()
    assert {line.split()[0] for line in lines} == set(HELP)
    assert [line for line in lines if line.endswith("...")] == []
    assert {done.code for done in (everything, *each)} == {0}
    assert [
        said for said, done in zip(HELP.values(), each, strict=True) if said not in " ".join(done.out.split())
    ] == []


@pytest.mark.parametrize(
    ("line", "offered"),
    [("vpcflow dead", "deadletters"), ("vpcflow deadletters sh", "show"), ("vpcflow analyze --no", "--no-findings")],
)
def test_bash_completes_commands_and_flags(line: str, offered: str, tmp_path: Path) -> None:
    """As bash calls it: with the words so far, the last of them unfinished."""
    program = tmp_path / "vpcflow"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m streams "$@"\n')
    program.chmod(0o755)
    words = f"COMP_WORDS=({line}); COMP_CWORD={len(line.split()) - 1}"
    asked = f'eval "$(vpcflow completion bash)"; {words}; _vpcflow_completion vpcflow; echo "${{COMPREPLY[@]}}"'
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True, env={**os.environ, **path})

    assert done.stdout.split() == [offered]


def test_check_prints_the_settings_in_force_without_secrets(tmp_path: Path) -> None:
    config = tmp_path / "vpcflow.yaml"
    config.write_text(
        "broker: {url: 'kafka://b:9092', security_protocol: SASL_PLAINTEXT, sasl_mechanism: PLAIN, sasl_username: joe,"
        " sasl_password: hidden-1}\n"
        "ingest: {access_keys: [hidden-2, hidden-3]}\n"
    )
    done = vpcflow("check", "--config", config, "--listen", "127.0.0.1:9999", environ={"VPCFLOW_TOPICS__PREFIX": "my"})
    said = done.stdout.decode()

    assert done.returncode == 0
    for part in ("url: kafka://b:9092", "sasl_username: joe", "sasl_password: '***'", "access_keys: '***'"):
        assert part in said
    assert "topic: my.raw, 4 partitions" in said
    assert "topic: my.dead-letter, 1 partition\n" in said
    assert "listens: http://127.0.0.1:9999 (/firehose with 2 access keys, /metrics, /livez, /readyz)" in said
    assert "console: at / of each worker, for everybody who reaches it\n" in said
    assert said.endswith("configuration: ok\n")
    assert "hidden" not in said + done.stderr.decode()


# -- parse and analyze ------------------------------------------------------------------------------------------------


def test_parse_prints_an_object_a_record_with_numbers_and_nulls(flows: Path) -> None:
    flow, refused, nodata = records(flows)

    assert tuple(flow) == NAMES
    assert flow == RECORD
    assert refused["action"] == "REJECT"
    assert nodata == {
        **dict.fromkeys(NAMES), "version": 2, "account-id": "123456789010", "interface-id": "eni-1235b8ca123456789",
        "start": 1431280876, "end": 1431280934, "log-status": "NODATA",
    }  # fmt: skip


def test_parse_says_how_many_lines_were_bad_and_writes_them_where_it_is_told(flows: Path, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.ndjson"

    plain, told = ran([["parse", str(flows)], ["parse", "--rejects", str(rejects), str(flows)]], tmp_path)

    assert (plain.code, plain.err) == (0, "vpcflow: 1 bad line; --rejects FILE shows what is wrong with them\n")
    assert (told.code, told.err) == (0, "vpcflow: 1 bad line\n")
    assert json.loads(rejects.read_bytes()) == {
        "path": str(flows), "number": 4, "reason": "too_few_fields", "line": "2 oops",
    }  # fmt: skip


def test_parse_takes_a_format_and_tells_a_name_that_aws_does_not_have() -> None:
    done = vpcflow("parse", "--format", "${bytes} ${scraddr} ${end}", "-", stdin=b"7 192.0.2.1 1418530070\n- - -\n")

    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"bytes": 7, "scraddr": "192.0.2.1", "end": 1418530070},
        {"bytes": None, "scraddr": None, "end": None},
    ]
    assert done.stderr == (
        b"vpcflow: format: AWS has no field scraddr (did you mean srcaddr?); its values are kept as they are\n"
    )


def test_parse_reads_files_folders_gzip_parquet_and_standard_input(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "one.log").write_text(f"{A}\n")
    (folder / "two.log.gz").write_bytes(gzip.compress(f"{A}\n".encode()))
    table = tmp_path / "flows.parquet"
    pl.DataFrame([{name.replace("-", "_"): value for name, value in RECORD.items()}]).write_parquet(table)

    assert records(folder, table, "-", stdin=f"{A}\n".encode()) == [RECORD] * 4


@pytest.mark.parametrize("command", [("parse",), ("analyze", "--json")])
def test_a_reader_that_has_seen_enough_ends_it_quietly(command: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "many.log"
    path.write_text("\n".join(many(60_000)))
    arguments = [*COMMAND, *command, str(path)]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        if command == ("parse",):
            assert json.loads(process.stdout.readline())["version"] == 2
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 141


def test_analyze_prints_one_object_with_these_keys(flows: Path) -> None:
    done = vpcflow("analyze", "--json", flows)
    found = json.loads(done.stdout)

    assert (done.returncode, done.stderr) == (0, b"")
    assert set(found) == {*KEYS, "formats", "files"}
    assert found["lines"] == {
        "total": 4, "flow": 2, "nodata": 1, "skipdata": 0, "header": 0, "blank": 0, "reject": 1,
    }  # fmt: skip
    assert found["rejects"] == {"too_few_fields": 1}
    assert found["totals"] == {"flows": 2, "packets": 40, "bytes": 8498, "accepted": 1, "rejected": 1}
    assert [set(row) for row in found["enis"]] == [{"eni", "first", "last", *COUNTS}]
    assert [set(row) for row in found["ports"]] == [{"port", "protocol", *COUNTS}] * 2
    assert [set(row) for row in found["panes"]] == [{"start", "end", *COUNTS}]
    assert found["findings"] == []
    assert found["files"] == [{"path": str(flows), "lines": 4, "error": None}]


def test_analyze_reports_in_words(flows: Path) -> None:
    said = vpcflow("analyze", flows).stdout.decode()

    for part in ("read     4 lines from one file", "eni-1235b8ca123456789", "22/tcp", "too few fields", "--rejects"):
        assert part in said


# -- up ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def down() -> Iterator[list[str]]:
    """Addresses of brokers that must be gone at the end."""
    addresses: list[str] = []
    yield addresses
    assert addresses
    assert [address for address in addresses if answers(address)] == []


def _shows_traffic(up: Vpcflow) -> bool:
    samples = up.samples()
    return min(total(samples, f"vpcflow_{table}_bytes_total") for table in ("eni", "port")) > 0


async def test_up_shows_traffic_in_seconds_and_ends_with_all_that_it_started(down: list[str]) -> None:
    with Vpcflow("up") as up:
        await until("interfaces and ports", lambda: _shows_traffic(up), 20)
        for page in ("metrics", "firehose", "readyz"):
            assert f"{up.url}/{page}" in up.printed()
        down.append(up.wait_for_line(r"embedded broker at (\S+):"))
        assert answers(down[0])
        began = time.monotonic()
        assert up.end(signal.SIGINT) == 0
        assert time.monotonic() - began < 10
        assert "Traceback" not in up.printed()


async def test_up_without_a_generator_counts_what_is_posted(down: list[str]) -> None:
    with Vpcflow("up", "--no-generator") as up:
        down.append(up.wait_for_line(r"embedded broker at (\S+):"))
        assert total(up.samples(), "vpcflow_lines_total") == 0
        async with aiohttp.ClientSession() as session:
            delivery = await FirehoseSender(session, f"{up.url}/firehose").deliver([orjson.dumps({"message": A})])
        assert delivery.accepted
        await until("it is counted", lambda: total(up.samples(), "vpcflow_eni_bytes_total") == RECORD["bytes"], 30)
        assert up.end(signal.SIGTERM) == 0
