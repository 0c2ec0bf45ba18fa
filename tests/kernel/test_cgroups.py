"""Groups on the real kernel: limits that hold, events that arrive, nothing that stays.

The same tests run on a hybrid host and where cgroup v2 is alone.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervisor.errors import KernelError
from supervisor.kernel import bpf, namespaces
from supervisor.kernel.cgroups import (
    Group,
    Hierarchy,
    Layout,
    MemoryUsage,
    OomWatch,
    detect,
    files,
    read_memory,
)
from supervisor.spec.cgroup import NO_IO_WEIGHT, Write, order_for_update, writes_v1, writes_v2
from supervisor.spec.devices import DEFAULT_RULES, assemble
from supervisor.spec.types import CgroupPaths, DeviceRule, Resources
from tests.support.places import random_name

MIB = 1 << 20
WAIT_SECONDS = 20.0


@pytest.fixture(scope="module")
def layout() -> Layout:
    return detect()


@pytest.fixture
def hierarchy(layout: Layout) -> Iterator[Hierarchy]:
    hierarchy = Hierarchy(layout, random_name())
    hierarchy.prepare()
    yield hierarchy
    for name in hierarchy.names():
        left = hierarchy.open(name)
        if os.path.isdir(left.paths.unified):
            left.kill()  # what a failed test left running
            assert emptied(left)
        left.remove()
    hierarchy.remove()
    assert [path for path in folders(hierarchy.open("x")) if path.parent.exists()] == []


@pytest.fixture
def group(hierarchy: Hierarchy) -> Group:
    return hierarchy.create("one")


def folders(group: Group) -> list[Path]:
    """The group's folder in every hierarchy."""
    return [Path(p) for p in dict.fromkeys((group.paths.unified, *group.paths.v1.values())) if p]


def limit(hierarchy: Hierarchy, group: Group, resources: Resources) -> list[str]:
    unified = hierarchy.layout.kind == "unified"
    convert = writes_v2 if unified else writes_v1
    return group.write(convert(resources, hierarchy.controllers))


@contextmanager
def child_in(group: Group, act: Callable[[], object]) -> Iterator[int]:
    """A child that joins the group as containers do, then acts; its status is 0 or, on an
    OSError, the errno. Killed and reaped at the end."""
    tasks = [os.open(f"{path}/tasks", os.O_WRONLY) for path in group.paths.v1.values()]
    folder = group.fd()
    pid, pidfd = namespaces.clone3(0, cgroup_fd=folder)
    if pid == 0:
        try:
            for task in tasks:
                os.write(task, b"0")
            act()
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 255)
        finally:
            os._exit(255)
    for fd in (*tasks, folder, pidfd):
        os.close(fd)
    try:
        yield pid
    finally:
        if os.waitpid(pid, os.WNOHANG) == (0, 0):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def exit_code(pid: int) -> int:
    """The child's end, -N for signal N; it stays to be reaped."""
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


def run_in(group: Group, act: Callable[[], object]) -> int:
    with child_in(group, act) as pid:
        return exit_code(pid)


def eat_memory() -> None:
    eaten = []
    while True:
        eaten.append(bytes(MIB))
        eaten[-1].replace(b"\0", b"x")


@contextmanager
def epoll_on(fd: int, events: int) -> Iterator[select.epoll]:
    with select.epoll() as epoll:
        epoll.register(fd, events | select.EPOLLET)
        yield epoll


def wait_for(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def emptied(group: Group) -> bool:
    return wait_for(lambda: not group.populated())


# --- making and removing --------------------------------------------------------------------


def test_a_group_is_in_every_hierarchy_and_gone_from_all(hierarchy: Hierarchy) -> None:
    group = hierarchy.create("one")
    assert folders(group)
    assert all(path.is_dir() for path in folders(group))
    assert hierarchy.names() == ["one"]
    assert hierarchy.open("one").paths == group.paths
    group.remove()
    assert not any(path.exists() for path in folders(group))
    assert hierarchy.names() == []
    group.remove()


def test_preparing_twice_is_fine_and_no_controller_is_lost(hierarchy: Hierarchy) -> None:
    hierarchy.prepare()
    assert hierarchy.warnings == ()
    assert hierarchy.controllers == hierarchy.layout.controllers


def test_a_parent_of_several_levels(layout: Layout) -> None:
    name = random_name()
    hierarchy = Hierarchy(layout, f"{name}/deep")
    hierarchy.prepare()
    group = hierarchy.create("one")
    assert limit(hierarchy, group, Resources(memory=16 * MIB, cpuset_cpus="0")) == []
    assert run_in(group, lambda: None) == 0
    group.remove()
    hierarchy.remove()
    assert not any(path.parents[1].exists() for path in folders(group))


def test_a_name_that_is_taken_leaves_nothing_half_made(hierarchy: Hierarchy) -> None:
    taken = folders(hierarchy.open("one"))[-1]
    taken.mkdir()
    with pytest.raises(KernelError, match=str(taken)) as caught:
        hierarchy.create("one")
    assert caught.value.errno == errno.EEXIST
    assert [path for path in folders(hierarchy.open("one")) if path.exists()] == [taken]
    assert hierarchy.names() == ["one"]


def test_the_parent_stays_while_it_has_groups(hierarchy: Hierarchy, group: Group) -> None:
    hierarchy.remove()
    assert all(path.is_dir() for path in folders(group))


def test_removing_while_a_process_is_in_it(group: Group) -> None:
    with child_in(group, signal.pause) as pid:
        assert wait_for(lambda: group.procs() == [pid])
        with pytest.raises(KernelError) as caught:
            group.remove()
        assert caught.value.errno == errno.EBUSY
        assert caught.value.path
    group.remove()


def test_nested_groups_go_too(group: Group) -> None:
    """Wide, and deeper than a path can be written or Python can recurse."""
    top = folders(group)[0]
    for wide in range(20):
        (top / f"wide{wide}" / "below").mkdir(parents=True)
    here = os.open(top, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("deep", dir_fd=here)
        below = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    group.remove()
    assert not top.exists()


def test_a_process_in_a_nested_group_keeps_it(group: Group) -> None:
    nested = Group("nested", CgroupPaths(unified=f"{group.paths.unified}/a/b"))
    os.makedirs(nested.paths.unified)
    with child_in(nested, signal.pause) as pid:
        with pytest.raises(KernelError, match="Device or resource busy"):
            group.remove()
        assert group.procs() == [pid]
        assert group.populated()
        group.kill()
        assert exit_code(pid) == -signal.SIGKILL
        assert emptied(group)
    group.remove()


# --- limits ---------------------------------------------------------------------------------


def test_every_limit_reads_back(hierarchy: Hierarchy, group: Group) -> None:
    asked = Resources(
        memory=32 * MIB,
        memory_reservation=8 * MIB,
        nano_cpus=500_000_000,
        cpu_shares=512,
        cpuset_cpus="0",
        cpuset_mems="0",
        pids_limit=33,
        blkio_weight=500,
    )
    said = limit(hierarchy, group, asked)
    io_folder = Path(group.paths.v1.get("blkio", group.paths.unified))
    weighs = [*io_folder.glob("io*.weight"), *io_folder.glob("blkio*.weight")]
    assert said == ([] if weighs else [NO_IO_WEIGHT])
    if hierarchy.layout.kind == "unified":
        expected = {
            ("memory", "memory.max"): str(32 * MIB),
            ("memory", "memory.low"): str(8 * MIB),
            ("cpu", "cpu.max"): "50000 100000",
            ("cpu", "cpu.weight"): "59",
            ("cpuset", "cpuset.cpus"): "0",
            ("pids", "pids.max"): "33",
        }
    else:
        expected = {
            ("memory", "memory.limit_in_bytes"): str(32 * MIB),
            ("memory", "memory.memsw.limit_in_bytes"): str(64 * MIB),
            ("memory", "memory.soft_limit_in_bytes"): str(8 * MIB),
            ("cpu", "cpu.cfs_quota_us"): "50000",
            ("cpu", "cpu.shares"): "512",
            ("cpuset", "cpuset.cpus"): "0",
            ("pids", "pids.max"): "33",
        }
    present = {k: v for k, v in expected.items() if k[0] in hierarchy.controllers}
    assert present
    assert {key: group.read(*key) for key in present} == present
    assert group.memory().limit == 32 * MIB


def test_an_error_names_the_file_and_not_the_value(group: Group) -> None:
    bad = Write(controller="cgroup", file="cgroup.max.depth", value="secret-nonsense")
    with pytest.raises(KernelError, match=r"cgroup\.max\.depth: Invalid argument") as caught:
        group.write([bad])
    assert "secret" not in str(caught.value)


def test_missing_files_take_the_alternative_or_say_so(group: Group) -> None:
    absent = Write(controller="cgroup", file="cgroup.nonsense", value="1")
    present = Write(controller="cgroup", file="cgroup.max.depth", value="7")
    said = Write(controller="cgroup", file="cgroup.nonsense", value="1", if_missing="No nonsense.")
    instead = Write(controller="cgroup", file="cgroup.nonsense", value="1", otherwise=present)
    assert group.write([said, instead]) == ["No nonsense."]
    assert group.read("cgroup", "cgroup.max.depth") == "7"
    with pytest.raises(KernelError, match="nonsense"):
        group.write([absent])


def test_pids_limit(hierarchy: Hierarchy, group: Group) -> None:
    limit(hierarchy, group, Resources(pids_limit=1))
    assert run_in(group, os.fork) == errno.EAGAIN


def test_cpuset(hierarchy: Hierarchy, group: Group) -> None:
    limit(hierarchy, group, Resources(cpuset_cpus="0", cpuset_mems="0"))
    if "cpuset" in hierarchy.controllers:
        assert run_in(group, lambda: os._exit(os.sched_getaffinity(0) != {0})) == 0


def test_an_update_may_raise_and_lower(hierarchy: Hierarchy, group: Group) -> None:
    for size in (16 * MIB, 256 * MIB, 8 * MIB):
        resources = Resources(memory=size)
        if hierarchy.layout.kind == "unified":
            group.write(writes_v2(resources, hierarchy.controllers))
        else:
            memsw = int(group.read("memory", "memory.memsw.limit_in_bytes"))
            writes = writes_v1(resources, hierarchy.controllers)
            group.write(order_for_update(writes, memsw))
        assert group.memory().limit == size


def test_device_rules(group: Group) -> None:
    """The program loads, decides, and full is refused by one rule more."""
    no_full = DeviceRule(allow=False, type="c", major=1, minor=7, access="w")
    program = bpf.load_device_program(assemble((*DEFAULT_RULES, no_full)))
    folder = group.fd()
    bpf.attach_device_program(folder, program)
    os.close(folder)
    os.close(program)

    def open_one(name: str, flags: int) -> int:
        return run_in(group, lambda: os.open(f"/dev/{name}", flags))

    assert open_one("null", os.O_RDWR) == 0
    assert open_one("full", os.O_RDONLY) == 0
    assert open_one("full", os.O_RDWR) == errno.EPERM
    assert open_one("kmsg" if os.path.exists("/dev/kmsg") else "mem", os.O_RDONLY) == errno.EPERM


# --- life and death -------------------------------------------------------------------------


def test_kill_takes_all_and_populated_tells(group: Group) -> None:
    def fork_and_wait() -> None:
        os.fork()
        signal.pause()

    assert not group.populated()
    watch = group.events_watch()
    with epoll_on(watch.fd, watch.events) as epoll:
        assert not watch.populated()
        with child_in(group, fork_and_wait) as pid:
            assert wait_for(lambda: len(group.procs()) == 2)
            assert group.populated()
            assert epoll.poll(WAIT_SECONDS)
            assert watch.populated()
            group.kill()
            assert exit_code(pid) == -signal.SIGKILL
            while watch.populated():
                assert epoll.poll(WAIT_SECONDS), "no event for the last process's end"
    watch.close()
    watch.close()
    assert group.procs() == []


def test_a_group_of_ours_is_killed_apart_and_frozen_with_it(group: Group) -> None:
    child = group.make_child("apart-1")
    assert [one.name for one in group.children("apart-")] == ["apart-1"]
    assert group.children("other-") == []
    with child_in(group, signal.pause) as outside, child_in(child, signal.pause) as inside:
        assert sorted(group.procs()) == sorted([outside, inside])
        assert child.procs() == [inside]
        with pytest.raises(KernelError):
            child.remove()
        group.freeze()
        assert wait_for(child.frozen)
        child.kill()
        assert exit_code(inside) == -signal.SIGKILL
        group.thaw()
        assert group.procs() == [outside]
        os.kill(outside, signal.SIGTERM)
        assert exit_code(outside) == -signal.SIGTERM
    child.remove()
    assert group.children("apart-") == []


def test_what_is_left_in_a_group_of_ours_can_be_taken_over(group: Group) -> None:
    child = group.make_child("apart-1")
    with child_in(child, signal.pause) as pid:
        group.take_over(child)
        assert child.procs() == []
        child.remove()
        assert group.procs() == [pid]
        os.kill(pid, signal.SIGTERM)
        assert exit_code(pid) == -signal.SIGTERM


def test_freeze_and_thaw(group: Group) -> None:
    watch = group.events_watch()
    with child_in(group, signal.pause) as pid, epoll_on(watch.fd, watch.events) as epoll:
        assert not watch.frozen()
        assert not group.frozen()
        group.freeze()
        while not watch.frozen():
            assert epoll.poll(WAIT_SECONDS), "no event for the freeze"
        assert group.frozen()
        os.kill(pid, signal.SIGTERM)
        group.thaw()
        assert exit_code(pid) == -signal.SIGTERM
        assert wait_for(lambda: not group.frozen())
    watch.close()


def test_kill_does_not_wait_for_a_thaw(group: Group) -> None:
    with child_in(group, signal.pause) as pid:
        group.freeze()
        assert wait_for(group.frozen)
        group.kill()
        assert exit_code(pid) == -signal.SIGKILL


# --- memory and OOM -------------------------------------------------------------------------


def counted(watch: OomWatch, epoll: select.epoll) -> int:
    """What a watcher does: look at every wake-up, and again for a while where it must."""
    deadline = time.monotonic() + WAIT_SECONDS
    woken = epoll.poll(WAIT_SECONDS)
    assert woken, "no wake-up"
    while not watch.oom_kills():
        assert time.monotonic() < deadline
        if watch.settles_late:
            time.sleep(0.001)
        else:
            assert epoll.poll(WAIT_SECONDS), "the kill was counted without a wake-up"
        watch.drain()
    return watch.oom_kills()


def test_an_oom_kill_wakes_the_watch_and_is_counted(hierarchy: Hierarchy, group: Group) -> None:
    limit(hierarchy, group, Resources(memory=16 * MIB, memory_swap=16 * MIB))
    watch = group.oom_watch()
    with epoll_on(watch.fd, watch.events) as epoll:
        assert watch.oom_kills() == 0
        assert epoll.poll(0) == []
        with child_in(group, eat_memory) as pid:
            assert counted(watch, epoll) == 1
            assert exit_code(pid) == -signal.SIGKILL
        usage = group.memory()
        assert (usage.limit, usage.oom_kills) == (16 * MIB, 1)
        assert 12 * MIB < usage.peak <= 16 * MIB
        assert usage.current < 8 * MIB
        assert read_memory(group.paths) == group.memory()
        group.remove()
        with pytest.raises(KernelError) as caught:
            watch.oom_kills()
        assert caught.value.errno == errno.ENODEV
    watch.close()
    watch.close()


def test_the_counter_has_the_kill_once_the_victim_has_ended(
    hierarchy: Hierarchy, group: Group
) -> None:
    limit(hierarchy, group, Resources(memory=8 * MIB, memory_swap=8 * MIB))
    for kills in (1, 2, 3):
        assert run_in(group, eat_memory) == -signal.SIGKILL
        assert group.memory().oom_kills == kills


def test_draining_quiets_a_level_triggered_epoll(hierarchy: Hierarchy, group: Group) -> None:
    limit(hierarchy, group, Resources(memory=8 * MIB, memory_swap=8 * MIB))
    watch = group.oom_watch()
    with select.epoll() as epoll:
        epoll.register(watch.fd, watch.events)
        assert run_in(group, eat_memory) == -signal.SIGKILL
        assert epoll.poll(WAIT_SECONDS)
        time.sleep(0.03)  # v2 may announce the kill a moment after the limit
        watch.drain()
        assert epoll.poll(0) == []
    watch.close()


def test_an_end_without_oom_does_not_count(hierarchy: Hierarchy, group: Group) -> None:
    limit(hierarchy, group, Resources(memory=16 * MIB))
    watch = group.oom_watch()
    with child_in(group, signal.pause):
        assert wait_for(group.populated)
        group.kill()
    assert watch.oom_kills() == 0
    assert group.memory().oom_kills == 0
    watch.close()


def test_memory_of_a_group_that_is_gone_is_zero(group: Group) -> None:
    group.remove()
    assert group.memory() == MemoryUsage()


def test_where_nothing_counts_memory_the_watch_is_silent(layout: Layout) -> None:
    name = random_name()
    bare = Group(name, CgroupPaths(unified=f"{layout.unified}/{name}"))
    os.makedirs(f"{bare.paths.unified}/below")
    # The controllers are enabled in the root's children at most, never in this one's.
    nested = Group("below", CgroupPaths(unified=f"{bare.paths.unified}/below"))
    try:
        watch = nested.oom_watch()
        assert type(watch) is OomWatch
        assert watch.oom_kills() == 0
        watch.drain()
        watch.close()
        assert nested.memory() == MemoryUsage()
    finally:
        bare.remove()


def test_a_watch_on_a_missing_group_fails(hierarchy: Hierarchy) -> None:
    with pytest.raises(KernelError, match="No such file"):
        hierarchy.open("missing").oom_watch()


def test_long_files_are_read_to_their_end() -> None:
    """The kernel gives a long list in pieces of whole lines, shorter than what was asked for."""
    first, *_, last = files.read("/proc/self/maps").splitlines()
    expected = Path("/proc/self/maps").read_text().splitlines()
    assert len("\n".join(expected)) > 3 * 4096
    assert (first, last) == (expected[0], expected[-1])
