"""The addresses of one subnet.

Addresses are handed out in order and from the start again only after the last one (next fit), so
that one that was given back rests as long as possible: peers may still have it in their caches.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import Any

from netplumb.errors import Exhausted, Invalid, Taken
from netplumb.plan.ipam import ranges
from netplumb.plan.model import Address, Interface, Subnet

# Of a larger range (any of IPv6) only the first are handed out unasked. A bridge has 1023 ports.
WINDOW = 65536
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """A subnet's gateway, the range to hand out, and what is in use.

    `reserved` addresses are never handed out ("aux addresses" in docker's words). `used` is a
    bitmap of the first WINDOW addresses of the range, `others` are those in use beside them,
    `next` is the offset into the range to look from.
    """

    subnet: Subnet
    range: Subnet
    gateway: Address
    reserved: frozenset[Address] = frozenset()
    used: int = field(default=0, repr=False)
    others: frozenset[Address] = field(default=frozenset(), repr=False)
    next: int = 0

    @classmethod
    def make(
        cls,
        subnet: Subnet,
        *,
        ip_range: Subnet | None = None,
        gateway: Address | None = None,
        reserved: Iterable[Address] = (),
    ) -> Ledger:
        """A new one, all free; Invalid for what does not fit. The gateway is the first address."""
        if subnet.prefixlen > subnet.max_prefixlen - 2:
            raise Invalid(f"the subnet {subnet} is too small: use /{subnet.max_prefixlen - 2}")
        within = ip_range or subnet
        if within.version != subnet.version or not _holds(subnet, within):
            raise Invalid(f"the range {within} is not within the subnet {subnet}")
        gateway = gateway or _address(subnet, int(subnet.network_address) + 1)
        kept = frozenset(reserved)
        for what, address in [("gateway", gateway), *(("reserved address", a) for a in kept)]:
            if not is_host(subnet, address):
                raise Invalid(f"the {what} {address} is not an address of the subnet {subnet}")
        return cls(subnet=subnet, range=within, gateway=gateway, reserved=kept)

    @property
    def gateway_interface(self) -> Interface:
        """The gateway with the subnet's length, as a `Network` has it."""
        return self.interface(self.gateway)

    def interface(self, address: Address) -> Interface:
        """An address with the subnet's length, as an `Endpoint` has it."""
        length = self.subnet.prefixlen
        if address.version == 4:
            return IPv4Interface((address, length))
        return IPv6Interface((address, length))

    @property
    def in_use(self) -> int:
        """How many addresses are handed out."""
        return self.used.bit_count() + len(self.others)

    @property
    def free(self) -> int:
        """How many can still be handed out unasked."""
        return self._size - (self.used | self._blocked()).bit_count()

    def is_used(self, address: Address) -> bool:
        """The address is handed out."""
        offset = self._offset(address)
        return bool(self.used >> offset & 1) if offset is not None else address in self.others

    def allocate(self) -> tuple[Ledger, Address]:
        """Hand out the next address; Exhausted."""
        blocked = self.used | self._blocked()
        offset = ranges.first_free(blocked, self.next, self._size)
        if offset is None:
            offset = ranges.first_free(blocked, 0, self.next)
        if offset is None:
            raise Exhausted(f"no available IPv{self.subnet.version} addresses on {self.range}")
        ledger = replace(self, used=self.used | 1 << offset, next=(offset + 1) % self._size)
        return ledger, _address(self.subnet, self._first + offset)

    def claim(self, address: Address) -> Ledger:
        """Hand out this very address; Invalid if it cannot be one of a container, Taken."""
        if not is_host(self.subnet, address):
            raise Invalid(
                f"invalid address {address}: it does not belong to the subnet {self.subnet}"
                if address.version != self.subnet.version or address not in self.subnet
                else f"invalid address {address}: it stands for the subnet {self.subnet} itself"
            )
        if address == self.gateway:
            raise Taken(f"the address {address} is the gateway of {self.subnet}")
        if address in self.reserved:
            raise Taken(f"the address {address} of {self.subnet} is reserved")
        if self.is_used(address):
            raise Taken(f"the address {address} is already in use")
        offset = self._offset(address)
        if offset is None:
            return replace(self, others=self.others | {address})
        return replace(self, used=self.used | 1 << offset)

    def release(self, address: Address) -> Ledger:
        """Take an address back; one that is not in use is no error."""
        offset = self._offset(address)
        if offset is None:
            return replace(self, others=self.others - {address})
        return replace(self, used=self.used & ~(1 << offset))

    @property
    def _first(self) -> int:
        return int(self.range.network_address)

    @property
    def _size(self) -> int:
        return min(WINDOW, self.range.num_addresses)

    def _offset(self, address: Address) -> int | None:
        """Its place in the bitmap; None for one outside."""
        offset = int(address) - self._first
        same = address.version == self.range.version
        return offset if same and 0 <= offset < self._size else None

    def _blocked(self) -> int:
        """What is never handed out, as a bitmap."""
        never = {self.gateway, *self.reserved, *_edges(self.subnet)}
        offsets = (self._offset(address) for address in never)
        return sum(1 << offset for offset in offsets if offset is not None)

    # --- JSON ---------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """The value as JSON can hold it."""
        return {
            "version": _VERSION,
            "subnet": str(self.subnet),
            "range": str(self.range),
            "gateway": str(self.gateway),
            "reserved": sorted(str(address) for address in self.reserved),
            "used": ranges.to_text(self.used),
            "others": sorted(str(address) for address in self.others),
            "next": self.next,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Ledger:
        """The inverse; Invalid for anything that `to_json` does not make."""
        try:
            return cls._from_json(data)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Invalid(f"not a ledger of addresses: {json.dumps(data)[:200]}") from error

    @classmethod
    def _from_json(cls, data: dict[str, Any]) -> Ledger:
        if data["version"] != _VERSION:
            raise Invalid(f"a ledger of version {data['version']!r:.20}, not {_VERSION}")
        subnet = _subnet(data["subnet"])
        made = cls.make(
            subnet,
            ip_range=_subnet(data["range"]),
            gateway=_parse(data["gateway"]),
            reserved=[_parse(text) for text in data["reserved"]],
        )
        position = data["next"]
        if not isinstance(position, int) or not 0 <= position < made._size:
            raise Invalid(f"the position {position!r:.20} is not within the range {made.range}")
        others = frozenset(_parse(text) for text in data["others"])
        if not all(is_host(subnet, address) for address in others):
            raise Invalid(f"an address in use is not of the subnet {subnet}")
        used = ranges.from_text(data["used"], made._size)
        return replace(made, used=used, others=others, next=position)


def is_host(subnet: Subnet, address: Address) -> bool:
    """The address is one that an interface in the subnet can have."""
    same = address.version == subnet.version
    return same and address in subnet and address not in _edges(subnet)


def _edges(subnet: Subnet) -> tuple[Address, ...]:
    """The subnet's own address (IPv6: the routers' anycast address), and IPv4's broadcast."""
    if subnet.version == 4:
        return subnet.network_address, subnet.broadcast_address
    return (subnet.network_address,)


def _holds(subnet: Subnet, other: Subnet) -> bool:
    return (
        subnet.network_address <= other.network_address  # type: ignore[operator]
        and other.broadcast_address <= subnet.broadcast_address  # type: ignore[operator]
    )


def _address(subnet: Subnet, number: int) -> Address:
    return IPv4Address(number) if subnet.version == 4 else IPv6Address(number)


def _parse(text: Any) -> Address:
    if not isinstance(text, str):
        raise Invalid(f"{text!r:.60} is no address")
    return IPv6Address(text) if ":" in text else IPv4Address(text)


def _subnet(text: Any) -> Subnet:
    if not isinstance(text, str):
        raise Invalid(f"{text!r:.60} is no subnet")
    return IPv6Network(text) if ":" in text else IPv4Network(text)
