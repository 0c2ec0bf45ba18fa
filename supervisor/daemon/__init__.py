"""Trio: assembly, configuration, signals, sd_notify, structured log."""
