"""Measurements of a running supervisor, beside runc: `python -m tests.bench --help`."""
