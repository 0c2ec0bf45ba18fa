"""The daemon's part in containers' networks: its options, and opening them for the engine."""

from __future__ import annotations

import argparse
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from msgspec.structs import replace

from supervisor.daemon.config import Config
from supervisor.daemon.flags import add_switch
from supervisor.daemon.network_config import NO_BRIDGE, network_defaults, stack_settings
from supervisor.engine.engine import Engine
from supervisor.engine.network_stack import open_network_stack
from supervisor.errors import Unavailable

log = logging.getLogger("orlop.daemon")


def add_network_options(parser: argparse.ArgumentParser, default: Config) -> None:
    """Those of `orlop daemon` that are about networks."""
    parser.add_argument(
        "--bridge",
        metavar="NAME|none",
        help="the default network's device (default: orlop0, or named after the cgroup parent "
        "if that is another); none: containers that ask for no network have none",
    )
    parser.add_argument(
        "--bip",
        metavar="CIDR",
        help="the address and subnet of that device (default: a free subnet of the pools)",
    )
    parser.add_argument(
        "--default-address-pool",
        metavar="base=CIDR,size=N",
        action="append",
        help="where networks that ask for no subnet get theirs, of length N; may be given often",
    )
    parser.add_argument(
        "--dns",
        metavar="IP",
        action="append",
        help="a DNS server for containers, in place of the host's; may be given often",
    )
    parser.add_argument(
        "--ip",
        metavar="IP",
        help="the host's address for published ports that name none (default: all of them)",
    )
    add_switch(
        parser,
        "--icc",
        "whether containers of the default network reach each other (default: they do)",
    )
    parser.add_argument(
        "--mtu",
        type=int,
        metavar="BYTES",
        help=f"the MTU of the default network (default: {default.mtu})",
    )
    parser.add_argument(
        "--warm-sandboxes",
        type=int,
        metavar="N",
        help="network namespaces kept ready for new containers of the default network "
        f"(default: {default.warm_sandboxes})",
    )


@asynccontextmanager
async def networks_of(engine: Engine, config: Config) -> AsyncIterator[None]:
    """The engine has the host's network for the block; a host that cannot have one has none."""
    engine.networks.defaults, engine.host.dns = network_defaults(config), config.dns
    opening = open_network_stack(stack_settings(config), engine.host.database)
    async with AsyncExitStack() as opened:
        try:
            stack = await opened.enter_async_context(opening)
        except Unavailable as error:
            log.warning("%s: containers have their loopback, or the host's network", error)
            engine.networks.why_none = error.message
            engine.networks.defaults = replace(engine.networks.defaults, bridge=NO_BRIDGE)
        else:
            engine.networks.stack = stack
            engine.network_runs.open(stack, config.warm_sandboxes, engine.userns)
        yield
