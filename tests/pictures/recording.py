"""What each panel of each board would show now: Prometheus' own answers, as a browser gets them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dashboards.boards import BOARDS
from tests.api.prometheus_server import Prometheus
from tests.unit.metrics.test_dashboards import board

POINTS = 200
SHOWN = "shop-api"
"""The container on the board of one."""


def record(server: Prometheus, seconds: int, interval: int) -> dict[str, Any]:
    """All boards with the last `seconds`, scraped each `interval` seconds, by file name."""
    end = int(time.time())
    span = {"start": end - seconds, "end": end, "step": max(interval, seconds // POINTS)}
    return {name: _board(server, board(name), span, interval) for name in BOARDS}


def _board(
    server: Prometheus, model: dict[str, Any], span: dict[str, int], interval: int
) -> dict[str, Any]:
    variables = list(_variables(server, model))
    values = {f"${one['name']}": one["value"] for one in variables}
    # As Grafana computes it: four scrapes, or a point and a scrape.
    values["$__rate_interval"] = f"{max(4 * interval, span['step'] + interval)}s"
    values["$__range"] = f"{span['end'] - span['start']}s"

    def asked(expression: str, *, instant: bool = False) -> Any:
        for name in sorted(values, key=len, reverse=True):
            expression = expression.replace(name, values[name])
        if instant:
            return server.get("query", query=expression, time=str(span["end"]))["result"]
        times = {key: str(value) for key, value in span.items()}
        return server.get("query_range", query=expression, **times)["result"]

    panels = [panel for panel in model["panels"] if panel["type"] != "row"]
    return {
        "board": model,
        "span": span,
        "variables": variables,
        "results": {
            str(panel["id"]): [
                asked(target["expr"], instant=target.get("instant", False))
                for target in panel["targets"]
            ]
            for panel in panels
        },
        "annotations": [
            {"name": one["name"], "color": one["iconColor"], "result": asked(one["expr"])}
            for one in model["annotations"]["list"]
            if "expr" in one
        ],
    }


def _variables(server: Prometheus, model: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Name, label and choice of each, and the choice as it is shown."""
    for variable in model["templating"]["list"]:
        shown = {"name": variable["name"], "label": variable["label"]}
        if variable["type"] == "datasource":
            yield {**shown, "value": "prometheus", "text": "Prometheus"}
        elif variable["multi"]:
            yield {**shown, "value": variable["allValue"], "text": "All"}
        elif variable["name"] == "name":
            yield {**shown, "value": SHOWN, "text": SHOWN}
        else:
            found = server.get("label/instance/values")[0]
            yield {**shown, "value": found, "text": found}


def empty(recorded: dict[str, Any]) -> list[str]:
    """The panels without a single value, as "board: row / panel: expression"."""
    found = []
    for name, one in recorded.items():
        row = ""
        for panel in one["board"]["panels"]:
            if panel["type"] == "row":
                row = panel["title"]
                continue
            for target, result in zip(
                panel["targets"], one["results"][str(panel["id"])], strict=True
            ):
                if not any(_values(series) for series in result):
                    found.append(f"{name}: {row} / {panel['title']}: {target['expr']}")
    return found


def flat(recorded: dict[str, Any]) -> list[str]:
    """The graphs that are nothing but 0, as "board: panel"."""
    found = []
    for name, one in recorded.items():
        for panel in one["board"]["panels"]:
            results = one["results"].get(str(panel["id"]), [])
            values = {value for result in results for series in result for value in _values(series)}
            if values and values <= {0.0}:
                found.append(f"{name}: {panel['title']}")
    return found


def _values(series: dict[str, Any]) -> list[float]:
    pairs = series.get("values") or [series["value"]]
    return [number for _, text in pairs if (number := float(text)) == number]


def save(recorded: dict[str, Any], file: Path) -> None:
    """Write it for the browser and for another time."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(recorded))
