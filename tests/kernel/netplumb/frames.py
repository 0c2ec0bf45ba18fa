"""Ethernet frames as a hostile container would make them."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address, ip_address

BROADCAST = b"\xff" * 6
ARP, IPV4, IPV6, VLAN, EXPERIMENTAL = 0x0806, 0x0800, 0x86DD, 0x8100, 0x88B5


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ethernet(destination: bytes, source: bytes, kind: int, payload: bytes) -> bytes:
    """A frame."""
    return destination + source + struct.pack(">H", kind) + payload


def tagged(destination: bytes, source: bytes, kind: int, payload: bytes) -> bytes:
    """The same with a VLAN tag."""
    return ethernet(destination, source, VLAN, struct.pack(">HH", 5, kind) + payload)


def arp(operation: int, sender_mac: bytes, sender: str, target_mac: bytes, target: str) -> bytes:
    """The payload of an ARP packet: 1 asks, 2 answers."""
    head = struct.pack(">HHBBH", 1, IPV4, 6, 4, operation)
    return head + sender_mac + _v4(sender) + target_mac + _v4(target)


def udp4(source: str, destination: str, source_port: int, port: int, data: bytes) -> bytes:
    """An IPv4 packet with a UDP datagram."""
    inner = struct.pack(">HHHH", source_port, port, 8 + len(data), 0) + data
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(inner), 1, 0, 64, 17, 0)
    head += _v4(source) + _v4(destination)
    return head[:10] + _checksum(head) + head[12:] + inner


def udp6(source: str, destination: str, source_port: int, port: int, data: bytes) -> bytes:
    """An IPv6 packet with a UDP datagram."""
    inner = struct.pack(">HHHH", source_port, port, 8 + len(data), 0) + data
    return _ipv6(source, destination, 17, inner, 6, 64)


def icmp6(source: str, destination: str, kind: int, body: bytes) -> bytes:
    """An IPv6 packet with an ICMPv6 message, with the hop limit that neighbour discovery asks."""
    return _ipv6(source, destination, 58, bytes((kind, 0, 0, 0)) + body, 2, 255)


def advertisement(target: str, address: bytes) -> bytes:
    """The body of a neighbour advertisement (136): "target is at address, believe me"."""
    return struct.pack(">I", 0x60000000) + IPv6Address(target).packed + b"\2\1" + address


def router_advertisement(address: bytes) -> bytes:
    """The body of a router advertisement (134)."""
    return struct.pack(">BBHII", 64, 0, 1800, 0, 0) + b"\1\1" + address


def _ipv6(
    source: str, destination: str, protocol: int, inner: bytes, checksum_at: int, hops: int
) -> bytes:
    addresses = IPv6Address(source).packed + IPv6Address(destination).packed
    pseudo = addresses + struct.pack(">IxxxB", len(inner), protocol)
    inner = inner[:checksum_at] + _checksum(pseudo + inner) + inner[checksum_at + 2 :]
    return struct.pack(">IHBB", 0x60000000, len(inner), protocol, hops) + addresses + inner


def _checksum(data: bytes) -> bytes:
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack(">H", ~total & 0xFFFF)


def _v4(text: str) -> bytes:
    assert ip_address(text).version == 4
    return socket.inet_aton(text)
