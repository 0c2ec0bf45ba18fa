"""Which format a scraper wants, and whether compressed (RFC 9110, section 12.5)."""

from __future__ import annotations

from typing import NamedTuple

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_OPENMETRICS_VERSIONS = {"", "1.0.0", "0.0.1"}
"""Of OpenMetrics; what 1.0.0 has is valid 0.0.1, too."""


class Choice(NamedTuple):
    """One element of an Accept header: what, its parameters, how much it is wanted (0 … 1)."""

    what: str
    parameters: dict[str, str]
    weight: float


def wants_openmetrics(accept: str) -> bool:
    """OpenMetrics is asked for, and not less than plain text."""
    found = choices(accept)
    openmetrics = _weight_of(found, "application/openmetrics-text", _OPENMETRICS_VERSIONS)
    return 0 < openmetrics >= _weight_of(found, "text/plain", {"", "0.0.4"})


def wants_gzip(accept_encoding: str) -> bool:
    """gzip is among the encodings, and not at weight 0."""
    weights = {choice.what: choice.weight for choice in choices(accept_encoding)}
    return weights.get("gzip", weights.get("*", 0)) > 0


def choices(header: str) -> list[Choice]:
    """The elements of a header of the form `a/b;version=1;q=0.5, *`; a bad weight is 0."""
    found = []
    for element in header.split(","):
        what, *rest = element.split(";")
        parameters = {}
        for parameter in rest:
            name, _, value = parameter.partition("=")
            parameters[name.strip().lower()] = value.strip().strip('"')
        if what.strip():
            weight = _weight(parameters.pop("q", "1"))
            found.append(Choice(what.strip().lower(), parameters, weight))
    return found


def _weight_of(found: list[Choice], what: str, versions: set[str]) -> float:
    weights = [
        choice.weight
        for choice in found
        if choice.what == what and choice.parameters.get("version", "") in versions
    ]
    return max(weights, default=0)


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0
    return weight if 0 <= weight <= 1 else 0
