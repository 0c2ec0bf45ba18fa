"""Layers, origins of paths and the whole illusion, of real containers."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.api.box import Box, eventually, one_line
from tests.support.image_tars import Made, docker_archive, file, layer, opaque, whiteout

CHANGES = "echo new > /etc/new; echo more >> /etc/passwd; rm /bin/vi; mkdir /only; touch /ready"


@pytest.fixture
def web(box: Box, short_folder: Path) -> str:
    """A running container that has changed files and mounts some."""
    (short_folder / "data").mkdir()
    (short_folder / "data/file").write_text("of the host")
    (short_folder / "data/link").symlink_to("/etc/passwd")
    mounts = ("-v", f"{short_folder}/data:/data:ro", "-v", "vol:/vol", "--tmpfs", "/scratch")
    box.start("--name", "web", *mounts, "--hostname", "inside", script=f"{CHANGES}; sleep 100000")
    eventually(lambda: box.orlop("exec", "web", "test", "-e", "/ready").returncode == 0)
    return "web"


def ask(box: Box, what: str, **query: str) -> Any:
    status, answer = box.daemon.request("GET", f"/orlop/{what}?{urlencode(query)}")
    assert status == 200, answer
    return answer


def whence(box: Box, ref: str, path: str) -> Any:
    return ask(box, "whence", ref=ref, path=path)


# --- layers -----------------------------------------------------------------------------------


def test_the_stack_of_a_container_and_of_its_image(box: Box, web: str) -> None:
    other = box.ok("create", "--name", "other", "box")
    stack = ask(box, "layers", ref=web)
    (layer,) = stack["layers"]
    image = box.inspect(web)["Image"]
    _, view = box.daemon.request("GET", f"/images/{image}/json")
    assert [layer["diff_id"]] == view["RootFS"]["Layers"]
    assert layer["size"] == stack["size"] == view["Size"]
    assert "scratch" in layer["instruction"]
    assert (layer["images"], layer["containers"]) == (["box:latest"], [web, "other"])
    assert Path(layer["folder"], "bin/busybox").exists()
    assert stack["writable"]["size"] > 0
    assert Path(stack["writable"]["folder"], "only").is_dir()
    of_image = ask(box, "layers", ref="box")
    assert (of_image["kind"], of_image["writable"]) == ("image", None)
    assert of_image["layers"] == stack["layers"]
    drawn = box.ok("layers", other)
    assert "also of images box:latest; containers web" in drawn


def test_the_stack_of_a_folder(box: Box, short_folder: Path) -> None:
    (short_folder / "tree").mkdir()
    box.ok("create", "--name", "bare", "--rootfs", str(short_folder / "tree"), "/bin/sh")
    stack = ask(box, "layers", ref="bare")
    assert [layer["folder"] for layer in stack["layers"]] == [str(short_folder / "tree")]
    assert "a folder of this host" in box.ok("layers", "bare")
    (short_folder / "tree/file").write_text("x")
    assert "the folder" in whence(box, "bare", "/file")["words"]


# --- whence -----------------------------------------------------------------------------------


def test_what_a_container_changed(box: Box, web: str) -> None:
    for at_rest in (False, True):
        if at_rest:
            box.ok("stop", "-t", "0", web)
        passwd = whence(box, web, "/etc/passwd")
        assert (passwd["layer"], passwd["copied_up"]) == ("writable", True)
        assert [row["state"] for row in passwd["layers"]] == ["shown", "hidden"]
        assert "copied up from layer 1" in passwd["words"]
        new = whence(box, web, "/etc/new")
        assert (new["layer"], new["copied_up"], new["file"]["size"]) == ("writable", False, 4)
        gone = whence(box, web, "/bin/vi")
        assert (gone["exists"], gone["stopped"]) == (False, "/bin/vi")
        assert gone["words"].startswith("deleted at /bin/vi by the writable layer; layer 1")
        shell = whence(box, web, "/bin/sh")
        assert (shell["path"], shell["layer"]) == ("/bin/busybox", 1)
        assert [step["path"] for step in shell["steps"]] == ["/bin/sh"]
        assert "merged from the writable layer and layer 1" in whence(box, web, "/etc")["words"]
        assert whence(box, web, "/only")["words"] == "a directory of the writable layer"
        assert whence(box, web, "/no/such")["words"] == "no layer has it"


def test_the_mounts_of_a_container(box: Box, web: str, short_folder: Path) -> None:
    for at_rest in (False, True):
        if at_rest:
            box.ok("stop", "-t", "0", web)
        found = whence(box, web, "/data/file")
        assert (found["exists"], found["layer"]) == (True, None)
        assert (found["mount"]["point"], found["mount"]["kind"]) == ("/data", "bind")
        assert found["words"] == f"from the mount at /data: {short_folder}/data of the host"
        linked = whence(box, web, "/data/link")
        assert (linked["path"], linked["layer"]) == ("/etc/passwd", "writable")
        assert linked["steps"][0]["mount"]["point"] == "/data"
        assert whence(box, web, "/vol")["mount"]["why"] == "the volume vol"
        assert whence(box, web, "/vol/no")["exists"] is False
        assert whence(box, web, "/etc/hosts")["mount"]["kind"] == "provided"
        assert whence(box, web, "/proc")["mount"]["kind"] == "kernel"
    assert whence(box, web, "/proc/1/exe")["exists"] is None
    assert whence(box, web, "/scratch/x")["exists"] is None


def test_links_of_the_kernel_are_not_followed(box: Box, web: str) -> None:
    for path in ("/proc/1/root/etc/shadow", "/proc/self/cwd/x", "/dev/fd/0"):
        found = whence(box, web, path)
        assert (found["exists"], found["problem"]) == (None, "magic link")
    assert "a link that the kernel follows by itself" in whence(box, web, "/proc/1/exe")["words"]


def test_whence_of_an_image_and_on_the_command_line(box: Box, web: str) -> None:
    assert whence(box, "box", "/bin/vi")["layer"] == 1
    assert "copied up" in box.ok("whence", web, "/etc/passwd")
    assert "-> /bin/busybox" in box.ok("whence", "-P", "box", "/bin/sh")
    missing = box.orlop("whence", web, "/nope")
    assert (missing.returncode, missing.stderr) == (1, "")
    assert json.loads(box.ok("whence", "--json", web, "/etc/new"))["layer"] == "writable"


def test_whence_is_the_container_s_own_view(box: Box, web: str) -> None:
    """Every file of a few folders: what `whence` says is what a shell inside finds."""
    script = "for f in /etc/* /bin/v* /bin/s* /only /data/*; do test -e $f && realpath $f; done"
    inside = box.ok("exec", web, "sh", "-c", script).split()
    assert len(inside) > 10
    for path in inside:
        found = whence(box, web, path)
        assert (found["exists"], found["path"]) == (True, path)


def test_a_hostile_tree_is_not_left(box: Box) -> None:
    script = (
        "ln -s ../../../../../../../../etc/hostname /out; ln -s / /up; touch /ready; sleep 1000"
    )
    box.start("--name", "evil", script=script)
    eventually(lambda: box.orlop("exec", "evil", "test", "-e", "/ready").returncode == 0)
    for path in ("/out", "/up/../../etc/hostname", "/../../../etc/hostname"):
        found = whence(box, "evil", path)
        assert (found["path"], found["mount"]["kind"]) == ("/etc/hostname", "provided")


def test_a_first_process_in_a_jail_of_its_own(box: Box) -> None:
    jail = "mkdir -p /jail/bin; cp /bin/busybox /jail/bin"
    box.start("--name", "jail", script=f"{jail}; exec chroot /jail /bin/busybox sleep 100000")
    eventually(lambda: "sleep" in ask(box, "explain", ref="jail")["processes"][0]["command"])
    eventually(lambda: "chroot" not in ask(box, "explain", ref="jail")["processes"][0]["command"])
    assert whence(box, "jail", "/jail/bin/busybox")["layer"] == "writable"
    assert whence(box, "jail", "/etc/passwd")["layer"] == 1
    assert whence(box, "jail", "/proc/1")["mount"]["kind"] == "other"
    assert ask(box, "explain", ref="jail")["root"]["kind"] == "overlay"


@pytest.mark.parametrize(
    "what, query, status, message",
    [
        ("layers", {"ref": "nope"}, 404, "No such container or image: nope"),
        ("layers", {}, 400, "'ref' is missing"),
        ("whence", {"ref": "nope", "path": "/"}, 404, "No such container or image: nope"),
        ("whence", {"ref": "box"}, 400, "'path' is missing"),
        ("whence", {"ref": "box", "path": "/a\0b"}, 400, "NUL character"),
        ("whence", {"ref": "box", "path": "/x" * 3000}, 400, "file name too long"),
        ("explain", {"ref": "nope"}, 404, "No such container: nope"),
    ],
)
def test_bad_questions(
    box: Box, what: str, query: dict[str, str], status: int, message: str
) -> None:
    got, answer = box.daemon.request("GET", f"/orlop/{what}?{urlencode(query)}")
    assert got == status
    assert message in answer["message"]
    one_line(answer["message"])


# --- an image of several layers ---------------------------------------------------------------

STEPS = (
    # (created_by, the layer, or None where no file changed)
    (
        "/bin/sh -c #(nop) ADD file:1 in / ",
        layer(file("bin/tool", b"1"), file("etc/conf", b"1"), file("opt/old", b"1")),
    ),
    ('/bin/sh -c #(nop)  CMD ["tool"]', None),
    (
        "RUN /bin/sh -c change # buildkit",
        layer(file("etc/conf", b"22"), whiteout("bin/tool"), file("var/x", b"2")),
    ),
    ("COPY dir / # buildkit", layer(opaque("opt"), file("opt/new", b"3"))),
    ("ENV A=1", None),
)
HISTORY = [{"created_by": made, "empty_layer": tar is None} for made, tar in STEPS]
MANY = Made([tar for _, tar in STEPS if tar is not None], extra={"history": HISTORY})


@pytest.fixture
def built_image(box: Box, short_folder: Path) -> Iterator[str]:
    """An image of three layers, removed after the test."""
    (short_folder / "image.tar").write_bytes(docker_archive([(MANY, ["many:1"])]))
    loaded = box.daemon.docker("load", "-i", str(short_folder / "image.tar"))
    assert loaded.returncode == 0, loaded.stderr
    yield "many:1"
    box.remove_all()
    box.ok("rmi", "-f", "many:1")


def test_each_layer_has_its_instruction_and_size(box: Box, built_image: str) -> None:
    stack = ask(box, "layers", ref=built_image)
    found = [(row["number"], row["instruction"], row["size"]) for row in stack["layers"]]
    assert found == [(3, "COPY dir /", 1), (2, "RUN change", 3), (1, "ADD file:1 in /", 3)]
    assert [row["then"] for row in stack["layers"]] == [["ENV A=1"], [], ['CMD ["tool"]']]
    drawn = box.ok("layers", built_image)
    assert drawn.index("COPY dir /") < drawn.index("RUN change") < drawn.index("ADD file:1")
    assert "7B in 3 read-only layers" in drawn


@pytest.mark.parametrize("of", ["image", "container"])
def test_shadowed_and_deleted_by_layers(box: Box, built_image: str, of: str) -> None:
    ref = built_image
    if of == "container":
        ref = box.ok("create", built_image)
    above = [] if of == "image" else ["absent"]

    def states(path: str) -> list[str]:
        return [row["state"] for row in whence(box, ref, path)["layers"]][len(above) :]

    conf = whence(box, ref, "/etc/conf")
    assert (conf["layer"], conf["file"]["size"]) == (2, 2)
    assert conf["words"] == "from layer 2 (RUN change), in place of what layer 1 had"
    assert states("/etc/conf") == ["absent", "shown", "hidden"]
    tool = whence(box, ref, "/bin/tool")
    assert tool["exists"] is False
    assert tool["words"] == (
        "deleted at /bin/tool by layer 2 (RUN change); layer 1 (ADD file:1 in /) has it"
    )
    old = whence(box, ref, "/opt/old")
    assert states("/opt/old") == ["opaque", "absent", "hidden"]
    assert old["words"] == (
        "layer 3 (COPY dir /) has a new /opt; layer 1 (ADD file:1 in /) has it in the old one"
    )
    assert whence(box, ref, "/opt/new")["layer"] == 3
    assert states("/var") == ["absent", "shown", "absent"]


def test_images_share_their_layers(box: Box, built_image: str) -> None:
    box.ok("create", "--name", "one", built_image)
    tagged, _ = box.daemon.request("POST", f"/images/{built_image}/tag?repo=again&tag=2")
    assert tagged == 201
    stack = ask(box, "layers", ref="one")
    for row in stack["layers"]:
        assert (row["images"], row["containers"]) == (["again:2", "many:1"], ["one"])
    box.ok("rmi", "again:2")


# --- explain ----------------------------------------------------------------------------------


def test_explain_agrees_with_the_kernel(box: Box, web: str) -> None:
    pid = box.state(web)["Pid"]
    found = ask(box, "explain", ref=web)
    assert (found["running"], found["status"]) == (True, "running")
    own_ids = box.inspect(web)["HostConfig"]["UsernsMode"] == "auto"
    shared = {"time"} if own_ids else {"user", "time"}
    for item in found["namespaces"]:
        name = {"mount": "mnt", "network": "net"}.get(item["kind"], item["kind"])
        assert item["inode"] == os.stat(f"/proc/{pid}/ns/{name}").st_ino
        assert item["host_inode"] == os.stat(f"/proc/self/ns/{name}").st_ino
        assert item["shared"] == (item["kind"] in shared)
    assert found["hostname"] == {"inside": "inside", "host": platform.node()}
    first = found["processes"][0]
    assert (first["pid"], first["host_pid"], first["depth"]) == (1, pid, 0)
    status = Path(f"/proc/{pid}/status").read_text()
    bounding = int(status.split("CapBnd:")[1].split()[0], 16)
    assert len(found["capabilities"]["bounding"]) == bounding.bit_count() == 14
    table = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    assert len(found["mounts"]) == len(table)
    why = {mount["point"]: mount["kind"] for mount in found["mounts"]}
    assert (why["/"], why["/data"], why["/vol"], why["/scratch"], why["/etc/hosts"]) == (
        *("root", "bind", "volume", "tmpfs", "provided"),
    )
    assert "other" not in why.values()
    states = {item["state"] for item in found["hidden"]["masked"] + found["hidden"]["read_only"]}
    assert states <= {"done", "absent"}
    assert Path(found["root"]["writable"], "only").is_dir()
    assert (found["seccomp"]["mode"], found["no_new_privileges"]["on"]) == ("filter", False)


def test_explain_tells_what_is_shared_limited_and_taken(box: Box) -> None:
    box.start(
        *("--name", "odd", "--memory", "64m", "--cpus", "0.5", "--pids-limit", "77"),
        *("--network", "host", "--uts", "host", "--cap-drop", "ALL", "--cap-add", "NET_ADMIN"),
        *("--security-opt", "no-new-privileges", "--read-only", "--oom-score-adj", "321"),
    )
    found = ask(box, "explain", ref="odd")
    shared = {item["kind"] for item in found["namespaces"] if item["shared"]}
    assert shared - {"time"} == {"network", "uts", "user"}
    limits = {item["what"]: item for item in found["limits"]}
    assert limits["memory"]["limit"] == 64 << 20
    assert 0 < limits["memory"]["current"] < 64 << 20
    assert (limits["cpu"]["limit"], limits["processes"]["limit"]) == (0.5, 77)
    assert limits["processes"]["current"] == 1
    assert found["capabilities"]["bounding"] == ["CAP_NET_ADMIN"]
    assert found["capabilities"]["added"] == ["CAP_NET_ADMIN"]
    assert len(found["capabilities"]["dropped"]) == 14
    assert found["no_new_privileges"]["on"] is True
    assert found["root"]["read_only"] is True
    assert found["oom_score_adj"] == 321
    assert found["hostname"]["inside"] == found["hostname"]["host"] == platform.node()
    text = box.ok("explain", "odd")
    assert "at most 64MiB" in text
    assert "network   the host's" in text


def test_explain_of_a_mapped_user(box: Box) -> None:
    box.start("--name", "mapped", "--userns", "private:100000:65536", "-u", "7:8")
    found = ask(box, "explain", ref="mapped")
    assert found["ids"]["uid_map"] == [[0, 100000, 65536]]
    assert (found["ids"]["uid"], found["ids"]["gid"]) == (100007, 100008)
    assert found["capabilities"]["effective"] == []
    user = next(item for item in found["namespaces"] if item["kind"] == "user")
    assert user["shared"] is False
    assert "0-65535 are 100000-165535 of the host" in box.ok("explain", "mapped")
    owner = whence(box, "mapped", "/bin/busybox")["file"]
    assert (owner["uid"], owner["gid"]) == (0, 0)


def test_at_rest_it_is_what_a_run_then_is(box: Box) -> None:
    flags = ("--memory", "64m", "--pids-limit", "77", "-v", "vol:/v", "--cap-add", "SYS_TIME")
    box.ok("create", "--name", "later", *flags, "box", "sleep", "100000")
    before = ask(box, "explain", ref="later")
    assert (before["running"], before["processes"]) == (False, [])
    box.ok("start", "later")
    after = ask(box, "explain", ref="later")
    for part in ("root", "hostname", "no_new_privileges", "image"):
        assert before[part] == after[part], part
    assert before["capabilities"]["bounding"] == after["capabilities"]["bounding"]
    assert [(n["kind"], n["shared"]) for n in before["namespaces"]] == [
        (n["kind"], n["shared"]) for n in after["namespaces"]
    ]
    planned = {(mount["point"], mount["kind"]) for mount in before["mounts"]}
    assert planned <= {(mount["point"], mount["kind"]) for mount in after["mounts"]}
    limits = {item["what"]: item["limit"] for item in before["limits"]}
    later = {item["what"]: item["limit"] for item in after["limits"]}
    assert (
        limits.items() <= {**later, **{k: v for k, v in limits.items() if k not in later}}.items()
    )
    assert (limits["memory"], limits["processes"]) == (64 << 20, 77)
    assert {c["path"] for c in before["cgroups"]} <= {c["path"] for c in after["cgroups"]}
    assert "It does not run" not in box.ok("explain", "later")


def test_processes_that_fork_and_end_all_the_time(box: Box) -> None:
    box.start("--name", "busy", script="while :; do sh -c 'true' & sh -c 'sleep 0.01'; done")
    for _ in range(20):
        found = ask(box, "explain", ref="busy")
        assert found["processes"][0]["pid"] == 1
