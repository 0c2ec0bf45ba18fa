"""The four dashboards."""

from __future__ import annotations

from dashboards.panels import Annotation, Board, Panel, Query, lines, number

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


# --- host ---------------------------------------------------------------------------------------

_BUSY = f"{rate('container_cpu_usage_seconds_total', HOST)}"
_HOST_OVERVIEW = (
    number("Hosts", "short", f"count(machine_cpu_cores{{{MACHINE}}})"),
    number(
        "CPU in use",
        "percentunit",
        f"sum({_BUSY}) / sum(machine_cpu_cores{{{MACHINE}}})",
        red=0.9,
        help="Share of all CPUs.",
    ),
    number(
        "Memory in use",
        "percentunit",
        f"sum(container_memory_working_set_bytes{{{HOST}}})"
        f" / sum(machine_memory_bytes{{{MACHINE}}})",
        red=0.9,
        help="Without page cache that goes first.",
    ),
    number("Containers running", "short", f'sum(orlop_containers{{{MACHINE},state="running"}})'),
    number("Containers in all", "short", f"sum(orlop_containers{{{MACHINE}}})"),
    number(
        "Ends by OOM, last hour",
        "short",
        f'round(sum(increase(orlop_container_exits_total{{{MACHINE},reason="oom_killed"}}[1h])))',
        red=1,
    ),
)
HOSTS = Board(
    uid="orlop-host",
    title="Orlop / Host overview",
    about="Hosts that run Orlop: what they have, what is used of it, and by whom.",
    instances=AGENT_INSTANCES,
    rows=(
        ("Overview", _HOST_OVERVIEW),
        (
            "Compute",
            (
                lines(
                    "CPU",
                    "percentunit",
                    Query(
                        f"sum by (instance) ({_BUSY})"
                        f" / on (instance) machine_cpu_cores{{{MACHINE}}}",
                        "{{instance}}",
                    ),
                    percent=True,
                ),
                lines(
                    "CPU of containers and of the rest",
                    "short",
                    Query(
                        f"sum({rate('orlop_containers_cpu_usage_seconds_total', MACHINE)})",
                        "containers",
                    ),
                    Query(f"sum({rate('process_cpu_seconds_total', MACHINE)})", "agent"),
                    Query(f"sum({_BUSY})", "host"),
                    help="CPUs. Containers that ended count too.",
                ),
                lines("Threads", "short", Query(f"container_threads{{{HOST}}}", "{{instance}}")),
            ),
        ),
        (
            "Memory",
            (
                lines(
                    "Memory in use",
                    "bytes",
                    Query(f"container_memory_working_set_bytes{{{HOST}}}", "{{instance}}"),
                    Query(f"machine_memory_bytes{{{MACHINE}}}", "{{instance}} has"),
                ),
                lines(
                    "What it is",
                    "bytes",
                    Query(f"sum(container_memory_rss{{{HOST}}})", "anonymous"),
                    Query(f"sum(container_memory_cache{{{HOST}}})", "page cache"),
                    stacked=True,
                ),
                lines(
                    "Swap in use",
                    "bytes",
                    Query(f"container_memory_swap{{{HOST}}}", "{{instance}}"),
                ),
            ),
        ),
        (
            "Pressure",
            tuple(
                lines(
                    f"Waiting for {what}",
                    "percentunit",
                    Query(
                        rate(f"container_pressure_{resource}_waiting_seconds_total", HOST),
                        "{{instance}}, some task",
                    ),
                    Query(
                        rate(f"container_pressure_{resource}_stalled_seconds_total", HOST),
                        "{{instance}}, all tasks",
                    ),
                    help="Share of the time that tasks stood still for want of it.",
                )
                for resource, what in (("cpu", "CPU"), ("memory", "memory"), ("io", "disks"))
            ),
        ),
        (
            "Network and disks",
            (
                lines(
                    "Received",
                    "Bps",
                    Query(
                        rate("container_network_receive_bytes_total", HOST),
                        "{{instance}} {{interface}}",
                    ),
                ),
                lines(
                    "Sent",
                    "Bps",
                    Query(
                        rate("container_network_transmit_bytes_total", HOST),
                        "{{instance}} {{interface}}",
                    ),
                ),
                lines(
                    "Packets lost",
                    "pps",
                    *(
                        Query(
                            f"sum by (instance) ("
                            f"{rate(f'container_network_{way}_{kind}_total', HOST)})",
                            "{{instance}} " + f"{way} {kind}",
                        )
                        for way in ("receive", "transmit")
                        for kind in ("errors", "packets_dropped")
                    ),
                ),
                lines(
                    "Disk reads",
                    "Bps",
                    Query(rate("container_fs_reads_bytes_total", HOST), "{{instance}} {{device}}"),
                ),
                lines(
                    "Disk writes",
                    "Bps",
                    Query(rate("container_fs_writes_bytes_total", HOST), "{{instance}} {{device}}"),
                ),
                lines(
                    "Disk space in use",
                    "percentunit",
                    Query(
                        f"container_fs_usage_bytes{{{HOST}}} / container_fs_limit_bytes{{{HOST}}}",
                        "{{instance}} {{device}}",
                    ),
                    percent=True,
                ),
            ),
        ),
        (
            "Containers",
            (
                lines(
                    "Containers by state",
                    "short",
                    Query(f"sum by (state) (orlop_containers{{{MACHINE}}})", "{{state}}"),
                    stacked=True,
                ),
                lines(
                    "Ends",
                    "short",
                    Query(
                        f"sum by (reason) (increase("
                        f"orlop_container_exits_total{{{MACHINE}}}[$__rate_interval]))",
                        "{{reason}}",
                    ),
                ),
                lines(
                    "Restarts",
                    "short",
                    Query(
                        f"sum by (instance) (increase("
                        f"orlop_container_restarts_total{{{MACHINE}}}[$__rate_interval]))",
                        "{{instance}}",
                    ),
                ),
            ),
        ),
    ),
)

# --- containers ---------------------------------------------------------------------------------

_OOM = Annotation(
    name="Out of memory",
    expr=f"sum by (name) (increase(container_oom_events_total{{{ALL}}}[$__rate_interval])) > 0",
    color="red",
    text="{{name}}",
)
_STARTED = Annotation(
    name="Started again",
    expr=f"sum by (name) (changes(container_start_time_seconds{{{ALL}}}[$__rate_interval])) > 0",
    color="blue",
    text="{{name}}",
)
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
    annotations=(_OOM, _STARTED),
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

# --- one container ------------------------------------------------------------------------------


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
        Annotation(name=_OOM.name, expr=of_one(_OOM.expr), color=_OOM.color, text="{{name}}"),
        Annotation(
            name=_STARTED.name, expr=of_one(_STARTED.expr), color=_STARTED.color, text="{{name}}"
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

# --- the agent ----------------------------------------------------------------------------------

_STAGES = "orlop_container_stage_duration_seconds"
LATENCIES = ((0.5, "p50"), (0.99, "p99"))


def quantiles(metric: str, by: str = "") -> tuple[Query, ...]:
    """p50 and p99 of a histogram, by a label or in all."""
    group = f"le, {by}" if by else "le"
    bucket = f"sum by ({group}) ({rate(f'{metric}_bucket', MACHINE)})"
    legend = "{{" + by + "}} " if by else ""
    return tuple(Query(f"histogram_quantile({q}, {bucket})", legend + p) for q, p in LATENCIES)


AGENTS = Board(
    uid="orlop-agent",
    title="Orlop / Agent internals",
    about="The agent itself: how fast it is, what it costs, what it could not do.",
    instances=AGENT_INSTANCES,
    rows=(
        (
            "Overview",
            (
                number("Agents", "short", f"count(orlop_build_info{{{MACHINE}}})"),
                number("CPU", "percentunit", f"sum({rate('process_cpu_seconds_total', MACHINE)})"),
                number("Memory", "bytes", f"sum(process_resident_memory_bytes{{{MACHINE}}})"),
                number("Memory of shims", "bytes", f"sum(orlop_shim_memory_bytes{{{MACHINE}}})"),
                number(
                    "Operations under way",
                    "short",
                    f"sum(orlop_container_operations_in_flight{{{MACHINE}}})",
                ),
                number("Leaked", "short", f"sum(orlop_leaked_resources{{{MACHINE}}})", red=1),
            ),
        ),
        (
            "Containers",
            (
                lines(
                    "Operations",
                    "ops",
                    Query(
                        "sum by (operation) ("
                        + rate("orlop_container_operation_duration_seconds_count", MACHINE)
                        + ")",
                        "{{operation}}",
                    ),
                ),
                lines(
                    "Failed operations",
                    "ops",
                    Query(
                        "sum by (operation) ("
                        + rate(
                            "orlop_container_operation_duration_seconds_count",
                            f'{MACHINE},outcome!="ok"',
                        )
                        + ")",
                        "{{operation}}",
                    ),
                ),
                lines(
                    "Time of operations",
                    "s",
                    *quantiles("orlop_container_operation_duration_seconds", "operation"),
                ),
                lines(
                    "Time of a start's stages",
                    "s",
                    *quantiles(_STAGES, "stage"),
                ),
                lines(
                    "Where a start's time goes",
                    "s",
                    Query(
                        f"sum by (stage) ({rate(f'{_STAGES}_sum', MACHINE)})"
                        f" / sum by (stage) ({rate(f'{_STAGES}_count', MACHINE)})",
                        "{{stage}}",
                    ),
                    stacked=True,
                    help="Means. rootfs and cgroup run at the same time.",
                ),
                lines(
                    "Starts",
                    "ops",
                    Query(
                        "sum by (outcome) ("
                        + rate(
                            "orlop_container_operation_duration_seconds_count",
                            f'{MACHINE},operation="start"',
                        )
                        + ")",
                        "{{outcome}}",
                    ),
                ),
                lines(
                    "Ends",
                    "ops",
                    Query(
                        f"sum by (reason) ({rate('orlop_container_exits_total', MACHINE)})",
                        "{{reason}}",
                    ),
                ),
                lines(
                    "Processes reaped",
                    "ops",
                    Query(
                        f"sum by (kind) ({rate('orlop_reaped_processes_total', MACHINE)})",
                        "{{kind}}",
                    ),
                ),
                lines(
                    "Health checks",
                    "ops",
                    Query(
                        f"sum by (result) ({rate('orlop_health_checks_total', MACHINE)})",
                        "{{result}}",
                    ),
                ),
                lines(
                    "Log output",
                    "Bps",
                    Query(f"sum({rate('orlop_log_bytes_total', MACHINE)})", "written"),
                    Query(
                        f"sum by (reason) ({rate('orlop_log_dropped_bytes_total', MACHINE)})",
                        "dropped: {{reason}}",
                    ),
                ),
                lines(
                    "Leaked resources",
                    "short",
                    Query(f"sum by (kind) (orlop_leaked_resources{{{MACHINE}}})", "{{kind}}"),
                    Query(
                        "sum by (kind) (increase("
                        f"orlop_leftovers_removed_total{{{MACHINE}}}[$__rate_interval]))",
                        "removed: {{kind}}",
                    ),
                ),
            ),
        ),
        (
            "API",
            (
                lines(
                    "Requests",
                    "reqps",
                    Query(
                        "sum by (route) ("
                        + rate("orlop_api_request_duration_seconds_count", MACHINE)
                        + ")",
                        "{{route}}",
                    ),
                ),
                lines(
                    "Errors",
                    "reqps",
                    Query(
                        "sum by (code) ("
                        + rate("orlop_api_request_duration_seconds_count", f'{MACHINE},code=~"5.."')
                        + ")",
                        "{{code}}",
                    ),
                ),
                lines("Time of requests", "s", *quantiles("orlop_api_request_duration_seconds")),
                lines("Event loop lag", "s", *quantiles("orlop_event_loop_lag_seconds")),
                lines(
                    "Events dropped",
                    "ops",
                    Query(f"sum({rate('orlop_events_dropped_total', MACHINE)})", "events"),
                ),
            ),
        ),
        (
            "Images and networks",
            (
                lines("Time of pulls", "s", *quantiles("orlop_image_pull_duration_seconds")),
                lines(
                    "Pulled",
                    "Bps",
                    Query(f"sum({rate('orlop_image_pull_bytes_total', MACHINE)})", "received"),
                ),
                lines(
                    "Image store",
                    "bytes",
                    Query(f"orlop_image_store_bytes{{{MACHINE}}}", "{{instance}}"),
                ),
                lines(
                    "Time of network changes",
                    "s",
                    *quantiles("orlop_network_operation_duration_seconds", "operation"),
                ),
                lines(
                    "Addresses in use",
                    "percentunit",
                    Query(
                        "sum by (network) "
                        f'(orlop_ip_pool_addresses{{{MACHINE},state="used"}})'
                        f" / sum by (network) (orlop_ip_pool_addresses{{{MACHINE}}})",
                        "{{network}}",
                    ),
                    percent=True,
                ),
            ),
        ),
        (
            "Cost",
            (
                lines(
                    "CPU",
                    "percentunit",
                    Query(rate("process_cpu_seconds_total", MACHINE), "{{instance}}"),
                ),
                lines(
                    "Memory",
                    "bytes",
                    Query(f"process_resident_memory_bytes{{{MACHINE}}}", "{{instance}}"),
                ),
                lines(
                    "Descriptors",
                    "short",
                    Query(f"process_open_fds{{{MACHINE}}}", "{{instance}}"),
                    Query(f"process_max_fds{{{MACHINE}}}", "{{instance}} may have"),
                ),
                lines(
                    "Time of sampling",
                    "s",
                    Query(
                        f"max by (collector) (orlop_collector_duration_seconds{{{MACHINE}}})",
                        "{{collector}}",
                    ),
                ),
                lines(
                    "Readings that failed",
                    "ops",
                    Query(
                        f"sum by (collector) ({rate('orlop_collector_errors_total', MACHINE)})",
                        "{{collector}}",
                    ),
                ),
                lines(
                    "Series cut or left out",
                    "ops",
                    Query(
                        f"sum by (kind) ({rate('orlop_metrics_capped_total', MACHINE)})", "{{kind}}"
                    ),
                ),
            ),
        ),
    ),
)

BOARDS = {
    "host-overview.json": HOSTS,
    "containers.json": CONTAINERS,
    "container-detail.json": CONTAINER,
    "agent-internals.json": AGENTS,
}
