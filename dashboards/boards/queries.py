"""What the boards ask for: selectors, rates, and the annotations of several boards."""

from __future__ import annotations

from dashboards.panels import Annotation, Query

TOP = 20
"""Lines in a graph of all containers: hundreds of them tell nothing."""

HOST = 'instance=~"$instance",id="/"'
MACHINE = 'instance=~"$instance"'
ALL = 'instance=~"$instance",name=~"$name",image!=""'
ONE = 'instance=~"$instance",name="$name",image!=""'
NAMED = 'instance=~"$instance",name="$name"'
CONTAINER_INSTANCES = 'label_values(container_last_seen{image!=""}, instance)'
AGENT_INSTANCES = "label_values(orlop_build_info, instance)"


def rate(metric: str, labels: str) -> str:
    """Per second, over what the panel's resolution and the scrape interval allow."""
    return f"rate({metric}{{{labels}}}[$__rate_interval])"


def by_name(metric: str, labels: str = ALL) -> str:
    """The rate of each container."""
    return f"sum by (name) ({rate(metric, labels)})"


def top(expr: str, what: str = "{{name}}") -> Query:
    """The TOP containers at each moment."""
    return Query(f"topk({TOP}, {expr})", what)


def now(metric: str, labels: str = ALL) -> str:
    """The value of each container."""
    return f"sum by (name) ({metric}{{{labels}}})"


OOM = Annotation(
    name="Out of memory",
    expr=f"sum by (name) (increase(container_oom_events_total{{{ALL}}}[$__rate_interval])) > 0",
    color="red",
    text="{{name}}",
)
STARTED = Annotation(
    name="Started again",
    expr=f"sum by (name) (changes(container_start_time_seconds{{{ALL}}}[$__rate_interval])) > 0",
    color="blue",
    text="{{name}}",
)
