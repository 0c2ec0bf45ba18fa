from dataclasses import replace
from typing import Any

import pytest

from supervisor.errors import InvalidArgument
from supervisor.spec.namespaces import parse_userns, read_modes
from supervisor.spec.options import ContainerOptions
from supervisor.spec.types import JOINED, IdMapping, Namespace

ANOTHERS = f"container:{'d' * 64}"
USERNS = "private:100000:65536"


def kinds(**modes: Any) -> dict[str, str]:
    namespaces = read_modes(replace(ContainerOptions(), **modes)).namespaces()
    assert len({n.type for n in namespaces}) == len(namespaces)
    return {n.type: n.path for n in namespaces}


ALL_OWN = dict.fromkeys(("mount", "pid", "network", "uts", "ipc", "cgroup"), "")


def test_every_default_is_a_namespace_of_its_own() -> None:
    assert kinds() == ALL_OWN


@pytest.mark.parametrize(
    "option, kind",
    [
        ("pid", "pid"),
        ("network", "network"),
        ("uts", "uts"),
        ("ipc", "ipc"),
        ("cgroupns", "cgroup"),
    ],
)
def test_host_leaves_one_out(option: str, kind: str) -> None:
    expected = {k: v for k, v in ALL_OWN.items() if k != kind}
    assert kinds(**{option: "host"}) == expected


@pytest.mark.parametrize("kind", ["pid", "network", "ipc"])
def test_anothers_is_given_at_the_start(kind: str) -> None:
    assert kinds(**{kind: ANOTHERS}) == ALL_OWN | {kind: JOINED}


def test_networks_are_given_unless_the_user_namespace_has_to_own_them() -> None:
    assert kinds(network="bridge") == ALL_OWN | {"network": JOINED}
    assert not read_modes(ContainerOptions(network="bridge")).wire_network
    mapped = ContainerOptions(network="bridge", userns=USERNS)
    assert kinds(network="bridge", userns=USERNS) == ALL_OWN | {"user": ""}
    assert read_modes(mapped).wire_network
    assert not read_modes(replace(mapped, network="none")).wire_network


@pytest.mark.parametrize(
    "option, word",
    [
        ("network", "none"),
        ("ipc", "private"),
        ("ipc", "shareable"),
        ("ipc", "none"),
        ("pid", "private"),
        ("cgroupns", "private"),
    ],
)
def test_words_for_a_namespace_of_its_own(option: str, word: str) -> None:
    assert kinds(**{option: word}) == ALL_OWN


@pytest.mark.parametrize(
    "option, word",
    [
        ("pid", "shareable"),
        ("pid", "HOST"),
        ("ipc", "nope"),
        ("uts", "none"),
        ("cgroupns", "none"),
        ("cgroupns", "path:/proc/1/ns/cgroup"),
        # Names are resolved by the engine before; never silently a namespace of its own.
        ("network", "default"),
        ("network", "my-network"),
        ("network", "container:"),
        ("uts", "container:abc"),
        ("cgroupns", "container:abc"),
        ("pid", "path:/proc/1/ns/pid"),
    ],
)
def test_other_words_are_refused(option: str, word: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"invalid \w+ mode '{word}': give one of .*host"):
        kinds(**{option: word})


def test_user_namespace_comes_first() -> None:
    modes = read_modes(ContainerOptions(userns="private:100000:65536"))
    assert modes.user
    assert modes.namespaces()[0] == Namespace(type="user")
    assert modes.uid_mappings == (IdMapping(container_id=0, host_id=100000, size=65536),)


@pytest.mark.parametrize("text", ["", "host"])
def test_no_user_namespace(text: str) -> None:
    assert parse_userns(text) == ()
    assert "user" not in kinds(userns=text)


@pytest.mark.parametrize(
    "text",
    [
        "private",
        "private:",
        "private:1",
        "private:1:",
        "private:1:2:3",
        "private:-1:5",
        "keep-id",
        "private:+1:5",
        "private: 1:5",
        "private:1_0:5",
        "private:\u0661:5",
        "private:0:65536",
        "private:100000:0",
        "private:4294967295:1",
        "private:4294967290:6",
        "private:1:4294967295",
        "1:2",
        "private:99999999999:1",
        "100000:65536",
    ],
)
def test_user_namespaces_that_cannot_be(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"invalid user namespace mode .*private:UID:SIZE"):
        parse_userns(text)


def test_the_largest_user_namespace() -> None:
    (mapping,) = parse_userns("private:1:4294967294")
    assert mapping.host_id + mapping.size - 1 == (1 << 32) - 2


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"privileged": True}, "privileged mode is incompatible with user namespaces"),
        ({"network": "host"}, "cannot share the host's network namespace"),
        ({"pid": "host"}, "cannot share the host's pid namespace"),
        ({"ipc": "host"}, "cannot share the host's ipc namespace"),
        ({"network": ANOTHERS}, "cannot share another container's network"),
        ({"pid": ANOTHERS}, "cannot share another container's pid"),
        ({"ipc": ANOTHERS}, "cannot share another container's ipc"),
    ],
)
def test_what_a_user_namespace_excludes(changes: dict[str, Any], match: str) -> None:
    kinds(**changes)
    with pytest.raises(InvalidArgument, match=match):
        kinds(userns=USERNS, **changes)


def test_what_is_shared_with_a_container_of_the_same_ids() -> None:
    """Its user namespace is joined as well: it owns the others."""
    for kind in ("network", "pid", "ipc"):
        found = kinds(userns=USERNS, userns_chosen=True, **{kind: ANOTHERS})
        assert found["user"] == found[kind] == JOINED
    assert kinds(userns=USERNS, userns_chosen=True)["user"] == ""
    with pytest.raises(InvalidArgument, match="cannot share the host's pid namespace"):
        kinds(userns=USERNS, userns_chosen=True, network=ANOTHERS, pid="host")


def test_a_user_namespace_goes_with_the_hosts_name() -> None:
    assert "uts" not in kinds(userns="private:100000:65536", uts="host")
