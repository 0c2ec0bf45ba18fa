"""Hosts: what they have, what is used of it, by whom."""

from __future__ import annotations

from dashboards.boards.queries import AGENT_INSTANCES, HOST, MACHINE, rate
from dashboards.panels import Board, Query, lines, number

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
