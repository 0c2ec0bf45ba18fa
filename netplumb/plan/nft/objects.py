"""Tables, chains, rules, sets and their elements as values and as messages."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from netplumb.plan.netlink import (
    NLM_F_ACK,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_EXCL,
    attribute,
    be32,
    message,
    nested,
    text,
)
from netplumb.plan.nft.expressions import Expression, Field
from netplumb.plan.operation import Operation

INET, IP, BRIDGE = 1, 2, 7  # NFPROTO_*
FAMILIES = {INET: "inet", IP: "ip", BRIDGE: "bridge"}

SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
_BATCH_BEGIN, _BATCH_END = 16, 17
_NEWTABLE, _DELTABLE, _DESTROYTABLE = 0, 2, 26
_NEWCHAIN, _NEWRULE, _NEWSET, _NEWELEMENT, _DELELEMENT = 3, 6, 9, 12, 14
OWNER, PERSIST = 2, 4  # NFT_TABLE_F_*

PREROUTING, INPUT_HOOK, FORWARD, OUTPUT_HOOK, POSTROUTING = range(5)
# What one message may hold: the attribute with the elements is shorter than 64 KiB.
_ELEMENTS_SIZE = 60_000
_MAP, _CONCATENATED = 8, 128  # NFT_SET_*
_TYPE_BITS = 6  # of a concatenation's type number in nft
_COMMENT = 0  # NFTNL_UDATA_RULE_COMMENT
_LONGEST_COMMENT = 127
# NFTNL_UDATA_SET_KEYBYTEORDER: nft shows names of interfaces by it, our only single keys.
_HOST_ORDER = bytes((0, 4)) + struct.pack("=I", 1)


class Rule(msgspec.Struct, frozen=True):
    """Expressions one after the other; the comment is what `nft list` shows."""

    comment: str
    expressions: tuple[Expression, ...]


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """Rules; with a `hook` packets come to it by themselves, in the order of priorities."""

    name: str
    rules: tuple[Rule, ...] = ()
    kind: str = "filter"
    hook: int | None = None
    priority: int = 0


class Set(msgspec.Struct, frozen=True, kw_only=True):
    """A set, or with `data` a map, of concatenated fields."""

    name: str
    key: tuple[Field, ...]
    data: tuple[Field, ...] = ()


class Element(msgspec.Struct, frozen=True):
    """A set's key, or a map's key and data."""

    family: int
    set: str
    key: bytes
    data: bytes = b""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """All of a table but its elements. `flags`: OWNER, PERSIST."""

    family: int
    name: str
    sets: tuple[Set, ...] = ()
    chains: tuple[Chain, ...] = ()
    flags: int = 0

    def __str__(self) -> str:
        return f"table {FAMILIES[self.family]} {self.name}"


def fields_key(*values: bytes) -> bytes:
    """The concatenation of values, each padded to whole registers."""
    return b"".join(value + bytes(-len(value) % 4) for value in values)


def interface_value(name: str) -> bytes:
    """An interface's name as registers hold it."""
    return name.encode().ljust(16, b"\0")


# --- messages -----------------------------------------------------------------------------------


def _message(kind: int, flags: int, family: int, *parts: bytes) -> bytes:
    header = struct.pack(">BBH", family, 0, 0)  # struct nfgenmsg
    return message(SUBSYSTEM << 8 | kind, flags, header, *parts)


def batch(operations: Sequence[Operation]) -> list[bytes]:
    """The messages of one transaction: all of it happens, or nothing.

    Only the last operation is acknowledged; an error of any other is answered all the same.
    """
    marker = struct.pack(">BBH", socket.AF_UNSPEC, 0, SUBSYSTEM)
    messages = [operation.message for operation in operations]
    last = bytearray(messages[-1])
    last[6] |= NLM_F_ACK
    return [
        message(_BATCH_BEGIN, 0, marker),
        *messages[:-1],
        bytes(last),
        message(_BATCH_END, 0, marker),
    ]


def remove_table(family: int, name: str, *, destroy: bool) -> Iterator[Operation]:
    """Delete a table if it is there.

    `destroy` needs Linux 6.3; without it the table is made first so that it can be deleted, which
    does not do for one that an earlier owner left behind (PERSIST).
    """
    what = f"table {FAMILIES[family]} {name}"
    label = text(1, name)
    if destroy:
        yield Operation(f"remove the old {what}", _message(_DESTROYTABLE, 0, family, label))
    else:
        made = _message(_NEWTABLE, NLM_F_CREATE, family, label, be32(2, 0))
        yield Operation(f"find the old {what}", made)
        yield Operation(f"remove the old {what}", _message(_DELTABLE, 0, family, label))


def replace_table(table: Table, *, destroy: bool) -> Iterator[Operation]:
    """Make the table anew, whether it is there or not; `destroy` as in `remove_table`.

    After a transaction with a removal the kernel lets the socket's close(2) wait for 10 ms.
    """
    yield from remove_table(table.family, table.name, destroy=destroy)
    yield from make_table(table)


def make_table(table: Table) -> Iterator[Operation]:
    """Make a table, which must not be there (EEXIST)."""
    flags = NLM_F_CREATE | NLM_F_EXCL
    name = text(1, table.name)
    made = _message(_NEWTABLE, flags, table.family, name, be32(2, table.flags))
    yield Operation(f"make {table}", made)
    for number, set_ in enumerate(table.sets, 1):
        yield _new_set(table, set_, number)
    for chain in table.chains:  # before all rules: rules may jump to any chain
        yield _new_chain(table, chain)
    for chain in table.chains:
        for rule in chain.rules:
            yield _new_rule(table, chain, rule)


def _new_set(table: Table, set_: Set, number: int) -> Operation:
    concatenated = len(set_.key) > 1
    flags = (_MAP if set_.data else 0) | (_CONCATENATED if concatenated else 0)
    parts = [
        text(1, table.name),
        text(2, set_.name),
        be32(3, flags),
        be32(4, _type_of(set_.key)),
        be32(5, _size_of(set_.key)),
    ]
    if set_.data:
        parts += [be32(6, _type_of(set_.data)), be32(7, _size_of(set_.data))]
    if concatenated:
        lengths = b"".join(nested(1, be32(1, field.size)) for field in set_.key)
        parts.append(nested(9, nested(2, lengths)))
    else:
        parts.append(attribute(13, _HOST_ORDER))
    parts.append(be32(10, number))
    made = _message(_NEWSET, NLM_F_CREATE, table.family, *parts)
    return Operation(f"make set {set_.name} of {table}", made)


def _type_of(fields: Iterable[Field]) -> int:
    """nft's number for the type of a concatenation; the kernel only keeps it."""
    number = 0
    for field in fields:
        number = number << _TYPE_BITS | field.datatype
    return number


def _size_of(fields: Iterable[Field]) -> int:
    """A single field has its own size, concatenated ones whole registers."""
    sizes = [field.size for field in fields]
    return sizes[0] if len(sizes) == 1 else sum((size + 3) & ~3 for size in sizes)


def _new_chain(table: Table, chain: Chain) -> Operation:
    parts = [text(1, table.name), text(3, chain.name)]
    if chain.hook is not None:
        parts.append(nested(4, be32(1, chain.hook), be32(2, chain.priority)))
        parts += [be32(5, 1), text(7, chain.kind)]  # policy accept
    made = _message(_NEWCHAIN, NLM_F_CREATE, table.family, *parts)
    return Operation(f"make chain {chain.name} of {table}", made)


def _new_rule(table: Table, chain: Chain, rule: Rule) -> Operation:
    comment = rule.comment.encode()[:_LONGEST_COMMENT] + b"\0"
    parts = [
        text(1, table.name),
        text(2, chain.name),
        nested(4, *rule.expressions),
        attribute(7, bytes((_COMMENT, len(comment))) + comment),
    ]
    made = _message(_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, table.family, *parts)
    return Operation(f"make the rule {rule.comment!r} of chain {chain.name} of {table}", made)


def add_elements(table: str, elements: Iterable[Element]) -> Iterator[Operation]:
    """Put them into their sets."""
    return _element_messages(_NEWELEMENT, NLM_F_CREATE, "add", table, elements)


def remove_elements(table: str, elements: Iterable[Element]) -> Iterator[Operation]:
    """Take them out of their sets, in which they must be."""
    return _element_messages(_DELELEMENT, 0, "remove", table, elements)


def _element_messages(
    kind: int, flags: int, verb: str, table: str, elements: Iterable[Element]
) -> Iterator[Operation]:
    by_set: dict[tuple[int, str], list[bytes]] = {}
    for element in elements:
        by_set.setdefault((element.family, element.set), []).append(_encode(element))
    for (family, name), encoded in by_set.items():
        for some in _pieces(encoded):
            parts = (text(1, table), text(2, name), nested(3, *some))
            what = f"{verb} {len(some)} of set {name}"
            yield Operation(what, _message(kind, flags, family, *parts))


def _pieces(encoded: Sequence[bytes]) -> Iterator[list[bytes]]:
    piece: list[bytes] = []
    size = 0
    for element in encoded:
        if size + len(element) > _ELEMENTS_SIZE:
            yield piece
            piece, size = [], 0
        piece.append(element)
        size += len(element)
    if piece:
        yield piece


def _encode(element: Element) -> bytes:
    key = nested(1, attribute(1, element.key))
    data = nested(2, attribute(1, element.data)) if element.data else b""
    return nested(1, key, data)
