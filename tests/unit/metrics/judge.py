"""What prometheus_client reads in a text: the judge of ours."""

from __future__ import annotations

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as _openmetrics
from prometheus_client.parser import text_string_to_metric_families as _text
from prometheus_client.samples import Sample


def families(text: str) -> list[Metric]:
    """The families of Prometheus' text format."""
    return list(_text(text))


def openmetrics_families(text: str) -> list[Metric]:
    """The families of OpenMetrics; ValueError for whatever its specification forbids."""
    return list(_openmetrics(text))  # type: ignore[no-untyped-call]


def samples(text: str, name: str, /, **labels: str) -> list[Sample]:
    """The samples of that name that have these labels."""
    return [
        sample
        for family in families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]


def value(text: str, name: str, /, **labels: str) -> float:
    """The value of the one sample of that name that has these labels."""
    (found,) = samples(text, name, **labels)
    return found.value
