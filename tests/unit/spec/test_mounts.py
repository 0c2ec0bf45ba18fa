import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import InvalidArgument
from supervisor.spec import mounts
from supervisor.spec.mounts import (
    MountOptions,
    arrange,
    clean_destination,
    describe,
    is_readonly,
    parse_options,
    tmpfs,
)
from supervisor.spec.types import Mount

RDONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8  # linux/mount.h
ATIME, NOATIME, STRICTATIME = 0x70, 0x10, 0x20


def bind(destination: str, source: str = "/src", *options: str) -> Mount:
    return Mount(destination=destination, type="bind", source=source, options=options)


@pytest.mark.parametrize(
    "words, expected",
    [
        ("", MountOptions()),
        ("defaults", MountOptions()),
        ("ro", MountOptions(attr_set=RDONLY)),
        ("rw", MountOptions(attr_clear=RDONLY)),
        ("ro,rw", MountOptions(attr_clear=RDONLY)),
        ("rw,ro", MountOptions(attr_set=RDONLY)),
        ("nosuid,nodev,noexec", MountOptions(attr_set=NOSUID | NODEV | NOEXEC)),
        ("nosuid,suid,dev", MountOptions(attr_clear=NOSUID | NODEV)),
        ("rro", MountOptions(attr_set=RDONLY)),
        ("rnosuid", MountOptions(attr_set=NOSUID)),
        ("bind", MountOptions(bind=True)),
        ("rbind", MountOptions(bind=True, recursive=True)),
        ("rbind,rslave", MountOptions(bind=True, recursive=True, propagation=1 << 19)),
        ("private", MountOptions(propagation=1 << 18)),
        ("shared", MountOptions(propagation=1 << 20)),
        ("runbindable", MountOptions(propagation=1 << 17)),
        ("private,rshared", MountOptions(propagation=1 << 20)),
        # The access-time field is one number: changing it means clearing all of it first.
        ("noatime", MountOptions(attr_set=NOATIME, attr_clear=ATIME)),
        ("noatime,strictatime", MountOptions(attr_set=STRICTATIME, attr_clear=ATIME)),
        ("strictatime,relatime", MountOptions(attr_clear=ATIME)),
        ("noatime,ro,nodiratime", MountOptions(attr_set=NOATIME | RDONLY | 0x80, attr_clear=ATIME)),
        ("nosymfollow", MountOptions(attr_set=0x200000)),
        (
            "mode=755,size=65536k,sync,context=a=b",
            MountOptions(
                data=(("mode", "755"), ("size", "65536k"), ("sync", None), ("context", "a=b"))
            ),
        ),
        (
            "newinstance,ptmxmode=0666",
            MountOptions(data=(("newinstance", None), ("ptmxmode", "0666"))),
        ),
        ("remount", MountOptions(data=(("remount", None),))),
    ],
)
def test_words(words: str, expected: MountOptions) -> None:
    assert parse_options(words.split(",")) == expected


@given(st.lists(st.sampled_from([*mounts._FLAGS, "bind", "rbind", "private", "size=1"])))
def test_a_flag_is_never_both_set_and_cleared(words: list[str]) -> None:
    options = parse_options(words)
    assert not options.attr_set & options.attr_clear & ~mounts.MOUNT_ATTR__ATIME
    # mount_setattr(2) refuses access-time bits in attr_set without all of them in attr_clear.
    cleared = options.attr_clear & mounts.MOUNT_ATTR__ATIME
    assert cleared in (0, mounts.MOUNT_ATTR__ATIME)
    assert cleared or not options.attr_set & mounts.MOUNT_ATTR__ATIME


def test_the_last_read_only_word_counts() -> None:
    assert is_readonly(bind("/a", "/b", "rbind", "ro"))
    assert not is_readonly(bind("/a", "/b", "ro", "rw"))
    assert not is_readonly(bind("/a"))


@pytest.mark.parametrize(
    "path, clean",
    [
        ("/data", "/data"),
        ("/data/", "/data"),
        ("//data//x/./y", "/data/x/y"),
        ("/a/../data", "/data"),
        ("/procs", "/procs"),
        ("/sys/fs/cgroup", "/sys/fs/cgroup"),
        ("/proc/cpuinfo", "/proc/cpuinfo"),
        ("/proc/sys/kernel/ns_last_pid", "/proc/sys/kernel/ns_last_pid"),
        ("/dev/shm", "/dev/shm"),
        ("/host/proc", "/host/proc"),
    ],
)
def test_clean_destinations(path: str, clean: str) -> None:
    assert clean_destination(path) == clean


@pytest.mark.parametrize(
    "path",
    ["", ".", "data", "../proc", "/", "//", "/..", "/data/..", "/proc", "/proc/", "//proc"],
)
def test_refused_destinations(path: str) -> None:
    with pytest.raises(InvalidArgument, match=r"invalid (mount path|specification)"):
        clean_destination(path)


@pytest.mark.parametrize(
    "path",
    ["/sys", "/x/../sys/.", "/proc/sys", "/proc/self/attr", "/proc/cpuinfo/x", "/proc/1", "/a\0b"],
)
def test_destinations_over_proc_and_sys_are_refused(path: str) -> None:
    with pytest.raises(InvalidArgument, match=r"invalid (mount path|specification)"):
        clean_destination(path)


@pytest.mark.parametrize("path", ["/" + "n" * 256, "/x" * 2048, "/" + "ü" * 128])
def test_destinations_that_no_file_system_has(path: str) -> None:
    with pytest.raises(InvalidArgument, match="is longer than"):
        clean_destination(path)
    assert clean_destination(path[:-1]) == path[:-1].rstrip("/")


@given(st.text(alphabet="./procsysx", max_size=20))
def test_no_spelling_reaches_proc_or_sys(path: str) -> None:
    try:
        clean = clean_destination(path)
    except InvalidArgument:
        return
    parts = clean.split("/")
    assert parts[0] == ""
    assert parts[1] != "proc"
    assert clean not in ("/", "/sys")
    assert not {"", ".", ".."} & set(parts[1:])
    assert clean_destination(clean) == clean


def test_parents_come_before_what_is_mounted_on_them() -> None:
    arranged = arrange([bind("/a/b/c"), bind("/z"), bind("/a/b/"), bind("/a"), bind("/b/c")])
    assert [m.destination for m in arranged] == ["/z", "/a", "/a/b", "/b/c", "/a/b/c"]


@given(st.permutations(["/a", "/a/b", "/a/b/c", "/d/e", "/d"]))
def test_every_order_is_mounted_top_down(paths: list[str]) -> None:
    arranged = [m.destination for m in arrange(bind(p) for p in paths)]
    for index, path in enumerate(arranged):
        assert not any(path.startswith(f"{later}/") for later in arranged[index:])


def test_arrange_keeps_all_but_the_spelling() -> None:
    (mount,) = arrange([bind("/a/./b/", "/src", "rbind", "ro")])
    assert mount == bind("/a/b", "/src", "rbind", "ro")


def test_a_destination_comes_once() -> None:
    with pytest.raises(InvalidArgument, match=r"^Duplicate mount point: /a$"):
        arrange([bind("/a"), tmpfs("/b/../a", "")])


@pytest.mark.parametrize("source", ["", "src", "./src", "/s\0"])
def test_a_bind_needs_an_absolute_source(source: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid mount source"):
        arrange([bind("/a", source)])


@pytest.mark.parametrize(
    "words, options",
    [
        ("", ("noexec", "nosuid", "nodev")),
        ("defaults,rprivate", ("noexec", "nosuid", "nodev")),
        ("rw,exec", ("nosuid", "nodev")),
        ("suid,dev,exec,nosuid", ("nosuid",)),
        ("size=64m,mode=1777", ("noexec", "nosuid", "nodev", "size=64m", "mode=1777")),
        ("size=1m,size=50%", ("noexec", "nosuid", "nodev", "size=50%")),
        ("ro,noatime", ("noexec", "nosuid", "nodev", "ro", "noatime")),
        ("ro,rw", ("noexec", "nosuid", "nodev")),
        ("ro,defaults", ("noexec", "nosuid", "nodev", "ro")),
        (
            "uid=1000,gid=5,nr_inodes=10k,mpol=local",
            ("noexec", "nosuid", "nodev", "uid=1000", "gid=5", "nr_inodes=10k", "mpol=local"),
        ),
    ],
)
def test_tmpfs(words: str, options: tuple[str, ...]) -> None:
    assert tmpfs("/t", words) == Mount(
        destination="/t", type="tmpfs", source="tmpfs", options=options
    )


@pytest.mark.parametrize(
    "words",
    [
        "nope",
        "bind",
        "size",
        "size=",
        "size=5x",
        "size=-1",
        "mode=9",
        "mode=rwx",
        "uid=bob",
        "uid=+1",
        "nr_inodes=5%",
        "huge=always",
        "size=%",
        "size=\u0661",
    ],
)
def test_tmpfs_words_that_are_refused(words: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^invalid tmpfs option '.*' for /t: give "):
        tmpfs("/t", words)


@pytest.mark.parametrize(
    "mount, text",
    [
        (bind("/data", "/srv", "rbind", "ro"), "bind of /srv at /data, read-only, with submounts"),
        (bind("/data", "/srv", "bind", "rslave"), "bind of /srv at /data, slave"),
        (
            tmpfs("/tmp", "size=64m,exec"),
            "tmpfs at /tmp, no setuid, no devices, size 64m",
        ),
        (
            Mount(destination="/dev/pts", type="devpts", options=("newinstance", "noexec")),
            "devpts at /dev/pts, no execution, newinstance",
        ),
    ],
)
def test_describe(mount: Mount, text: str) -> None:
    assert describe(mount) == text
