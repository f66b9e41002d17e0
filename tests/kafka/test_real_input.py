"""Flow logs that nobody here wrote: what comes out of them, with a broker and without, is what a plain count gives."""

from __future__ import annotations

import asyncio
import gzip
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.core.test_parse import ORDERS
from tests.kafka.oracle import Key, KeyOf, Record, added_up, counted, eni, port, record
from tests.kafka.process import Samples, Vpcflow, by_label, flows_shown, sums, total, until, vpcflow
from tests.sources.samples import V2, shared

UNTOLD = ("v7-ecs-aws-blog.log", "v11-vrl-fixture.log")
"""Samples in an order that nobody can guess: read with --format, and else rejected as of an unknown format."""

LABELLED = "labelled/*/flows.log.gz", "labelled/*/*/flows.log.gz"
ALL_SHOWN = {
    "VPCFLOW_BUDGET__PORT_SERIES": "20000",
    "VPCFLOW_GROUP__SESSION_SECONDS": "6",
}


@dataclass(frozen=True)
class Sample:
    """A file of flow logs. fields: the names in their order; the file's own header, where it has one, else ours."""

    path: Path

    @cached_property
    def lines(self) -> list[bytes]:
        content = self.path.read_bytes()
        return (gzip.decompress(content) if self.path.suffix == ".gz" else content).splitlines()

    @property
    def has_header(self) -> bool:
        return self.lines[0].startswith(b"version ")

    @property
    def fields(self) -> str:
        return self.lines[0].decode() if self.has_header else ORDERS.get(self.path.name, V2)

    @cached_property
    def records(self) -> list[Record]:
        return [record(line, self.fields) for line in self.lines[self.has_header :]]

    @property
    def newest(self) -> float:
        """Latest end, epoch seconds; of records without times, the time of their arrival: later than all others."""
        return max(float(one.get("end", one.get("start", "inf"))) for one in self.records)


def _samples() -> list[Sample]:
    """All files of flow log lines in ../shared."""
    data, reference = shared("data"), shared("reference/samples")
    paths = [one for one in data.glob("real-vpc/**/*") if one.suffix == ".gz"]
    paths += [one for pattern in LABELLED for one in data.glob(pattern)]
    assert len(paths) >= 5
    return [Sample(path) for path in (*paths, *reference.glob("*.log"))]


def _told() -> list[Sample]:
    """Those that tell their format, by a header or by what they look like."""
    return [one for one in _samples() if one.path.name not in UNTOLD]


def _untold() -> list[Sample]:
    return [Sample(shared(f"reference/samples/{name}")) for name in UNTOLD]


def _records(samples: Iterable[Sample]) -> list[Record]:
    return [one for sample in samples for one in sample.records]


def _outcomes(told: Iterable[Sample], untold: Iterable[Sample] = ()) -> Counter[str]:
    """Outcome -> lines."""
    told, rejected = list(told), sum(len(one.lines) for one in untold)
    return +(counted(_records(told)) + Counter(header=sum(one.has_header for one in told), reject=rejected))


def _paths(*samples: Iterable[Sample]) -> list[str]:
    return [str(sample.path) for several in samples for sample in several]


# -- without a broker --------------------------------------------------------------------------------------------------


def _analysis(paths: list[str], *arguments: str) -> dict[str, Any]:
    done = vpcflow("analyze", "--json", "--no-findings", *arguments, *paths)
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = orjson.loads(done.stdout)
    return found


def _assert_counted(found: dict[str, Any], told: list[Sample], untold: Iterable[Sample] = ()) -> None:
    """Lines, totals, ENIs, service ports and files of an analysis are those of a plain count."""
    records = _records(told)
    files = {str(one.path): len(one.lines) for one in (*told, *untold)}
    lines = {name: count for name, count in found["lines"].items() if count}
    assert lines == {**_outcomes(told, untold), "total": sum(files.values())}
    assert {one["path"]: one["lines"] for one in found["files"]} == files
    assert _rows([found["totals"]]) == _plain(records, lambda _: ())
    assert _rows(found["enis"], "eni") == _plain(records, lambda one: _null(eni(one)[:1]))
    assert _rows(found["ports"], "port", "protocol") == _plain(records, _service)


def _service(one: Record) -> Key:
    """Port and number of the protocol: the analysis gives no names."""
    return _null((port(one)[0], one.get("protocol", "unknown")))


def _null(key: Key) -> Key:
    return tuple("None" if word in ("-", "unknown") else word for word in key)


def _rows(rows: list[dict[str, Any]], *keys: str) -> dict[Key, tuple[int, ...]]:
    names = ("flows", "packets", "bytes", "accepted", "rejected")
    return {tuple(str(row[key]) for key in keys): tuple(row[name] for name in names) for row in rows}


def _plain(records: list[Record], key: KeyOf) -> dict[Key, tuple[int, ...]]:
    """Key -> flows, packets, bytes, accepted, rejected."""
    accepted, rejected = (
        added_up([one for one in records if one.get("action") == action], key) for action in ("ACCEPT", "REJECT")
    )
    none = (0, 0, 0)
    return {
        name: (*sums, accepted.get(name, none)[0], rejected.get(name, none)[0])
        for name, sums in added_up(records, key).items()
    }


def test_real_files_are_analyzed_to_the_totals_of_a_plain_count() -> None:
    """With headers and without, versions 2 to 10 and a Transit Gateway's, fields in a dozen orders, all at once."""
    told, untold = _told(), _untold()
    found = _analysis(_paths(told, untold))

    _assert_counted(found, told, untold)
    assert found["rejects"] == {"unknown_format": sum(len(one.lines) for one in untold)}
    assert len(found["formats"]) >= 10
    assert found["totals"]["flows"] > 15_000


@pytest.mark.parametrize("sample", UNTOLD)
def test_a_real_file_that_does_not_tell_its_format_is_analyzed_with_it(sample: str) -> None:
    found = Sample(shared(f"reference/samples/{sample}"))

    _assert_counted(_analysis(_paths([found]), "--format", found.fields), [found])


# -- through a broker --------------------------------------------------------------------------------------------------


def _agree(samples: Samples) -> bool:
    """Whether what was read is in the tables by now."""
    return total(samples, "vpcflow_folded_flows_total") == total(samples, "vpcflow_tabled_flows_total") > 0


@pytest.mark.parametrize(("broker", "newest_first"), [("apache", True), ("embedded", False)])
async def test_real_files_are_replayed_to_the_metrics_of_a_plain_count(
    request: pytest.FixtureRequest, prefix: str, broker: str, *, newest_first: bool
) -> None:
    """`vpcflow up --replay FILE...`: each line has its outcome, each flow is under its ENI and port, however old."""
    told, untold = sorted(_told(), key=lambda one: one.newest, reverse=newest_first), _untold()
    records, outcomes, paths = _records(told), _outcomes(told, untold), _paths(told, untold)
    where = ["--broker", f"kafka://{request.getfixturevalue('apache_kafka')}"] if broker == "apache" else []
    with Vpcflow("up", *where, "--replay", *paths, environ={**ALL_SHOWN, "VPCFLOW_TOPICS__PREFIX": prefix}) as up:

        def done() -> bool:
            found = up.samples()
            return total(found, "vpcflow_lines_total") >= outcomes.total() and flows_shown(found) >= outcomes["flow"]

        await until("all flows are shown", done)
        samples = up.samples()

    assert by_label(samples, "vpcflow_lines_total", "outcome") == outcomes
    assert by_label(samples, "vpcflow_rejected_lines_total", "reason") == Counter(unknown_format=outcomes["reject"])
    assert sums(samples, "eni", ["eni", "action"]) == added_up(records, eni)
    assert sums(samples, "port", ["port", "protocol", "action"]) == added_up(records, port)
    assert _agree(samples)
    for nothing in ("duplicate_lines", "over_budget_flows", "expired_keys", "foreign_summaries"):
        assert total(samples, f"vpcflow_{nothing}_total") == 0
    assert (total(samples, "vpcflow_late_records_total") > 0) is newest_first


async def test_replayed_history_is_in_the_tables_and_leaves_the_live_counters_alone(
    apache_kafka: str, prefix: str
) -> None:
    """`vpcflow replay FILE...`, then the same --live: what was replayed once is a repeat."""
    outcomes, paths = _outcomes(_told()), _paths(_told())
    environ = {**ALL_SHOWN, "VPCFLOW_TOPICS__PREFIX": prefix}
    broker = ("--broker", f"kafka://{apache_kafka}")

    def replay(*arguments: str) -> None:
        done = vpcflow("replay", *broker, *arguments, *paths, environ=environ)
        assert done.returncode == 0, done.stderr.decode()

    with Vpcflow("worker", *broker, environ=environ) as worker:
        await asyncio.to_thread(replay)
        await until("all is read", lambda: total(worker.samples(), "vpcflow_lines_total") >= outcomes.total())
        await until("all is in the tables", lambda: _agree(worker.samples()))
        once = worker.samples()
        await asyncio.to_thread(replay, "--live")
        repeats = "vpcflow_duplicate_lines_total"
        await until("all is known", lambda: total(worker.samples(), repeats) >= outcomes.total())
        twice = worker.samples()

    for found in (once, twice):
        assert by_label(found, "vpcflow_lines_total", "outcome") == outcomes
        assert total(found, "vpcflow_folded_flows_total") == outcomes["flow"]
        assert _agree(found)
        assert sums(found, "eni", ["eni", "action"]) == sums(found, "port", ["port", "action"]) == {}
    assert by_label(twice, "vpcflow_duplicate_lines_total", "source") == Counter(file=outcomes.total())
