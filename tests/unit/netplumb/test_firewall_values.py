"""Elements of the firewall's sets, published ports, and the messages of a transaction."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netplumb.errors import Taken
from netplumb.plan.model import Desired
from netplumb.plan.netlink import NLM_F_ACK, attributes, split
from netplumb.plan.nft import elements, objects, ruleset
from netplumb.plan.nft.objects import BRIDGE, INET, Element, interface_value
from netplumb.plan.nft.publications import Publications
from tests.unit.netplumb.values import ANYWHERE, ME, binding, endpoint, network


def sets(found: set[Element] | frozenset[Element]) -> list[str]:
    return sorted(element.set for element in found)


def test_a_network_is_known_by_its_bridge() -> None:
    both = network("n", "172.30.1.1/24", "fd00::1/64")
    assert sets(set(elements.of_network(both))) == ["masquerade4", "masquerade6", "same"]
    inner = network("n", "172.30.1.1/24", internal=True)
    assert sets(set(elements.of_network(inner))) == ["internal", "same"]
    own = network("n", masquerade=False)
    (same,) = elements.of_network(own)
    assert same.key == interface_value("br-n") * 2


def test_an_endpoint_may_send_with_its_own_addresses() -> None:
    both = network("n", "172.30.1.1/24", "fd00::1/64")
    end = endpoint("c", "172.30.1.2/24", "fd00::2/64", network="n")
    found = set(elements.of_endpoint(end, both))
    assert sets(found) == ["members4", "members6", "senders4", "senders6", "senders6"]
    (sender,) = (e for e in found if e.set == "senders4")
    mac = bytes.fromhex("0242ac1e0102")
    assert sender.family == BRIDGE
    assert sender.key == interface_value(end.port) + mac + b"\0\0" + bytes((172, 30, 1, 2))
    link_local = socket.inet_pton(socket.AF_INET6, "fe80::42:acff:fe1e:102")
    assert any(e.key.endswith(link_local) for e in found)


def test_all_of_a_desired_network() -> None:
    net, end = network(), endpoint()
    found = elements.of_links(Desired(networks=(net,), endpoints=(end,)))
    assert found == {*elements.of_network(net), *elements.of_endpoint(end, net)}


TCP80 = b"\x06\0\0\0\x00\x50\0\0"
INSIDE = bytes((172, 30, 1, 2)) + b"\x1f\x90\0\0"


@pytest.mark.parametrize(
    "host, expected",
    [
        (ANYWHERE, ("ports4", TCP80, INSIDE)),
        ("10.0.0.1", ("addressed4", bytes((10, 0, 0, 1)) + TCP80, INSIDE)),
        ("127.0.0.1", ("loopback4", bytes((127, 0, 0, 1)) + TCP80, b"")),
        ("127.1.2.3", ("loopback4", bytes((127, 1, 2, 3)) + TCP80, b"")),
        ("::", ("proxied", TCP80, b"")),
        ("fd00::1", ("proxied", TCP80, b"")),
    ],
)
def test_a_published_port(host: str, expected: tuple[str, bytes, bytes]) -> None:
    (element,) = elements.of_binding(binding(host, 80, "172.30.1.2", 8080))
    assert element == Element(INET, *expected)


def test_a_published_port_of_ipv6() -> None:
    (element,) = elements.of_binding(binding("::", 80, "fd00::2", 8080, "udp"))
    assert (element.set, element.key) == ("ports6", b"\x11\0\0\0\x00\x50\0\0")
    assert element.data == ip_address("fd00::2").packed + b"\x1f\x90\0\0"
    assert list(elements.of_binding(binding("::1", 80, "fd00::2", 8080))) == []


def test_what_needs_the_proxy() -> None:
    def needs(host: str, inside: str) -> bool:
        return elements.needs_proxy(binding(host, 80, inside, 80))

    assert needs("127.0.0.1", "172.30.1.2")
    assert needs("::", "172.30.1.2")
    assert needs("::1", "fd00::2")
    assert not needs(ANYWHERE, "172.30.1.2")
    assert not needs("::", "fd00::2")


def test_a_port_leads_to_one_place() -> None:
    ports = Publications([binding(ANYWHERE, 80, "172.30.1.2", 80)])
    words = r"Bind for 0\.0\.0\.0:80 failed: port is already allocated by container 172\.30\.1\.2"
    other = binding(ANYWHERE, 81, "172.30.1.3", 80)
    with pytest.raises(Taken, match=words):
        ports.add([other, binding(ANYWHERE, 80, "172.30.1.3", 80)])
    assert other not in ports, "all or none"
    assert sets(ports.elements()) == ["ports4"]
    assert ports.add([binding("10.0.0.1", 80, "172.30.1.3", 80)]), "an address of its own is free"


def test_a_shared_element_goes_with_the_last_port() -> None:
    one, two = (binding(host, 80, "172.30.1.2", 80) for host in ("::", "fd00::1"))
    ports = Publications()
    assert sets(ports.add([one])) == ["proxied"]
    assert ports.add([two]) == set()
    assert ports.add([two]) == set(), "again is no change"
    assert ports.remove([one]) == set()
    assert sets(ports.remove([two])) == ["proxied"]
    assert ports.remove([two]) == set()
    assert list(ports) == []


BINDINGS = st.builds(
    binding,
    st.sampled_from([ANYWHERE, "10.0.0.1", "127.0.0.1", "::", "fd00::1"]),
    st.integers(1, 3),
    st.sampled_from(["172.30.1.2", "172.30.1.3"]),
    st.just(80),
)


@given(st.lists(st.tuples(st.booleans(), BINDINGS), max_size=30))
def test_changes_add_up(changes: list[tuple[bool, object]]) -> None:
    ports = Publications()
    there: set[Element] = set()
    for add, changed in changes:
        assert hasattr(changed, "host_port")
        if add:
            try:
                added = ports.add([changed])  # type: ignore[list-item]
            except Taken:
                continue
            assert not added & there
            there |= added
        else:
            gone = ports.remove([changed])  # type: ignore[list-item]
            assert gone <= there
            there -= gone
        assert there == ports.elements() == Publications(ports).elements()


# --- messages -----------------------------------------------------------------------------------


def test_only_the_last_operation_of_a_batch_is_acknowledged() -> None:
    operations = list(objects.make_table(ruleset.bridge_table(ME)))
    messages = [m for raw in objects.batch(operations) for m in split(raw)]
    assert (messages[0].kind, messages[-1].kind) == (16, 17), "NFNL_MSG_BATCH_BEGIN, _END"
    asked = [bool(m.flags & NLM_F_ACK) for m in messages]
    assert asked == [False] * (len(messages) - 2) + [True, False]
    assert not next(split(operations[-1].message)).flags & NLM_F_ACK, "a copy was changed"


def test_many_elements_are_several_messages() -> None:
    many = [
        Element(INET, "members4", interface_value("b") + n.to_bytes(4, "big")) for n in range(3000)
    ]
    operations = list(objects.add_elements("orlop", many))
    assert len(operations) > 1
    found = 0
    for operation in operations:
        (message,) = split(operation.message)
        listed = attributes(message.body[4:])[3]
        assert len(listed) < 65536
        found += listed.count(interface_value("b"))
    assert found == 3000


def test_operations_say_what_they_do() -> None:
    table = ruleset.main_table(ME, 0x2000)
    words = [operation.describe() for operation in objects.replace_table(table, destroy=True)]
    assert words[:2] == ["remove the old table inet orlop", "make table inet orlop"]
    assert "make set ports4 of table inet orlop" in words
    assert any("'to a published port' of chain forward" in word for word in words)
    (removal,) = objects.remove_elements("orlop", [Element(INET, "same", bytes(32))])
    assert removal.describe() == "remove 1 of set same"


def test_names_in_registers_are_padded() -> None:
    assert interface_value("eth0") == b"eth0" + bytes(12)
    assert objects.fields_key(b"abcdef", b"xy") == b"abcdef\0\0xy\0\0"
