"""What a dashboard is: rows of panels with their queries. `dashboards.py` has all of them.

Every panel has a unit, a description and a text for when there is nothing to show. `$window` is the window of rates:
flow logs come in bursts, one each aggregation interval, so Grafana's own rate interval is too short for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

TAG = "vpcflow"
NOTHING = "nothing yet"
_SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
_WIDTH, _STAT_HEIGHT, _HEIGHT = 24, 4, 8

Query = tuple[str, str]
"""An expression and the legend of what it gives."""


@dataclass(frozen=True)
class Panel:
    """kind: `stat` (a figure), `lines` (over time) or `rows` (a table, of now). unit: Grafana's id of it. nothing: what
    is shown without data. stacked: lines are parts of a whole.
    """

    kind: str
    title: str
    unit: str
    description: str
    queries: Sequence[Query]
    nothing: str = NOTHING
    stacked: bool = False


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
    kinds: Mapping[str, Callable[[Panel], _Made]] = {"stat": _stat, "lines": _lines, "rows": _rows}
    made = kinds[panel.kind](panel)
    made = (
        made.title(panel.title).description(panel.description).unit(panel.unit).no_value(panel.nothing)
        .datasource(_SOURCE).span(width).height(_STAT_HEIGHT if panel.kind == "stat" else _HEIGHT)
    )  # fmt: skip
    for number, (expression, legend) in enumerate(panel.queries):
        query = prometheus.Dataquery().ref_id(chr(ord("A") + number)).expr(expression).legend_format(legend)
        if panel.kind == "rows":
            query = query.instant().format(PromQueryFormat.TABLE)
        made = made.with_target(query)
    return made


def _stat(panel: Panel) -> stat.Panel:
    many = len(panel.queries) > 1
    mode = common_model.BigValueTextMode.VALUE_AND_NAME if many else common_model.BigValueTextMode.VALUE
    return stat.Panel().text_mode(mode).graph_mode(common_model.BigValueGraphMode.AREA)


def _lines(panel: Panel) -> timeseries.Panel:
    stacking = common_model.StackingMode.NORMAL if panel.stacked else common_model.StackingMode.NONE
    legend = (
        common.VizLegendOptions().display_mode(common_model.LegendDisplayMode.TABLE).show_legend(show_legend=True)
        .placement(common_model.LegendPlacement.BOTTOM).calcs(["mean", "max", "lastNotNull"])
    )  # fmt: skip
    tooltip = common.VizTooltipOptions().mode(common_model.TooltipDisplayMode.MULTI)
    return (
        timeseries.Panel().fill_opacity(25 if panel.stacked else 5).line_width(1).min(0).legend(legend).tooltip(tooltip)
        .stacking(common.StackingConfig().mode(stacking))
    )  # fmt: skip


def _rows(panel: Panel) -> table.Panel:
    del panel
    hidden = {"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": {"Value": "value"}}
    organize = model.DataTransformerConfig(id_val="organize", options=hidden)
    return table.Panel().show_header(show_header=True).transformations([organize])


def _link() -> dashboard.DashboardLink:
    """To all others, with the time and what was chosen."""
    return (
        dashboard.DashboardLink("vpcflow").type(model.DashboardLinkType.DASHBOARDS).tags([TAG]).as_dropdown(as_dropdown=True)
        .include_vars(include_vars=True).keep_time(keep_time=True)
    )  # fmt: skip


def _findings() -> dashboard.AnnotationQuery:
    """A mark where a finding was opened."""
    return (
        dashboard.AnnotationQuery().name("findings").datasource(_SOURCE).enable(enable=True).icon_color("red")
        .expr("sum by (detector, severity) (increase(vpcflow_findings_total[2m])) > 0")
    )  # fmt: skip


def _datasource() -> dashboard.DatasourceVariable:
    return dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")


def _window() -> dashboard.CustomVariable:
    chosen = model.VariableOption(text="20m", value="20m", selected=True)
    return (
        dashboard.CustomVariable("window").label("rates over").values("2m,5m,20m,1h,6h,1d").current(chosen)
        .description("Twice the aggregation interval of the flow logs, or more.")
    )  # fmt: skip


_VARIABLES = {
    "account": ("account", "label_values(vpcflow_eni_info, account)"),
    "vpc": ("VPC", 'label_values(vpcflow_eni_info{account=~"$account"}, vpc)'),
    "eni": ("ENI", "label_values(vpcflow_eni_last_seen_timestamp_seconds, eni)"),
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
