"""Ranges of ids: which is given next, which flags a container with one cannot have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.errors import InvalidArgument
from supervisor.spec.namespaces import parse_userns
from supervisor.spec.options import ContainerOptions
from supervisor.spec.types import Device, DeviceRule, Mount
from supervisor.spec.user_ranges import (
    DEFAULT_SIZE,
    FIXED_POOL,
    Allotment,
    IdRange,
    auto_size,
    is_auto,
    meant_for_host,
    next_free,
    obstacle,
    parse_pool,
    subordinate,
    unmappable,
)

SLOTS = 8
SIZE = 10
POOL = IdRange(first=1000, size=SLOTS * SIZE + 3)
MOUNTED = {
    "/": "ext4",
    "/proc": "proc",
    "/sys": "sysfs",
    "/sys/fs/cgroup": "cgroup2",
    "/run": "tmpfs",
    "/srv/data": "xfs",
    "/srv/data/remote": "nfs4",
    "/mnt/a": "fuse.sshfs",
    "/mnt/b": "overlay",
}


def ids(first: int, size: int) -> IdRange:
    return IdRange(first=first, size=size)


# --- the allocator --------------------------------------------------------------------------


class Book:
    """Takes and frees as the engine does."""

    def __init__(self, pool: IdRange = POOL) -> None:
        self.pool = pool
        self.held: list[IdRange] = []
        self.allotment = Allotment(pool, pool.first)

    def take(self, size: int) -> IdRange | None:
        found = self.allotment.next(self.held, size)
        if found is not None:
            self.held.append(found)
        return found

    def free(self, which: int) -> IdRange:
        one = self.held.pop(which % len(self.held))
        self.allotment.free(one)
        return one


def is_free(book: Book, size: int) -> bool:
    """Found by trying every place."""
    return any(
        not any(one.overlaps(ids(first, size)) for one in book.held)
        for first in range(book.pool.first, book.pool.end - size + 1)
    )


@settings(max_examples=200)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 30), st.integers(0, 100)), max_size=60))
def test_no_two_overlap_and_what_fits_is_found(steps: list[tuple[bool, int, int]]) -> None:
    book = Book()
    for takes, size, which in steps:
        if takes or not book.held:
            possible = is_free(book, size)
            before = list(book.held)
            found = book.take(size)
            assert (found is not None) == possible
            if found is not None:
                assert found.size == size
                assert POOL.first <= found.first
                assert found.end <= POOL.end
                assert not any(found.overlaps(one) for one in before)
        else:
            book.free(which)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 100)), max_size=80))
def test_what_was_freed_is_given_again_only_after_all_others(
    steps: list[tuple[bool, int]],
) -> None:
    book = Book()
    freed_at: dict[int, int] = {}
    for now, (takes, which) in enumerate(steps):
        if not takes:
            if book.held:
                freed_at[book.free(which).first] = now
            continue
        held = {one.first for one in book.held}
        found = book.take(SIZE)
        if found is None:
            assert len(held) == SLOTS
            continue
        free = {POOL.first + n * SIZE for n in range(SLOTS)} - held
        oldest = min(freed_at.get(first, -1) for first in free)
        assert freed_at.get(found.first, -1) == oldest


def test_a_pool_that_went_round_is_not_searched_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[int] = []

    def count(pool: IdRange, taken: Any, size: int, after: int) -> IdRange | None:
        searched.append(size)
        return next_free(pool, taken, size, after)

    monkeypatch.setattr("supervisor.spec.user_ranges.next_free", count)
    book = Book(ids(1000, 50 * SIZE))
    given = []
    for _ in range(200):
        one = book.take(SIZE)
        assert one is not None
        given.append(one)
        if len(book.held) > 20:
            book.free(0)
    assert given[50:100] == given[:50]
    assert len(searched) <= 4


def test_one_that_two_had_is_free_with_the_last_of_them() -> None:
    book = Book(ids(1000, 2 * SIZE))
    shared = book.take(SIZE)
    assert shared is not None
    book.held.append(shared)
    book.take(SIZE)
    book.free(0)
    assert book.take(SIZE) is None
    book.free(book.held.index(shared))
    assert book.take(SIZE) == shared


def test_ranges_of_others_are_gone_round() -> None:
    book = Book(ids(100, 40))
    book.held += [ids(0, 105), ids(112, 3), ids(110, 1), ids(135, 1000)]
    assert [book.take(5) for _ in range(6)] == [
        ids(105, 5), ids(115, 5), ids(120, 5), ids(125, 5), ids(130, 5), None
    ]  # fmt: skip


def test_one_that_lies_within_another_ends_nothing() -> None:
    assert next_free(ids(100, 60), [ids(100, 50), ids(110, 5)], 10, 100) == ids(150, 10)


def test_after_a_restart_it_goes_on_where_it_was() -> None:
    assert next_free(POOL, [], SIZE, 1030) == ids(1030, SIZE)
    assert next_free(POOL, [], SIZE, POOL.end - 1) == ids(1000, SIZE)
    assert next_free(POOL, [], SIZE, 0) == ids(1000, SIZE)  # of a pool before this one


def test_the_fixed_pool_is_between_what_systemd_gives_out() -> None:
    assert FIXED_POOL.first == 1879048191 + 1  # the last of systemd-nspawn's
    assert FIXED_POOL.end == 2147352576  # the first of foreign ids
    assert FIXED_POOL.size % DEFAULT_SIZE == 0


# --- words ----------------------------------------------------------------------------------


def test_words_for_a_range_that_is_chosen() -> None:
    assert [auto_size(word) for word in ("auto", "auto:size=1", "auto:size=200000")] == [
        DEFAULT_SIZE, 1, 200000
    ]  # fmt: skip
    assert not any(map(is_auto, ("", "host", "private:1:2", "automatic")))


@pytest.mark.parametrize(
    "word",
    [
        *("auto:", "auto:size", "auto:size=", "auto:size=0", "auto:size=-1", "auto:size=1k"),
        *("auto:5", "auto:size=99999999999", "auto:size=4294967295", "auto:size=¹"),
    ],
)
def test_words_that_are_none(word: str) -> None:
    assert is_auto(word)
    with pytest.raises(InvalidArgument, match=r"invalid user namespace mode 'auto:.*auto:size=N"):
        auto_size(word)


def test_a_range_is_mapped_from_0_on() -> None:
    (mapping,) = parse_userns(ids(5, 7).mode)
    assert (mapping.container_id, mapping.host_id, mapping.size) == (0, 5, 7)
    assert str(ids(5, 7)) == "5-11"


def test_a_pool() -> None:
    assert parse_pool("100000:65536") == ids(100000, 65536)
    assert parse_pool("2147483647:2147483648").end == (1 << 32) - 1


@pytest.mark.parametrize(
    "text", ["", "5", "a:b", "0:5", "5:0", "1:2:3", "-1:5", "2147483647:2147483649", "1:1e3"]
)
def test_pools_that_are_none(text: str) -> None:
    with pytest.raises(InvalidArgument, match="give BASE:SIZE"):
        parse_pool(text)


SUBUID = """\
# comment
alice:100000:65536
containers:500000:100
containers:600000:5000
orlop:900000:70000
containers:nonsense
containers
"""


@pytest.mark.parametrize(
    "subuid, subgid, expected",
    [
        (SUBUID, SUBUID, ids(600000, 5000)),
        (SUBUID, "containers:603000:9000\n", ids(603000, 2000)),
        (SUBUID, "containers:1:5\norlop:900000:70000\n", ids(900000, 70000)),
        (SUBUID, "", None),
        ("alice:1:5\n", "alice:1:5\n", None),
    ],
)
def test_subordinate_ids(subuid: str, subgid: str, expected: IdRange | None) -> None:
    assert subordinate(subuid, subgid, ("containers", "orlop")) == expected


# --- what cannot be together ----------------------------------------------------------------


def asked(*, size: int = DEFAULT_SIZE, rootfs_writable: bool = False, **options: Any) -> str:
    wanted = replace(ContainerOptions(), userns="auto", **options)
    return obstacle(wanted, lambda: MOUNTED, size=size, rootfs_writable=rootfs_writable)


NULL = Device(path="/dev/null", type="c", major=1, minor=3)
RULE = DeviceRule(allow=True)


def bind(source: str, *words: str) -> tuple[Mount, ...]:
    return (Mount(destination="/b", type="bind", source=source, options=words or ("rbind",)),)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"network": "bridge", "uts": "host", "ipc": "shareable", "pid": "private"},
        {"user": "65535:65535", "groups": ("1", "wheel")},
        {"user": "nobody"},
        {"binds": bind("/run/x") + bind("/srv/data", "bind")},
        {"binds": bind("/", "bind")},
        {"binds": bind("/process") + bind("/sysroot")},
        {"network": "container:web", "pid": "container:web", "ipc": "container:web"},
    ],
)
def test_most_goes_with_a_range(options: dict[str, Any]) -> None:
    assert asked(**options) == ""


@pytest.mark.parametrize(
    "options, flag",
    [
        ({"privileged": True}, "--privileged"),
        ({"rootfs_writable": True}, "--rootfs-rw"),
        ({"network": "host"}, "--network host"),
        ({"pid": "host"}, "--pid host"),
        ({"ipc": "host"}, "--ipc host"),
        ({"cgroupns": "host"}, "--cgroupns host"),
        ({"user": "65536"}, "--user 65536 (there are ids up to 65535)"),
        ({"user": "7:10", "size": 10}, "--user 10 (there are ids up to 9)"),
        ({"groups": ("wheel", "70000")}, "--group-add 70000 (there are ids up to 65535)"),
        ({"binds": bind("/proc")}, "--volume /proc:/b (proc at /proc)"),
        ({"binds": bind("/proc/self/x", "bind")}, "--volume /proc/self/x:/b (proc at /proc)"),
        ({"binds": bind("/sys/fs/cgroup/a")}, "--volume /sys/fs/cgroup/a:/b (cgroup2 at /sys/fs"),
        ({"binds": bind("/srv/data")}, "--volume /srv/data:/b (nfs4 at /srv/data/remote)"),
        ({"binds": bind("/mnt/a")}, "--volume /mnt/a:/b (fuse.sshfs at /mnt/a)"),
        ({"binds": bind("/mnt/b/x")}, "--volume /mnt/b/x:/b (overlay at /mnt/b)"),
        ({"binds": bind("/run") + bind("/")}, "--volume /:/b (proc at /proc)"),
    ],
)
def test_what_a_range_excludes(options: dict[str, Any], flag: str) -> None:
    assert asked(**options).startswith(flag)


@pytest.mark.parametrize(
    "options, flag",
    [
        ({}, ""),
        ({"cap_add": ("NET_ADMIN", "cap_sys_ptrace", "CHOWN"), "cap_drop": ("ALL",)}, ""),
        ({"cap_add": ("CHOWN", "SYS_ADMIN")}, "--cap-add SYS_ADMIN"),
        ({"cap_add": ("all",)}, "--cap-add all"),
        ({"cap_add": ("cap_mknod",)}, "--cap-add cap_mknod"),
        ({"devices": (NULL,), "device_rules": (RULE,)}, ""),
        ({"device_rules": (RULE,)}, "--device-cgroup-rule"),
    ],
)
def test_what_asks_for_root_of_the_host(options: dict[str, Any], flag: str) -> None:
    assert meant_for_host(replace(ContainerOptions(), **options)) == flag


@pytest.mark.parametrize(
    "path, fstype",
    [("/mnt/b", "overlay"), ("/mnt/b/x/", "overlay"), ("/srv/data", ""), ("/proc", "proc")],
)
def test_where_mounts_cannot_be_idmapped(path: str, fstype: str) -> None:
    assert unmappable(path, MOUNTED) == fstype
