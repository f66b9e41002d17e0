"""What a scrape shows: every metric that is declared, in text that Prometheus reads, with the tables' own values."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from streams.core import direction, facts, tables
from streams.core.combine import Policy, RawPartition
from streams.core.facts import INFO_FIELDS
from streams.core.known import INFO_SCHEMA
from streams.core.parse import REASONS
from streams.core.raw import SOURCES, RawMessage
from streams.core.roll import SummaryPartition
from streams.core.tables import ENI, PORT
from streams.core.watching import Figures
from streams.metrics import METRICS, Exposition, Instruments, Snapshot
from tests.core.traffic import ARRIVAL, OWN, T0, Flow, count, examples, message

TTL = 7200
Labels = frozenset[tuple[str, str]]


@dataclass
class Scrape:
    """A rendered scrape. samples: name as scraped -> labels -> value; types: family -> type."""

    text: str
    samples: dict[str, dict[Labels, float]] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for family in text_string_to_metric_families(self.text):
            self.types[family.name] = family.type
            for sample in family.samples:
                series = self.samples.setdefault(sample.name, {})
                labels = frozenset(sample.labels.items())
                assert labels not in series, f"{sample.name}{sample.labels} twice"
                series[labels] = sample.value

    def of(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """Values by the values of `labels`, in their order."""
        return {tuple(dict(found)[one] for one in labels): value for found, value in self.samples.get(name, {}).items()}


def _exposition(limit: int = 1000) -> tuple[Instruments, Exposition]:
    instruments = Instruments()
    return instruments, Exposition(instruments, {"eni": limit, "port": limit}, TTL)


def _scrape(snapshot: Snapshot, exposition: Exposition | None = None) -> Scrape:
    return Scrape((exposition or _exposition()[1]).render(snapshot).decode())


WATCHED = Figures(
    opened={("port-scan", "medium"): 2}, active={("port-scan", "medium"): 1}, suppressed={("beacon",): 1}, over=3,
    late=4, closed=T0,
)  # fmt: skip


def _snapshot(raw: Sequence[RawPartition], partitions: int = 2) -> Snapshot:
    """As the worker takes it."""
    rolled = [SummaryPartition(900) for _ in range(partitions)]
    for one in (summary for state in raw for summary in state.summaries(partitions)):
        rolled[one.partition].apply(one.key.decode(), one.value)
    totals = [state.totals() for state in rolled]
    info = [frame for state in rolled if (frame := state.standing().info()).height]
    return Snapshot(
        metas={state.partition: state.meta for state in raw},
        totals={name: tables.merge(table, [one[name] for one in totals]) for name, table in tables.TABLES.items()},
        info=pl.concat(info) if info else pl.DataFrame(schema=INFO_SCHEMA),
        lag={("vpcflow.raw", 0): 3},
        closed_before={n: state.clock.closed_before() for n, state in enumerate(rolled)},
        panes={n: len(state.pane_starts()) for n, state in enumerate(rolled)},
        tabled={n: int(one["eni"].get_column("flows").sum()) for n, one in enumerate(totals)},
        watched={0: WATCHED},
        ready=True,
    )


def _lines(version: int = 5) -> list[str]:
    enis = sorted(OWN)
    found = [
        Flow(
            enis[n % 3], OWN[enis[n % 3]][0], f"10.0.7.{n % 5}", (40000 + n, (443, 53)[n % 2]), (6, 17, 253)[n % 3],
            n, 100 * n, T0 + n, T0 + n, ("ACCEPT", "REJECT")[n % 2], way="egress",
        ).line(version)
        for n in range(20)
    ]  # fmt: skip
    return [*found, "junk", ""]


def _busy() -> tuple[Instruments, Exposition, Snapshot]:
    """A moment in which everything has happened once."""
    policy = Policy(eni_keys=2, key_ttl=3600, retained=2, lateness=60)
    state = RawPartition(0, policy)
    future = Flow("eni-z", "10.0.0.1", "10.0.0.2", (1, 2), 6, 1, 1, T0 + 10**7, T0 + 10**7).line(5)
    late, later = (Flow(min(OWN), "10.0.0.10", "10.0.0.2", (1, 2), 6, 1, 1, at, at).line(5) for at in (T0, T0 + 9000))
    log = [message(some, 5, "f", n) for n, some in enumerate((_lines(), _lines(), [later, future], [late]))]
    folded = state.fold([*enumerate(log), (9, log[0])])
    instruments, exposition = _exposition()
    instruments.requests("firehose", "ok")
    instruments.bytes("firehose", 100)
    instruments.skipped("firehose", "probe", 1)
    instruments.lost("vpcflow.raw", 2)
    instruments.foreign_summary()
    instruments.visible(1.5)
    instruments.checkpoint("combine", 0.2, 5000)
    instruments.loop_lag(0.02)
    instruments.pushed("ok")
    instruments.delays(folded.delays, folded.delay_sum)
    return instruments, exposition, _snapshot([state])


def test_every_declared_metric_has_samples_with_its_labels_and_nothing_else_is_shown() -> None:
    _, exposition, snapshot = _busy()

    scrape = _scrape(snapshot, exposition)

    families = {name.removesuffix("_total") if m.kind == "counter" else name: m for name, m in METRICS.items()}
    shown = {name for name in scrape.types if not name.endswith("_created")}
    assert shown == set(families)
    for name, metric in families.items():
        suffix = {"counter": "_total", "histogram": "_bucket", "gauge": ""}[metric.kind]
        series = scrape.samples.get(name + suffix)
        assert series, f"{metric.name} has no sample"
        assert scrape.types[name] == metric.kind
        labels = {*metric.labels, *(("le",) if metric.kind == "histogram" else ())}
        assert {frozenset(dict(found)) for found in series} == {frozenset(labels)}, metric.name


def test_the_text_is_what_promtool_would_pass() -> None:
    """Names with the prefix, counters that end in _total, no NaN, help for all, units at the end, buckets that grow."""
    _, exposition, snapshot = _busy()

    scrape = _scrape(snapshot, exposition)

    lines = scrape.text.splitlines()
    described = [line.split(" ")[2] for line in lines if line.startswith("# HELP ")]
    typed = [line.split(" ")[2] for line in lines if line.startswith("# TYPE ")]
    assert described == typed
    assert max(Counter(typed).values()) == 1
    assert all(name.startswith("vpcflow_") for name in typed)
    for name, metric in METRICS.items():
        assert (metric.kind == "counter") == name.endswith("_total")
        assert metric.meaning.endswith(".")
    values = [value for series in scrape.samples.values() for value in series.values()]
    assert not any(math.isnan(value) or math.isinf(value) for value in values)
    for name in (name for name, metric in METRICS.items() if metric.kind == "histogram"):
        by_others: dict[Labels, list[tuple[float, float]]] = {}
        for labels, value in scrape.samples[f"{name}_bucket"].items():
            others = frozenset(pair for pair in labels if pair[0] != "le")
            by_others.setdefault(others, []).append((float(dict(labels)["le"]), value))
        for others, buckets in by_others.items():
            counts = [value for _, value in sorted(buckets)]
            assert counts == sorted(counts)
            assert counts[-1] == scrape.samples[f"{name}_count"][others]


def test_values_are_those_of_the_lines() -> None:
    """Against the count with dicts; without overflow all series together are the totals."""
    state = RawPartition(4, Policy())
    state.fold([(0, message(_lines(), 5, "f"))])

    scrape = _scrape(_snapshot([state]))

    oracle = count(_lines(), 5)
    protocols = {6: "tcp", 17: "udp", 253: "253"}
    for n, unit in enumerate(("flows", "packets", "bytes")):
        enis = scrape.of(f"vpcflow_eni_{unit}_total", "eni", "direction", "action")
        ports = scrape.of(f"vpcflow_port_{unit}_total", "port", "protocol", "action")
        assert enis == {key: counts[n] for key, counts in oracle.enis.items()}
        assert ports == {
            (str(port), protocols[int(str(number))], action): counts[n]
            for (port, number, action), counts in oracle.ports.items()
        }
    assert +Counter(scrape.of("vpcflow_lines_total", "outcome")) == {(k,): n for k, n in oracle.lines.items()}
    assert scrape.of("vpcflow_folded_flows_total", "partition") == {("4",): 20}
    assert sum(scrape.of("vpcflow_tabled_flows_total", "partition").values()) == 20
    assert scrape.of("vpcflow_eni_last_seen_timestamp_seconds", "eni").keys() == {(key[0],) for key in oracle.enis}


def test_label_values_come_from_closed_sets() -> None:
    _, exposition, snapshot = _busy()

    scrape = _scrape(snapshot, exposition)

    closed = {
        "direction": set(direction.NAMES),
        "action": set(tables.ACTIONS),
        "outcome": {"flow", "nodata", "skipdata", "header", "blank", "reject", "ok"},
        "reason": {*REASONS, "probe"},
        "source": {*SOURCES, "unknown"},
        "table": {"eni", "port", "bridge"},
        "agent": {"combine", "roll"},
    }
    for name, series in scrape.samples.items():
        for label, value in (pair for labels in series for pair in labels):
            assert value in closed.get(label, {value}), name


HOSTILE = (
    'eni-"quoted"', "eni-\\back\\slash", "eni-line\nfeed", "\u6f22\U0001f980", "other", "expired", "-", "",
    "\r\x00\x7f", "{}=,#",
)  # fmt: skip


@examples(25)
@given(st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=8)), min_size=1, max_size=8, unique=True))
def test_any_name_of_an_eni_survives_a_scrape(names: list[str]) -> None:
    """Quotes, line feeds, other scripts: the text stays readable and the name comes back as it was."""
    row = {"direction": 1, "action": 1, "replay": False, "flows": 1, "packets": 2, "bytes": 3, "first": T0, "last": T0}
    totals = {"eni": pl.DataFrame([{"eni": name, **row} for name in names], schema=ENI.schema), "port": PORT.empty()}
    info = pl.DataFrame([{"eni": name, "vpc-id": name} for name in names], schema=INFO_SCHEMA)

    scrape = _scrape(Snapshot(totals=totals, info=info))

    real = {name for name in names if name not in (tables.OTHER, tables.EXPIRED)}
    assert {eni for (eni,) in scrape.of("vpcflow_eni_bytes_total", "eni")} - {tables.OTHER} == real
    assert scrape.of("vpcflow_eni_info", "eni", "vpc") == {(name, name): 1 for name in real}


def test_other_and_unknown_ports_have_names_no_port_has() -> None:
    row = {"action": 0, "replay": False, "flows": 1, "packets": 2, "bytes": 3, "first": T0, "last": T0}
    special = [(tables.OTHER_PORT, tables.OTHER_PORT), (tables.UNKNOWN_PORT, tables.UNKNOWN_PORT), (0, 1), (22, 6)]
    ports = pl.DataFrame([{"port": a, "protocol": b, **row} for a, b in special], schema=PORT.schema)

    scrape = _scrape(Snapshot(totals={"eni": ENI.empty(), "port": ports}))

    assert set(scrape.of("vpcflow_port_flows_total", "port", "protocol", "action")) == {
        (port, protocol, "unknown")
        for port, protocol in (("other", "other"), ("unknown", "unknown"), ("0", "icmp"), ("22", "tcp"))
    }


def test_every_port_and_protocol_has_a_series_of_its_own() -> None:
    """Two rows under one name would be one sample, and the other one lost."""
    row = {"action": 1, "replay": False, "flows": 1, "packets": 1, "bytes": 1, "first": T0, "last": T0}
    keys = [{"port": 7, "protocol": number, **row} for number in range(256)]

    scrape = _scrape(Snapshot(totals={"eni": ENI.empty(), "port": pl.DataFrame(keys, schema=PORT.schema)}))

    assert len(scrape.samples["vpcflow_port_flows_total"]) == 256


@pytest.mark.parametrize("limit", [0, 1, 2])
def test_series_stay_inside_the_budget_and_their_sum_is_the_total(limit: int) -> None:
    state = RawPartition(0, Policy())
    state.fold([(0, message(_lines(), 5, "f"))])

    scrape = _scrape(_snapshot([state]), _exposition(limit)[1])

    enis = {eni for (eni,) in scrape.of("vpcflow_eni_flows_total", "eni")}
    assert len(enis - {tables.OTHER}) == limit
    assert sum(scrape.samples["vpcflow_eni_flows_total"].values()) == 20
    assert sum(scrape.samples["vpcflow_port_bytes_total"].values()) == state.meta.totals["bytes"]
    assert {eni for (eni,) in scrape.of("vpcflow_eni_last_seen_timestamp_seconds", "eni")} == enis - {tables.OTHER}
    assert scrape.of("vpcflow_series", "table")["eni",] >= len(enis)


def test_counters_only_grow_from_scrape_to_scrape() -> None:
    _, exposition = _exposition(1)
    state = RawPartition(0, Policy(eni_keys=3))
    before: dict[str, dict[Labels, float]] = {}
    rolled = [SummaryPartition(900)]
    for n, line in enumerate(_lines()):
        state.fold([(n, message([line.replace("eni-0a", f"eni-{n % 5}a")], 5, "f", n))])
        for one in state.summaries(1):
            rolled[0].apply(one.key.decode(), one.value)
        scrape = _scrape(
            Snapshot(metas={0: state.meta}, totals=rolled[0].totals(), info=rolled[0].standing().info()), exposition
        )
        counters = {name: series for name, series in scrape.samples.items() if name.endswith("_total")}
        for name, series in before.items():
            assert series.keys() <= counters[name].keys()
            assert all(counters[name][labels] >= value for labels, value in series.items()), name
        before = counters


def test_a_restarted_worker_goes_on_where_it_was() -> None:
    state = RawPartition(0, Policy())
    state.fold([(0, message(_lines(), 5, "f"))])
    rolled = SummaryPartition(900)
    for one in state.summaries(1):
        rolled.apply(one.key.decode(), one.value)
    rows, then = state.checkpoint()
    again = RawPartition(0, Policy(), {name: value for name, value in {**rows, **then}.items() if value is not None})
    kept = {name: value for name, value in rolled.checkpoint()[0].items() if value is not None}
    restarted = SummaryPartition(900, kept)

    scrapes = [
        _scrape(Snapshot(metas={0: raw.meta}, totals=roll.totals(), info=roll.standing().info()))
        for raw, roll in ((state, rolled), (again, restarted))
    ]

    assert _counted(scrapes[0].samples) == _counted(scrapes[1].samples)


def _counted(samples: dict[str, dict[Labels, float]]) -> dict[str, dict[Labels, float]]:
    """Without what a process says of itself."""
    own = ("_created", "python_blocks")
    return {name: series for name, series in samples.items() if not name.endswith(own)}


def test_a_scrape_before_anything_happened_is_empty_but_readable() -> None:
    scrape = _scrape(Snapshot())

    assert scrape.of("vpcflow_ready") == {(): 0}
    assert "vpcflow_eni_bytes_total" not in scrape.samples


def test_sums_that_wrapped_are_still_readable() -> None:
    state = RawPartition(0, Policy())
    line = Flow(min(OWN), "10.0.0.10", "10.0.0.2", (1, 2), 6, 1, 2**63 - 1, T0, T0).line(2)
    state.fold([(n, message([line], 2, "f", n)) for n in range(5)])

    values = _scrape(_snapshot([state])).samples["vpcflow_eni_flows_total"].values()

    assert sum(values) == 5


def test_the_labels_of_an_enis_information_are_the_fields_that_describe_it() -> None:
    names = tuple(name.removesuffix("-id").replace("-", "_") for name in INFO_FIELDS)

    assert METRICS["vpcflow_eni_info"].labels == ("eni", *names)
    assert len(set(names)) == len(names)


def _messages(lines: Iterable[str]) -> list[RawMessage]:
    return [message([line], 5, "f", n, arrival_ms=ARRIVAL) for n, line in enumerate(lines)]


def test_partitions_are_labels_so_that_what_moves_is_a_series_of_its_own() -> None:
    states = [RawPartition(n, Policy()) for n in range(3)]
    for state in states:
        state.fold(list(enumerate(_messages(_lines()))))

    scrape = _scrape(_snapshot(states))

    for name in ("vpcflow_lines_total", "vpcflow_folded_flows_total", "vpcflow_watermark_timestamp_seconds"):
        assert {partition for (partition,) in scrape.of(name, "partition")} == {"0", "1", "2"}


# -- hostile lines ----------------------------------------------------------------------------------------------------

ODD_WORDS = (
    'eni-"}', "eni\\n", 'a"b', "a\\b", "a\\nb", 'a\\"', "\\", '"', "{}", 'x",eni="y', "#", "#HELP", "a,b=c", "\x00",
    "\x0b\x0c\x1c", "\x85\u2028\u2029", "\u00a0", "x\ufeff", "\ufffd", "\U0001f600", "\u202egnp", "+Inf",
    "x" * facts.LONGEST_NAME,
)  # fmt: skip


@pytest.mark.parametrize("value", ODD_WORDS, ids=range(len(ODD_WORDS)))
def test_a_hostile_value_stays_inside_its_label(value: str) -> None:
    fmt = "interface-id vpc-id subnet-id instance-id account-id srcaddr dstaddr bytes end action"
    line = f"{value} {value} {value} {value} {value} 192.0.2.1 192.0.2.2 7 {T0} ACCEPT"
    state = RawPartition(0, Policy())
    state.fold([(0, RawMessage(line.encode(), message([], 5, "f").origin, ARRIVAL, fmt))])

    scrape = _scrape(_snapshot([state]))

    assert set(scrape.of("vpcflow_eni_bytes_total", "eni").values()) == {7.0}
    assert set(scrape.of("vpcflow_eni_bytes_total", "eni")) == {(value,)}
    told = scrape.of("vpcflow_eni_info", "eni", "vpc", "subnet", "instance", "account")
    assert told == {(value,) * 5: 1.0}
    assert scrape.samples.keys() == {name for name in scrape.samples if name.startswith("vpcflow_")}


@pytest.mark.parametrize("value", [b"\xff", b"eni-\xc3\x28", b"\xed\xa0\x80"])
def test_a_value_that_is_no_utf8_gets_no_series(value: bytes) -> None:
    line = b"2 1 %s 192.0.2.1 192.0.2.2 1 2 6 1 7 %d %d ACCEPT OK" % (value, T0, T0)
    state = RawPartition(0, Policy())
    state.fold([(0, RawMessage(line, message([], 2, "f").origin, ARRIVAL))])

    scrape = _scrape(_snapshot([state]))

    assert scrape.of("vpcflow_rejected_lines_total", "reason") == {("not_utf8",): 1.0}
    assert scrape.of("vpcflow_eni_bytes_total", "eni") == {}


@pytest.mark.parametrize("value", ['"', "\\", "1\\n", "\u0665", "+5", "1e3", "99999", "-1", '1",x="'])
def test_a_port_that_is_no_number_is_no_label(value: str) -> None:
    line = f"2 1 eni-1 192.0.2.1 192.0.2.2 {value} {value} 6 1 7 {T0} {T0} ACCEPT OK"
    state = RawPartition(0, Policy())
    state.fold([(0, RawMessage(line.encode(), message([], 2, "f").origin, ARRIVAL))])

    scrape = _scrape(_snapshot([state]))

    assert scrape.of("vpcflow_port_bytes_total", "port") == {}
    assert sum(scrape.of("vpcflow_rejected_lines_total", "reason").values()) == 1


def test_a_name_that_is_too_long_for_one_is_no_key_and_no_label() -> None:
    """A hundred thousand keys of 32 KiB would be no bounded memory."""
    fmt = "interface-id vpc-id srcaddr dstaddr bytes end"
    long = "x" * (facts.LONGEST_NAME + 1)
    lines = [f"{long} vpc-1 192.0.2.1 192.0.2.2 7 {T0}", f"eni-1 {long} 192.0.2.1 192.0.2.2 5 {T0}"]
    state = RawPartition(0, Policy())
    state.fold([(0, RawMessage("\n".join(lines).encode(), message([], 5, "f").origin, ARRIVAL, fmt))])

    scrape = _scrape(_snapshot([state]))

    assert scrape.of("vpcflow_eni_bytes_total", "eni") == {(tables.UNKNOWN_ENI,): 7.0, ("eni-1",): 5.0}
    assert scrape.of("vpcflow_eni_info", "eni", "vpc") == {(tables.UNKNOWN_ENI, "vpc-1"): 1.0, ("eni-1", ""): 1.0}
