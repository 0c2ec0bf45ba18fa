"""Traffic limits as queueing disciplines: tbf for a rate, netem to impair. tc-tbf(8), tc-netem(8).

Formats: linux/pkt_sched.h. Each queues what *leaves* an interface: what goes to a container is
limited at the host's end of its pair, what it sends at its own (which a container with
CAP_NET_ADMIN can undo).
"""

from __future__ import annotations

import struct

from netplumb.errors import Invalid
from netplumb.plan.model import Limits
from netplumb.plan.netlink import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_REPLACE,
    attribute,
    message,
    nested,
    text,
    u32,
    u64,
)

RTM_NEWQDISC, RTM_DELQDISC = 36, 37
TCA_KIND, TCA_OPTIONS = 1, 2
_TBF_PARAMETERS, _TBF_RATE64, _TBF_BURST = 1, 4, 6
_NETEM_LATENCY64, _NETEM_JITTER64 = 10, 11
_ROOT = 0xFFFFFFFF
_FIRST, _SECOND = 0x10000, 0x20000  # the handles 1: and 2:
_TCMSG = struct.Struct("=BxHiIII")  # struct tcmsg: family, index, handle, parent, info
_RATE = struct.Struct("=BBHhHI")  # struct tc_ratespec: …, linklayer, …, rate
_ETHERNET = 1  # TC_LINKLAYER_ETHERNET: no rate table needed

SLOWEST = 8_000
_LEAST_BURST = 65536  # one packet as the kernel's segmentation offload makes them
_BURST_SECONDS = 0.01
_QUEUE_SECONDS = 0.05
_NETEM_PACKETS = 10_000


def tbf(index: int, rate: int, *, handle: int = _FIRST) -> bytes:
    """Let at most `rate` bit/s leave the link; what is more waits up to 50 ms, then is dropped."""
    if rate < SLOWEST:
        raise Invalid(f"a limit of {rate} bit/s is too small: use {SLOWEST} or more")
    octets = rate // 8
    burst = max(_LEAST_BURST, int(octets * _BURST_SECONDS))
    limit = min(0xFFFFFFFF, burst + int(octets * _QUEUE_SECONDS))
    speed = _RATE.pack(0, _ETHERNET, 0, -1, 0, min(octets, 0xFFFFFFFF))
    parameters = speed + bytes(_RATE.size) + struct.pack("=III", limit, 0, 0)
    options = attribute(_TBF_PARAMETERS, parameters) + u32(_TBF_BURST, min(burst, 0xFFFFFFFF))
    if octets > 0xFFFFFFFF:
        options += u64(_TBF_RATE64, octets)
    return _qdisc(index, "tbf", handle, _ROOT, nested(TCA_OPTIONS, options))


def netem(index: int, limits: Limits, *, below_tbf: bool) -> bytes:
    """Delay and lose what leaves the link."""
    if not 0 <= limits.loss_percent <= 100 or min(limits.delay_ms, limits.jitter_ms) < 0:
        raise Invalid("delay and jitter cannot be negative, loss is a percentage")
    loss = round(limits.loss_percent / 100 * 0xFFFFFFFF)
    options = struct.pack("=IIIIII", 0, _NETEM_PACKETS, loss, 0, 0, 0)
    options += u64(_NETEM_LATENCY64, round(limits.delay_ms * 1e6))
    options += u64(_NETEM_JITTER64, round(limits.jitter_ms * 1e6))
    parent = _FIRST | 1 if below_tbf else _ROOT
    return _qdisc(index, "netem", _SECOND, parent, attribute(TCA_OPTIONS, options))


def remove(index: int) -> bytes:
    """Take away what `tbf` and `netem` made; ENOENT or EINVAL where there is nothing of that."""
    return message(RTM_DELQDISC, NLM_F_ACK, _TCMSG.pack(0, 0, index, 0, _ROOT, 0))


def _qdisc(index: int, kind: str, handle: int, parent: int, options: bytes) -> bytes:
    return message(
        RTM_NEWQDISC,
        NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE,
        _TCMSG.pack(0, 0, index, handle, parent, 0),
        text(TCA_KIND, kind),
        options,
    )
