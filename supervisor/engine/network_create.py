"""What a new network is to be: its options checked, its subnets found. Values in, values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network

import msgspec
from msgspec.structs import replace

from netplumb.plan.ipam import Ledger, choose_subnet, unique_local_pool
from netplumb.plan.ipam.pools import check_subnet
from netplumb.plan.model import Address
from netplumb.plan.model import Subnet as IpSubnet
from netplumb.plan.names import bridge_name
from supervisor.docker.network_body import (
    BRIDGE_NAME,
    DEFAULT_BRIDGE,
    HOST_ADDRESS,
    ICC,
    MASQUERADE,
    MTU,
    NetworkBody,
    SubnetBody,
    bridge_options,
)
from supervisor.docker.networks import Subnet
from supervisor.engine.network_records import (
    DEFAULT_MTU,
    HOST,
    NULL,
    Network,
    NetworkDefaults,
)
from supervisor.engine.network_stack import network_errors
from supervisor.errors import Conflict, InvalidArgument
from supervisor.spec import networks as spec


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a new network must fit into: the daemon's defaults, the other networks, the host's
    routes. `seed` makes the host's own IPv6 subnets."""

    defaults: NetworkDefaults
    others: Sequence[Network]
    routes: Sequence[IpSubnet]
    seed: str

    @property
    def taken(self) -> list[tuple[IpSubnet, str]]:
        """All subnets in use, with whose they are; a network's own route is that network's."""
        own = [(one.subnet, f"network {n.name}") for n in self.others for one in n.ledgers]
        return [*own, *((route, "the host's routes") for route in self.routes)]


def new_network(
    body: NetworkBody, network_id: str, created_ns: int, around: Surroundings
) -> Network:
    """The network that a request asks for; raises OrlopError."""
    options = bridge_options(body)
    asked = _by_version(body.ipam.config)
    wanted = [v for v, on in ((4, options.ipv4), (6, options.ipv6)) if on]
    for version, config in asked.items():
        if version not in wanted:
            raise InvalidArgument(
                f"invalid network config: the subnet {config.subnet} is of IPv{version}, which "
                f"is not enabled for the network: give --ipv{version}"
            )
    with network_errors():
        ledgers = tuple(_ledger(version, asked.get(version), around) for version in wanted)
        network = Network(
            id=network_id,
            name=body.name,
            created_ns=created_ns,
            internal=body.internal,
            attachable=body.attachable,
            ipv4=options.ipv4,
            ipv6=options.ipv6,
            labels=body.labels,
            options=body.options,
            ipam_options=body.ipam.options,
            subnets=tuple(_shown(ledger, asked.get(ledger.subnet.version)) for ledger in ledgers),
            bridge=options.bridge or bridge_name(network_id),
            mtu=options.mtu or DEFAULT_MTU,
            icc=options.icc,
            masquerade=options.masquerade,
            host_ip=options.host_ip,
            ledgers=ledgers,
        )
        network.desired()  # which checks MTU and the bridge's name
    for other in around.others:
        if other.bridge == network.bridge:
            raise Conflict(
                f"conflicts with network {other.id} ({other.name}): networks have same bridge "
                f"name {network.bridge}"
            )
    return network


def default_network(network_id: str, created_ns: int, around: Surroundings) -> Network:
    """The network that containers are in without asking; raises OrlopError."""
    defaults = around.defaults
    with network_errors():
        if defaults.bip is None:
            ledger = Ledger.make(choose_subnet(defaults.pools, [s for s, _ in around.taken]))
        else:
            # Not compared with the host's routes: they have that of our own bridge.
            others = [(one.subnet, f"network {n.name}") for n in around.others for one in n.ledgers]
            check_subnet(defaults.bip.network, others)
            ledger = Ledger.make(defaults.bip.network, gateway=defaults.bip.ip)
    return with_defaults(
        Network(
            id=network_id,
            name=spec.BRIDGE,
            created_ns=created_ns,
            predefined=True,
            ipv4=ledger.subnet.version == 4,
            ipv6=ledger.subnet.version == 6,
            subnets=(_shown(ledger, None),),
            ledgers=(ledger,),
        ),
        defaults,
    )


def with_defaults(network: Network, defaults: NetworkDefaults) -> Network:
    """The default network as the daemon's settings want it now."""
    return replace(
        network,
        bridge=defaults.bridge,
        icc=defaults.icc,
        mtu=defaults.mtu,
        host_ip=defaults.host_ip,
        options={
            DEFAULT_BRIDGE: "true",
            ICC: str(defaults.icc).lower(),
            MASQUERADE: "true",
            HOST_ADDRESS: defaults.host_ip or "0.0.0.0",  # noqa: S104 # shown, not bound
            BRIDGE_NAME: defaults.bridge,
            MTU: str(defaults.mtu),
        },
    )


def pseudo_networks(ids: Mapping[str, str], created_ns: int) -> tuple[Network, Network]:
    """The networks `host` and `none`, which have neither bridge nor addresses."""
    host, none = (
        Network(id=ids[name], name=name, created_ns=created_ns, driver=driver, predefined=True)
        for name, driver in ((spec.HOST, HOST), (spec.NONE, NULL))
    )
    return host, none


# "This host", loopback, multicast and reserved (RFC 6890); ::1 and ::, link-local, multicast.
_NO_HOSTS = tuple(
    ip_network(text)
    for text in ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/127", "fe80::/10", "ff00::/8")
)


def _by_version(config: Sequence[SubnetBody]) -> dict[int, SubnetBody]:
    """The subnets asked for; what asks for nothing is no request."""
    asked: dict[int, SubnetBody] = {}
    for one in config:
        if one == SubnetBody():
            continue
        if not one.subnet:
            what = one.ip_range or one.gateway or ", ".join(one.auxiliary_addresses)
            raise InvalidArgument(
                f"invalid network config: {what} needs the subnet that it is in (--subnet)"
            )
        subnet = _subnet("subnet", one.subnet)
        if subnet.version in asked:
            raise InvalidArgument(
                f"invalid network config: {asked[subnet.version].subnet} and {one.subnet}: a "
                f"bridge network has one IPv{subnet.version} subnet"
            )
        asked[subnet.version] = one
    return asked


def _ledger(version: int, asked: SubnetBody | None, around: Surroundings) -> Ledger:
    if asked is None:
        pools = [pool for pool in around.defaults.pools if pool.base.version == version]
        if version == 6 and not pools:
            pools = [unique_local_pool(around.seed)]
        return Ledger.make(choose_subnet(pools, [subnet for subnet, _ in around.taken], version))
    subnet = _subnet("subnet", asked.subnet)
    ledger = Ledger.make(
        subnet,
        ip_range=_subnet("ip-range", asked.ip_range) if asked.ip_range else None,
        gateway=_address("gateway", asked.gateway) if asked.gateway else None,
        reserved=[_address("auxiliary address", a) for a in asked.auxiliary_addresses.values()],
    )
    check_subnet(subnet, around.taken)
    return ledger


def _shown(ledger: Ledger, asked: SubnetBody | None) -> Subnet:
    return Subnet(
        subnet=str(ledger.subnet),
        gateway=str(ledger.gateway),
        ip_range=str(ledger.range) if asked and asked.ip_range else "",
        reserved=asked.auxiliary_addresses if asked else {},
    )


def _subnet(what: str, text: str) -> IpSubnet:
    try:
        subnet = ip_network(text, strict=False)
    except ValueError:
        subnet = None
    if subnet is None or "/" not in text:
        raise InvalidArgument(
            f"invalid network config: invalid {what} {text:.80}: invalid CIDR block notation "
            "(example: 10.1.0.0/24)"
        )
    for block in _NO_HOSTS:
        if block.version == subnet.version and block.overlaps(subnet):
            raise InvalidArgument(
                f"invalid network config: invalid {what} {text:.80}: no interface can have an "
                f"address of {block}"
            )
    if str(subnet.network_address) != str(ip_address(text.partition("/")[0])):
        raise InvalidArgument(
            f"invalid network config: invalid {what} {text:.80}: it should be {subnet}"
        )
    return subnet


def _address(what: str, text: str) -> Address:
    try:
        return ip_address(text)
    except ValueError:
        raise InvalidArgument(
            f"invalid network config: invalid {what} {text:.80}: invalid address"
        ) from None
