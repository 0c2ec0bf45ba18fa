"""The daemon's settings of networks, as values that the engine takes."""

from __future__ import annotations

from ipaddress import IPv4Interface, ip_address, ip_network
from typing import TYPE_CHECKING

from netplumb import errors
from netplumb.plan.ipam import DEFAULT_POOLS, Pool
from netplumb.plan.model import LARGEST_MTU, SMALLEST_MTU, check_interface_name
from supervisor.engine.network_records import NetworkDefaults
from supervisor.engine.network_stack import StackSettings, default_bridge, identity_of
from supervisor.errors import InvalidArgument

if TYPE_CHECKING:
    from supervisor.daemon.config import Config

NO_BRIDGE = "none"
MOST_WARM = 256
_POOL_FORM = "give base=SUBNET,size=LENGTH (example: base=10.128.0.0/9,size=24)"


def check_networks(config: Config) -> None:
    """InvalidArgument for settings that cannot be, naming the first."""
    network_defaults(config)
    for address in config.dns:
        _address("dns", address)
    if config.ip:
        _address("ip", config.ip)
    if not SMALLEST_MTU <= config.mtu <= LARGEST_MTU:
        raise InvalidArgument(f"mtu {config.mtu}: give {SMALLEST_MTU} to {LARGEST_MTU}")
    if not 0 <= config.warm_sandboxes <= MOST_WARM:
        raise InvalidArgument(f"warm_sandboxes {config.warm_sandboxes}: give 0 to {MOST_WARM}")
    if config.bridge == NO_BRIDGE and config.bip:
        raise InvalidArgument("bip: there is no default network with bridge none: drop one of them")


def network_defaults(config: Config) -> NetworkDefaults:
    """What `Networks` goes by."""
    bridge = config.bridge or default_bridge(identity_of(config.cgroup_parent))
    try:
        check_interface_name(bridge)
    except errors.Invalid as error:
        raise InvalidArgument(f"bridge {config.bridge!r:.80}: {error.message}") from None
    return NetworkDefaults(
        bridge=bridge,
        bip=_bip(config.bip) if config.bip else None,
        pools=tuple(map(_pool, config.default_address_pool)) or DEFAULT_POOLS,
        icc=config.icc,
        mtu=config.mtu,
        host_ip=config.ip,
    )


def stack_settings(config: Config) -> StackSettings:
    """How the host's network is opened. Without a default network, what is missing in the kernel
    is told to whoever makes one."""
    identity = identity_of(config.cgroup_parent)
    return StackSettings(identity=identity, dns=config.dns, check=config.bridge != NO_BRIDGE)


def _bip(text: str) -> IPv4Interface:
    form = "give ADDRESS/LENGTH of IPv4 (example: 10.1.0.1/24)"
    try:
        bip = IPv4Interface(text)
    except ValueError:
        raise InvalidArgument(f"bip {text!r:.80}: {form}") from None
    subnet = bip.network
    if "/" not in text or subnet.prefixlen > 30:
        raise InvalidArgument(f"bip {text!r:.80}: {form}, with a length up to 30")
    if bip.ip in (subnet.network_address, subnet.broadcast_address):
        raise InvalidArgument(f"bip {text}: {bip.ip} stands for the subnet {subnet} itself")
    return bip


def _pool(text: str) -> Pool:
    words = dict(word.partition("=")[::2] for word in text.split(","))
    if words.keys() != {"base", "size"} or not words["size"].isdecimal():
        raise InvalidArgument(f"default_address_pool {text!r:.80}: {_POOL_FORM}")
    try:
        return Pool(ip_network(words["base"]), int(words["size"]))
    except ValueError as error:
        raise InvalidArgument(f"default_address_pool {text!r:.80}: {error}: {_POOL_FORM}") from None
    except errors.Invalid as error:
        raise InvalidArgument(f"default_address_pool {text!r:.80}: {error.message}") from None


def _address(what: str, text: str) -> None:
    try:
        ip_address(text)
    except ValueError:
        raise InvalidArgument(f"{what} {text!r:.80}: give an IP address") from None
