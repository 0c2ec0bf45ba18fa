"""Values of `network create`: subnets, and what belongs to each of them.

Each function raises ValueError saying what was wrong; which subnets are free the daemon knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from supervisor.cli.network_values import address

Json = dict[str, Any]


def subnet(text: str) -> list[str]:
    """Subnets with commas between them, each checked."""
    return [_cidr(part, "a subnet is expected, as 10.5.0.0/24") for part in text.split(",")]


def ip_range(text: str) -> list[str]:
    """Ranges with commas between them, each checked."""
    return [_cidr(part, "a range is expected, as 10.5.0.128/25") for part in text.split(",")]


def gateway(text: str) -> list[str]:
    """Addresses with commas between them, each checked."""
    return [address(part) for part in text.split(",")]


def reserved(text: str) -> tuple[str, str]:
    """NAME=IP of an address that no container is to get."""
    name, equals, ip = text.partition("=")
    if not name or not equals:
        raise ValueError("NAME=IP is expected, as router=10.5.0.2")
    return name, address(ip)


def pools(
    subnets: Sequence[str],
    ranges: Sequence[str],
    gateways: Sequence[str],
    taken: Sequence[tuple[str, str]],
) -> list[Json]:
    """IPAM.Config of a new network: each range, gateway and taken address with its subnet."""
    from ipaddress import ip_address, ip_network

    if len(subnets) < max(len(ranges), len(gateways)):
        raise ValueError("every ip-range or gateway must have a corresponding subnet")
    found = [(ip_network(text, strict=False), Json({"Subnet": text})) for text in subnets]
    for at, (net, _) in enumerate(found):
        for other, _ in found[:at]:
            if net.version == other.version and net.overlaps(other):
                raise ValueError(f"the subnets {other} and {net} overlap")

    def pool_of(what: str, text: str) -> Json:
        wanted = ip_address(text.partition("/")[0])
        pool = next((pool for net, pool in found if wanted in net), None)
        if pool is None:
            raise ValueError(f"no matching subnet for {what} {text}")
        return pool

    for field, what, values in (("IPRange", "range", ranges), ("Gateway", "gateway", gateways)):
        for text in values:
            pool = pool_of(what, text)
            if field in pool:
                raise ValueError(
                    f"cannot configure multiple {what}s ({text}, {pool[field]})"
                    f" for the same subnet ({pool['Subnet']})"
                )
            pool[field] = text
    for name, text in taken:
        pool_of("aux-address", text).setdefault("AuxiliaryAddresses", {})[name] = text
    return [pool for _, pool in found]


def _cidr(text: str, expected: str) -> str:
    from ipaddress import ip_network

    try:
        ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"invalid CIDR address '{text}': {expected}") from None
    if "/" not in text:
        raise ValueError(f"'{text}' has no length: {expected}")
    return text
