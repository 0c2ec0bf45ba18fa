"""Containers with user ids of their own, chosen by the daemon: --userns auto."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.api.box import FOREVER, IMAGE, Box
from tests.support.daemon import Daemon

SIZE = 65536
USER = 1000
# As the user and as root, wherever a container can write.
WRITE = """
touch /root/of_root /data/of_root /tmp/t/of_root /kept/of_root /dev/shm/of_root
mkdir /root/of_user
chown 1000:1000 /root/of_user /kept
echo ready
exec sleep 100000
"""
SHOW = """
stat -c '%n %u:%g' /etc/passwd /root/of_root /root/of_user /data/of_user /data/of_root /kept \
    /tmp/t/of_root /dev/null /dev/mynull /etc/hosts
echo x >/dev/mynull && echo written
cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax
cat /proc/sys/net/ipv4/ping_group_range
"""


def create(box: Box, name: str, userns: str = "auto", **host: Any) -> tuple[int, str]:
    """The status of a create request, and its message where it has one."""
    config = {"UsernsMode": userns, "NetworkMode": "none"} | host
    body = {"Image": IMAGE, "Cmd": FOREVER, "HostConfig": config}
    status, answer = box.daemon.request("POST", f"/containers/create?name={name}", body)
    return status, answer.get("message", "")


def created(box: Box, name: str, userns: str = "auto", **host: Any) -> tuple[str, range]:
    """What inspect calls the mode of a new container, and its ids on the host."""
    assert create(box, name, userns, **host) == (201, "")
    return box.inspect(name)["HostConfig"]["UsernsMode"], ids(box, name)


def ids(box: Box, ref: str) -> range:
    """The host's user ids that it has; none where it has all."""
    mappings = box.inspect(ref).get("OrlopIDMappings")
    if mappings is None:
        return range(0)
    assert mappings["UidMap"] == mappings["GidMap"]
    inside, first, size = map(int, mappings["UidMap"][0].split(":"))
    assert inside == 0
    return range(first, first + size)


def apart(*several: range) -> bool:
    in_order = sorted(several, key=lambda one: one.start)
    return all(a.stop <= b.start for a, b in pairwise(in_order))


def owner(path: Path) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_uid, found.st_gid


@pytest.fixture(scope="module")
def folder(built: Box) -> Path:
    """A folder of the host's with a file of the user's; where the daemon's own files are, too."""
    folder = built.daemon.folder / "bound"
    folder.mkdir()
    (folder / "of_user").write_text("from the host\n")
    os.chown(folder / "of_user", USER, USER)
    return folder


@pytest.fixture(scope="module")
def mapped(built: Box, folder: Path) -> Box:
    """The module's box, in which `mapped` runs with a bit of everything."""
    built.start(
        *("--name", "mapped", "--userns", "auto", "-v", f"{folder}:/data", "-v", "vol:/kept"),
        *("--tmpfs", "/tmp/t", "--device", "/dev/null:/dev/mynull", "--network", "none"),
        *("--sysctl", "net.ipv4.ip_unprivileged_port_start=5", "--sysctl", "kernel.msgmax=9000"),
        script=WRITE,
    )
    built.wait_for_log("mapped", "ready")
    return built


@pytest.fixture
def box(mapped: Box) -> Iterator[Box]:
    """The same for one test; what it makes goes, `mapped` stays."""
    yield mapped
    for one in mapped.daemon.request("GET", "/containers/json?all=1")[1]:
        if one["Names"] != ["/mapped"]:
            mapped.daemon.request("DELETE", f"/containers/{one['Id']}?force=1")


def files(tar: bytes) -> dict[str, tuple[int, int]]:
    """Owners of what a tar holds."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as found:
        return {info.name.rstrip("/"): (info.uid, info.gid) for info in found}


PLACES = ("/dev/null", "/dev/mine", "/dev/deep/er/null", "/opt/null", "/dev/shm/null")


@pytest.mark.parametrize("own_dev", [False, True])
def test_devices_are_where_they_were_asked_for(box: Box, own_dev: bool) -> None:
    places = PLACES[1:] if own_dev else PLACES
    devices = [word for place in PLACES[1:] for word in ("--device", f"/dev/null:{place}")]
    dev = ("--tmpfs", "/dev:rw,dev,uid=5,mode=700") if own_dev else ()
    # Written through the nodes and read back: nothing of it is there.
    each = " ".join(places)
    script = (
        f"for n in {each}; do echo x >$n; test -z \"$(cat $n)\"; stat -c '%n %F %u:%g' $n; done;"
        " stat -c '%u %a' /dev; touch /dev/of_root; mknod /dev/new c 1 3 2>/dev/null || echo none"
    )
    told = box.ok("run", "--rm", "--network", "none", *dev, *devices, IMAGE, "sh", "-ec", script)
    *nodes, folder, no_new = told.splitlines()
    assert nodes == [f"{place} character special file 0:0" for place in places]
    assert folder == ("5 700" if own_dev else "0 755")
    assert no_new == "none"


def test_root_is_an_ordinary_user_of_the_host(box: Box) -> None:
    own = ids(box, "mapped")
    assert len(own) == SIZE
    assert user_of(box, "mapped") == own.start
    text = box.ok("exec", "mapped", "sh", "-c", "cat /proc/self/uid_map; id -u")
    assert text.split() == ["0", str(own.start), str(SIZE), "0"]
    assert box.inspect("mapped")["HostConfig"]["UsernsMode"] == "auto"


def test_owners_are_the_same_inside_and_outside(box: Box, folder: Path) -> None:
    root, user = "0:0", f"{USER}:{USER}"
    assert box.ok("exec", "mapped", "sh", "-c", SHOW).splitlines() == [
        f"/etc/passwd {root}",
        f"/root/of_root {root}",
        f"/root/of_user {user}",
        f"/data/of_user {user}",
        f"/data/of_root {root}",
        f"/kept {user}",
        f"/tmp/t/of_root {root}",
        f"/dev/null {root}",
        f"/dev/mynull {root}",
        f"/etc/hosts {root}",
        *("written", "5", "9000", f"0\t{SIZE - 1}"),
    ]
    assert owner(folder / "of_user") == (USER, USER)
    assert owner(folder / "of_root") == (0, 0)
    (volume,) = (m for m in box.inspect("mapped")["Mounts"] if m["Type"] == "volume")
    assert owner(Path(volume["Source"])) == (USER, USER)
    assert owner(Path(volume["Source"]) / "of_root") == (0, 0)


def test_a_terminal_belongs_to_its_user(box: Box) -> None:
    for user in ("0", str(USER)):
        show = "stat -c %u $(tty); echo >$(tty) && echo written"
        said = box.ok("exec", "-t", "--user", user, "mapped", "sh", "-c", show)
        assert said.split() == [user, "written"]


def test_a_session_beside_an_init_that_executes_nothing(box: Box) -> None:
    """Its memory is not the user namespace's, and nobody in there may look into it."""
    box.start("--name", "with_init", "--userns", "auto", "--init", "--network", "none")
    assert box.ok("exec", "with_init", "cat", "/proc/1/comm", "/proc/self/cgroup").startswith(
        "orlop-init"
    )
    inside = box.ok("exec", "with_init", "readlink", "/proc/self/ns/cgroup")
    assert inside == os.readlink(f"/proc/{box.state('with_init')['Pid']}/ns/cgroup")


def test_what_is_copied_keeps_its_owner(box: Box, folder: Path) -> None:
    box.ok("cp", str(folder / "of_user"), "mapped:/root/copied")
    _, tar = box.daemon.request("GET", "/containers/mapped/archive?path=/root")
    found = files(tar)
    assert found["root/copied"] == found["root/of_user"] == (USER, USER)
    assert found["root/of_root"] == (0, 0)


def test_its_layer_is_like_that_of_any_container(box: Box) -> None:
    _, changes = box.daemon.request("GET", "/containers/mapped/changes")
    assert {"Path": "/root/of_user", "Kind": 1} in changes
    _, tar = box.daemon.request("GET", "/containers/mapped/export")
    found = files(tar)
    assert found["root/of_user"] == (USER, USER)
    assert set(found.values()) == {(0, 0), (USER, USER)}
    status, answer = box.daemon.request("POST", "/commit?container=mapped&repo=made")
    assert status == 201, answer
    script = "stat -c %u /root/of_user /root/of_root"
    for mode in ("host", "auto:size=70000"):
        done = box.ok("run", "--rm", "--userns", mode, "made", "sh", "-c", script)
        assert done.split() == [str(USER), "0"]


def test_a_read_only_root(box: Box) -> None:
    done = box.run("--userns", "auto", "--read-only", script="touch /x || mount -o remount,rw /")
    assert done.returncode != 0
    assert "Read-only" in done.stderr


def test_no_two_have_an_id_in_common(box: Box) -> None:
    own = ids(box, "mapped")
    mode, small = created(box, "small", "auto:size=10")
    assert (mode, len(small)) == ("auto:size=10", 10)
    assert apart(own, small, created(box, "other")[1])
    status, message = create(box, "greedy", f"private:{own.stop - 1}:5")
    assert status == 409
    assert "which container mapped has for itself" in message
    assert create(box, "greedy", "auto:size=many")[0] == 400


# A volume that is a folder of the host's, whose mounts cannot be idmapped.
OF_SYS = {
    "Type": "volume",
    "Source": "of_sys",
    "Target": "/s",
    "VolumeOptions": {
        "DriverConfig": {
            "Name": "local",
            "Options": {"type": "none", "o": "bind", "device": "/sys"},
        }
    },
}


@pytest.mark.parametrize(
    "host, flag",
    [
        ({"Privileged": True}, "--privileged"),
        ({"NetworkMode": "host"}, "--network host"),
        ({"Binds": ["/proc:/p"]}, "--volume /proc:/p (proc at /proc)"),
        ({"Mounts": [OF_SYS]}, "--volume /sys:/s (sysfs at /sys)"),
    ],
)
def test_what_excludes_it_is_named(box: Box, host: dict[str, Any], flag: str) -> None:
    status, message = create(box, "wrong", **host)
    assert status == 400
    assert message.startswith(f"--userns auto and {flag}")


LOOK = "cat /dev/shm/of_main /proc/self/uid_map; ps; ip link"


def test_who_joins_has_the_same_ids(box: Box) -> None:
    box.start(
        *("--name", "main", "--userns", "auto", "--ipc", "shareable", "--network", "none"),
        script="echo shared >/dev/shm/of_main; exec sleep 100000",
    )
    own = ids(box, "main")
    flags = [word for kind in ("network", "pid", "ipc") for word in (f"--{kind}", "container:main")]
    seen = box.output("--userns", "auto", *flags, script=LOOK)
    assert seen.split()[:4] == ["shared", "0", str(own.start), str(SIZE)]
    assert "sleep 100000" in seen
    assert "LOOPBACK,UP" in seen
    box.start("--name", "side", "--userns", "auto", "--pid", "container:main", "--network", "none")
    assert box.ok("exec", "side", "sh", "-c", "id -u; kill -0 1 && echo same").split() == [
        *("0", "same")
    ]
    assert user_of(box, "side") == own.start
    # Who has all ids of the host sees its processes, but not its memory.
    box.ok("run", "--rm", "--userns", "host", "--pid", "container:main", IMAGE, "kill", "-0", "1")
    status, message = create(box, "apart", "host", IpcMode="container:main")
    assert (status, message) == (201, "")
    status, answer = box.daemon.request("POST", "/containers/apart/start")
    assert (status, "user namespace of its own" in answer["message"]) == (400, True)
    # Nor can one be in two user namespaces.
    both = {"NetworkMode": "container:main", "PidMode": "container:mapped"}
    status, message = create(box, "torn", **both)
    assert status == 400
    assert "which has not the same user ids" in message


def test_as_the_default(new_daemon: Callable[..., Daemon]) -> None:
    pool = range(2_000_000_000, 2_000_000_000 + 2 * SIZE)
    daemon = new_daemon("--userns-pool", f"{pool.start}:{len(pool)}")
    box = Box(daemon)
    box.build()
    assert "name=userns" in daemon.request("GET", "/info")[1]["SecurityOptions"]
    box.start("--name", "web", "--network", "none")
    assert user_of(box, "web") == pool.start
    assert box.inspect("web")["HostConfig"]["UsernsMode"] == "auto"
    # What cannot be has the host's, and says so.
    host = ("host", range(0))
    impossible: tuple[dict[str, Any], ...] = (
        *({"Privileged": True}, {"PidMode": "host"}, {"CapAdd": ["SYS_ADMIN"]}),
        *({"Binds": ["/sys:/s"]}, {"DeviceCgroupRules": ["c 1:3 rwm"]}),
        {"Mounts": [OF_SYS]},
    )
    for number, options in enumerate(impossible):
        assert created(box, f"h{number}", "", **options) == host
    assert created(box, "asked", "host") == host
    # Who joins has the same ids, and needs none of its own.
    seen = box.output("--network", "container:web", "--pid", "container:web", script="ps; ip link")
    assert "sleep 100000" in seen
    assert "LOOPBACK,UP" in seen
    # Ids stay a container's own, whatever happens to it or to the daemon.
    assert created(box, "second", "") == ("auto", pool[SIZE:])
    daemon.request("DELETE", "/containers/h0")
    daemon.kill()
    daemon.start()
    status, message = create(box, "third", "")
    assert status == 409
    assert "2 containers have ranges" in message
    assert "--userns-pool" in message
    assert daemon.request("POST", "/containers/web/update", {"CpuShares": 200})[0] == 200
    assert daemon.request("POST", "/containers/web/restart?t=0")[0] == 204
    assert user_of(box, "web") == pool.start
    daemon.request("DELETE", "/containers/second")
    assert created(box, "third", "")[1] == pool[SIZE:]


def user_of(box: Box, ref: str) -> int:
    """The host's user that its first process runs as."""
    return os.stat(f"/proc/{box.state(ref)['Pid']}").st_uid
