"""All containers side by side."""

from __future__ import annotations

from dashboards.boards.queries import (
    ALL,
    CONTAINER_INSTANCES,
    OOM,
    STARTED,
    TOP,
    by_name,
    now,
    rate,
    top,
)
from dashboards.panels import Board, Panel, Query, lines, number

_CPU = by_name("container_cpu_usage_seconds_total")
_LIMITED = f"(container_spec_memory_limit_bytes{{{ALL}}} > 0)"
_OF_LIMIT = (
    f"sum by (name) (container_memory_working_set_bytes{{{ALL}}}) / sum by (name) {_LIMITED}"
)
_RECEIVED = by_name("container_network_receive_bytes_total")
_SENT = by_name("container_network_transmit_bytes_total")
_TABLE = Panel(
    kind="table",
    title="Containers",
    width=24,
    height=10,
    queries=(
        Query(_CPU, "CPU"),
        Query(now("container_memory_working_set_bytes"), "Memory"),
        Query(_OF_LIMIT, "of its limit"),
        Query(_RECEIVED, "Received"),
        Query(_SENT, "Sent"),
        Query(now("container_threads"), "Threads"),
        Query(f"time() - max by (name) (container_start_time_seconds{{{ALL}}})", "Up"),
        Query(now("container_oom_events_total"), "OOM kills"),
    ),
    units={
        "Memory": "bytes",
        "of its limit": "percentunit",
        "Received": "Bps",
        "Sent": "Bps",
        "Up": "s",
    },
    link="/d/orlop-container?var-name=${__data.fields.Container}&${datasource:queryparam}"
    "&${instance:queryparam}&${__url_time_range}",
)


def pressure(labels: str, legend: str) -> tuple[Panel, ...]:
    """Waiting for each resource."""
    return tuple(
        lines(
            f"Waiting for {what}",
            "percentunit",
            top(by_name(f"container_pressure_{resource}_waiting_seconds_total", labels), legend),
            help="Share of the time that some task stood still for want of it.",
        )
        for resource, what in (("cpu", "CPU"), ("memory", "memory"), ("io", "disks"))
    )


CONTAINERS = Board(
    uid="orlop-containers",
    title="Orlop / Containers",
    about="All containers side by side. It uses cAdvisor's names alone, and works with cAdvisor.",
    instances=CONTAINER_INSTANCES,
    names="many",
    annotations=(OOM, STARTED),
    rows=(
        (
            "Overview",
            (
                number("Running", "short", f"count(container_last_seen{{{ALL}}})"),
                number(
                    "CPU",
                    "short",
                    f"sum({rate('container_cpu_usage_seconds_total', ALL)})",
                    help="CPUs in use.",
                ),
                number("Memory", "bytes", f"sum(container_memory_working_set_bytes{{{ALL}}})"),
                number(
                    "Received",
                    "Bps",
                    f"sum({rate('container_network_receive_bytes_total', ALL)})",
                ),
                number(
                    "Sent", "Bps", f"sum({rate('container_network_transmit_bytes_total', ALL)})"
                ),
                number(
                    "OOM kills in this time",
                    "short",
                    f"round(sum(increase(container_oom_events_total{{{ALL}}}[$__range])))",
                    red=1,
                ),
                _TABLE,
            ),
        ),
        (
            "Compute",
            (
                lines("CPU", "short", top(_CPU), help="CPUs in use."),
                lines(
                    "Throttled",
                    "percentunit",
                    top(
                        f"{by_name('container_cpu_cfs_throttled_periods_total')}"
                        f" / {by_name('container_cpu_cfs_periods_total')}"
                    ),
                    help="Share of the periods in which the CPU quota ran out.",
                    percent=True,
                ),
                lines(
                    "CPU in the kernel", "short", top(by_name("container_cpu_system_seconds_total"))
                ),
            ),
        ),
        (
            "Memory",
            (
                lines("Working set", "bytes", top(now("container_memory_working_set_bytes"))),
                lines("Of its limit", "percentunit", top(_OF_LIMIT), percent=True),
                lines("Page cache", "bytes", top(now("container_memory_cache"))),
                lines("Anonymous", "bytes", top(now("container_memory_rss"))),
                lines("Swap", "bytes", top(now("container_memory_swap"))),
                lines(
                    "Major page faults",
                    "ops",
                    top(
                        by_name(
                            "container_memory_failures_total",
                            f'{ALL},failure_type="pgmajfault",scope="hierarchy"',
                        )
                    ),
                ),
            ),
        ),
        ("Pressure", pressure(ALL, "{{name}}")),
        (
            "Network",
            (
                lines("Received", "Bps", top(_RECEIVED)),
                lines("Sent", "Bps", top(_SENT)),
                lines(
                    "Packets",
                    "pps",
                    top(
                        f"{by_name('container_network_receive_packets_total')}"
                        f" + {by_name('container_network_transmit_packets_total')}"
                    ),
                    help="Received and sent.",
                ),
                lines(
                    "Packets with errors",
                    "pps",
                    top(
                        f"{by_name('container_network_receive_errors_total')}"
                        f" + {by_name('container_network_transmit_errors_total')}"
                    ),
                ),
                lines(
                    "Packets dropped",
                    "pps",
                    top(
                        f"{by_name('container_network_receive_packets_dropped_total')}"
                        f" + {by_name('container_network_transmit_packets_dropped_total')}"
                    ),
                ),
            ),
        ),
        (
            "Disks",
            (
                lines("Read", "Bps", top(by_name("container_fs_reads_bytes_total"))),
                lines("Written", "Bps", top(by_name("container_fs_writes_bytes_total"))),
                lines("Space used", "bytes", top(now("container_fs_usage_bytes"))),
            ),
        ),
        (
            "Lifecycle",
            (
                lines(
                    "Up for",
                    "s",
                    Query(
                        f"bottomk({TOP}, time() - "
                        f"max by (name) (container_start_time_seconds{{{ALL}}}))",
                        "{{name}}",
                    ),
                    help="The youngest.",
                ),
                lines(
                    "OOM kills",
                    "short",
                    top(
                        f"sum by (name) "
                        f"(increase(container_oom_events_total{{{ALL}}}[$__rate_interval]))"
                    ),
                ),
                lines("Threads", "short", top(now("container_threads"))),
            ),
        ),
    ),
)
