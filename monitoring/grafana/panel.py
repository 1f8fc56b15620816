"""A panel as a value, and how Grafana is told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final, Literal

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models

Unit = Literal["reqps", "ops", "percentunit", "s", "bytes", "short"]

DATA_SOURCE: Final = "looma-prometheus"  # its uid in provisioning/datasources
# Grafana serves what lies in its folder `public`; compose mounts docs/runbooks there.
RUNBOOKS: Final = "/public/runbooks"
_WITH_EXEMPLARS: Final = "http_request_duration_seconds_bucket"
_WIDTH: Final = 12  # of the 24 columns of a row
_HEIGHT: Final = 8


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and how its series are called: `{{label}}` is the label's value."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """Series over time, or with `now` their last values as figures.

    `limit` is where an alert is raised, shown as a red line; `below`: what is under it is bad.
    `alerts` are those by which somebody is told of it.
    """

    title: str
    description: str
    unit: Unit
    queries: Sequence[Query]
    limit: float | None = None
    below: bool = False
    now: bool = False
    alerts: Sequence[str] = ()

    @property
    def text(self) -> str:
        """The description, with where to read on when something is wrong."""
        pages = (f"docs/runbooks/{name}.md" for name in self.alerts)
        return "\n\n".join([self.description, *(f"Runbook: {page}" for page in pages)])

    def built(self) -> stat.Panel | timeseries.Panel:
        if self.now:
            figures = stat.Panel().reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
            return self._described(figures)
        lines = timeseries.Panel().fill_opacity(8).show_points(common_models.VisibilityMode.NEVER)
        if self.limit is not None:
            style = common_models.GraphThresholdsStyleMode.LINE
            lines.thresholds_style(common.GraphThresholdsStyleConfig().mode(style))
        return self._described(lines)

    def _described(self, panel: stat.Panel | timeseries.Panel) -> stat.Panel | timeseries.Panel:
        panel.title(self.title).description(self.text).unit(self.unit)
        panel.datasource(_source()).span(_WIDTH).height(_HEIGHT)
        panel.links([_runbook(name) for name in self.alerts])
        panel.thresholds(
            dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(self._steps())
        )
        for number, query in enumerate(self.queries):
            asked = prometheus.Dataquery().expr(query.expression).legend_format(query.legend)
            if _WITH_EXEMPLARS in query.expression:
                asked.exemplar(True)
            panel.with_target(asked.ref_id(chr(ord("A") + number)))
        return panel

    def _steps(self) -> list[models.Threshold]:
        good, bad = ("red", "green") if self.below else ("green", "red")
        steps = [models.Threshold(value=None, color=good)]
        if self.limit is not None:
            steps.append(models.Threshold(value=self.limit, color=bad))
        return steps


@dataclass(frozen=True, slots=True)
class Choice:
    """A variable of a dashboard: its values are those that the query finds, and `regex` takes out."""

    name: str
    label: str
    query: str
    regex: str


def board(
    name: str,
    title: str,
    description: str,
    rows: Mapping[str, Sequence[Panel]],
    choice: Choice | None = None,
) -> str:
    """The JSON of the dashboard `looma-NAME`: rows of panels by their titles."""
    built = (
        dashboard.Dashboard(title)
        .uid(f"looma-{name}")
        .description(description)
        .tags(["looma"])
        .readonly()
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("Looma")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["looma"])
            .as_dropdown(True)
            .keep_time(True)
        )
        .link(_runbook("README", "Runbooks"))
        .annotation(_alerts())
    )
    if choice is not None:
        built.with_variable(_variable(choice))
    number = count(1)
    for row, panels in rows.items():
        built.with_row(dashboard.Row(row).id(next(number)))
        for one in panels:
            built.with_panel(one.built().id(next(number)))
    return JSONEncoder(sort_keys=True, indent=1).encode(built.build()) + "\n"


def _runbook(name: str, title: str = "") -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink(title or f"Runbook: {name}")
        .type(models.DashboardLinkType.LINK)
        .url(f"{RUNBOOKS}/{name}.md")
        .target_blank(True)
    )


def _variable(choice: Choice) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(choice.name)
        .label(choice.label)
        .datasource(_source())
        .query(choice.query)
        .regex(choice.regex)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )


def _alerts() -> dashboard.AnnotationQuery:
    """When alerts fired, in all panels."""
    return (
        dashboard.AnnotationQuery()
        .name("Alerts")
        .datasource(_source())
        .enable(True)
        .icon_color("red")
        .expr('ALERTS{alertstate="firing"}')
    )


def _source() -> common_models.DataSourceRef:
    return common_models.DataSourceRef(type_val="prometheus", uid=DATA_SOURCE)
