"""Every metric, declared once; names, labels and meanings are an interface (docs/METRICS.md is made from here).

Counters of the tables are read from the tables themselves at scrape time, so they go on where they were after a restart
and leave a worker together with their partition. Counters that belong to a raw partition carry it as a label: what moves
to another worker moves as a series, and no rate() sees a jump.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal

import polars as pl
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from streams.core import direction, tables
from streams.core.budget import SeriesBudget
from streams.core.combine import DELAY_BUCKETS, Meta
from streams.core.facts import INFO_FIELDS
from streams.core.known import INFO_SCHEMA
from streams.core.protocols import protocol_name
from streams.core.tables import TABLES, Frames
from streams.core.watching import Figures
from streams.exposition import family_text, label_sets

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each, and the tables' counters are older

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True)
class Declared:
    """A metric: its name as it is scraped, what it means, its labels."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str


_ENI, _PORT = ("eni", "direction", "action"), ("port", "protocol", "action")
_INFO = tuple(name.removesuffix("-id").replace("-", "_") for name in INFO_FIELDS)

METRICS = {
    metric.name: metric
    for metric in (
        Declared("vpcflow_eni_bytes_total", "counter", _ENI, "Bytes of the flow records of an ENI. `other`: all ENIs above the budget."),
        Declared("vpcflow_eni_packets_total", "counter", _ENI, "Packets of the flow records of an ENI."),
        Declared("vpcflow_eni_flows_total", "counter", _ENI, "Flow records of an ENI."),
        Declared("vpcflow_port_bytes_total", "counter", _PORT, "Bytes of the flow records of a service port (see docs/TABLES.md for which port that is)."),
        Declared("vpcflow_port_packets_total", "counter", _PORT, "Packets of the flow records of a service port."),
        Declared("vpcflow_port_flows_total", "counter", _PORT, "Flow records of a service port."),
        Declared("vpcflow_eni_last_seen_timestamp_seconds", "gauge", ("eni",), "Latest end of a flow record of the ENI."),
        Declared("vpcflow_eni_info", "gauge", ("eni", *_INFO), "1, with what the records say of the ENI: join it by `eni`."),
        Declared("vpcflow_lines_total", "counter", ("outcome", "partition"), "Lines read from the raw topic. outcome: flow, nodata, skipdata, header, blank or reject; together they are all lines."),
        Declared("vpcflow_rejected_lines_total", "counter", ("reason", "partition"), "Lines that could not be read, now dead letters."),
        Declared("vpcflow_duplicate_lines_total", "counter", ("source", "partition"), "Lines dropped because their message was seen before."),
        Declared("vpcflow_late_records_total", "counter", ("partition",), "Flow records whose pane was closed already. They are in the totals, and in the pane while it is retained."),
        Declared("vpcflow_future_records_total", "counter", ("partition",), "Flow records that end after they arrived, by more than clocks differ. They are in the totals only."),
        Declared("vpcflow_over_budget_flows_total", "counter", ("table", "partition"), "Flow records counted as `other` because the table's key budget was used up."),
        Declared("vpcflow_expired_keys_total", "counter", ("table", "partition"), "Keys that left a table because they were silent for a day."),
        Declared("vpcflow_folded_flows_total", "counter", ("partition",), "Flow records that the raw partition counted: the same as the flows of its panes and history."),
        Declared("vpcflow_tabled_flows_total", "counter", ("partition",), "Flow records in the tables of a summary partition, `other`, `expired` and replayed ones among them. Nothing is lost while sum(vpcflow_folded_flows_total) - sum(vpcflow_tabled_flows_total) returns to 0."),
        Declared("vpcflow_ingest_requests_total", "counter", ("source", "outcome"), "Requests to the ingest endpoint."),
        Declared("vpcflow_ingest_bytes_total", "counter", ("source",), "Bytes of their bodies, as they came."),
        Declared("vpcflow_ingest_skipped_total", "counter", ("source", "reason"), "What came and holds no lines (probes, notices), or lines that were there already."),
        Declared("vpcflow_lost_messages_total", "counter", ("topic",), "Messages that the broker no longer held when this worker came to read them: raise the retention."),
        Declared("vpcflow_consumer_lag_messages", "gauge", ("topic", "partition"), "Messages on the topic that this worker has not taken yet."),
        Declared("vpcflow_watermark_timestamp_seconds", "gauge", ("partition",), "Event time that a raw partition has reached."),
        Declared("vpcflow_closed_before_timestamp_seconds", "gauge", ("partition",), "Panes of a summary partition that end before this are closed."),
        Declared("vpcflow_delivery_delay_seconds", "histogram", (), "From the end of a flow record to its arrival here."),
        Declared("vpcflow_pipeline_latency_seconds", "histogram", (), "From the arrival of a record to the tables that /metrics reads."),
        Declared("vpcflow_checkpoint_duration_seconds", "histogram", ("agent",), "Time that a checkpoint took."),
        Declared("vpcflow_checkpoint_bytes", "histogram", ("agent",), "Size of a checkpoint."),
        Declared("vpcflow_checkpoint_last_timestamp_seconds", "gauge", ("agent",), "When the last checkpoint was written. Its age grows when checkpoints fail or the worker hangs."),
        Declared("vpcflow_assignments_total", "counter", (), "Times that this worker was given its partitions: once at the start, and again with each rebalance."),
        Declared("vpcflow_recovering", "gauge", (), "1: the worker has its partitions and reads their tables back."),
        Declared("vpcflow_recovery_duration_seconds", "histogram", (), "From the assignment of partitions to tables that are whole."),
        Declared("vpcflow_series", "gauge", ("table",), "Rows of a table that have series of their own at /metrics."),
        Declared("vpcflow_series_evicted_total", "counter", ("table",), "Keys whose series ended because they were silent for longer than the TTL."),
        Declared("vpcflow_retained_panes", "gauge", ("partition",), "Panes that a summary partition keeps apart."),
        Declared("vpcflow_foreign_summaries_total", "counter", (), "Messages on the summaries or the conversations topic that are not ours."),
        Declared("vpcflow_findings_total", "counter", ("detector", "severity", "partition"), "Findings that were opened, suppressed ones too, with the severity that they opened with. partition: of the conversations topic, here and below."),
        Declared("vpcflow_findings_active", "gauge", ("detector", "severity", "partition"), "Findings that are open."),
        Declared("vpcflow_suppressed_findings_total", "counter", ("detector", "partition"), "Findings that a suppression keeps back."),
        Declared("vpcflow_passed_over_hits_total", "counter", ("partition",), "What detectors saw and did not tell, as it was more than 1,000 things in a minute or 10,000 open findings of one detector."),
        Declared("vpcflow_unwatched_records_total", "counter", ("partition",), "Flow records that no detector sees: later than detection.lateness_seconds, from the future, without addresses, or in a message of more than 65,536. partition: of the raw topic."),
        Declared("vpcflow_unwatched_late_records_total", "counter", ("partition",), "Flow records whose minute was closed for the detectors when their block came: their raw partition had been idle, or far behind."),
        Declared("vpcflow_watched_before_timestamp_seconds", "gauge", ("partition",), "Minutes that end by this have been seen by the detectors."),
        Declared("vpcflow_watch_duration_seconds", "histogram", (), "Time from a minute that closes for the detectors to its findings, which leave at once."),
        Declared("vpcflow_alertmanager_requests_total", "counter", ("outcome",), "Times that open findings were told to Alertmanager. outcome: ok or error."),
        Declared("vpcflow_rules_last_reload_successful", "gauge", (), "1: the detectors run by the files of the settings as they are; 0: the last edit was refused, and the rules before it are in force."),
        Declared("vpcflow_event_loop_lag_seconds", "histogram", (), "How much later than asked a timer of the event loop ran, ten times a second: so long requests and messages waited."),
        Declared("vpcflow_python_blocks", "gauge", (), "Blocks of memory that Python's objects take (sys.getallocatedblocks). When memory grows and they don't, it is an allocator that keeps pages."),
        Declared("vpcflow_ready", "gauge", (), "1: tables recovered and progress being made."),
    )
}  # fmt: skip

_LATENCY_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 300)
_DURATION_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LAG_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_SIZE_BUCKETS = tuple(4**n * 1024 for n in range(10))


@dataclass(frozen=True)
class Snapshot:
    """What a scrape reads, taken at one moment in the core's thread.

    metas: raw partition -> Meta. totals: a frame per table. info: see core.known. lag: (topic, partition) -> messages.
    closed_before, panes, tabled (flow records): by summary partition. watched: by partition of the conversations topic.
    """

    metas: Mapping[int, Meta] = field(default_factory=dict)
    totals: Frames = field(default_factory=tables.empty_frames)
    info: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=INFO_SCHEMA))
    lag: Mapping[tuple[str, int], int] = field(default_factory=dict)
    closed_before: Mapping[int, int | None] = field(default_factory=dict)
    panes: Mapping[int, int] = field(default_factory=dict)
    tabled: Mapping[int, int] = field(default_factory=dict)
    watched: Mapping[int, Figures] = field(default_factory=dict)
    ready: bool = False
    recovering: bool = False


class Instruments:
    """What the shell counts as it works, since this process began. Each call counts, and nothing else does."""

    def __init__(self) -> None:
        """A registry of its own: two in one process do not meet."""
        self.registry = CollectorRegistry()
        self._requests = self._counter("vpcflow_ingest_requests_total")
        self._bytes = self._counter("vpcflow_ingest_bytes_total")
        self._skipped = self._counter("vpcflow_ingest_skipped_total")
        self._lost = self._counter("vpcflow_lost_messages_total")
        self._foreign = self._counter("vpcflow_foreign_summaries_total")
        self._latency = self._histogram("vpcflow_pipeline_latency_seconds", _LATENCY_BUCKETS)
        self._duration = self._histogram("vpcflow_checkpoint_duration_seconds", _DURATION_BUCKETS)
        self._size = self._histogram("vpcflow_checkpoint_bytes", _SIZE_BUCKETS)
        self._checkpoints = self._gauge("vpcflow_checkpoint_last_timestamp_seconds")
        self._assignments = self._counter("vpcflow_assignments_total")
        self._recovery = self._histogram("vpcflow_recovery_duration_seconds", _DURATION_BUCKETS)
        self._alerts = self._counter("vpcflow_alertmanager_requests_total")
        self._rules = self._gauge("vpcflow_rules_last_reload_successful")
        self._rules.set(1)
        self._gauge("vpcflow_python_blocks").set_function(sys.getallocatedblocks)
        self._watch = self._histogram("vpcflow_watch_duration_seconds", _DURATION_BUCKETS)
        self._lag = self._histogram("vpcflow_event_loop_lag_seconds", _LAG_BUCKETS)
        self._delays = [0] * (len(DELAY_BUCKETS) + 1)
        self._delay_sum = 0

    def requests(self, source: str, outcome: str) -> None:
        """A request to the ingest endpoint was answered."""
        self._requests.labels(source, outcome).inc()

    def bytes(self, source: str, count: int) -> None:
        """A request's body came."""
        self._bytes.labels(source).inc(count)

    def skipped(self, source: str, reason: str, count: int) -> None:
        """Something came that holds no lines, or lines that were there already."""
        self._skipped.labels(source, reason).inc(count)

    def lost(self, topic: str, count: int) -> None:
        """Messages were gone before they could be read."""
        self._lost.labels(topic).inc(count)

    def foreign_summary(self) -> None:
        """A message on the summaries topic was not ours."""
        self._foreign.inc()

    def visible(self, seconds: float) -> None:
        """Records became visible so long after they arrived."""
        self._latency.observe(max(0.0, seconds))

    def checkpoint(self, agent: str, seconds: float, size: int) -> None:
        """A checkpoint was written."""
        self._duration.labels(agent).observe(seconds)
        self._size.labels(agent).observe(size)
        self._checkpoints.labels(agent).set_to_current_time()

    def watched(self, seconds: float) -> None:
        """Detectors have looked at what closed."""
        self._watch.observe(seconds)

    def checkpointed(self) -> dict[str, float]:
        """Agent -> when it wrote its last checkpoint, epoch seconds."""
        samples = [sample for metric in self._checkpoints.collect() for sample in metric.samples]
        return {sample.labels["agent"]: sample.value for sample in samples}

    def assigned(self) -> None:
        """The group gave partitions."""
        self._assignments.inc()

    def recovered(self, seconds: float) -> None:
        """All tables are whole, so long after the partitions came."""
        self._recovery.observe(seconds)

    def pushed(self, outcome: str) -> None:
        """Open findings were told to Alertmanager."""
        self._alerts.labels(outcome).inc()

    def reloaded(self, *, successful: bool) -> None:
        """A file of the rules has changed."""
        self._rules.set(int(successful))

    def loop_lag(self, seconds: float) -> None:
        """A timer of the event loop ran so much later than asked."""
        self._lag.observe(seconds)

    def delays(self, counts: Sequence[int], total: int) -> None:
        """Delivery delays of some records: counts for DELAY_BUCKETS and above, and their sum in seconds."""
        self._delays = [a + b for a, b in zip(self._delays, counts, strict=True)]
        self._delay_sum += total

    def delay_family(self) -> HistogramMetricFamily:
        """The delivery delay as Prometheus wants it."""
        declared = METRICS["vpcflow_delivery_delay_seconds"]
        bounds = [*map(str, map(float, DELAY_BUCKETS)), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._delays), strict=True))
        return HistogramMetricFamily(declared.name, declared.meaning, buckets=buckets, sum_value=self._delay_sum)

    def _counter(self, name: str) -> Counter:
        declared = METRICS[name]
        return Counter(name, declared.meaning, declared.labels, registry=self.registry)

    def _gauge(self, name: str) -> Gauge:
        declared = METRICS[name]
        return Gauge(name, declared.meaning, declared.labels, registry=self.registry)

    def _histogram(self, name: str, buckets: Sequence[float]) -> Histogram:
        declared = METRICS[name]
        return Histogram(name, declared.meaning, declared.labels, buckets=buckets, registry=self.registry)


class Exposition(Collector):
    """The tables as Prometheus reads them, inside the series budget."""

    def __init__(self, instruments: Instruments, limits: Mapping[str, int], ttl: int) -> None:
        """limits: table -> keys with series of their own; ttl: seconds."""
        self._instruments = instruments
        self._budgets = {name: SeriesBudget(table, limits[name], ttl) for name, table in TABLES.items()}
        self._evicted = dict.fromkeys(TABLES, 0)
        self._small: list[Metric] = []
        instruments.registry.register(self)

    def render(self, snapshot: Snapshot) -> bytes:
        """The text of a scrape (Prometheus text format 0.0.4). One caller at a time."""
        views = {name: budget.view(snapshot.totals[name]) for name, budget in self._budgets.items()}
        for name, view in views.items():
            self._evicted[name] += view.evicted
        self._small = [
            self._instruments.delay_family(),
            *_meta_families(snapshot.metas),
            _family("vpcflow_series", {(name,): view.rows.height for name, view in views.items()}),
            _family("vpcflow_series_evicted_total", {(name,): count for name, count in self._evicted.items()}),
            *_shell_families(snapshot),
            *_watched_families(snapshot.watched),
        ]
        return b"".join(
            [
                generate_latest(self._instruments.registry),
                *_table_texts("eni", _labelled_enis(views["eni"].rows)),
                *_table_texts("port", _labelled_ports(views["port"].rows)),
                *_eni_texts(views["eni"].rows, snapshot.info),
            ]
        )

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand: collecting needs a snapshot."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The families of few series, as of the last `render`: the tables' own are not made one by one."""
        return iter(self._small)


Samples = Mapping[tuple[str, ...], float]


def _family(name: str, samples: Samples) -> Metric:
    declared = METRICS[name]
    make = CounterMetricFamily if declared.kind == "counter" else GaugeMetricFamily
    family = make(name, declared.meaning, labels=declared.labels)
    for labels, value in samples.items():
        family.add_metric(labels, value)
    return family


def _labelled_enis(rows: pl.DataFrame) -> pl.DataFrame:
    names = pl.lit(pl.Series(direction.NAMES)).gather(pl.col("direction"))
    return rows.select(pl.col("eni"), names.alias("direction"), _action(), *tables.COUNTS)


def _labelled_ports(rows: pl.DataFrame) -> pl.DataFrame:
    special = {tables.OTHER_PORT: tables.OTHER, tables.UNKNOWN_PORT: "unknown"}
    numbers = rows.get_column("protocol").unique().to_list()
    protocols = {**{number: protocol_name(number) for number in numbers}, **special}  # never empty: Polars then fails
    port = pl.col("port").cast(pl.String).replace({str(number): text for number, text in special.items()})
    protocol = pl.col("protocol").replace_strict(protocols, return_dtype=pl.String)
    return rows.select(port.alias("port"), protocol.alias("protocol"), _action(), *tables.COUNTS)


def _action() -> pl.Expr:
    return pl.lit(pl.Series(tables.ACTIONS)).gather(pl.col("action")).alias("action")


def _table_texts(table: str, rows: pl.DataFrame) -> Iterator[bytes]:
    """rows: the three label columns, then COUNTS."""
    labels = label_sets(rows.drop(tables.COUNTS))
    for unit in ("bytes", "packets", "flows"):
        yield _text(f"vpcflow_{table}_{unit}_total", labels, rows.get_column(unit))


def _eni_texts(rows: pl.DataFrame, info: pl.DataFrame) -> Iterator[bytes]:
    shown = rows.filter(pl.col("eni") != tables.OTHER).group_by("eni").agg(pl.col("last").max())
    yield _text("vpcflow_eni_last_seen_timestamp_seconds", label_sets(shown.select("eni")), shown.get_column("last"))
    fields = (pl.col(field).fill_null("").alias(label) for field, label in zip(INFO_FIELDS, _INFO, strict=True))
    described = info.join(shown, on="eni", how="semi").select("eni", *fields).unique(maintain_order=True)
    yield _text("vpcflow_eni_info", label_sets(described), pl.repeat(1, described.height, eager=True))


def _text(name: str, labels: pl.Series, values: pl.Series) -> bytes:
    declared = METRICS[name]
    return family_text(name, declared.kind, declared.meaning, labels, values)


def _meta_families(metas: Mapping[int, Meta]) -> Iterator[Metric]:
    def by(name: str) -> dict[tuple[str, ...], float]:
        return {(key, str(p)): count for p, meta in metas.items() for key, count in getattr(meta, name).items()}

    def total(name: str) -> dict[tuple[str, ...], float]:
        return {(str(p),): meta.totals[name] for p, meta in metas.items()}

    yield _family("vpcflow_lines_total", by("lines"))
    yield _family("vpcflow_rejected_lines_total", by("rejects"))
    yield _family("vpcflow_duplicate_lines_total", by("duplicates"))
    yield _family("vpcflow_over_budget_flows_total", by("over_budget"))
    yield _family("vpcflow_expired_keys_total", by("expired"))
    yield _family("vpcflow_late_records_total", total("late"))
    yield _family("vpcflow_future_records_total", total("future"))
    yield _family("vpcflow_folded_flows_total", total("flows"))
    yield _family("vpcflow_unwatched_records_total", total("unwatched"))
    marks: Samples = {(str(p),): meta.watermark for p, meta in metas.items() if meta.watermark is not None}
    yield _family("vpcflow_watermark_timestamp_seconds", marks)


def _shell_families(snapshot: Snapshot) -> Iterator[Metric]:
    lag: Samples = {(topic, str(partition)): count for (topic, partition), count in snapshot.lag.items()}
    yield _family("vpcflow_consumer_lag_messages", lag)
    closed: Samples = {(str(p),): at for p, at in snapshot.closed_before.items() if at is not None}
    yield _family("vpcflow_closed_before_timestamp_seconds", closed)
    yield _family("vpcflow_tabled_flows_total", {(str(p),): count for p, count in snapshot.tabled.items()})
    yield _family("vpcflow_retained_panes", {(str(p),): count for p, count in snapshot.panes.items()})
    yield _family("vpcflow_recovering", {(): float(snapshot.recovering)})
    yield _family("vpcflow_ready", {(): float(snapshot.ready)})


def _watched_families(watched: Mapping[int, Figures]) -> Iterator[Metric]:
    def by(name: str) -> dict[tuple[str, ...], float]:
        return {(*key, str(p)): count for p, found in watched.items() for key, count in getattr(found, name).items()}

    def total(name: str) -> dict[tuple[str, ...], float]:
        return {(str(p),): getattr(found, name) for p, found in watched.items()}

    yield _family("vpcflow_findings_total", by("opened"))
    yield _family("vpcflow_findings_active", by("active"))
    yield _family("vpcflow_suppressed_findings_total", by("suppressed"))
    yield _family("vpcflow_passed_over_hits_total", total("over"))
    yield _family("vpcflow_unwatched_late_records_total", total("late"))
    yield _family("vpcflow_watched_before_timestamp_seconds", total("closed"))


def metrics_markdown() -> str:
    """docs/METRICS.md."""
    lines = ["# Metrics", "", "Made from `streams/metrics.py` by `make docs`.", ""]
    lines += ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for one in METRICS.values():
        labels = ", ".join(f"`{label}`" for label in one.labels)
        lines.append(f"| `{one.name}` | {one.kind} | {labels or '-'} | {one.meaning} |")
    return "\n".join([*lines, ""])
