"""The firewall's tables: rules that never change, over sets that follow what is wanted.

    inet NAME      who may talk to whom, published ports, masquerading
    bridge NAME    a container sends with the addresses that it was given, and no others

No rule names a container, port or network: those are elements (`netplumb.plan.nft.elements`).
Chains of others still judge what ours let pass: "accept" ends our chain only.
"""

from __future__ import annotations

import struct
from collections.abc import Collection

from netplumb.plan.names import Identity
from netplumb.plan.nft import expressions as x
from netplumb.plan.nft import objects as o
from netplumb.plan.nft.expressions import Expression, Expressions
from netplumb.plan.nft.objects import Chain, Rule, Set, Table

_RAW, _MANGLE, _DESTINATION_NAT, _FILTER, _SOURCE_NAT = -300, -150, -100, 0, 100

ARP, IP4, IP6 = b"\x08\x06", b"\x08\x00", b"\x86\xdd"
_LOOPBACK = struct.pack("=I", 1)  # the index of lo
_ROUTER_ADVERT, _SOLICIT, _ADVERT, _REDIRECT6 = (bytes((n,)) for n in (134, 135, 136, 137))
_REPORTS = tuple(bytes((n,)) for n in (131, 132, 143))  # multicast listener report, done, v2
_DHCP_SERVER, _DHCP6_SERVER = (port.to_bytes(2, "big") for port in (67, 547))
_ICMP6, _UDP = (bytes((n,)) for n in (x.ICMPV6, x.UDP))

_PORT = (x.PROTOCOL, x.DESTINATION_PORT)

SETS = (
    Set(name="same", key=(x.INPUT, x.OUTPUT)),
    Set(name="internal", key=(x.INPUT,)),
    Set(name="masquerade4", key=(x.INPUT,)),
    Set(name="masquerade6", key=(x.INPUT,)),
    Set(name="members4", key=(x.OUTPUT, x.SOURCE4)),
    Set(name="members6", key=(x.OUTPUT, x.SOURCE6)),
    Set(name="loopback4", key=(x.DESTINATION4, *_PORT)),
    Set(name="proxied", key=_PORT),
    Set(name="ports4", key=_PORT, data=(x.DESTINATION4, x.DESTINATION_PORT)),
    Set(name="ports6", key=_PORT, data=(x.DESTINATION6, x.DESTINATION_PORT)),
    Set(
        name="addressed4",
        key=(x.DESTINATION4, *_PORT),
        data=(x.DESTINATION4, x.DESTINATION_PORT),
    ),
    Set(
        name="addressed6",
        key=(x.DESTINATION6, *_PORT),
        data=(x.DESTINATION6, x.DESTINATION_PORT),
    ),
)
SENDER_SETS = (
    Set(name="senders4", key=(x.INPUT, x.ETHER_SOURCE, x.SOURCE4)),
    Set(name="senders6", key=(x.INPUT, x.ETHER_SOURCE, x.SOURCE6)),
)

_ACCEPT = (x.verdict(x.ACCEPT),)
_DROP = (x.counter(), x.verdict(x.DROP))


def _rule(comment: str, *parts: Expressions | Expression) -> Rule:
    flat: list[Expression] = []
    for part in parts:
        flat += (part,) if isinstance(part, bytes) else part
    return Rule(comment, tuple(flat))


def main_table(
    identity: Identity, mark: int, *, flags: int = 0, guarded: Collection[int] = ()
) -> Table:
    """The table of family inet.

    `mark` is the bit of the packet mark that routing rules ask of what comes from our bridges.
    Nothing of the `guarded` IP versions is forwarded that is neither from nor to a network of ours.
    """
    bridges = struct.pack("=I", identity.bridges)
    return Table(
        family=o.INET,
        name=identity.name,
        flags=flags,
        sets=SETS,
        chains=(
            _loopback_guard(),
            _marks(bridges, mark),
            _forward(bridges, identity),
            _strangers(guarded),
            _to_host(),
            _published("published", o.PREROUTING),
            _published("published-host", o.OUTPUT_HOOK),
            _outgoing(),
        ),
    )


def _loopback_guard() -> Chain:
    return Chain(
        name="loopback-guard",
        hook=o.PREROUTING,
        priority=_RAW,
        rules=(
            _rule(
                "a port published on 127.0.0.0/8 is for this host, whatever route_localnet says",
                x.is_not(x.INPUT_INDEX, _LOOPBACK),
                x.is_(x.VERSION, bytes((x.IPV4,))),
                x.in_set((x.DESTINATION4, *_PORT), "loopback4"),
                _DROP,
            ),
        ),
    )


def _marks(bridges: bytes, mark: int) -> Chain:
    return Chain(
        name="marks",
        hook=o.PREROUTING,
        priority=_MANGLE,
        rules=(
            _rule(
                "routing prohibits what comes from our bridges without this",
                x.is_(x.INPUT_GROUP, bridges),
                x.set_mark_bit(mark),
            ),
        ),
    )


def _forward(bridges: bytes, identity: Identity) -> Chain:
    return Chain(
        name="forward",
        hook=o.FORWARD,
        priority=_FILTER,
        rules=(
            _rule(
                "neither from nor to us",
                x.is_not(x.INPUT_GROUP, bridges),
                x.is_not(x.OUTPUT_GROUP, bridges),
                x.verdict(x.JUMP, "strangers"),
            ),
            _rule("within a network", x.in_set((x.INPUT, x.OUTPUT), "same"), _ACCEPT),
            _rule("out of an internal network", x.in_set((x.INPUT,), "internal"), _DROP),
            _rule("into an internal network", x.in_set((x.OUTPUT,), "internal"), _DROP),
            _rule("answers", x.has_any(x.CT_STATE, x.ESTABLISHED | x.RELATED), _ACCEPT),
            _rule("untracked answers", x.has_any(x.CT_STATE, x.INVALID), _DROP),
            _rule("to a published port", x.has_any(x.CT_STATUS, x.DNAT), _ACCEPT),
            _rule("into a network", x.is_(x.OUTPUT_GROUP, bridges), _DROP),
        ),
    )


def _strangers(guarded: Collection[int]) -> Chain:
    """Forwarding was switched on for us: that makes this host no router for others."""
    answers = x.has_any(x.CT_STATE, x.ESTABLISHED | x.RELATED)
    rules = []
    for version, family in ((4, x.IPV4), (6, x.IPV6)):
        if version in guarded:
            this = x.is_(x.VERSION, bytes((family,)))
            why = f"IPv{version} is forwarded for our networks only"
            rules += [_rule("answers", this, answers, _ACCEPT), _rule(why, this, _DROP)]
    return Chain(name="strangers", rules=(*rules, _rule("not ours", _ACCEPT)))


def _to_host() -> Chain:
    return Chain(
        name="to-host",
        hook=o.INPUT_HOOK,
        priority=_FILTER,
        rules=(
            _rule(
                "an internal network reaches this host at its gateway alone",
                x.in_set((x.INPUT,), "internal"),
                x.is_(x.DESTINATION_KIND, x.LOCAL),
                x.is_not(x.DESTINATION_KIND_HERE, x.LOCAL),
                _DROP,
            ),
            _rule(
                "the port proxy is no way out of an internal network either",
                x.in_set((x.INPUT,), "internal"),
                x.in_set(_PORT, "proxied"),
                _DROP,
            ),
        ),
    )


def _published(name: str, hook: int) -> Chain:
    """Destination NAT. From the host itself to 127.0.0.1 and ::1 it is the port proxy's."""
    rules = []
    for family, destination, suffix in (
        (x.IPV4, x.DESTINATION4, "4"),
        (x.IPV6, x.DESTINATION6, "6"),
    ):
        local = (
            *x.is_(x.VERSION, bytes((family,))),
            *_not_loopback(family),
            *x.is_(x.DESTINATION_KIND, x.LOCAL),
        )
        for keys, set_name in (((destination, *_PORT), "addressed"), (_PORT, "ports")):
            rules.append(
                _rule(
                    f"published ports: {set_name}{suffix}",
                    local,
                    x.look_up(keys, set_name + suffix),
                    x.destination_nat(family),
                )
            )
    return Chain(name=name, kind="nat", hook=hook, priority=_DESTINATION_NAT, rules=tuple(rules))


def _not_loopback(family: int) -> Expressions:
    if family == x.IPV4:
        return x.within(x.DESTINATION4, b"\x7f\0\0\0", b"\xff\0\0\0", inverted=True)
    return x.is_not(x.DESTINATION6, bytes(15) + b"\1")


def _outgoing() -> Chain:
    dnat = x.has_any(x.CT_STATUS, x.DNAT)
    return Chain(
        name="outgoing",
        kind="nat",
        hook=o.POSTROUTING,
        priority=_SOURCE_NAT,
        rules=(
            _rule(
                "to a published port of the own network: the answer must come back here",
                x.is_(x.VERSION, bytes((x.IPV4,))),
                dnat,
                x.in_set((x.OUTPUT, x.SOURCE4), "members4"),
                x.masquerade(),
            ),
            _rule(
                "to a published port of the own network (IPv6)",
                x.is_(x.VERSION, bytes((x.IPV6,))),
                dnat,
                x.in_set((x.OUTPUT, x.SOURCE6), "members6"),
                x.masquerade(),
            ),
            _rule("within a network", x.in_set((x.INPUT, x.OUTPUT), "same"), _ACCEPT),
            _rule(
                "out of a network",
                x.is_(x.VERSION, bytes((x.IPV4,))),
                x.in_set((x.INPUT,), "masquerade4"),
                x.masquerade(),
            ),
            _rule(
                "out of a network (IPv6)",
                x.is_(x.VERSION, bytes((x.IPV6,))),
                x.in_set((x.INPUT,), "masquerade6"),
                x.masquerade(),
            ),
        ),
    )


# --- senders ------------------------------------------------------------------------------------


def bridge_table(identity: Identity, *, flags: int = 0) -> Table:
    """The table of family bridge. Its chain comes before br_netfilter and the learning of MACs."""
    sender = (x.INPUT, x.ETHER_SOURCE)
    ports = struct.pack("=I", identity.ports)
    ipv6 = x.is_(x.ETHER_TYPE, IP6)
    icmp6 = (*ipv6, *x.is_(x.PROTOCOL, _ICMP6))
    unspecified = x.is_(x.SOURCE6, bytes(16))
    ours = Chain(
        name="senders",
        rules=(
            _rule(
                "ARP",
                x.is_(x.ETHER_TYPE, ARP),
                x.in_set((*sender, x.ARP_SENDER_IP), "senders4"),
                x.in_set((x.INPUT, x.ARP_SENDER_MAC, x.ARP_SENDER_IP), "senders4"),
                _ACCEPT,
            ),
            _rule(
                "no DHCP server",
                x.is_(x.ETHER_TYPE, IP4),
                x.is_(x.PROTOCOL, _UDP),
                x.is_(x.SOURCE_PORT, _DHCP_SERVER),
                _DROP,
            ),
            _rule(
                "IPv4",
                x.is_(x.ETHER_TYPE, IP4),
                x.in_set((*sender, x.SOURCE4), "senders4"),
                _ACCEPT,
            ),
            _rule("no router", icmp6, x.is_(x.ICMP_TYPE, _ROUTER_ADVERT), _DROP),
            _rule("no redirects", icmp6, x.is_(x.ICMP_TYPE, _REDIRECT6), _DROP),
            _rule(
                "a neighbour speaks for itself",
                icmp6,
                x.is_(x.ICMP_TYPE, _ADVERT),
                x.in_set((*sender, x.ND_TARGET), "senders6", inverted=True),
                _DROP,
            ),
            _rule(
                "no DHCPv6 server",
                ipv6,
                x.is_(x.PROTOCOL, _UDP),
                x.is_(x.SOURCE_PORT, _DHCP6_SERVER),
                _DROP,
            ),
            _rule("IPv6", ipv6, x.in_set((*sender, x.SOURCE6), "senders6"), _ACCEPT),
            *(
                _rule(
                    f"before it has an address: ICMPv6 type {kind[0]}",
                    icmp6,
                    unspecified,
                    x.is_(x.ICMP_TYPE, kind),
                    _ACCEPT,
                )
                for kind in (_SOLICIT, *_REPORTS)
            ),
            _rule("all else", _DROP),
        ),
    )
    entry = Chain(
        name="prerouting",
        hook=o.PREROUTING,
        priority=_RAW,
        rules=(_rule("from our ports", x.is_(x.INPUT_GROUP, ports), x.verdict(x.JUMP, "senders")),),
    )
    return Table(
        family=o.BRIDGE, name=identity.name, flags=flags, sets=SENDER_SETS, chains=(ours, entry)
    )


# --- inside a container -------------------------------------------------------------------------


def resolver_table(name: str, address: bytes, udp_port: int, tcp_port: int) -> Table:
    """The table inside a container by which port 53 of `address` is served on other ports.

    The container's own servers may then take port 53 of every address. Ports are rewritten
    without connection tracking; queries before it and answers after it, for containers whose
    own rules use it.
    """
    queries, answers = [], []
    for protocol, port in ((x.UDP, udp_port), (x.TCP, tcp_port)):
        of_protocol = x.is_(x.PROTOCOL, bytes((protocol,)))
        queries.append(
            _rule(
                "queries",
                x.is_(x.DESTINATION4, address),
                of_protocol,
                x.is_(x.DESTINATION_PORT, (53).to_bytes(2, "big")),
                x.set_port(source=False, port=port, protocol=protocol),
            )
        )
        answers.append(
            _rule(
                "answers",
                x.is_(x.SOURCE4, address),
                of_protocol,
                x.is_(x.SOURCE_PORT, port.to_bytes(2, "big")),
                x.set_port(source=True, port=53, protocol=protocol),
            )
        )
    return Table(
        family=o.IP,
        name=name,
        chains=(
            Chain(name="queries", hook=o.OUTPUT_HOOK, priority=_RAW, rules=tuple(queries)),
            Chain(name="answers", hook=o.OUTPUT_HOOK, priority=300, rules=tuple(answers)),
        ),
    )
