"""Volumes and mounts of a running daemon: orlop, the stock docker command, and the API."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from supervisor.kernel import mounts
from tests.api.box import IMAGE, Box, one_line
from tests.support.daemon import Daemon
from tests.support.pace import limit

ANONYMOUS = re.compile(r"[0-9a-f]{64}")


@pytest.fixture(scope="module")
def stocked(built: Box, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image's programs with content at /data and /empty, as a folder to run from."""
    folder = tmp_path_factory.mktemp("rootfs")
    script = (
        "cp -a /bin /r/; mkdir -p /r/data/sub /r/etc /r/empty /r/tmp; echo image >/r/data/file;"
        "chown 7:8 /r/data; chmod 2775 /r/data; chown 9:9 /r/empty; chmod 1777 /r/empty;"
        "ln -s /etc/passwd /r/data/link; ln -s /host /r/way; echo x >/r/plain"
    )
    folder.chmod(0o755)
    built.output("-v", f"{folder}:/r", script=script)
    return str(folder)


@pytest.fixture
def volumes(box: Box) -> Iterator[Callable[[], list[str]]]:
    """The names of all volumes, which are removed after the test."""

    def names() -> list[str]:
        return box.ok("volume", "ls", "-q").split()

    yield names
    box.remove_all()
    for name in names():
        box.ok("volume", "rm", name)


def api(daemon: Daemon, method: str, path: str, body: object = None) -> Any:
    status, answer = daemon.request(method, path, body)
    assert status < 300, (status, answer)
    return answer


def filters(**values: str) -> str:
    return quote(json.dumps({name: [value] for name, value in values.items()}))


def mount_of(box: Box, ref: str, destination: str) -> dict[str, Any]:
    found = [m for m in box.inspect(ref)["Mounts"] if m["Destination"] == destination]
    assert len(found) == 1, box.inspect(ref)["Mounts"]
    return dict(found[0])


# --- volumes by name ------------------------------------------------------------------------


def test_create_list_inspect_remove(box: Box, volumes: Callable[[], list[str]]) -> None:
    assert box.ok("volume", "create", "--label", "k=v", "data1") == "data1"
    assert box.ok("volume", "create", "data1") == "data1"
    assert box.ok("volume", "ls") == "DRIVER    VOLUME NAME\nlocal     data1"
    (view,) = json.loads(box.ok("volume", "inspect", "data1"))
    assert view.pop("CreatedAt").endswith("Z")
    folder = box.daemon.data_root / "volumes/data1"
    assert view == {
        "Driver": "local",
        "Labels": {"k": "v"},
        "Mountpoint": f"{folder}/_data",
        "Name": "data1",
        "Options": None,
        "Scope": "local",
    }
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert box.ok("volume", "inspect", "-f", "{{.Labels.k}}", "data1") == "v"
    assert box.ok("volume", "ls", "--format", '{{.Name}} {{.Label "k"}}') == "data1 v"
    assert box.ok("inspect", "--format", "{{.Scope}}", "data1") == "local"
    assert box.ok("volume", "rm", "data1") == "data1"
    assert not folder.exists()
    gone = box.orlop("volume", "rm", "data1")
    assert gone.returncode == 1
    assert one_line(gone.stderr) == ("orlop: Error response from daemon: get data1: no such volume")
    assert box.ok("volume", "rm", "-f", "data1") == "data1"
    missing = box.orlop("volume", "inspect", "data1")
    assert (missing.returncode, missing.stdout) == (1, "[]\n")
    assert "get data1: no such volume" in one_line(missing.stderr)


def test_a_volume_without_a_name_gets_one(box: Box, volumes: Callable[[], list[str]]) -> None:
    name = box.ok("volume", "create")
    assert ANONYMOUS.fullmatch(name)
    (view,) = json.loads(box.ok("volume", "inspect", name))
    assert view["Labels"] == {"com.docker.volume.anonymous": ""}


@pytest.mark.parametrize(
    "words, said",
    [
        (("a",), "create a: volume name is too short"),
        (("a/b",), '"a/b" includes invalid characters for a local volume name'),
        (("..",), "includes invalid characters"),
        (("-d", "nfs", "ab"), "volume driver 'nfs' not found"),
        (("-o", "type=nfs", "-o", "device=:/x", "ab"), "mount it yourself"),
        (("-o", "size=1g", "ab"), 'invalid option: "size"'),
    ],
)
def test_refused_creations(box: Box, words: tuple[str, ...], said: str) -> None:
    done = box.orlop("volume", "create", *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in one_line(done.stderr)
    assert box.ok("volume", "ls", "-q") == ""


def test_what_is_written_stays(box: Box, volumes: Callable[[], list[str]]) -> None:
    box.output("-v", "kept:/v", script="echo one >/v/file")
    assert box.output("-v", "kept:/elsewhere:ro", script="cat /elsewhere/file") == "one"
    done = box.run("-v", "kept:/v:ro", script="echo two >/v/file")
    assert "Read-only file system" in done.stderr
    assert volumes() == ["kept"]


def test_a_volume_in_use_is_not_removed(box: Box, volumes: Callable[[], list[str]]) -> None:
    one = box.ok("create", "-v", "used:/v", IMAGE, "true")
    done = box.orlop("volume", "rm", "-f", "used")
    assert done.returncode == 1
    assert one_line(done.stderr).endswith(f"remove used: volume is in use - [{one}]")
    status, answer = box.daemon.request("DELETE", "/volumes/used")
    assert (status, answer["message"]) == (409, f"remove used: volume is in use - [{one}]")
    box.ok("rm", one)
    box.ok("volume", "rm", "used")


def test_filters(box: Box, volumes: Callable[[], list[str]]) -> None:
    for name in ("one", "two", "other"):
        box.ok("volume", "create", "--label", f"n={name}", name)
    box.ok("create", "-v", "one:/v", IMAGE, "true")

    def shown(*words: str) -> list[str]:
        return box.ok("volume", "ls", "-q", *(w for f in words for w in ("-f", f))).split()

    assert shown("dangling=true") == ["other", "two"]
    assert shown("dangling=false") == ["one"]
    assert shown("label=n=two") == ["two"]
    assert shown("name=o") == ["one", "other", "two"]
    assert shown("name=one", "driver=local") == ["one"]
    assert box.orlop("volume", "ls", "-f", "size=1").returncode == 1
    assert box.ok("ps", "-aq", "--no-trunc", "--filter", "volume=one")


def test_events(box: Box, volumes: Callable[[], list[str]]) -> None:
    it = box.ok("create", "-v", "told:/v:ro", IMAGE, "true")
    box.ok("start", it)
    box.wait_for(it, "exited")
    box.ok("rm", it)
    box.ok("volume", "rm", "told")
    lines = box.ok(
        "events",
        "--since",
        "0",
        "--until",
        "0s",
        "--filter",
        "type=volume",
        "--format",
        "{{json .}}",
    )
    found = [e for e in map(json.loads, lines.splitlines()) if e["Actor"]["ID"] == "told"]
    assert [event["Action"] for event in found] == ["create", "mount", "unmount", "destroy"]
    assert found[1]["Actor"]["Attributes"] == {
        "container": it,
        "destination": "/v",
        "driver": "local",
        "propagation": "",
        "read/write": "false",
    }


# --- anonymous volumes ------------------------------------------------------------------------


def test_rm_leaves_anonymous_volumes_and_rm_v_takes_them(
    box: Box, volumes: Callable[[], list[str]]
) -> None:
    one = box.ok("create", "-v", "/a", "-v", "named:/n", IMAGE, "true")
    name = mount_of(box, one, "/a")["Name"]
    box.ok("rm", one)
    assert volumes() == [name, "named"]
    two = box.ok("create", "-v", "/a", "-v", "named:/n", IMAGE, "true")
    other = mount_of(box, two, "/a")["Name"]
    assert other != name
    box.ok("rm", "-v", two)
    assert volumes() == [name, "named"]


def test_run_rm_takes_them(box: Box, volumes: Callable[[], list[str]]) -> None:
    assert box.output("-v", "/a", "-v", "named:/n", script="touch /a/x; ls /a") == "x"
    assert volumes() == ["named"]


def test_volumes_of_the_request_are_anonymous(box: Box, volumes: Callable[[], list[str]]) -> None:
    body = {"Image": IMAGE, "Cmd": ["true"], "Volumes": {"/a/": {}}}
    it = api(box.daemon, "POST", "/containers/create", body)["Id"]
    assert box.inspect(it)["Config"]["Volumes"] == {"/a/": {}}
    shown = mount_of(box, it, "/a")
    assert ANONYMOUS.fullmatch(shown.pop("Name"))
    assert shown.pop("Source").endswith("/_data")
    assert shown == {
        "Type": "volume",
        "Destination": "/a",
        "Driver": "local",
        "Mode": "",
        "RW": True,
        "Propagation": "",
    }


def test_prune(box: Box, volumes: Callable[[], list[str]]) -> None:
    box.ok("volume", "create", "named")
    box.ok("volume", "create", "--label", "keep=", "labelled")
    nameless = box.ok("volume", "create")
    Path(box.daemon.data_root, "volumes", nameless, "_data/big").write_bytes(b"x" * 100_000)
    box.ok("create", "-v", "used:/v", "-v", "/a", IMAGE, "true")
    before = volumes()
    refused = box.orlop("volume", "prune", input="n\n")
    assert "remove anonymous local volumes not used by at least one container" in refused.stdout
    assert volumes() == before
    text = box.ok("volume", "prune", input="y\n")
    assert f"Deleted Volumes:\n{nameless}\n\nTotal reclaimed space: " in text
    assert "0B" not in text
    assert set(before) - set(volumes()) == {nameless}
    box.ok("volume", "prune", "-af", "--filter", "label!=keep")
    assert "named" not in volumes()
    assert "labelled" in volumes()
    assert box.ok("volume", "prune", "-f") == "Total reclaimed space: 0B"


# --- filling ----------------------------------------------------------------------------------


def run_from(box: Box, rootfs: str, *flags: str, script: str) -> str:
    return box.ok("run", "--rm", "--rootfs", rootfs, *flags, "sh", "-c", script)


def test_a_new_volume_gets_the_images_content(
    box: Box, stocked: str, volumes: Callable[[], list[str]]
) -> None:
    script = (
        "cat /data/file; ls -ld /data | cut -c1-10; stat -c '%u %g %a' /data; readlink /data/link"
    )
    expected = "image\ndrwxrwsr-x\n7 8 2775\n/etc/passwd"
    assert run_from(box, stocked, "-v", "filled:/data", script=script) == expected
    assert run_from(box, stocked, "-v", "/data", script=script) == expected
    assert run_from(box, stocked, "--mount", "src=mounted,dst=/data", script=script) == expected
    assert run_from(box, stocked, "-v", "owned:/empty", script="stat -c '%u %a' /empty") == "9 1777"
    for flags in (("-v", "no1:/data:nocopy"), ("--mount", "src=no2,dst=/data,volume-nocopy")):
        assert run_from(box, stocked, *flags, script="ls -A /data; stat -c %u /data") == "0"


def test_only_an_empty_volume_is_filled(
    box: Box, stocked: str, volumes: Callable[[], list[str]]
) -> None:
    run_from(box, stocked, "-v", "v1:/data", script="rm -r /data/* && echo mine >/data/file")
    assert (
        run_from(box, stocked, "-v", "v1:/data", script="cat /data/file; ls /data") == "mine\nfile"
    )


def test_a_file_of_the_image_is_in_the_way(
    box: Box, stocked: str, volumes: Callable[[], list[str]]
) -> None:
    done = box.orlop("create", "--rootfs", stocked, "-v", "v1:/plain", "-v", "/more", "true")
    assert done.returncode == 1
    assert "cannot mount volume over existing file, file exists /plain" in one_line(done.stderr)
    assert (volumes(), box.ids()) == ([], [])


def test_nothing_of_the_host_gets_in(
    box: Box, stocked: str, volumes: Callable[[], list[str]], tmp_path: Path
) -> None:
    """The image's /way is a link to /host, which only the host has."""
    for path in ("/way", "/data/../way", f"/../../..{tmp_path}"):
        assert run_from(box, stocked, "-v", path, script=f"ls -A {path}") == ""


def test_containers_that_come_at_once_fill_it_once(
    box: Box, stocked: str, volumes: Callable[[], list[str]]
) -> None:
    def run(_: int) -> str:
        return run_from(
            box, stocked, "-v", "shared:/data", script="cat /data/file; ls /data | wc -l"
        )

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(run, range(6))) == {"image\n3"}
    folder = box.daemon.data_root / "volumes/shared"
    assert sorted(os.listdir(folder)) == ["_data"]
    assert sorted(os.listdir(folder / "_data")) == ["file", "link", "sub"]


# --- mounts -----------------------------------------------------------------------------------


def test_inspect_shows_docker_shapes(
    box: Box, volumes: Callable[[], list[str]], tmp_path: Path
) -> None:
    it = box.ok(
        *("create", "-v", "data1:/data", "-v", f"{tmp_path}:/b:ro,rslave"),
        *("--mount", "src=data1,dst=/part,ro,volume-subpath=sub"),
        *("--mount", "type=tmpfs,dst=/t,tmpfs-size=1m", IMAGE, "true"),
    )
    source = f"{box.daemon.data_root}/volumes/data1/_data"
    assert box.inspect(it)["Mounts"] == [
        {
            "Type": "volume",
            "Name": "data1",
            "Source": source,
            "Destination": "/data",
            "Driver": "local",
            "Mode": "z",
            "RW": True,
            "Propagation": "",
        },
        {
            "Type": "bind",
            "Source": str(tmp_path),
            "Destination": "/b",
            "Mode": "ro,rslave",
            "RW": False,
            "Propagation": "rslave",
        },
        {
            "Type": "volume",
            "Name": "data1",
            "Source": source,
            "Destination": "/part",
            "Driver": "local",
            "Mode": "z",
            "RW": False,
            "Propagation": "",
        },
        {
            "Type": "tmpfs",
            "Source": "",
            "Destination": "/t",
            "Mode": "",
            "RW": True,
            "Propagation": "",
        },
    ]
    host = box.inspect(it)["HostConfig"]
    assert host["Binds"] == ["data1:/data", f"{tmp_path}:/b:ro,rslave"]
    assert host["Mounts"][0] == {
        "Type": "volume",
        "Source": "data1",
        "Target": "/part",
        "ReadOnly": True,
        "VolumeOptions": {"Subpath": "sub"},
    }


def test_v_makes_a_missing_source_and_mount_does_not(box: Box, tmp_path: Path) -> None:
    missing = tmp_path / "a/b"
    it = box.ok("create", "-v", f"{missing}:/b", IMAGE, "touch", "/b/x")
    assert not missing.exists()
    box.ok("start", "-a", it)
    assert (missing / "x").exists()
    for folder in (missing, missing.parent):
        status = folder.stat()
        assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 0o755)
    other = tmp_path / "c"
    done = box.run("--mount", f"type=bind,src={other},dst=/b", script="true")
    assert done.returncode == 125
    assert f"bind source path does not exist: {other}" in one_line(done.stderr)
    assert not other.exists()
    box.output("--mount", f"type=bind,src={other},dst=/b,bind-create-src", script="true")
    assert other.is_dir()


def test_a_read_only_root_with_writable_parts(
    box: Box, volumes: Callable[[], list[str]], tmp_path: Path
) -> None:
    script = "for f in /f /etc/f /v/f /b/f /t/f /etc/hosts; do echo >>$f && echo $f; done"
    flags = ("--read-only", "-v", "part:/v", "-v", f"{tmp_path}:/b", "--tmpfs", "/t")
    assert box.run(*flags, script=script).stdout.split() == ["/v/f", "/b/f", "/t/f"]


def test_read_only_reaches_mounts_below(box: Box, tmp_path: Path) -> None:
    below = tmp_path / "below"
    below.mkdir()
    mounts.mount("tmpfs", str(below), "tmpfs", 0, None)
    try:
        write = "touch /b/below/x && echo written; touch /b/y"
        assert box.run("-v", f"{tmp_path}:/b:ro", script=write).stdout == ""
        flags = ("--mount", f"type=bind,src={tmp_path},dst=/b,ro,bind-recursive=writable")
        done = box.run(*flags, script=write)
        assert (done.stdout, "Read-only" in done.stderr) == ("written\n", True)
        flags = ("--mount", f"type=bind,src={tmp_path},dst=/b,bind-nonrecursive")
        assert box.run(*flags, script="touch /b/below/z").returncode == 0
    finally:
        mounts.umount(str(below), mounts.MNT_DETACH)
    assert (below / "z").exists()


def test_tmpfs_options_are_the_kernels(box: Box) -> None:
    line = box.output(
        *("--tmpfs", "/t:size=64k,mode=1700,noexec,nosuid,nodev"),
        *("--mount", "type=tmpfs,dst=/m,tmpfs-size=1m,tmpfs-mode=700,tmpfs-options=exec"),
        script="grep -E ' /(t|m) ' /proc/self/mountinfo",
    )
    found = {
        words[4]: (words[5].split(","), words[-1].split(","))
        for words in map(str.split, line.splitlines())
    }
    flags, data = found["/t"]
    assert {"nosuid", "nodev", "noexec"} <= set(flags)
    assert {"size=64k", "mode=1700"} <= set(data)
    flags, data = found["/m"]
    assert {"nosuid", "nodev"} <= set(flags)
    assert "noexec" not in flags
    assert {"size=1024k", "mode=700"} <= set(data)


def test_deeper_mounts_come_later(
    box: Box, volumes: Callable[[], list[str]], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("bound\n")
    flags = ("-v", f"{tmp_path}/file:/v/deep/file", "--tmpfs", "/v/deep", "-v", "outer:/v")
    script = "cat /v/deep/file; ls /v; df /v/deep | tail -1 | cut -d' ' -f1"
    assert box.output(*flags, script=script) == "bound\ndeep\ntmpfs"


def test_volumes_from(box: Box, volumes: Callable[[], list[str]], tmp_path: Path) -> None:
    (tmp_path / "host").touch()
    first = box.start("-v", "/a", "-v", "named:/n", "-v", f"{tmp_path}:/b:ro")
    box.ok("exec", first, "sh", "-c", "echo 1 >/a/x; echo 2 >/n/x")
    script = (
        "cat /a/x /n/x; ls /b; touch /n/y 2>/dev/null && echo wrote; touch /b/y 2>/dev/null; true"
    )
    assert box.output("--volumes-from", first, script=script) == "1\n2\nhost\nwrote"
    assert box.output("--volumes-from", f"{first}:ro", script=script) == "1\n2\nhost"
    # --rm takes no volume along that another container has.
    assert len(volumes()) == 2
    box.ok("rm", "-fv", first)
    assert volumes() == ["named"]
    assert (
        box.output("-v", "v2:/n", "-v", "named:/old", script="ls /n /old") == "/n:\n\n/old:\nx\ny"
    )


def test_a_part_of_a_volume(box: Box, volumes: Callable[[], list[str]]) -> None:
    box.output("-v", "v1:/v", script="mkdir -p /v/a/b; echo part >/v/a/b/f; ln -s /etc /v/out")
    flags = ("--mount", "src=v1,dst=/p,volume-subpath=a/b")
    assert box.output(*flags, script="cat /p/f; ls /p") == "part\nf"
    for subpath in ("out", "missing"):
        done = box.run("--mount", f"src=v1,dst=/p,volume-subpath={subpath}", script="ls /p")
        assert done.returncode in (125, 127)  # as docker reads "no such file or directory"
        assert f"v1/_data/{subpath}" in one_line(done.stderr)


@pytest.mark.parametrize("path", ["/", "/proc", "/sys", "/proc/sys", "/x/../proc"])
def test_nothing_goes_over_proc_sys_and_root(box: Box, path: str) -> None:
    bodies: list[dict[str, Any]] = [
        {"Volumes": {path: {}}},
        {"HostConfig": {"Binds": [f"/srv:{path}"]}},
        {"HostConfig": {"Mounts": [{"Type": "volume", "Source": "v1", "Target": path}]}},
        {"HostConfig": {"Tmpfs": {path: ""}}},
    ]
    for body in bodies:
        status, answer = box.daemon.request(
            "POST", "/containers/create", {"Image": IMAGE, "Cmd": ["true"], **body}
        )
        assert status == 400, answer
    assert box.ok("volume", "ls", "-q") == ""


def test_an_update_leaves_the_mounts(box: Box, volumes: Callable[[], list[str]]) -> None:
    it = box.start("-v", "v1:/v", "--tmpfs", "/t", "-v", "/a")
    box.ok("exec", it, "touch", "/v/x", "/a/y")
    shown = box.inspect(it)["Mounts"]
    box.ok("update", "--memory", "64m", "--memory-swap", "-1", it)
    box.ok("restart", "-t", "0", it)
    script = "ls /v /a; grep -c ' /t tmpfs ' /proc/mounts"
    assert box.ok("exec", it, "sh", "-c", script) == "/a:\ny\n\n/v:\nx\n1"
    assert box.inspect(it)["Mounts"] == shown


# --- volumes of other kinds -------------------------------------------------------------------


def test_a_volume_in_memory(box: Box, volumes: Callable[[], list[str]]) -> None:
    box.ok("volume", "create", *("-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m"), "vt")
    (view,) = json.loads(box.ok("volume", "inspect", "vt"))
    assert view["Options"] == {"device": "tmpfs", "o": "size=1m", "type": "tmpfs"}
    it = box.start("-v", "vt:/v")
    assert "size=1024k" in box.ok("exec", it, "grep", " /v ", "/proc/mounts")
    box.ok("exec", it, "touch", "/v/x")
    done = box.run("-v", "vt:/v", script="true")
    assert done.returncode == 125
    assert "only one running container at a time" in one_line(done.stderr)
    box.ok("rm", "-f", it)
    assert box.output("-v", "vt:/v", script="ls /v") == ""


def test_a_volume_that_is_a_folder_of_the_host(
    box: Box, volumes: Callable[[], list[str]], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("host's")
    options = ("-o", "type=none", "-o", "o=bind", "-o", f"device={tmp_path}")
    box.ok("volume", "create", *options, "vb")
    assert box.output("-v", "vb:/v", script="cat /v/file; touch /v/new") == "host's"
    assert (tmp_path / "new").exists()
    box.ok("volume", "rm", "vb")
    assert (tmp_path / "file").exists()


# --- /etc/hosts, /etc/hostname, /etc/resolv.conf -------------------------------------------------


def test_files_in_etc(box: Box) -> None:
    it = box.start("--hostname", "web", "--add-host", "db:10.0.0.3", "--dns", "10.1.1.1")
    hosts = box.ok("exec", it, "cat", "/etc/hosts").splitlines()
    assert hosts[0] == "127.0.0.1\tlocalhost"
    assert hosts[-2:] == ["10.0.0.3\tdb", "127.0.0.1\tweb"]
    assert box.ok("exec", it, "cat", "/etc/hostname") == "web"
    assert box.ok("exec", it, "cat", "/etc/resolv.conf").splitlines()[0] == "nameserver 10.1.1.1"
    assert box.ok("exec", it, "ping", "-c1", "-W1", "web")
    view = box.inspect(it)
    assert Path(view["HostsPath"]).read_text().splitlines() == hosts
    assert Path(view["HostnamePath"]).read_text() == "web\n"
    # The container's own to change, until its next start.
    box.ok("exec", it, "sh", "-c", "echo 10.0.0.9 more >>/etc/hosts")
    box.ok("restart", "-t", "0", it)
    assert box.ok("exec", it, "cat", "/etc/hosts").splitlines() == hosts


def test_files_in_etc_of_the_hosts_network(box: Box) -> None:
    for name in ("hosts", "hostname"):
        text = box.output("--net", "host", script=f"cat /etc/{name}")
        expected = (
            os.uname().nodename if name == "hostname" else Path("/etc/hosts").read_text().strip()
        )
        assert text == expected


def test_the_users_own_file_wins(box: Box, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("mine\n")
    assert box.output("-v", f"{tmp_path}/hosts:/etc/hosts", script="cat /etc/hosts") == "mine"


def test_nothing_of_them_is_in_the_writable_layer(box: Box) -> None:
    it = box.start("--hostname", "web")
    upper = Path(box.inspect(it)["GraphDriver"]["Data"]["UpperDir"])
    for path in upper.rglob("*"):
        assert path.is_dir() or path.stat().st_size == 0, path
    lower = Path(box.inspect(it)["GraphDriver"]["Data"]["LowerDir"])
    assert (upper / "etc").stat().st_mtime_ns == (lower / "etc").stat().st_mtime_ns


# --- other clients, restarts ---------------------------------------------------------------------


def test_the_stock_docker_command(box: Box, volumes: Callable[[], list[str]]) -> None:
    def ok(*arguments: str) -> str:
        done = box.daemon.docker(*arguments)
        assert done.returncode == 0, done
        return str(done.stdout).strip()

    assert ok("volume", "create", "--label", "k=v", "dv") == "dv"
    assert ok("volume", "ls", "-q", "--filter", "label=k") == "dv"
    assert json.loads(ok("volume", "inspect", "dv"))[0]["Labels"] == {"k": "v"}
    mount = "type=volume,src=dv,dst=/m,volume-label=x=y"
    assert ok("run", "--rm", "-v", "dv:/v", "--mount", mount, "-v", "/a", IMAGE, "sh", "-c",
              "echo hi >/v/f; cat /m/f") == "hi"  # fmt: skip
    it = ok("create", "--name", "dc", "-v", "dv:/v", "-v", "/a", "--tmpfs", "/t:size=1m", IMAGE)
    assert ok("inspect", "--format", "{{range .Mounts}}{{.Destination}} {{end}}", it) == "/v /a"
    refused = box.daemon.docker("volume", "rm", "dv")
    assert refused.returncode == 1
    assert f"remove dv: volume is in use - [{it}]" in refused.stderr
    assert ok("run", "--rm", "--volumes-from", "dc", "--add-host", "a:1.2.3.4", IMAGE, "cat",
              "/v/f") == "hi"  # fmt: skip
    ok("rm", "-v", "dc")
    assert volumes() == ["dv"]
    assert "dv" in ok("volume", "prune", "-f")


def test_volumes_survive_the_daemon(new_box: Box) -> None:
    box, daemon = new_box, new_box.daemon
    box.output("-v", "kept:/v", script="echo 1 >/v/f")
    it = box.start("-v", "kept:/v", "-v", "/a")
    box.ok("exec", it, "touch", "/a/x")
    shown = box.inspect(it)["Mounts"]
    daemon.kill()
    daemon.start()
    assert box.inspect(it)["Mounts"] == shown
    assert box.ok("exec", it, "sh", "-c", "cat /v/f; ls /a") == "1\nx"
    assert box.orlop("volume", "rm", "kept").returncode == 1
    box.ok("rm", "-fv", it)
    assert box.ok("volume", "ls", "-q") == "kept"
    # The records are lost with the database; what is in the volumes is not.
    daemon.stop()
    for file in daemon.data_root.glob("orlop.db*"):
        file.unlink()
    daemon.start()
    assert box.ok("volume", "ls", "-q") == "kept"
    assert (daemon.data_root / "volumes/kept/_data/f").read_text() == "1\n"


def test_a_kill_while_volumes_are_made_leaves_none_half_made(new_box: Box, stocked: str) -> None:
    box, daemon = new_box, new_box.daemon
    body = {
        "Cmd": ["true"],
        "Volumes": {"/data": {}, "/empty": {}},
        "HostConfig": {"OrlopRootfs": stocked, "Binds": ["named:/data/sub"]},
    }
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            futures = [
                pool.submit(daemon.request, "POST", "/containers/create", body) for _ in range(8)
            ]
            wait(futures, limit(10), FIRST_COMPLETED)
            daemon.kill()
            for future in futures:
                future.exception()
            daemon.start()
    names = box.ok("volume", "ls", "-q").split()
    used = {m["Name"] for it in box.ids() for m in box.inspect(it)["Mounts"]}
    assert used <= set(names)
    for name in names:
        folder = daemon.data_root / "volumes" / name
        assert os.listdir(folder) == ["_data"]
        content = sorted(os.listdir(folder / "_data"))
        assert content in ([], ["file", "link", "sub"]), name
    box.remove_all()
    box.ok("volume", "prune", "-af")
    assert list((daemon.data_root / "volumes").iterdir()) == []
