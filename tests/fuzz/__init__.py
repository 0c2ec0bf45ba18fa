"""Decoders of what others send, fed with inputs that nobody would write (docs/fuzzing.md)."""
