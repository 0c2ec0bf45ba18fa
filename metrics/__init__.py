"""metrics: container and agent metrics for Prometheus. Imports nothing of supervisor."""
