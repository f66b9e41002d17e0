"""The dashboards: what each asks. `make dashboards` writes deploy/grafana/dashboards/*.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.panels import CHOSEN, Board, Panel, Row, built, opened

FOLDER = Path(__file__).parent / "dashboards"
_NO_FINDINGS = "none: no finding, or detection.live is off"
_SCOPED = "of the accounts and VPCs chosen; what tells no account is always there"


def _chosen(expression: str) -> str:
    """Of interfaces, those of the accounts and VPCs chosen. `other`, of which nothing is known, stays."""
    return f"({expression} and on (eni) {CHOSEN}) or ({expression} unless on (eni) vpcflow_eni_info)"


def _by_eni(metric: str, matching: str = "") -> str:
    return f"sum by (eni) (rate({metric}{{{matching}}}[$window]))"


def changed(expression: str) -> str:
    """What differs most from a day before, what is new and what is gone too. Nothing before there is a day before."""
    before = expression.replace("]", "] offset 1d")
    difference = f"({expression} or 0 * {before}) - ({before} or 0 * {expression})"
    return f"topk(10, abs({difference}) and on () {before})"


def _quantiles(histogram: str) -> list[tuple[str, str]]:
    buckets = f"sum by (le) (rate({histogram}_bucket[5m]))"
    return [(f"histogram_quantile({part}, {buckets})", f"p{100 * part:g}") for part in (0.5, 0.9, 0.99)]


def _port(what: str, matching: str = "") -> str:
    return f"sum by (port, protocol) (rate(vpcflow_port_{what}_total{{{matching}}}[$window]))"


def _ports(what: str, matching: str = "") -> list[tuple[str, str]]:
    return [(f"topk(10, {_port(what, matching)})", "{{port}}/{{protocol}}")]


_BY_PORT = _port("bytes")
_ACCOUNTS = "max by (eni, account) (vpcflow_eni_info)"
_BYTES, _FLOWS = "vpcflow_eni_bytes_total", "vpcflow_eni_flows_total"
_IN, _OUT = 'direction="ingress"', 'direction="egress"'
_EGRESS, _REJECT = 'direction="egress", action!="REJECT"', 'action="REJECT"'
_TOLD = "eni, account, vpc, subnet, instance, region, az, interface_type"

_HEALTH = Row(
    "Is it healthy?",
    [
        Panel(
            "stat", "Records", "cps", "Lines that were counted, a second.",
            [("sum(rate(vpcflow_lines_total[5m]))", "records")],
        ),
        Panel(
            "stat", "Traffic", "Bps", "Bytes of all flow records, a second. A flow between two interfaces counts twice.",
            [(f"sum(rate({_BYTES}[$window]))", "bytes")],
        ),
        Panel(
            "stat", "Refused", "cps", "Flow records that a security group or NACL refused, a second.",
            [(f"sum(rate({_FLOWS}{{{_REJECT}}}[$window])) or vector(0)", "refused")],
        ),
        Panel(
            "stat", "Open findings", "short", "Of all detectors and severities. Without detection.live there are none.",
            [("sum(vpcflow_findings_active) or vector(0)", "findings")], colors={1: "orange"},
        ),
        Panel(
            "stat", "Newest record", "s", "How long ago the newest record ended: delivery, lag and work together.",
            [("time() - max(vpcflow_watermark_timestamp_seconds)", "age")], colors={900: "orange", 1800: "red"},
        ),
        Panel(
            "stat", "Workers ready", "short", "Processes whose /readyz says 200.",
            [('sum(vpcflow_ready{job=~".*worker.*"}) or sum(vpcflow_ready)', "ready")], colors={0: "red", 1: "green"},
        ),
    ],
)  # fmt: skip

OVERVIEW = Board(
    "vpcflow-overview", "vpcflow: overview", "Is it healthy, who talks most, and what has changed?",
    [
        _HEALTH,
        Row("Traffic", [
            Panel(
                "lines", "Bytes by direction", "Bps", f"Of all interfaces {_SCOPED}.",
                [(f"sum by (direction) ({_chosen(f'sum by (eni, direction) (rate({_BYTES}[$window]))')})",
                  "{{direction}}")],
                stacked=True,
            ),
            Panel(
                "lines", "Flow records by action", "cps", f"Accepted, refused, and without a word on it, {_SCOPED}.",
                [(f"sum by (action) ({_chosen(f'sum by (eni, action) (rate({_FLOWS}[$window]))')})", "{{action}}")],
                stacked=True,
            ),
        ]),
        Row("Who, and over what", [
            Panel(
                "lines", "Busiest interfaces", "Bps", f"The ten that move most bytes, {_SCOPED}.",
                [(f"topk(10, {_chosen(_by_eni(_BYTES))})", "{{eni}}")], enis=True,
            ),
            Panel(
                "lines", "Busiest services", "Bps", "The ten service ports that move most bytes, of all accounts.",
                _ports("bytes"),
            ),
        ]),
        Row("What has changed since the day before?", [
            Panel(
                "rows", "Interfaces", "Bps", "Those whose bytes a second differ most from the same time a day ago, new ones and those that are gone too.",
                [(changed(_by_eni(_BYTES)), "")], nothing="no figures of yesterday yet", enis=True,
            ),
            Panel(
                "rows", "Services", "Bps", "The same of service ports.",
                [(changed(_BY_PORT), "")], nothing="no figures of yesterday yet",
            ),
        ]),
    ],
    ["account", "vpc"],
)  # fmt: skip

_MINE = 'eni="$eni"'


def _mine(metric: str, matching: str = "") -> str:
    """Of the interface that was chosen."""
    return f"sum(rate({metric}{{{', '.join(filter(None, [_MINE, matching]))}}}[$window]))"


ENI = Board(
    "vpcflow-eni", "vpcflow: ENI", "One interface, in depth.",
    [
        Row("$eni", [
            Panel(
                "stat", "Last flow", "s", "How long ago its last flow record ended, by the clock.",
                [(f"time() - max(vpcflow_eni_last_seen_timestamp_seconds{{{_MINE}}})", "age")],
            ),
            Panel(
                "stat", "In", "Bps", "Bytes that arrive at it, a second, refused ones too.",
                [(f"{_mine(_BYTES, _IN)} or vector(0)", "in")],
            ),
            Panel(
                "stat", "Out", "Bps", "Bytes that leave from it, a second, refused ones too.",
                [(f"{_mine(_BYTES, _OUT)} or vector(0)", "out")],
            ),
            Panel(
                "stat", "Refused", "percentunit", "The part of its flow records that is refused.",
                [(f"{_mine(_FLOWS, _REJECT)} / {_mine(_FLOWS)} or vector(0)", "refused")],
            ),
            Panel(
                "stat", "Bytes a packet", "bytes", "On average. Some 60: mere headers, as of a scan or a flood of SYNs.",
                [(f"{_mine(_BYTES)} / {_mine('vpcflow_eni_packets_total')}", "mean")],
            ),
        ]),
        Row("Over time", [
            Panel(
                "lines", "Bytes", "Bps", "By direction and action.",
                [(f"sum by (direction, action) (rate({_BYTES}{{{_MINE}}}[$window]))", "{{direction}} {{action}}")],
            ),
            Panel(
                "lines", "Packets", "pps", "By direction and action.",
                [(f"sum by (direction, action) (rate(vpcflow_eni_packets_total{{{_MINE}}}[$window]))",
                  "{{direction}} {{action}}")],
            ),
            Panel(
                "lines", "Flow records", "cps", "By direction and action. Many with few bytes: connections that fail.",
                [(f"sum by (direction, action) (rate({_FLOWS}{{{_MINE}}}[$window]))", "{{direction}} {{action}}")],
            ),
        ]),
        Row("Against its own habit", [
            Panel(
                "lines", "Bytes, now and a week ago", "Bps", "All directions and actions, beside the same hour last week.",
                [(f"sum(rate({_BYTES}{{{_MINE}}}[$window]))", "now"),
                 (f"sum(rate({_BYTES}{{{_MINE}}}[$window] offset 1w))", "a week ago")],
            ),
            Panel(
                "rows", "What the records say of it", "short", "Account, VPC, subnet, instance and zone, where the "
                "format of the flow log has them.",
                [(f"max by ({_TOLD}) (vpcflow_eni_info{{{_MINE}}})", "")],
                nothing="the format of the flow log says nothing of it",
            ),
        ]),
    ],
    ["account", "vpc", "eni"],
)  # fmt: skip

PORTS = Board(
    "vpcflow-ports", "vpcflow: ports", "Services by port and protocol, of all interfaces.",
    [
        Row("Accepted", [
            Panel("lines", "Bytes", "Bps", "The ten services that move most.", _ports("bytes", 'action!="REJECT"')),
            Panel(
                "lines", "Flow records", "cps", "The ten that have most flow records.", _ports("flows", 'action!="REJECT"'),
            ),
        ]),
        Row("Refused", [
            Panel("lines", "Flow records", "cps", "The ten ports that are refused most.", _ports("flows", _REJECT)),
            Panel(
                "rows", "Refused and accepted", "percentunit", "The ten ports of which the largest part is refused, with "
                "more than one flow a minute.",
                [(f"topk(10, {_port('flows', _REJECT)} / ({_port('flows')} > 1 / 60))", "")],
            ),
        ]),
        Row("By protocol", [
            Panel(
                "lines", "Bytes", "Bps", "All of them.",
                [("sum by (protocol) (rate(vpcflow_port_bytes_total[$window]))", "{{protocol}}")], stacked=True,
            ),
            Panel(
                "lines", "Packets", "pps", "All of them.",
                [("sum by (protocol) (rate(vpcflow_port_packets_total[$window]))", "{{protocol}}")], stacked=True,
            ),
        ]),
    ],
)  # fmt: skip

SECURITY = Board(
    "vpcflow-security", "vpcflow: security", "Findings, what is refused, and what is open to the Internet. What a finding "
    "says stands on the topic vpcflow.anomalies.",
    [
        Row("Findings", [
            Panel(
                "stat", "Open, by severity", "short", "Suppressed ones too.",
                [("sum by (severity) (vpcflow_findings_active) > 0", "{{severity}}")], nothing=_NO_FINDINGS,
            ),
            Panel(
                "stat", "Opened today", "short", "In the last 24 hours, suppressed ones too.",
                [(f"sum({opened('1d')}) or sum(increase(vpcflow_findings_total[1d])) or vector(0)", "opened")],
            ),
            Panel(
                "stat", "Exposed services", "short", "Open findings of the detector exposure: administration and databases "
                "that are accepted from public addresses.",
                [('sum(vpcflow_findings_active{detector="exposure"}) or vector(0)', "exposed")], colors={1: "red"},
            ),
            Panel(
                "stat", "Records no detector saw", "cps", "Late, from the future, or without addresses: findings may miss "
                "what is in them.",
                [("sum(rate(vpcflow_unwatched_records_total[5m])) or vector(0)", "unwatched")], colors={1e-9: "orange"},
            ),
        ]),
        Row("Which", [
            Panel(
                "rows", "Open findings", "short", "By detector and severity; `vpcflow detectors explain NAME` says what each "
                "one looks for.",
                [("sort_desc(sum by (detector, severity) (vpcflow_findings_active) > 0)", "")], nothing=_NO_FINDINGS,
            ),
            Panel(
                "bars", "Opened", "short", "In each step of the drawing, a minute or more, by detector.",
                [(f"sum by (detector) ({opened('$__interval')}) > 0", "{{detector}}")], nothing=_NO_FINDINGS, stacked=True,
            ),
        ]),
        Row("Refused", [
            Panel(
                "lines", "By interface", "cps", f"The ten where security groups or NACLs refuse most, {_SCOPED}.",
                [(f"topk(10, {_chosen(_by_eni(_FLOWS, _REJECT))})", "{{eni}}")], enis=True,
            ),
            Panel("lines", "By port", "cps", "The ten ports that are refused most.", _ports("flows", _REJECT)),
        ]),
    ],
    ["account", "vpc"],
)  # fmt: skip

_GB = "* 86400 / 1e9"
COST = Board(
    "vpcflow-cost", "vpcflow: cost", "What leaves, and where from. Bytes, not dollars: records do not say which way a byte "
    "took, and prices differ by it.",
    [
        Row("What leaves", [
            Panel(
                "stat", "Leaves in a day", "decgbytes", "At the rate of now, all interfaces, whatever the way.",
                [(f"sum(rate({_BYTES}{{{_EGRESS}}}[$window])) {_GB} or vector(0)", "a day")],
            ),
            Panel(
                "stat", "Leaves in a month", "decgbytes", "At the mean rate of the last day, for 30 days.",
                [(f"sum(rate({_BYTES}{{{_EGRESS}}}[1d])) {_GB} * 30 or vector(0)", "a month")],
            ),
            Panel(
                "stat", "Cost surges", "short", "Open findings of the detector cost-surge: traffic to the Internet costs "
                "many times the usual, by a table of prices.",
                [('sum(vpcflow_findings_active{detector="cost-surge"}) or vector(0)', "open")], colors={1: "orange"},
            ),
        ]),
        Row("Whose", [
            Panel(
                "lines", "Interfaces that send most", "Bps", f"The ten that send most, {_SCOPED}.",
                [(f"topk(10, {_chosen(_by_eni(_BYTES, _EGRESS))})", "{{eni}}")], enis=True, stacked=True,
            ),
            Panel(
                "lines", "Accounts that send most", "Bps", "By account, where the records tell it.",
                [(f"topk(10, sum by (account) ({_by_eni(_BYTES, _EGRESS)} * on (eni) group_left (account) {_ACCOUNTS}))", "{{account}}")],
                nothing="the format of the flow logs has no account-id", stacked=True,
            ),
        ]),
        Row("The last day", [
            Panel(
                "rows", "Interfaces", "decgbytes", "Gigabytes that left from the ten largest in 24 hours.",
                [(f"topk(10, sum by (eni) (increase({_BYTES}{{{_EGRESS}}}[1d])) / 1e9)", "")], enis=True,
            ),
            Panel(
                "rows", "Services", "decgbytes", "Gigabytes over the ten largest service ports in 24 hours, both ways.",
                [('topk(10, sum by (port, protocol) (increase(vpcflow_port_bytes_total{action!="REJECT"}[1d])) / 1e9)',
                  "")],
            ),
        ]),
    ],
    ["account", "vpc"],
)  # fmt: skip

PIPELINE = Board(
    "vpcflow-pipeline", "vpcflow: pipeline", "Is all that comes in counted, how late, and what is in the way? "
    "deploy/RUNBOOK.md says what to do.",
    [
        _HEALTH,
        Row("In and out", [
            Panel(
                "lines", "Lines", "cps", "By outcome; all of them together are all that came.",
                [("sum by (outcome) (rate(vpcflow_lines_total[5m]))", "{{outcome}}")], stacked=True,
            ),
            Panel(
                "lines", "Messages that wait", "short", "By topic. It grows: more workers, up to the partitions.",
                [("sum by (topic) (vpcflow_consumer_lag_messages)", "{{topic}}")],
            ),
            Panel(
                "lines", "Counted and not in the tables", "short", "Records between combine and roll. It returns to 0 when "
                "nothing comes, or records are missing.",
                [("sum(vpcflow_folded_flows_total) - sum(vpcflow_tabled_flows_total)", "records")],
            ),
        ]),
        Row("How late", [
            Panel(
                "lines", "Delivery", "s", "From the end of a record to its arrival: AWS and Firehose.",
                _quantiles("vpcflow_delivery_delay_seconds"),
            ),
            Panel(
                "lines", "Pipeline", "s", "From the arrival of a record to the tables.",
                _quantiles("vpcflow_pipeline_latency_seconds"),
            ),
            Panel(
                "lines", "Detectors", "s", "From a minute that closes to its findings, which leave at once.",
                _quantiles("vpcflow_watch_duration_seconds"), nothing=_NO_FINDINGS,
            ),
            Panel(
                "lines", "Age of the watermark", "s", "By raw partition. One that grows alone has no messages.",
                [("time() - max by (partition) (vpcflow_watermark_timestamp_seconds)", "{{partition}}")],
            ),
        ]),
        Row("What is not counted as it should be", [
            Panel(
                "lines", "Dead letters", "cps", "Lines that could not be read, by reason: `vpcflow deadletters list`.",
                [("sum by (reason) (rate(vpcflow_rejected_lines_total[5m]))", "{{reason}}")],
            ),
            Panel(
                "lines", "Late, repeated, over budget", "cps", "Late: after their pane was closed. Repeated: dropped. Over "
                "budget: counted as `other`.",
                [("sum(rate(vpcflow_late_records_total[5m])) or vector(0)", "late"),
                 ("sum(rate(vpcflow_duplicate_lines_total[5m])) or vector(0)", "repeated"),
                 ("sum(rate(vpcflow_over_budget_flows_total[5m])) or vector(0)", "over budget")],
            ),
            Panel(
                "lines", "Series", "short", "Rows with series of their own, by table: budget.eni_series and "
                "budget.port_series are the most.",
                [("sum by (table) (vpcflow_series)", "{{table}}")],
            ),
        ]),
        Row("Durability", [
            Panel(
                "lines", "Age of the last checkpoint", "s", "By agent, of the worker whose is oldest. A crash costs "
                "reading so much again.",
                [("max by (agent) (time() - vpcflow_checkpoint_last_timestamp_seconds)", "{{agent}}")],
            ),
            Panel(
                "lines", "A checkpoint takes", "s", "Nine of ten, by agent.",
                [("histogram_quantile(0.9, sum by (agent, le) (rate(vpcflow_checkpoint_duration_seconds_bucket[5m])))",
                  "{{agent}}")],
            ),
            Panel(
                "lines", "Rebalances", "short", "Times that workers were given their partitions, in an hour.",
                [("sum(increase(vpcflow_assignments_total[1h]))", "assignments")],
            ),
        ]),
        Row("Processes", [
            Panel(
                "lines", "Event loop", "s", "How late a timer runs, 99 of 100. Above 0.05 the process gets no CPU.",
                [("histogram_quantile(0.99, sum by (instance, le) (rate(vpcflow_event_loop_lag_seconds_bucket[5m])))",
                  "{{instance}}")],
            ),
            Panel(
                "lines", "Python's objects", "short", "Blocks of memory that they take. Without end upwards: a leak.",
                [("vpcflow_python_blocks", "{{instance}}")],
            ),
        ]),
    ],
)  # fmt: skip

BOARDS: Sequence[Board] = (OVERVIEW, ENI, PORTS, SECURITY, COST, PIPELINE)


def text(board: Board) -> str:
    """The JSON that is provisioned."""
    return JSONEncoder(sort_keys=True, indent=2).encode(built(board)) + "\n"


def path(board: Board) -> Path:
    """Its file."""
    return FOLDER / f"{board.uid.removeprefix('vpcflow-')}.json"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for each in BOARDS:
        path(each).write_text(text(each), "utf-8")
