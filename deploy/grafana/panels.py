"""What a dashboard is: rows of panels with their queries. `dashboards.py` has all of them.

Every panel has a unit, a description and a text for when there is nothing to show. `$window` is the window of rates:
flow logs come in bursts, one each aggregation interval, so Grafana's own rate interval is too short for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

TAG = "vpcflow"
NOTHING = "nothing yet"
_SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
_WIDTH, _STAT_HEIGHT, _HEIGHT = 24, 4, 8

_STEP = "1m"

Query = tuple[str, str]
"""An expression and the legend of what it gives."""


def opened(window: str) -> str:
    """Findings that were opened in the last `window`.

    `increase` does not see the first one of a detector, as no sample is before it. Of a partition whose figures were
    not scraped back then nothing is told: what it has need not be new.
    """
    now = "max by (detector, severity, partition) (vpcflow_findings_total{})"
    before = f"{now.format(f' offset {window}')} or 0 * {now.format('')}"
    return f"{now.format('')} - ({before}) and on (partition) vpcflow_watched_before_timestamp_seconds offset {window}"


@dataclass(frozen=True)
class Panel:
    """kind: `stat` (a figure), `lines` (over time), `bars` (what happened in each step) or `rows` (a table, of now).
    unit: Grafana's id of it. nothing: what is shown without data. stacked: lines are parts of a whole. colors: of a
    figure, from which value on. enis: what it shows are interfaces, and each opens the dashboard of its own.
    """

    kind: str
    title: str
    unit: str
    description: str
    queries: Sequence[Query]
    nothing: str = NOTHING
    stacked: bool = False
    colors: Mapping[float, str] = field(default_factory=dict)
    enis: bool = False


@dataclass(frozen=True)
class Row:
    """Panels side by side under a title."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Board:
    """A dashboard. variables: of account, VPC, ENI (see `_variable`)."""

    uid: str
    title: str
    description: str
    rows: Sequence[Row]
    variables: Sequence[str] = ()


def built(board: Board) -> model.Dashboard:
    """As Grafana has it."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid).description(board.description).tags([TAG]).editable().tooltip(model.DashboardCursorSync.CROSSHAIR)
        .refresh("30s").time("now-3h", "now").timezone("browser")
        .link(_link()).annotation(_findings()).with_variable(_datasource()).with_variable(_window())
    )  # fmt: skip
    for name in board.variables:
        made = made.with_variable(_variable(name))
    for row in board.rows:
        made = made.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            made = made.with_panel(_panel(panel, _WIDTH // len(row.panels)))
    return made.build()


_Made = stat.Panel | timeseries.Panel | table.Panel


def _panel(panel: Panel, width: int) -> _Made:
    kinds: Mapping[str, Callable[[Panel], _Made]] = {"stat": _stat, "lines": _lines, "bars": _bars, "rows": _rows}
    made = kinds[panel.kind](panel)
    made = (
        made.title(panel.title).description(panel.description).unit(panel.unit).no_value(panel.nothing)
        .datasource(_SOURCE).span(width).height(_STAT_HEIGHT if panel.kind == "stat" else _HEIGHT)
    )  # fmt: skip
    for number, (expression, legend) in enumerate(panel.queries):
        query = prometheus.Dataquery().ref_id(chr(ord("A") + number)).expr(expression).legend_format(legend)
        if panel.kind == "bars":
            query = query.interval(_STEP)
        if panel.kind == "rows":
            query = query.instant().format(PromQueryFormat.TABLE)
        made = made.with_target(query)
    return made


def _stat(panel: Panel) -> stat.Panel:
    """The name of a series stands beside its figure where there are several."""
    steps = [model.Threshold(value=None, color="text")]
    steps += [model.Threshold(value=value, color=color) for value, color in panel.colors.items()]
    thresholds = dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)
    return (
        stat.Panel().text_mode(common_model.BigValueTextMode.AUTO).graph_mode(common_model.BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"])).thresholds(thresholds)
    )  # fmt: skip


def _lines(panel: Panel) -> timeseries.Panel:
    stacking = common_model.StackingMode.NORMAL if panel.stacked else common_model.StackingMode.NONE
    legend = (
        common.VizLegendOptions().display_mode(common_model.LegendDisplayMode.TABLE).show_legend(show_legend=True)
        .placement(common_model.LegendPlacement.BOTTOM).calcs(["mean", "max", "lastNotNull"])
    )  # fmt: skip
    tooltip = common.VizTooltipOptions().mode(common_model.TooltipDisplayMode.MULTI)
    made = (
        timeseries.Panel().fill_opacity(25 if panel.stacked else 5).line_width(1).min(0).legend(legend).tooltip(tooltip)
        .stacking(common.StackingConfig().mode(stacking))
    )  # fmt: skip
    return made.data_links([_eni_link("${__field.labels.eni}")]) if panel.enis else made


def _bars(panel: Panel) -> timeseries.Panel:
    return _lines(panel).draw_style(common_model.GraphDrawStyle.BARS).fill_opacity(80)


def _rows(panel: Panel) -> table.Panel:
    hidden = {"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": {"Value": "value"}}
    organize = model.DataTransformerConfig(id_val="organize", options=hidden)
    made = table.Panel().show_header(show_header=True).transformations([organize])
    return made.data_links([_eni_link("${__data.fields.eni}")]) if panel.enis else made


def _eni_link(eni: str) -> dashboard.DashboardLink:
    """To the dashboard of an interface, with the time and what was chosen."""
    kept = "${datasource:queryparam}&${window:queryparam}&${__url_time_range}"
    return dashboard.DashboardLink("Look at this interface").url(f"/d/{TAG}-eni?var-eni={eni}&{kept}")


def _link() -> dashboard.DashboardLink:
    """To all others, with the time and what was chosen."""
    return (
        dashboard.DashboardLink("vpcflow").type(model.DashboardLinkType.DASHBOARDS).tags([TAG]).as_dropdown(as_dropdown=True)
        .include_vars(include_vars=True).keep_time(keep_time=True)
    )  # fmt: skip


class _Mark(model.AnnotationQuery):
    """With what Grafana's Prometheus source reads, which the SDK does not know.

    Each step of the query has the findings of that step: none is missed, however long a time is looked at.
    """

    def to_json(self) -> dict[str, object]:
        expression = f"sum by (detector, severity) ({opened('$__interval')}) > 0"
        target = {"expr": expression, "interval": _STEP, "refId": "findings"}
        words = {"titleFormat": "{{detector}}", "textFormat": "a finding of severity {{severity}} was opened"}
        return {**super().to_json(), "target": target, **words, "tagKeys": "detector,severity"}


class _Marks(dashboard.AnnotationQuery):
    """The builder of it."""

    def build(self) -> model.AnnotationQuery:
        return _Mark(**vars(super().build()))


def _findings() -> _Marks:
    """A mark where a finding was opened."""
    return _Marks().name("findings").datasource(_SOURCE).enable(enable=True).icon_color("red")


def _datasource() -> dashboard.DatasourceVariable:
    return dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")


def _window() -> dashboard.CustomVariable:
    chosen = model.VariableOption(text="20m", value="20m", selected=True)
    return (
        dashboard.CustomVariable("window").label("rates over").values("2m,5m,20m,1h,6h,1d").current(chosen)
        .description("Twice the aggregation interval of the flow logs, or more.")
    )  # fmt: skip


CHOSEN = 'vpcflow_eni_info{account=~"$account|", vpc=~"$vpc|"}'
"""Interfaces of the accounts and VPCs that were chosen, and those that tell none."""

_VARIABLES = {
    "account": ("account", "label_values(vpcflow_eni_info, account)"),
    "vpc": ("VPC", 'label_values(vpcflow_eni_info{account=~"$account|"}, vpc)'),
    "eni": ("ENI", f"label_values({CHOSEN}, eni)"),
}


def _variable(name: str) -> dashboard.QueryVariable:
    """Account and VPC can be `All`, which is everything, whether records tell it or not; an ENI is one."""
    label, query = _VARIABLES[name]
    made = (
        dashboard.QueryVariable(name).label(label).query(query).datasource(_SOURCE)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(model.VariableSort.ALPHABETICAL_ASC)
    )  # fmt: skip
    if name == "eni":
        return made
    every = model.VariableOption(text="All", value="$__all", selected=True)
    return made.include_all(include_all=True).all_value(".*").multi(multi=True).current(every)
