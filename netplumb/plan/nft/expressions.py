"""What rules are made of, as the kernel's expressions work: load into registers, compare, act.

Registers are numbered here in units of 4 bytes (NFT_REG32_00 and up). Several fields loaded
behind each other make a concatenation, the key of a set or map; each starts at a new unit.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgspec

from netplumb.plan.netlink import attribute, be32, be64, nested, text

ACCEPT, DROP, JUMP = 1, 0, -3
EQUAL, UNEQUAL = 0, 1

IPV4, IPV6 = 2, 10  # NFPROTO_IPV4, NFPROTO_IPV6
TCP, UDP, ICMPV6 = 6, 17, 58

_FIRST_REGISTER = 8  # NFT_REG32_00
_EXPRESSION, _NAME, _DATA = 1, 1, 2  # NFTA_LIST_ELEM, NFTA_EXPR_NAME, NFTA_EXPR_DATA
_VALUE, _VERDICT = 1, 2  # NFTA_DATA_*
_LINK_LAYER, _NETWORK, _TRANSPORT = 0, 1, 2

Expression = bytes
Expressions = tuple[Expression, ...]


def _expression(name: str, *parts: bytes) -> Expression:
    return nested(_EXPRESSION, text(_NAME, name), nested(_DATA, *parts))


def _register(unit: int) -> int:
    return _FIRST_REGISTER + unit


class Field(msgspec.Struct, frozen=True):
    """Something of a packet: the expression that loads it, its bytes, the number nft shows it by.

    `parts` stand behind the destination register in the expression's attributes.
    """

    expression: str
    parts: bytes
    size: int
    datatype: int
    register_attribute: int = 1

    def load(self, unit: int = 0) -> Expression:
        """Load it into the registers from `unit` on."""
        return _expression(
            self.expression, be32(self.register_attribute, _register(unit)), self.parts
        )

    @property
    def units(self) -> int:
        """The registers it takes."""
        return (self.size + 3) // 4


def _meta(key: int, size: int, datatype: int) -> Field:
    return Field("meta", be32(2, key), size, datatype)


def _payload(base: int, offset: int, size: int, datatype: int) -> Field:
    return Field("payload", be32(2, base) + be32(3, offset) + be32(4, size), size, datatype)


def _fib(flags: int) -> Field:
    return Field("fib", be32(2, 3) + be32(3, flags), 4, 38)  # NFT_FIB_RESULT_ADDRTYPE


# The last number is nft's datatype (enum datatypes in its sources), kept with sets for listing.
MARK = _meta(3, 4, 19)
INPUT_INDEX = _meta(4, 4, 20)
INPUT = _meta(6, 16, 41)
OUTPUT = _meta(7, 16, 41)
VERSION = _meta(15, 1, 2)
PROTOCOL = _meta(16, 1, 12)
INPUT_GROUP = _meta(21, 4, 35)
OUTPUT_GROUP = _meta(22, 4, 35)

ETHER_SOURCE = _payload(_LINK_LAYER, 6, 6, 9)
ETHER_TYPE = _payload(_LINK_LAYER, 12, 2, 10)
ARP_SENDER_MAC = _payload(_NETWORK, 8, 6, 9)
ARP_SENDER_IP = _payload(_NETWORK, 14, 4, 7)
SOURCE4 = _payload(_NETWORK, 12, 4, 7)
DESTINATION4 = _payload(_NETWORK, 16, 4, 7)
SOURCE6 = _payload(_NETWORK, 8, 16, 8)
DESTINATION6 = _payload(_NETWORK, 24, 16, 8)
SOURCE_PORT = _payload(_TRANSPORT, 0, 2, 13)
DESTINATION_PORT = _payload(_TRANSPORT, 2, 2, 13)
ICMP_TYPE = _payload(_TRANSPORT, 0, 1, 14)
ND_TARGET = _payload(_TRANSPORT, 8, 16, 8)  # of neighbour solicitations and advertisements

# What the routing tables say of the destination: of any interface, or of the input's alone.
DESTINATION_KIND = _fib(2)  # NFTA_FIB_F_DADDR
DESTINATION_KIND_HERE = _fib(2 | 8)  # and NFTA_FIB_F_IIF
LOCAL = struct.pack("=I", 2)  # RTN_LOCAL

CT_STATE = Field("ct", be32(2, 0), 4, 26)
CT_STATUS = Field("ct", be32(2, 2), 4, 28)
INVALID, ESTABLISHED, RELATED = 1, 2, 4
DNAT = 0x20  # IPS_DST_NAT


# --- matching -----------------------------------------------------------------------------------


def is_(field: Field, value: bytes) -> Expressions:
    """Go on with the rule if the field has this value."""
    return field.load(), _compare(EQUAL, value)


def is_not(field: Field, value: bytes) -> Expressions:
    """Go on if it has another value."""
    return field.load(), _compare(UNEQUAL, value)


def has_any(field: Field, bits: int) -> Expressions:
    """Go on if one of these bits is set in a 32-bit field of the host's byte order."""
    return (
        field.load(),
        _bitwise(struct.pack("=I", bits), bytes(4)),
        _compare(UNEQUAL, bytes(4)),
    )


def within(field: Field, value: bytes, mask: bytes, *, inverted: bool = False) -> Expressions:
    """Go on if the field's masked bits have this value."""
    operator = UNEQUAL if inverted else EQUAL
    return field.load(), _bitwise(mask, bytes(len(mask))), _compare(operator, value)


def in_set(fields: Sequence[Field], name: str, *, inverted: bool = False) -> Expressions:
    """Go on if the concatenated fields are in the set."""
    flags = (be32(5, 1),) if inverted else ()  # NFT_LOOKUP_F_INV
    lookup = _expression("lookup", text(1, name), be32(2, _register(0)), *flags)
    return (*_load(fields), lookup)


def look_up(fields: Sequence[Field], name: str) -> Expressions:
    """Go on if the concatenated fields are in the map, with what it has for them in register 0."""
    lookup = _expression("lookup", text(1, name), be32(2, _register(0)), be32(3, _register(0)))
    return (*_load(fields), lookup)


def _load(fields: Sequence[Field]) -> list[Expression]:
    loads, unit = [], 0
    for field in fields:
        loads.append(field.load(unit))
        unit += field.units
    return loads


def _compare(operator: int, value: bytes) -> Expression:
    return _expression(
        "cmp", be32(1, _register(0)), be32(2, operator), nested(3, attribute(_VALUE, value))
    )


def _bitwise(mask: bytes, xor: bytes) -> Expression:
    return _expression(
        "bitwise",
        be32(1, _register(0)),
        be32(2, _register(0)),
        be32(3, len(mask)),
        nested(4, attribute(_VALUE, mask)),
        nested(5, attribute(_VALUE, xor)),
    )


# --- acting -------------------------------------------------------------------------------------


def verdict(code: int, chain: str = "") -> Expression:
    """End the packet's way through the chain (JUMP: go to another chain)."""
    parts = [be32(1, code)]
    if chain:
        parts.append(text(2, chain))
    return _expression("immediate", be32(1, 0), nested(2, nested(_VERDICT, *parts)))


def counter() -> Expression:
    """Count what comes here."""
    return _expression("counter", be64(1, 0), be64(2, 0))


def set_mark_bit(bit: int) -> Expressions:
    """Set one bit of the packet's mark."""
    keep = struct.pack("=I", ~bit & 0xFFFFFFFF)
    store = _expression("meta", be32(2, 3), be32(3, _register(0)))
    return MARK.load(), _bitwise(keep, struct.pack("=I", bit)), store


def destination_nat(family: int) -> Expression:
    """Send it to the address in register 0 and the port behind it."""
    port = _register(1 if family == IPV4 else 4)
    return _expression("nat", be32(1, 1), be32(2, family), be32(3, _register(0)), be32(5, port))


def masquerade() -> Expression:
    """Give it the address of the interface that it leaves by."""
    return _expression("masq")


def set_port(*, source: bool, port: int, protocol: int) -> Expressions:
    """Write the source or destination port, and the transport header's checksum."""
    value = _expression(
        "immediate",
        be32(1, _register(0)),
        nested(2, attribute(_VALUE, port.to_bytes(2, "big"))),
    )
    write = _expression(
        "payload",
        be32(5, _register(0)),
        be32(2, _TRANSPORT),
        be32(3, 0 if source else 2),
        be32(4, 2),
        be32(6, 1),  # NFT_PAYLOAD_CSUM_INET
        be32(7, 6 if protocol == UDP else 16),
    )
    return value, write
