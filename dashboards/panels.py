"""Panels as values, and what Grafana's builders make of them (dashboard schema 1, Grafana 11+)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

with warnings.catch_warnings():
    # The newer schema cannot be provisioned from files by the Grafanas of today.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import (
        common,
        dashboard,
        prometheus,
        stat,
        table,
        timeseries,
    )
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import prometheus as query_model

SOURCE = common_model.DataSourceRef(type_val="prometheus", uid="${datasource}")
TAGS = ["orlop", "containers"]
WIDTH = 24


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression; `legend` names its lines. In a table: the column's title."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """`unit` is Grafana's id of one. Colours of a stat change at `red`, from green.

    In a table, `units` are by a column's title and `columns` the titles of labels.
    """

    kind: Literal["lines", "stat", "table"]
    title: str
    queries: tuple[Query, ...]
    unit: str = "short"
    width: int = 8
    height: int = 8
    help: str = ""
    stacked: bool = False
    percent: bool = False
    red: float | None = None
    units: dict[str, str] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """Marks moments at which the expression has a value."""

    name: str
    expr: str
    color: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One dashboard: rows of panels. `names` asks for a variable of containers: many or one."""

    uid: str
    title: str
    about: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]
    instances: str
    names: Literal["many", "one", ""] = ""
    annotations: tuple[Annotation, ...] = ()


def lines(title: str, unit: str, *queries: Query, **more: Any) -> Panel:
    """A graph over time."""
    return Panel(kind="lines", title=title, unit=unit, queries=queries, **more)


def number(title: str, unit: str, expr: str, **more: Any) -> Panel:
    """One number."""
    sizes = {"width": 4, "height": 4, **more}
    return Panel(kind="stat", title=title, unit=unit, queries=(Query(expr),), **sizes)


def build(board: Board) -> model.Dashboard:
    """Grafana's own model of it."""
    builder = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.about)
        .tags(TAGS)
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .variables(_variables(board))
        .annotations([_annotation(one) for one in board.annotations])
        .link(_links())
    )
    ids = count(1)
    for title, panels in board.rows:
        builder = builder.with_row(dashboard.Row(title).id(next(ids)))
        for panel in panels:
            builder = builder.with_panel(_BUILDERS[panel.kind](panel).id(next(ids)))
    return builder.build()


def _variables(board: Board) -> list[Any]:
    found: list[Any] = [
        dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        _query_variable("instance", "Instance", board.instances, many=True),
    ]
    if board.names:
        expr = 'label_values(container_last_seen{instance=~"$instance",name!=""}, name)'
        found.append(_query_variable("name", "Container", expr, many=board.names == "many"))
    return found


def _query_variable(name: str, label: str, expr: str, *, many: bool) -> Any:
    variable = (
        dashboard.QueryVariable(name)
        .label(label)
        .query({"query": expr, "refId": f"variable-{name}"})
        .definition(expr)
        .datasource(SOURCE)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
    )
    if not many:
        return variable
    everything = model.VariableOption(text="All", value="$__all", selected=True)
    return variable.multi(True).include_all(True).all_value(".+").current(everything)


def _annotation(annotation: Annotation) -> Any:
    return (
        dashboard.AnnotationQuery()
        .name(annotation.name)
        .datasource(SOURCE)
        .enable(True)
        .icon_color(annotation.color)
        .expr(annotation.expr)
        .title_format(annotation.name)
        .text_format(annotation.text)
    )


def _links() -> Any:
    return (
        dashboard.DashboardLink("Orlop")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags(["orlop"])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )


def _targets(queries: Iterable[Query], *, instant: bool) -> list[Any]:
    found = []
    for letter, query in zip("ABCDEFGHIJKLMNOP", queries, strict=False):
        target = prometheus.Dataquery().datasource(SOURCE).expr(query.expr).ref_id(letter)
        if instant:
            target = target.instant().format(query_model.PromQueryFormat.TABLE)
        else:
            target = target.range().legend_format(query.legend or "__auto")
        found.append(target)
    return found


def _common(builder: Any, panel: Panel) -> Any:
    builder = (
        builder.title(panel.title)
        .datasource(SOURCE)
        .unit(panel.unit)
        .span(panel.width)
        .height(panel.height)
    )
    return builder.description(panel.help) if panel.help else builder


def _lines(panel: Panel) -> Any:
    builder = (
        _common(timeseries.Panel(), panel)
        .targets(_targets(panel.queries, instant=False))
        .line_width(1)
        .fill_opacity(30 if panel.stacked else 8)
        .show_points(common_model.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(common_model.LegendDisplayMode.TABLE)
            .placement(common_model.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["mean", "max", "lastNotNull"])
            .sort_by("Max")
            .sort_desc(True)
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(common_model.TooltipDisplayMode.MULTI)
            .sort(common_model.SortOrder.DESCENDING)
        )
        .min(0)
    )
    if panel.percent:
        builder = builder.axis_soft_max(1)
    if panel.stacked:
        stacking = common.StackingConfig().mode(common_model.StackingMode.NORMAL).group("A")
        builder = builder.stacking(stacking)
    return builder


def _stat(panel: Panel) -> Any:
    steps = [model.Threshold(value=None, color="green")]
    if panel.red is not None:
        steps.append(model.Threshold(value=panel.red, color="red"))
    thresholds = dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)
    return (
        _common(stat.Panel(), panel)
        .targets(_targets(panel.queries, instant=False))
        .graph_mode(common_model.BigValueGraphMode.AREA)
        .color_mode(common_model.BigValueColorMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .thresholds(thresholds)
    )


def _table(panel: Panel) -> Any:
    letters = "ABCDEFGHIJKLMNOP"
    titles = {f"Value #{letters[i]}": q.legend for i, q in enumerate(panel.queries) if q.legend}
    hide = {"Time": True, **{f"Time {n}": True for n in range(1, len(panel.queries) + 1)}}
    if not titles:  # the labels are what is shown; a single query's column has no letter
        hide |= {"Value": True, "Value #A": True}
    builder = (
        _common(table.Panel(), panel)
        .min_width(80)
        .targets(_targets(panel.queries, instant=True))
        .with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            model.DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": hide,
                    "indexByName": {"name": 0},
                    "renameByName": {"name": "Container", **panel.columns, **titles},
                },
            )
        )
    )
    for title, unit in panel.units.items():
        builder = builder.override_by_name(
            title, [model.DynamicConfigValue(id_val="unit", value=unit)]
        )
    if panel.link:
        link = {"title": "Details", "url": panel.link}
        builder = builder.override_by_name(
            "Container", [model.DynamicConfigValue(id_val="links", value=[link])]
        )
    return builder


_BUILDERS: dict[str, Callable[[Panel], Any]] = {"lines": _lines, "stat": _stat, "table": _table}
