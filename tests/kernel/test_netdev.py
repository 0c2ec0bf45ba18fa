"""supervisor.kernel.netdev in network namespaces of the tests' own."""

from __future__ import annotations

import socket

import pytest

from supervisor.kernel import namespaces, netdev
from tests.kernel.forked import error_of, in_child


def test_loopback_works_once_it_is_up() -> None:
    def connects() -> bool:
        with socket.socket() as server, socket.socket() as client:
            server.bind(("127.0.0.1", 0))
            server.listen()
            client.settimeout(5)
            try:
                client.connect(server.getsockname())
            except OSError:
                return False
            return True

    def body() -> list[bool]:
        found = [can_bind() and connects()]
        netdev.link_up("lo")
        netdev.link_up("lo")
        return [*found, connects()]

    assert in_child(body, flags=namespaces.CLONE_NEWNET) == [False, True]


def can_bind() -> bool:
    """127.0.0.1 is an address here: not before lo is up."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", 0))
        except OSError:
            return False
        return True


@pytest.mark.parametrize(
    "name, expected",
    [("none0", "ENODEV"), ("", "EINVAL"), ("lo" + "x" * 14, "EINVAL")],
)
def test_names_that_are_none(name: str, expected: str) -> None:
    def body() -> str:
        return error_of(netdev.link_up, name)

    assert in_child(body, flags=namespaces.CLONE_NEWNET) == expected
