"""Trio: one task per container; facts in, effects out; exec, attach, logs, OOM watch, events."""
