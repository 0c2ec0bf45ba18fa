"""The files that a run finds in /etc, and the stubs they are mounted on."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from supervisor.engine import etc_files
from supervisor.engine.etc_files import Surroundings
from supervisor.engine.stubs import make_upper, plan_stubs
from supervisor.spec.etc_files import PATHS
from supervisor.spec.mount_points import MountPoint
from supervisor.spec.networks import EndpointRun, NetworkRun
from supervisor.spec.types import Mount
from tests.unit.engine.test_record import record


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The host's files by path, as `etc_files` reads them."""
    files = {"/etc/hosts": "10.9.9.9 host\n", "/etc/resolv.conf": "nameserver 10.0.0.1\n"}
    monkeypatch.setattr(etc_files, "_read", lambda path: files.get(path, ""))
    return files


def provide(folder: Path, settings: dict[str, Any] | None = None, **changes: Any) -> dict[str, str]:
    made = record(settings, **changes)
    etc_files.write(folder, made, "web")
    mounts = etc_files.mounts(folder, made)
    assert all(mount.source == f"{folder}/{Path(mount.destination).name}" for mount in mounts)
    return {mount.destination: Path(mount.source).read_text() for mount in mounts}


def test_the_three_files(host: dict[str, str], tmp_path: Path) -> None:
    texts = provide(tmp_path, {"NetworkMode": "none"})
    assert texts.keys() == set(PATHS)
    assert texts["/etc/hosts"].endswith("127.0.0.1\tweb\n")
    assert texts["/etc/hostname"] == "web\n"
    assert texts["/etc/resolv.conf"] == "nameserver 10.0.0.1\n"
    assert stat.S_IMODE((tmp_path / "hosts").stat().st_mode) == 0o644


def test_each_run_has_its_own(host: dict[str, str], tmp_path: Path) -> None:
    provide(tmp_path)
    (tmp_path / "hosts").write_text("what the last run made of it, and longer than ours\n" * 50)
    assert "last run" not in provide(tmp_path)["/etc/hosts"]


def test_what_was_asked_for(host: dict[str, str], tmp_path: Path) -> None:
    settings = {
        "ExtraHosts": ["db:10.0.0.3"],
        "Dns": ["10.1.1.1"],
        "DnsSearch": ["lan"],
        "DnsOptions": ["ndots:1"],
    }
    texts = provide(tmp_path, settings)
    assert "10.0.0.3\tdb\n" in texts["/etc/hosts"]
    assert texts["/etc/resolv.conf"] == "nameserver 10.1.1.1\nsearch lan\noptions ndots:1\n"


def test_the_hosts_network_has_the_hosts_names(host: dict[str, str], tmp_path: Path) -> None:
    host["/etc/resolv.conf"] = "nameserver 127.0.0.53\n"
    texts = provide(tmp_path, {"NetworkMode": "host", "ExtraHosts": ["me:host-gateway"]})
    assert texts["/etc/hosts"] == "10.9.9.9 host\n127.0.0.1\tme\n"
    assert texts["/etc/resolv.conf"] == "nameserver 127.0.0.53\n"


def test_servers_behind_the_hosts_stub(host: dict[str, str], tmp_path: Path) -> None:
    host["/etc/resolv.conf"] = "nameserver 127.0.0.53\nsearch lan\n"
    assert provide(tmp_path)["/etc/resolv.conf"] == ""
    host["/run/systemd/resolve/resolv.conf"] = "nameserver 10.7.7.7\n"
    assert provide(tmp_path)["/etc/resolv.conf"] == "nameserver 10.7.7.7\n"


# --- in networks

PLACES = NetworkRun(
    endpoints=(
        EndpointRun(
            network="n1",
            endpoint_id="e",
            port="p",
            interface="eth0",
            mac="m",
            ipv4="172.17.0.2/16",
            ipv6="fd00::2/64",
        ),
        EndpointRun(
            network="n2",
            endpoint_id="e",
            port="p",
            interface="eth1",
            mac="m",
            ipv4="172.18.0.2/16",
        ),
    )
)


def in_networks(folder: Path, settings: dict[str, Any], around: Surroundings) -> dict[str, str]:
    made = record({"NetworkMode": "bridge", **settings}, network=PLACES)
    etc_files.write(folder, made, "web", around)
    return {m.destination: Path(m.source).read_text() for m in etc_files.mounts(folder, made)}


def test_addresses_in_networks(host: dict[str, str], tmp_path: Path) -> None:
    settings = {"ExtraHosts": ["me:host-gateway"]}
    text = in_networks(tmp_path, settings, Surroundings(gateway="172.17.0.1"))["/etc/hosts"]
    assert text.endswith("172.17.0.1\tme\n172.17.0.2\tweb\nfd00::2\tweb\n172.18.0.2\tweb\n")


@pytest.mark.parametrize(
    "settings, around, said",
    [
        ({}, Surroundings(), "nameserver 10.0.0.1\nsearch lan\noptions edns0\n"),
        (
            {},
            Surroundings(named=True),
            "nameserver 127.0.0.11\nsearch lan\noptions edns0 ndots:0\n",
        ),
        (
            {"Dns": ["10.1.1.1"], "DnsSearch": ["b"], "DnsOptions": ["ndots:2"]},
            Surroundings(named=True),
            "nameserver 127.0.0.11\nsearch b\noptions ndots:2\n",
        ),
        ({}, Surroundings(dns=("10.2.2.2",)), "nameserver 10.2.2.2\nsearch lan\noptions edns0\n"),
        (
            {"Dns": ["10.1.1.1"]},
            Surroundings(dns=("10.2.2.2",)),
            "nameserver 10.1.1.1\nsearch lan\noptions edns0\n",
        ),
    ],
)
def test_resolvers_in_networks(
    host: dict[str, str],
    tmp_path: Path,
    settings: dict[str, Any],
    around: Surroundings,
    said: str,
) -> None:
    host["/etc/resolv.conf"] = "nameserver 10.0.0.1\nsearch lan\noptions edns0\n"
    assert in_networks(tmp_path, settings, around)["/etc/resolv.conf"] == said


def test_resolvers_that_containers_reach(host: dict[str, str]) -> None:
    assert etc_files.reachable_resolvers()
    host["/etc/resolv.conf"] = "nameserver 127.0.0.1\nnameserver ::1\n"
    assert not etc_files.reachable_resolvers()
    host["/etc/resolv.conf"] = "nameserver 127.0.0.53\n"
    host["/run/systemd/resolve/resolv.conf"] = "nameserver 10.7.7.7\n"
    assert etc_files.reachable_resolvers()


def test_addresses_change_while_it_runs(tmp_path: Path) -> None:
    made = record({"NetworkMode": "bridge"}, network=PLACES)
    etc_files.write(tmp_path, made, "web")
    hosts = tmp_path / "hosts"
    hosts.write_text(hosts.read_text() + "10.0.0.9\tits-own")  # by the container
    number = hosts.stat().st_ino
    etc_files.change_hosts(tmp_path, made, "web", added=["10.5.0.2"], removed=["172.18.0.2"])
    assert hosts.read_text().endswith(
        "172.17.0.2\tweb\nfd00::2\tweb\n10.0.0.9\tits-own\n10.5.0.2\tweb\n"
    )
    assert hosts.stat().st_ino == number, "it is mounted"


def test_a_file_that_the_container_changed_stays(tmp_path: Path) -> None:
    made = record({"NetworkMode": "bridge"}, network=PLACES)
    etc_files.write(tmp_path, made, "web")
    file = tmp_path / "resolv.conf"
    etc_files.replace_text(tmp_path, made, "/etc/resolv.conf", file.read_text(), "new\n")
    assert file.read_text() == "new\n"
    etc_files.replace_text(tmp_path, made, "/etc/resolv.conf", "old\n", "newer\n")
    assert file.read_text() == "new\n"


def test_anothers_network_comes_with_its_files(host: dict[str, str], tmp_path: Path) -> None:
    whose = "a" * 64
    own, theirs = tmp_path / "b", tmp_path / whose
    own.mkdir()
    theirs.mkdir()
    for name in ("hosts", "hostname"):
        (theirs / name).write_text("theirs\n")
    made = record({"NetworkMode": f"container:{whose}"})
    etc_files.write(own, made, "web")
    texts = {m.destination: Path(m.source).read_text() for m in etc_files.mounts(own, made)}
    assert texts["/etc/hosts"] == texts["/etc/hostname"] == "theirs\n"
    assert texts["/etc/resolv.conf"] == "nameserver 10.0.0.1\n", "the other mounts its own there"
    assert not (own / "hosts").exists()


def test_the_users_own_mounts_stay(host: dict[str, str], tmp_path: Path) -> None:
    points = (MountPoint(type="bind", destination="/etc/hosts", source="/h"),)
    assert provide(tmp_path, mounts=points).keys() == {"/etc/hostname", "/etc/resolv.conf"}
    assert not (tmp_path / "hosts").exists()


def test_read_only(host: dict[str, str], tmp_path: Path) -> None:
    mounts = etc_files.mounts(tmp_path, record({"ReadonlyRootfs": True}))
    assert {mount.options for mount in mounts} == {("bind", "rprivate", "ro")}
    assert isinstance(mounts[0], Mount)


# --- stubs


@pytest.fixture
def image(tmp_path: Path) -> Path:
    lower = tmp_path / "lower"
    lower.mkdir()
    return lower


def stubs(image: Path, *others: Path) -> dict[str, os.stat_result]:
    upper = image.parent / "upper"
    layers = [str(image), *map(str, others)]
    make_upper(str(upper), plan_stubs(layers, ("/proc", *PATHS)))
    return {str(p.relative_to(upper)): p.lstat() for p in upper.rglob("*")}


def test_stubs_in_an_empty_image(image: Path) -> None:
    found = stubs(image)
    assert found.keys() == {"proc", "etc", "etc/hosts", "etc/hostname", "etc/resolv.conf"}
    assert stat.S_IMODE(found["etc"].st_mode) == 0o755
    assert found["etc/hosts"].st_size == 0


def test_stubs_leave_the_images_folder_as_it_was(image: Path) -> None:
    (image / "etc").mkdir(mode=0o2750)
    (image / "etc").chmod(0o2750)
    (image / "etc" / "hosts").touch()
    (image / "proc").mkdir()
    os.utime(image / "etc", ns=(10**18, 10**18))
    found = stubs(image)
    assert found.keys() == {"etc", "etc/hostname", "etc/resolv.conf"}
    assert stat.S_IMODE(found["etc"].st_mode) == 0o2750
    assert found["etc"].st_mtime_ns == 10**18


def test_the_upper_is_like_the_topmost_layer(image: Path) -> None:
    image.chmod(0o1777)
    stubs(image)
    assert stat.S_IMODE((image.parent / "upper").stat().st_mode) == 0o1777


def test_the_topmost_layer_says_what_the_folder_is(image: Path, tmp_path: Path) -> None:
    below = tmp_path / "below"
    (below / "etc").mkdir(parents=True, mode=0o700)
    (below / "etc" / "hostname").touch()
    (image / "etc").mkdir()
    (image / "etc").chmod(0o711)
    found = stubs(image, below)
    assert stat.S_IMODE(found["etc"].st_mode) == 0o711
    assert "etc/hostname" not in found


def test_an_image_that_is_not_plain_is_left_to_init(image: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (image / "etc").symlink_to(outside)
    assert stubs(image).keys() == {"proc"}
    assert list(outside.iterdir()) == []
