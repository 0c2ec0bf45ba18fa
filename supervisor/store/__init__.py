"""Trio: what is on disk (data root, records, images, snapshots)."""
