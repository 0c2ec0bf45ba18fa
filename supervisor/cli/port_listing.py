"""Ports as the lists show them: the PORTS of `ps`, the lines of `port`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Port = dict[str, Any]


def join(host: str, port: str | int) -> str:
    """HOST:PORT, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def displayed(ports: Sequence[Port]) -> str:
    """A container's ports in docker's layout.

    Neighbours in a row are one range where the host's port is the container's own, or where
    there is none; published ports with another number follow one by one.
    """
    open_ranges: dict[tuple[str, str], list[int]] = {}
    done: list[str] = []
    mapped: list[str] = []
    for port in sorted(ports, key=_order):
        host, inside, outside = port.get("IP") or "", port["PrivatePort"], port.get("PublicPort")
        if host and outside != inside:
            mapped.append(f"{join(host, outside or 0)}->{inside}/{port['Type']}")
            continue
        key = (host, port["Type"])
        current = open_ranges.get(key)
        if current is not None and inside == current[1] + 1:
            current[1] = inside
            continue
        if current is not None:
            done.append(_range(key, current))
        open_ranges[key] = [inside, inside]
    return ", ".join([*done, *(_range(key, r) for key, r in open_ranges.items()), *mapped])


def _order(port: Port) -> tuple[int, str, int, str]:
    return port["PrivatePort"], port.get("IP") or "", port.get("PublicPort") or 0, port["Type"]


def _range(key: tuple[str, str], limits: Sequence[int]) -> str:
    host, protocol = key
    first, last = limits
    ports = str(first) if first == last else f"{first}-{last}"
    return (f"{join(host, ports)}->{ports}" if host else ports) + f"/{protocol}"
