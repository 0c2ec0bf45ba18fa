"""What containers, the host and the agent use and do, in figures: read, kept, served.

`parse` and `render` are pure: the kernel's bytes to figures, figures to Prometheus' text and
Docker's JSON. `serve` does the I/O on trio: it samples, and answers scrapes. The interface
for the supervisor is `metrics.serve` (docs/metrics.md, "For programmers"); importing that
costs 5 MB, 3 of them for prometheus_client.
"""
