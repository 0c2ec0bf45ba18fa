"""The agent itself."""

from __future__ import annotations

from dashboards.boards.queries import AGENT_INSTANCES, MACHINE, rate
from dashboards.panels import Board, Query, lines, number

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
