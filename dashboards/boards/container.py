"""One container."""

from __future__ import annotations

from dashboards.boards.queries import AGENT_INSTANCES, ALL, NAMED, ONE, OOM, STARTED, rate
from dashboards.panels import Annotation, Board, Panel, Query, lines, number


def of_one(expr: str) -> str:
    """The expression for the container that was chosen."""
    return expr.replace(ALL, ONE)


CONTAINER = Board(
    uid="orlop-container",
    title="Orlop / Container detail",
    about="One container: what it uses, what it waits for, how its runs ended.",
    instances=AGENT_INSTANCES,
    names="one",
    annotations=(
        Annotation(name=OOM.name, expr=of_one(OOM.expr), color=OOM.color, text="{{name}}"),
        Annotation(
            name=STARTED.name, expr=of_one(STARTED.expr), color=STARTED.color, text="{{name}}"
        ),
    ),
    rows=(
        (
            "Overview",
            (
                number("Up for", "s", f"time() - max(container_start_time_seconds{{{ONE}}})"),
                number("CPU", "short", f"sum({rate('container_cpu_usage_seconds_total', ONE)})"),
                number("Memory", "bytes", f"sum(container_memory_working_set_bytes{{{ONE}}})"),
                number(
                    "Restarts", "short", f"sum(orlop_container_restarts_total{{{NAMED}}})", red=1
                ),
                number(
                    "OOM kills, all runs",
                    "short",
                    f"sum(orlop_container_oom_kills_total{{{NAMED}}})",
                    red=1,
                ),
                number(
                    "Last exit code",
                    "none",
                    f"max(orlop_container_last_exit_code{{{NAMED}}})",
                    red=1,
                ),
                Panel(
                    kind="table",
                    title="What it is",
                    width=24,
                    height=4,
                    queries=(
                        Query(
                            f"max by (name, image, image_digest, network_mode, "
                            f"restart_policy) (orlop_container_info{{{NAMED}}})",
                            "",
                        ),
                    ),
                    columns={
                        "image": "Image",
                        "image_digest": "Digest",
                        "network_mode": "Network",
                        "restart_policy": "Restart policy",
                    },
                ),
            ),
        ),
        (
            "Compute",
            (
                lines(
                    "CPU",
                    "short",
                    Query(f"sum({rate('container_cpu_user_seconds_total', ONE)})", "user"),
                    Query(f"sum({rate('container_cpu_system_seconds_total', ONE)})", "kernel"),
                    Query(
                        f"sum(container_spec_cpu_quota{{{ONE}}} > 0)"
                        f" / sum(container_spec_cpu_period{{{ONE}}})",
                        "limit",
                    ),
                    help="CPUs.",
                ),
                lines(
                    "Throttled",
                    "percentunit",
                    Query(
                        f"sum({rate('container_cpu_cfs_throttled_periods_total', ONE)})"
                        f" / sum({rate('container_cpu_cfs_periods_total', ONE)})",
                        "periods in which the quota ran out",
                    ),
                    percent=True,
                ),
                lines(
                    "Processes and threads",
                    "short",
                    Query(f"sum(container_processes{{{ONE}}})", "processes"),
                    Query(f"sum(container_threads{{{ONE}}})", "threads"),
                    Query(f"sum(container_threads_max{{{ONE}}} > 0)", "limit"),
                ),
            ),
        ),
        (
            "Memory",
            (
                lines(
                    "Memory",
                    "bytes",
                    Query(f"sum(container_memory_usage_bytes{{{ONE}}})", "usage"),
                    Query(f"sum(container_memory_working_set_bytes{{{ONE}}})", "working set"),
                    Query(f"sum(container_memory_max_usage_bytes{{{ONE}}})", "highest usage"),
                    Query(f"sum(container_spec_memory_limit_bytes{{{ONE}}} > 0)", "limit"),
                ),
                lines(
                    "What it is",
                    "bytes",
                    Query(f"sum(container_memory_rss{{{ONE}}})", "anonymous"),
                    Query(f"sum(container_memory_cache{{{ONE}}})", "page cache"),
                    Query(f"sum(container_memory_swap{{{ONE}}})", "swap"),
                    stacked=True,
                ),
                lines(
                    "Page cache",
                    "bytes",
                    Query(f"sum(container_memory_total_active_file_bytes{{{ONE}}})", "active"),
                    Query(f"sum(container_memory_total_inactive_file_bytes{{{ONE}}})", "inactive"),
                    Query(f"sum(container_memory_file_dirty_bytes{{{ONE}}})", "to be written"),
                    Query(f"sum(container_memory_mapped_file{{{ONE}}})", "mapped"),
                ),
                lines(
                    "Limit hit",
                    "short",
                    Query(
                        f"sum(increase(container_memory_failcnt{{{ONE}}}[$__rate_interval]))",
                        "times",
                    ),
                    Query(
                        f"sum(increase(container_oom_events_total{{{ONE}}}[$__rate_interval]))",
                        "processes killed",
                    ),
                ),
                lines(
                    "Page faults",
                    "ops",
                    *(
                        Query(
                            "sum("
                            + rate(
                                "container_memory_failures_total",
                                f'{ONE},failure_type="{fault}",scope="hierarchy"',
                            )
                            + ")",
                            legend,
                        )
                        for fault, legend in (("pgfault", "all"), ("pgmajfault", "from disk"))
                    ),
                ),
                lines(
                    "Pages that came back",
                    "ops",
                    *(
                        Query(
                            "sum("
                            + rate(f"container_memory_workingset_refault_{kind}_total", ONE)
                            + ")",
                            legend,
                        )
                        for kind, legend in (("file", "file"), ("anon", "from swap"))
                    ),
                    help="Refaults: memory is too small for what is in use.",
                ),
            ),
        ),
        (
            "Pressure",
            tuple(
                lines(
                    f"Waiting for {what}",
                    "percentunit",
                    *(
                        Query(
                            "sum("
                            + rate(f"container_pressure_{resource}_{kind}_seconds_total", ONE)
                            + ")",
                            who,
                        )
                        for kind, who in (("waiting", "some task"), ("stalled", "all tasks"))
                    ),
                )
                for resource, what in (("cpu", "CPU"), ("memory", "memory"), ("io", "disks"))
            ),
        ),
        (
            "Network and disks",
            (
                lines(
                    "Network",
                    "Bps",
                    *(
                        Query(
                            f"sum by (interface) "
                            f"({rate(f'container_network_{way}_bytes_total', ONE)})",
                            "{{interface}} " + verb,
                        )
                        for way, verb in (("receive", "received"), ("transmit", "sent"))
                    ),
                ),
                lines(
                    "Packets",
                    "pps",
                    *(
                        Query(
                            f"sum by (interface) "
                            f"({rate(f'container_network_{way}_packets_total', ONE)})",
                            "{{interface}} " + verb,
                        )
                        for way, verb in (("receive", "received"), ("transmit", "sent"))
                    ),
                ),
                lines(
                    "Network, in all",
                    "bytes",
                    *(
                        Query(
                            f"sum by (interface) (container_network_{way}_bytes_total{{{ONE}}})",
                            "{{interface}} " + verb,
                        )
                        for way, verb in (("receive", "received"), ("transmit", "sent"))
                    ),
                    help="Since the run began; what was disconnected counts, too.",
                ),
                lines(
                    "Packets lost",
                    "pps",
                    *(
                        Query(
                            f"sum({rate(f'container_network_{way}_{kind}_total', ONE)})",
                            f"{way} {kind.replace('_', ' ')}",
                        )
                        for way in ("receive", "transmit")
                        for kind in ("errors", "packets_dropped")
                    ),
                ),
                lines(
                    "Disks",
                    "Bps",
                    *(
                        Query(
                            f"sum by (device) ({rate(f'container_fs_{way}_bytes_total', ONE)})",
                            "{{device}} " + way,
                        )
                        for way in ("reads", "writes")
                    ),
                ),
            ),
        ),
    ),
)
