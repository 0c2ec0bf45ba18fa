"""Blocking, standard library only: one small typed function per system call.

No policy, no logging.
"""
