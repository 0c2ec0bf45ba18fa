"""Connection tracking entries of a UDP port: asked for, and deleted. nfnetlink_conntrack.h.

A UDP "connection" is whatever came within the last seconds: it keeps its translation although the
port has been published anew, or leads to another container, for as long as a client goes on.
"""

from __future__ import annotations

import struct

from netplumb.plan.model import PROTOCOLS, Address, PortBinding
from netplumb.plan.netlink import (
    NLM_F_ACK,
    NLM_F_DUMP,
    attribute,
    attributes,
    be16,
    message,
    nested,
    u8,
    u32,
)
from netplumb.plan.netlink import Message as NetlinkMessage

_SUBSYSTEM = 1  # NFNL_SUBSYS_CTNETLINK
_GET, _DELETE = 1, 2
_ORIGINAL, _REPLY, _FILTER = 1, 2, 25  # CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_FILTER
_IP, _PROTOCOL = 1, 2  # CTA_TUPLE_IP, CTA_TUPLE_PROTO
_BY_DESTINATION, _BY_SOURCE, _BY_PROTOCOL, _BY_SOURCE_PORT, _BY_PORT = 2, 1, 8, 16, 32
_AF = {4: 2, 6: 10}
_NESTED = 0x8000


def dump_to_host_port(binding: PortBinding) -> bytes:
    """What came to the host's port of a binding, translated or not."""
    port = be16(3, binding.host_port)
    flags, address = _BY_PROTOCOL | _BY_PORT, b""
    if not binding.host_ip.is_unspecified:
        flags |= _BY_DESTINATION
        address = attribute(2 if binding.host_ip.version == 4 else 4, binding.host_ip.packed)
    return _dump(binding, binding.host_ip, _ORIGINAL, address, port, flags)


def dump_to_container_port(binding: PortBinding) -> bytes:
    """What is translated to the container's port of a binding: it answers from there."""
    address = attribute(1 if binding.container_ip.version == 4 else 3, binding.container_ip.packed)
    flags = _BY_SOURCE | _BY_PROTOCOL | _BY_SOURCE_PORT
    port = be16(2, binding.container_port)
    return _dump(binding, binding.container_ip, _REPLY, address, port, flags)


def _dump(
    binding: PortBinding, of: Address, tuple_: int, address: bytes, port: bytes, flags: int
) -> bytes:
    protocol = nested(_PROTOCOL, u8(1, PROTOCOLS[binding.protocol]), port)
    filters = (u32(1, flags), u32(2, 0)) if tuple_ == _ORIGINAL else (u32(1, 0), u32(2, flags))
    return message(
        _SUBSYSTEM << 8 | _GET,
        NLM_F_DUMP,
        struct.pack(">BBH", _AF[of.version], 0, 0),
        nested(tuple_, nested(_IP, address), protocol),
        nested(_FILTER, *filters),
    )


def deletion(entry: NetlinkMessage) -> bytes:
    """The message that deletes an entry of a dump."""
    original = attributes(entry.body[4:]).get(_ORIGINAL, b"")
    return message(
        _SUBSYSTEM << 8 | _DELETE,
        NLM_F_ACK,
        entry.body[:1] + bytes(3),
        attribute(_ORIGINAL | _NESTED, original),
    )
