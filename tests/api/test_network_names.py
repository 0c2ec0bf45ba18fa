"""Names: what containers resolve, asked by Debian's dig and by programs inside; /etc/hosts."""

from __future__ import annotations

import pytest

from tests.api.box import IMAGE, eventually
from tests.api.network_box import (
    NAME_SERVER,
    Found,
    NetworkBox,
    Resolver,
    Service,
    ask,
    dig,
    silent,
)
from tests.kernel.netplumb.rig import Outside

pytestmark = pytest.mark.feature("bridge", "veth", "nftables", "nftables-bridge")

NOTHING = Found(status="NXDOMAIN", records=[])
EXAMPLE = {"www.example.org": "192.0.2.80"}


def address(ip: str) -> Found:
    """A good answer with that address."""
    return Found(status="NOERROR", records=[ip])


# --- on the default network


def test_the_default_network_has_the_hosts_resolver_and_no_names(net: NetworkBox) -> None:
    one, two = net.up(), net.up()
    assert f"nameserver {Outside.OWN4}" in net.inside(one, "cat", "/etc/resolv.conf")
    with Resolver(net.outside, EXAMPLE) as resolver:
        assert EXAMPLE["www.example.org"] in net.inside(one, "nslookup", "www.example.org")
        done = net.daemon.docker("exec", one, "nslookup", two)
        assert done.returncode != 0
        assert net.address(two) not in done.stdout
        assert two in resolver.asked


def test_a_hosts_loopback_resolver_is_asked_by_the_host(net: NetworkBox) -> None:
    net.machine.resolv_conf.write_text("nameserver 127.0.0.1\nsearch example.org\n")
    try:
        with Resolver(net.host, {"loop.example.org": "192.0.2.83"}):
            box = net.up()
            text = net.inside(box, "cat", "/etc/resolv.conf")
            assert f"nameserver {NAME_SERVER}" in text
            assert "search example.org" in text
            assert dig(net.space(box), "loop.example.org") == address("192.0.2.83")
    finally:
        net.machine.resolv_conf.write_text(f"nameserver {Outside.OWN4}\n")


def test_resolvers_search_domains_and_hosts_as_asked(net: NetworkBox) -> None:
    flags = ("--dns", "10.1.2.3", "--dns-search", "example.com", "--dns-option", "ndots:2")
    text = net.inside(net.up(*flags), "cat", "/etc/resolv.conf")
    assert "nameserver 10.1.2.3" in text
    assert Outside.OWN4 not in text
    assert "search example.com" in text
    assert "options ndots:2" in text


# --- on a user network


def test_names_of_a_user_network(net: NetworkBox) -> None:
    network = net.network()
    asks = net.space(net.up("--network", network))
    flags = ("--network-alias", "db", "--network-alias", "Store", "--hostname", "inner")
    it = net.up("--network", network, *flags)
    ip, id = net.address(it, network), net.inspect(it)["Id"]
    for name in (it, id[:12], "db", "store", "DB", f"{it}.{network}", f"db.{network}"):
        assert dig(asks, name) == address(ip), name
        assert dig(asks, "+tcp", name) == address(ip), name
    names = net.endpoint(it, network)["DNSNames"]
    assert {it, id[:12], "db", "Store"} <= set(names)
    reverse = dig(asks, "-x", ip)
    assert reverse.records == [f"{it}.{network}."]
    assert dig(asks, it, "AAAA") == Found(status="NOERROR", records=[])
    net.inside(it, "nslookup", it)


def test_programs_inside_resolve(net: NetworkBox) -> None:
    network = net.network()
    web = net.up("--network", network, script="echo hello >/index.html; exec httpd -f -h /")
    box = net.up("--network", network)
    text = net.inside(box, "cat", "/etc/resolv.conf")
    assert f"nameserver {NAME_SERVER}" in text
    assert "options ndots:0" in text
    eventually(lambda: net.ok("exec", box, "wget", "-qO-", f"http://{web}/") == "hello")
    assert net.inside(box, "ping", "-c", "1", "-W", "2", web).startswith(f"PING {web} (")


def test_two_with_one_alias(net: NetworkBox) -> None:
    network = net.network()
    boxes = [net.up("--network", network, "--network-alias", "many") for _ in range(2)]
    found = dig(net.space(boxes[0]), "many")
    assert sorted(found.records) == sorted(net.address(box, network) for box in boxes)
    net.docker("stop", "-t", "0", boxes[1])
    eventually(lambda: dig(net.space(boxes[0]), "many") == address(net.address(boxes[0], network)))


def test_names_end_at_their_network(net: NetworkBox) -> None:
    here, there = net.network(), net.network()
    one, two = net.up("--network", here), net.up("--network", there)
    asks = net.space(one)
    with Resolver(net.outside, {}) as resolver:
        assert dig(asks, two) == NOTHING
        assert dig(asks, f"{two}.{there}") == NOTHING
        assert two in resolver.asked, "it may be somebody else's name"
        assert dig(asks, "-x", net.address(two, there)).records == []
        net.docker("network", "connect", "--alias", "joined", here, two)
        for name in (two, "joined"):
            assert dig(asks, name) == address(net.address(two, here))
        net.docker("network", "disconnect", here, two)
        assert dig(asks, two) == NOTHING


def test_ipv6_names(net: NetworkBox) -> None:
    network = net.network("--ipv6", "--subnet", "fd77:5::/64")
    one, two = net.up("--network", network), net.up("--network", network)
    asks, ip = net.space(one), net.address6(two, network)
    assert dig(asks, two, "AAAA") == address(ip)
    assert dig(asks, two, "A") == address(net.address(two, network))
    assert dig(asks, "-x", ip).records == [f"{two}.{network}."]


def test_a_rename_changes_the_name(net: NetworkBox) -> None:
    network = net.network()
    asks, it = net.space(net.up("--network", network)), net.up("--network", network)
    ip = net.address(it, network)
    with Resolver(net.outside, {}):
        net.docker("rename", it, "renamed")
        assert dig(asks, "renamed") == address(ip)
        assert dig(asks, it) == NOTHING


# --- what is not ours goes to the host's resolver


@pytest.mark.parametrize("how", [(), ("+tcp",)], ids=["udp", "tcp"])
def test_other_names_are_the_hosts_resolvers(net: NetworkBox, how: tuple[str, ...]) -> None:
    asks = net.space(net.up("--network", net.network()))
    there, absent = (f"{word}.{net.name('domain')}.org" for word in ("there", "absent"))
    with Resolver(net.outside, {there: "192.0.2.82"}) as resolver:
        assert dig(asks, *how, there) == address("192.0.2.82")
        assert dig(asks, *how, absent) == NOTHING
        assert resolver.asked == [there, absent]


def test_a_containers_own_resolver(net: NetworkBox) -> None:
    """On a user network 127.0.0.11 asks what was given with --dns."""
    network = net.network()
    box = net.up("--network", network, "--dns", Outside.HOST4)
    assert f"nameserver {NAME_SERVER}" in net.inside(box, "cat", "/etc/resolv.conf")
    with Resolver(net.host, {"own.example.org": "192.0.2.81"}), Resolver(net.outside, {}) as other:
        assert dig(net.space(box), "own.example.org") == address("192.0.2.81")
        assert other.asked == []


def test_an_internal_network_asks_nobody_outside(net: NetworkBox) -> None:
    inner, open_one = net.network("--internal"), net.network()
    one, two = net.up("--network", inner), net.up("--network", inner)
    asks = net.space(one)
    with Resolver(net.outside, EXAMPLE) as resolver:
        assert dig(asks, two) == address(net.address(two, inner))
        for how in ((), ("+tcp",)):
            assert dig(asks, *how, "www.example.org") == NOTHING
        assert resolver.asked == []
        net.docker("network", "connect", open_one, one)
        assert dig(asks, "www.example.org") == address("192.0.2.80")
        net.docker("network", "disconnect", open_one, one)
        assert dig(asks, "www.example.org") == NOTHING


def test_the_name_server_is_the_containers_alone(net: NetworkBox) -> None:
    """Others do not reach it, and the container may have a server on port 53 itself."""
    network = net.network()
    one, two = net.up("--network", network), net.up("--network", network)
    with Resolver(net.space(one), {"mine": "192.0.2.1"}):
        asked = dig(net.space(two), "mine", server=net.address(one, network))
        assert asked == address("192.0.2.1")
        assert dig(net.space(one), two) == address(net.address(two, network))
    assert silent(net.host, NAME_SERVER, 53)
    assert silent(net.space(two), net.address(one, network), 53)


def test_a_shared_namespace_has_the_owners_names(net: NetworkBox) -> None:
    network = net.network()
    owner, other = (net.up("--network", network) for _ in range(2))
    guest = net.up("--network", f"container:{owner}")
    assert net.address(other, network) in net.inside(guest, "nslookup", other)


def test_user_namespaces_resolve(net: NetworkBox) -> None:
    network = net.network()
    other = net.up("--network", network)
    flags = ("--rm", "--userns", "private:100000:65536", "--network", network)
    text = net.ok("run", *flags, IMAGE, "nslookup", other)
    assert net.address(other, network) in text


# --- /etc/hosts


def test_hosts_file(net: NetworkBox) -> None:
    network = net.network("--ipv6", "--subnet", "fd77:6::/64")
    flags = ("--add-host", "extra:192.0.2.9", "--add-host", "gate:host-gateway")
    box = net.up("--network", network, "--hostname", "me", *flags)
    lines = [line.split() for line in net.inside(box, "cat", "/etc/hosts").splitlines()]
    assert ["127.0.0.1", "localhost"] in lines
    assert [net.address(box, network), "me"] in lines
    assert [net.address6(box, network), "me"] in lines
    assert ["192.0.2.9", "extra"] in lines
    gates = {line[0] for line in lines if line[1:] == ["gate"]}
    assert net.subnet(network)["Gateway"] in gates
    with Service(net.host):
        assert ask(net.space(box), min(gates, key=len)) == net.address(box, network)


def test_hosts_file_follows_the_networks(net: NetworkBox) -> None:
    first, second = net.network(), net.network()
    box = net.up("--network", first, "--hostname", "me")
    net.docker("network", "connect", second, box)
    both = {net.address(box, name) for name in (first, second)}

    def own() -> set[str]:
        lines = net.inside(box, "cat", "/etc/hosts").splitlines()
        return {line.split()[0] for line in lines if line.split()[1:] == ["me"]}

    assert own() == both
    net.docker("network", "disconnect", first, box)
    assert own() == {net.address(box, second)}
