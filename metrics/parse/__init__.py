"""The kernel's bytes to figures: cgroup files of both versions, /proc, netlink. Pure.

What a kernel does not tell is None. What it tells in a form that is not documented raises
`metrics.errors.Malformed`. Sources: Documentation/admin-guide/cgroup-v2.rst,
cgroup-v1/*.rst, accounting/psi.rst, proc(5), rtnetlink(7), linux/if_link.h.
"""
