"""Figures to what others read: Prometheus' text, OpenMetrics, Docker's stats JSON. Pure.

Sources: prometheus.io/docs/instrumenting/exposition_formats, OpenMetrics 1.0, Docker's Engine
API 1.51; the names of `container_…` families are those of cAdvisor's docs/storage/prometheus.md.
"""
