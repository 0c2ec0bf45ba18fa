from dataclasses import replace
from typing import Any

import pytest

from supervisor.errors import InvalidArgument
from supervisor.spec.namespaces import read_modes
from supervisor.spec.options import ContainerOptions
from supervisor.spec.sysctls import UNPRIVILEGED_PING, UNPRIVILEGED_PORTS, choose

ANOTHERS = f"container:{'d' * 64}"
HAS = frozenset((UNPRIVILEGED_PING[0], UNPRIVILEGED_PORTS[0]))
DEFAULTS = dict((UNPRIVILEGED_PING, UNPRIVILEGED_PORTS))


def chosen(asked: dict[str, str], /, *, has: frozenset[str] = HAS, **modes: Any) -> dict[str, str]:
    return choose(asked, read_modes(replace(ContainerOptions(), **modes)), has)


@pytest.mark.parametrize(
    "key",
    [
        "kernel.shmmax",
        "kernel.shmall",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
        "kernel.sem",
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "fs.mqueue.msg_max",
        "net.ipv4.ip_forward",
        "net.core.somaxconn",
        "net.ipv4.conf.eth0.rp_filter",
    ],
)
def test_sysctls_of_the_containers_own_namespaces(key: str) -> None:
    assert chosen({key: "1"}) == DEFAULTS | {key: "1"}
    assert chosen({key: "1"}, network="bridge") == DEFAULTS | {key: "1"}


@pytest.mark.parametrize(
    "key",
    [
        "",
        "kernel.hostname",
        "kernel.core_pattern",
        "kernel.shmfoo",
        "kernel.sem2",
        "fs.file-max",
        "vm.swappiness",
        "net",
        "net.",
        "network.x",
        "fs.mqueue",
        "fs.mqueue.",
        "kernel/sem",
        "net..x",
        "net.../../kernel.core_pattern",
        "net./x",
        "net.ipv4/../../kernel",
        "Net.x",
        "net.\0",
        "net.ipv4.x y",
        "net.\u0661",
    ],
)
def test_other_sysctls_are_refused(key: str) -> None:
    with pytest.raises(InvalidArgument, match=r"is not allowed: .*\(allowed: kernel\.shm"):
        chosen({key: "1"})


def test_a_value_has_no_nul() -> None:
    with pytest.raises(InvalidArgument, match="NUL"):
        chosen({"net.core.somaxconn": "1\0"})


@pytest.mark.parametrize(
    "key, option, kind",
    [
        ("net.ipv4.ip_forward", "network", "network"),
        ("kernel.shmmax", "ipc", "ipc"),
        ("fs.mqueue.msg_max", "ipc", "ipc"),
    ],
)
def test_the_hosts_are_refused(key: str, option: str, kind: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        chosen({key: "1"}, has=HAS, **{option: "host"})
    assert error.value.message == f"sysctl '{key}' not allowed in host {kind} namespace"
    other = "ipc" if option == "network" else "network"
    assert chosen({key: "1"}, has=HAS, **{other: "host"})[key] == "1"


@pytest.mark.parametrize(
    "key, kind", [("net.ipv4.ip_forward", "network"), ("kernel.shmmax", "ipc")]
)
def test_anothers_are_refused(key: str, kind: str) -> None:
    with pytest.raises(InvalidArgument, match=f"'{key}' not allowed in another container's {kind}"):
        chosen({key: "1"}, has=HAS, **{kind: ANOTHERS})


def test_defaults_only_in_a_network_namespace_of_its_own() -> None:
    assert chosen({}) == DEFAULTS
    assert chosen({}, network="none") == DEFAULTS
    assert chosen({}, network="host") == {}
    assert chosen({}, network="bridge") == DEFAULTS
    assert chosen({}, network=ANOTHERS) == {}


def test_defaults_that_the_host_lacks_are_left_out() -> None:
    assert chosen({}, has=frozenset()) == {}
    assert chosen({}, has=frozenset((UNPRIVILEGED_PING[0],))) == dict((UNPRIVILEGED_PING,))


@pytest.mark.parametrize("size, last", [(65536, 65535), (1, 0), (1 << 31 | 5, (1 << 31) - 1)])
def test_all_groups_of_a_user_namespace_may_ping(size: int, last: int) -> None:
    ping = {UNPRIVILEGED_PING[0]: f"0 {last}"}
    found = chosen({}, userns=f"private:100000:{size}")
    assert found == dict((UNPRIVILEGED_PORTS,)) | ping
