"""Names, marks and MAC addresses: all follow from ids, so that they are found again.

An interface is ours if it has our group *and* our alias. A second agent on the host has another
identity, thus other groups, names, tables and rules, and neither touches what is the other's.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cached_property

from netplumb.errors import Invalid
from netplumb.plan.model import Address, Endpoint, Network

DEFAULT = "orlop"
_LONGEST_IDENTITY = 32
_LONGEST_ALIAS = 255  # IFALIASZ without the NUL
_GROUPS = 0x4F4C0000  # "OL"
_PRIORITY = 4400  # of our routing rules: after `local` (0), before `main` (32766)


@dataclass(frozen=True)
class Identity:
    """Whose the interfaces, tables and routing rules are."""

    name: str = DEFAULT

    def __post_init__(self) -> None:
        if not (self.name.isascii() and self.name.replace("-", "").isalnum()):
            raise Invalid(f"{self.name!r} is no identity: use letters, digits and '-'")
        if len(self.name) > _LONGEST_IDENTITY:
            raise Invalid(f"the identity {self.name!r} is longer than {_LONGEST_IDENTITY}")

    @cached_property
    def _number(self) -> int:
        """0 for the default, 1–4095 for another."""
        return 0 if self.name == DEFAULT else 1 + _number_of(self.name) % 4095

    @property
    def bridges(self) -> int:
        """The interface group of our bridges."""
        return _GROUPS | self._number << 4 | 1

    @property
    def ports(self) -> int:
        """The interface group of our ends of the pairs."""
        return _GROUPS | self._number << 4 | 2

    @property
    def trash(self) -> int:
        """The interface group of what is deleted next, all at once."""
        return _GROUPS | self._number << 4 | 3

    @property
    def rule_priority(self) -> int:
        """The priority of our routing rules."""
        return _PRIORITY + self._number

    def bridge_alias(self, network: Network) -> str:
        """What the bridge is marked with."""
        return f"{self.name}:bridge:{network.id}"[:_LONGEST_ALIAS]

    def port_alias(self, endpoint: Endpoint) -> str:
        """What the host's end of a pair is marked with."""
        alias = f"{self.name}:port:{endpoint.container}:{endpoint.network}"
        return alias[:_LONGEST_ALIAS]

    def owns(self, group: int, alias: str) -> bool:
        """An interface with these marks is ours."""
        return group in (self.bridges, self.ports, self.trash) and alias.startswith(f"{self.name}:")

    def port_name(self, container: str, network: str, attempt: int = 0) -> str:
        """A name for the host's end: "ol" and 60 bits of a hash.

        Each life of a container takes another `attempt`: the pair of the last one may still be
        going when the next one starts.
        """
        digest = _digest(f"{self.name}/{container}/{network}/{attempt}")
        return "ol" + base64.b32encode(digest[:10]).decode().lower()[:12]


def bridge_name(network_id: str) -> str:
    """A name for a network's bridge, by which a person finds the network."""
    return f"ol-{network_id[:12]}"


def mac_of(address: Address) -> str:
    """The MAC address that goes with an IP address, as Docker has it: 02:42 and four bytes.

    An address that is given to another container keeps its MAC, so that no neighbour's cache
    is wrong.
    """
    tail = address.packed if address.version == 4 else _digest(str(address))[:4]
    return "02:42:" + tail.hex(":")


def bridge_mac(network_id: str) -> str:
    """A bridge's own MAC: without one of its own it changes with the bridge's ports."""
    return "02:4f:" + _digest(network_id)[:4].hex(":")


def link_local(mac: str) -> str:
    """The IPv6 link-local address that follows from a MAC (RFC 4291, appendix A)."""
    raw = bytes.fromhex(mac.replace(":", ""))
    identifier = bytes([raw[0] ^ 2]) + raw[1:3] + b"\xff\xfe" + raw[3:]
    groups = identifier.hex(":", 2)
    return f"fe80::{groups}"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _number_of(text: str) -> int:
    return int.from_bytes(_digest(text)[:4], "big")
