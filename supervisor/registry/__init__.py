"""Trio: OCI distribution client. Empty so far."""
