"""Values about networks: --network, addresses, bandwidths, delay and loss.

Each function takes text and gives a piece of a request's JSON; it raises ValueError saying what
was wrong. What only the daemon knows (which networks there are, which addresses are free) is left
to it.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import Any

from supervisor.spec.units import parse_duration

Json = dict[str, Any]
Attachment = tuple[str, Json]
"""A network's name, and what is asked of the container's place in it (an EndpointSettings)."""

DOWN = "orlop.bandwidth.down"
UP = "orlop.bandwidth.up"

_KEYS = ("name", "alias", "ip", "ip6", "mac-address", "driver-opt", "gw-priority")
_BITS = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
_MOST_DIGITS = 12
_MILLISECOND = 1_000_000


def attachment(text: str) -> Attachment:
    """NAME, or the longer form name=NAME,alias=A,ip=IP,… whose keys are those of docker."""
    if not text:
        raise ValueError("the name of a network is expected")
    if "=" not in text:
        return namespace(text), {}
    import csv

    name, fields = "", Json()
    for item in next(csv.reader([text]), []):
        key, equals, value = (part.strip() for part in item.partition("="))
        key = key.lower()
        if key not in _KEYS:
            raise ValueError(f"unknown field '{key}'; there are {', '.join(_KEYS)}")
        if not equals or not value:
            raise ValueError(f"field '{item}' must be a KEY=VALUE pair")
        if key == "name":
            name = value
        else:
            _put(fields, key, value)
    if not name:
        raise ValueError("name=NETWORK is missing")
    return name, endpoint(**fields)


def namespace(text: str) -> str:
    """A mode of --network, --pid or --ipc; the daemon knows which there are."""
    if text == "container:":
        raise ValueError("container:NAME is expected")
    return text


def endpoint(
    *,
    ip: str = "",
    ip6: str = "",
    mac: str = "",
    aliases: Sequence[str] = (),
    options: Sequence[tuple[str, str]] = (),
    priority: int = 0,
) -> Json:
    """The EndpointSettings that ask for this; {} for nothing."""
    addresses = {"IPv4Address": ip, "IPv6Address": ip6}
    asked = {
        "IPAMConfig": {name: value for name, value in addresses.items() if value},
        "MacAddress": mac,
        "Aliases": list(aliases),
        "DriverOpts": dict(options),
        "GwPriority": priority,
    }
    return {name: value for name, value in asked.items() if value}


def ipv4(text: str) -> str:
    """An IPv4 address."""
    return _address(socket.AF_INET, text, "an IPv4 address is expected, as 10.5.0.9")


def ipv6(text: str) -> str:
    """An IPv6 address."""
    return _address(socket.AF_INET6, text, "an IPv6 address is expected, as fd00::9")


def address(text: str) -> str:
    """An address of either version."""
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    return _address(family, text, "an IP address is expected, as 10.5.0.9 or fd00::9")


def mac_address(text: str) -> str:
    """Six pairs of hex digits with colons or dashes between them."""
    separator = "-" if "-" in text else ":"
    parts = text.split(separator)
    if len(parts) != 6 or not all(len(part) == 2 and _is_hex(part) for part in parts):
        raise ValueError("a MAC address is expected, as 02:42:0a:05:00:09")
    return text


def alias(text: str) -> str:
    """A further name in a network."""
    if not text.strip():
        raise ValueError("a name is expected")
    return text


def driver_option(text: str) -> tuple[str, str]:
    """KEY=VALUE; keys are lower-case, as docker sends them."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ValueError(f"invalid driver option '{text}': KEY=VALUE is expected")
    return key.strip().lower(), value.strip()


def bandwidth(text: str) -> list[tuple[str, str]]:
    """DOWN[:UP] as driver options in bit/s; 0 for a direction without a limit."""
    rates = text.split(":")
    if len(rates) > 2:
        raise ValueError("DOWN[:UP] is expected, as 10mbit:2mbit")
    named = zip((DOWN, UP), map(_bits, rates), strict=False)
    asked = [(name, str(rate)) for name, rate in named if rate]
    if not asked:
        raise ValueError("a rate above 0 is expected for one direction at least, as 0:2mbit")
    return asked


def link(text: str) -> str:
    """--link is docker's way from before it had networks: refused with the way to go."""
    container = text.partition(":")[0] or "CONTAINER"
    raise ValueError(
        "links are not supported; make a network (orlop network create NET) and give both"
        f" containers --network NET: there {container} is found by its name, and by --network-alias"
    )


def option(text: str) -> tuple[str, str]:
    """KEY[=VALUE]."""
    key, _, value = text.partition("=")
    if not key:
        raise ValueError("KEY=VALUE is expected")
    return key, value


def percent(text: str) -> float:
    """A percentage from 0 to 100, with or without its sign."""
    number = text.removesuffix("%")
    whole, dot, fraction = number.partition(".")
    digits = whole + fraction
    if not (whole and digits.isascii() and digits.isdecimal()) or (dot and not fraction):
        raise ValueError("a percentage is expected, as 5 or 0.5%")
    value = float(number)
    if value > 100:
        raise ValueError("a percentage from 0 to 100 is expected")
    return _plain(value)


def milliseconds(text: str) -> float:
    """A time as 100ms, 1.5s."""
    value = parse_duration(text) / _MILLISECOND
    if value < 0:
        raise ValueError("it must not be negative")
    return _plain(value)


def _plain(value: float) -> float:
    return int(value) if value == int(value) else value


def _put(fields: Json, key: str, value: str) -> None:
    if key == "alias":
        fields.setdefault("aliases", []).append(alias(value))
    elif key == "driver-opt":
        fields.setdefault("options", []).append(driver_option(value))
    elif key == "gw-priority":
        fields["priority"] = priority(value)
    else:
        name, parse = _SINGLE[key]
        fields[name] = parse(value)


def priority(text: str) -> int:
    """A whole number; the network with the highest has the default route."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"invalid gw-priority '{text}': a whole number is expected") from None


_SINGLE: Mapping[str, tuple[str, Any]] = {
    "ip": ("ip", ipv4),
    "ip6": ("ip6", ipv6),
    "mac-address": ("mac", mac_address),
}


def _address(family: socket.AddressFamily, text: str, expected: str) -> str:
    try:
        socket.inet_pton(family, text)
    except (OSError, ValueError):
        raise ValueError(f"'{text}' is no such address: {expected}") from None
    return text


def _bits(text: str) -> int:
    number, unit = text.rstrip("bgikmt"), text[len(text.rstrip("bgikmt")) :]
    whole, dot, fraction = number.partition(".")
    digits = whole + fraction
    is_number = (
        bool(whole) and digits.isascii() and digits.isdecimal() and bool(fraction) == bool(dot)
    )
    if not is_number or len(digits) > _MOST_DIGITS or (unit not in _BITS and text != "0"):
        raise ValueError(
            f"invalid rate '{text}': a number and bit, kbit, mbit or gbit (per second) are"
            " expected, as 10mbit"
        )
    return round(float(number) * _BITS.get(unit, 0))


def _is_hex(text: str) -> bool:
    return all(letter in "0123456789abcdefABCDEF" for letter in text)
