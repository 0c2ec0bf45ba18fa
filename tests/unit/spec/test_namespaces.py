from dataclasses import replace
from typing import Any

import pytest

from supervisor.errors import InvalidArgument
from supervisor.spec.namespaces import parse_userns, read_modes
from supervisor.spec.options import ContainerOptions
from supervisor.spec.types import IdMapping, Namespace


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


@pytest.mark.parametrize("kind", ["pid", "network", "uts", "ipc"])
def test_a_path_joins(kind: str) -> None:
    assert kinds(**{kind: "path:/proc/77/ns/x"}) == ALL_OWN | {kind: "/proc/77/ns/x"}


@pytest.mark.parametrize(
    "option, word",
    [
        ("network", "none"),
        ("network", "default"),
        ("network", "bridge"),
        ("network", "my-network"),
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
        # Resolved by the engine before; never silently a namespace of its own.
        ("pid", "container:abc"),
        ("network", "container:abc"),
    ],
)
def test_other_words_are_refused(option: str, word: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"invalid \w+ mode '{word}': give one of .*host"):
        kinds(**{option: word})


@pytest.mark.parametrize("path", ["", "/etc/passwd", "proc/1/ns/pid", "/proc/1/ns/pid\0"])
def test_other_paths_are_refused(path: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid pid namespace path"):
        kinds(pid=f"path:{path}")


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
        ({"network": "path:/proc/7/ns/net"}, "cannot share another container's network"),
        ({"uts": "path:/proc/7/ns/uts"}, "cannot share another container's uts"),
    ],
)
def test_what_a_user_namespace_excludes(changes: dict[str, Any], match: str) -> None:
    kinds(**changes)
    with pytest.raises(InvalidArgument, match=match):
        kinds(userns="private:100000:65536", **changes)


def test_a_user_namespace_goes_with_the_hosts_name() -> None:
    assert "uts" not in kinds(userns="private:100000:65536", uts="host")
