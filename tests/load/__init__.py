"""Hundreds of containers of several kinds at once: `python -m tests.load`."""
