"""The figures agree with the kernel's own, whatever layout this host has."""

from __future__ import annotations

import mmap
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from metrics.model import Final, Interface
from metrics.parse.figures import Figures, Memory
from metrics.serve.files import Budget, Gone, GroupFiles
from metrics.serve.host import own_interface
from metrics.serve.interfaces import Interfaces
from metrics.serve.links import LinkCounters
from metrics.serve.sampler import Sampler
from supervisor.kernel import namespaces, netdev
from supervisor.kernel.cgroups import Group, Hierarchy
from supervisor.spec.types import Resources
from tests.kernel.forked import in_child, sleeping_child
from tests.kernel.metrics.rig import (
    MIB,
    burn,
    child_in,
    container,
    limit,
    loop_device,
    wait_for,
    watching,
)

ID = container("one").id
CPU_SECONDS = 1.0
HELD = 100 * MIB


def figures(sampler: Sampler) -> Figures:
    sample = sampler.sample(ID)
    assert sample is not None
    return sample.figures


def memory(sampler: Sampler) -> Memory:
    found = figures(sampler).memory
    assert found is not None
    return found


def anonymous(found: Memory) -> int:
    return found.stat["anon" if found.version == 2 else "total_rss"]


# --- CPU ----------------------------------------------------------------------------------------


def test_cpu_time_is_what_the_kernel_says_of_the_process(group: Group) -> None:
    with watching({"one": group}) as sampler:
        with child_in(group, lambda: burn(CPU_SECONDS)) as child:
            child.wait_until_done()
            used = child.end()
        cpu = figures(sampler).cpu
        assert cpu is not None
        assert cpu.user is not None
        assert cpu.system is not None
        seconds = used.ru_utime + used.ru_stime
        assert seconds >= CPU_SECONDS
        assert cpu.usage / 1e6 == pytest.approx(seconds, rel=0.01)
        assert cpu.user + cpu.system == pytest.approx(cpu.usage, rel=0.001, abs=2)
        assert cpu.user / 1e6 == pytest.approx(used.ru_utime, rel=0.01, abs=0.02)


def test_a_quota_throttles_and_is_counted(hierarchy: Hierarchy, group: Group) -> None:
    limit(hierarchy, group, Resources(cpu_quota=10_000, cpu_period=50_000))
    with watching({"one": group}) as sampler:
        sampler.containers.changed(container("one", cpu_quota=10_000))
        began = time.monotonic()
        with child_in(group, lambda: burn(0.2)) as child:
            child.wait_until_done()
        took = time.monotonic() - began
        cpu = figures(sampler).cpu
    assert cpu is not None
    assert cpu.periods
    assert cpu.throttled_periods
    assert cpu.throttled
    assert 0 < cpu.throttled_periods <= cpu.periods
    assert 0 < cpu.throttled / 1e6 < took  # how much depends on who else wants the CPU


# --- memory -------------------------------------------------------------------------------------


def hold() -> object:
    held = mmap.mmap(-1, HELD, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for at in range(0, HELD, mmap.PAGESIZE):
        held[at] = 1
    return held


def test_memory_held_is_memory_seen(group: Group) -> None:
    with watching({"one": group}) as sampler:
        with child_in(group, lambda: None) as child:
            child.wait_until_done()
            assert wait_for(lambda: anonymous(memory(sampler)) > 0)
            empty = anonymous(memory(sampler))
        with child_in(group, hold) as child:
            child.wait_until_done()

            def grown() -> int:
                return anonymous(memory(sampler)) - empty

            # The kernel adds up the CPUs' counts every two seconds (memcg's flush).
            assert wait_for(lambda: abs(grown() - HELD) <= HELD / 100), grown()
            kernel = group.memory()
            found = memory(sampler)
            assert found.usage == pytest.approx(kernel.current, rel=0.01)
            assert found.peak == pytest.approx(kernel.peak, rel=0.01)
            assert found.usage >= HELD
            assert found.working_set == pytest.approx(found.usage, rel=0.05)
        peak = memory(sampler).peak
    assert peak is not None
    assert peak >= HELD


def test_page_cache_is_no_working_set(group: Group, short_folder: Path) -> None:
    path = short_folder / "cached"

    def read() -> None:
        path.write_bytes(bytes(16 * MIB))
        os.sync()
        path.read_bytes()

    with watching({"one": group}) as sampler, child_in(group, read) as child:
        child.wait_until_done()

        def cache() -> int:
            found = memory(sampler)
            return found.stat["file" if found.version == 2 else "total_cache"]

        assert wait_for(lambda: cache() >= 15 * MIB)
        found = memory(sampler)
    assert found.working_set == found.usage - found.inactive_file
    assert found.inactive_file <= found.usage


def test_an_oom_is_counted_and_outlives_the_group(hierarchy: Hierarchy, group: Group) -> None:
    limit(hierarchy, group, Resources(memory=16 * MIB, memory_swap=16 * MIB))
    with watching({"one": group}) as sampler:
        assert memory(sampler).oom_kills == 0
        with child_in(group, hold) as child:
            assert os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT) is not None
        # On v1 the count rises a moment after the kill.
        assert wait_for(lambda: memory(sampler).oom_kills == 1)
        found = memory(sampler)
        if found.version == 2:  # v1 counts elsewhere when the limit is that of memory and swap
            assert found.failures
        sampler.containers.ended(ID, exit_code=137)
        group.remove()
        (known,) = sampler.containers.known()
        assert (known.oom_kills, known.exit_code) == (1, 137)


# --- the rest -----------------------------------------------------------------------------------


def test_threads_and_processes(group: Group) -> None:
    def threads() -> object:
        found = [threading.Thread(target=time.sleep, args=(1000,), daemon=True) for _ in range(4)]
        for thread in found:
            thread.start()
        return found

    with watching({"one": group}) as sampler:
        with child_in(group, threads) as first, child_in(group, lambda: None) as second:
            first.wait_until_done()
            second.wait_until_done()
            assert figures(sampler).tasks == (6, 2)
        assert wait_for(lambda: figures(sampler).tasks == (0, 0))


def test_waiting_for_the_cpu_is_pressure(hierarchy: Hierarchy, group: Group) -> None:
    limit(hierarchy, group, Resources(cpu_quota=10_000, cpu_period=50_000))
    with watching({"one": group}) as sampler:
        with child_in(group, lambda: burn(0.2)) as child:
            child.wait_until_done()
        before = figures(sampler).pressure
        file = Path(group.paths.unified, "cpu.pressure")
        if not file.exists():
            assert before is None
            return
        total = int(file.read_text().splitlines()[0].rpartition("=")[2])
        after = figures(sampler).pressure
    assert before is not None
    assert after is not None
    assert before.cpu_some is not None
    assert after.cpu_some is not None
    assert before.cpu_some <= total <= after.cpu_some
    if hierarchy.layout.kind == "unified":  # on a hybrid host the quota is not v2's
        assert total > 0


def test_reads_from_a_block_device(hierarchy: Hierarchy, group: Group, short_folder: Path) -> None:
    (short_folder / "content").write_bytes(bytes(MIB))
    with loop_device(short_folder / "content") as (path, number):
        if hierarchy.layout.kind != "unified":
            # Since Linux 6.10 v1 counts on a device only once anybody has limited it there.
            throttle = Path(group.paths.v1["blkio"], "blkio.throttle.read_bps_device")
            throttle.write_text(f"{number} {1 << 40}")

        def read() -> None:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
            buffer = mmap.mmap(-1, MIB)
            assert os.preadv(fd, [buffer], 0) == MIB
            os.close(fd)

        with watching({"one": group}) as sampler:
            with child_in(group, read) as child:
                child.wait_until_done()
            io = figures(sampler).io[number]
    assert io.read_bytes == pytest.approx(MIB, rel=0.01)
    assert io.reads > 0
    assert io.written_bytes == 0


# --- the end ------------------------------------------------------------------------------------


def test_a_group_that_vanishes_keeps_its_last_figures(group: Group) -> None:
    with watching({"one": group}) as sampler:
        with child_in(group, lambda: burn(0.05)) as child:
            child.wait_until_done()
        before = figures(sampler)
        group.remove()
        assert sampler.sample(ID) is None
        entry = sampler.containers.get(ID)
        assert entry is not None
        assert entry.figures == before
        assert sampler.containers.wrong == []
        sampler.containers.ended(ID, Final(oom_kills=3), exit_code=0)
        assert entry.figures.cpu == before.cpu
        assert entry.figures.memory is not None
        assert entry.figures.memory.oom_kills == 3


def test_its_open_files_tell_that_it_is_gone(hierarchy: Hierarchy) -> None:
    group = hierarchy.create("gone")
    kept = GroupFiles(group.paths, Budget())
    reopened = GroupFiles(group.paths, Budget(1))
    try:
        for files in (kept, reopened):
            files.read(glance=False)
        group.remove()
        for files in (kept, reopened):
            for glance in (True, False):
                with pytest.raises(Gone):
                    files.read(glance=glance)
            assert files.wrong == []
    finally:
        kept.close()
        reopened.close()


def test_what_a_group_at_rest_does_at_last_is_seen(group: Group) -> None:
    """What is not read of a group at rest is read as soon as a task of it has run."""
    kept = GroupFiles(group.paths, Budget())
    try:
        readings = [kept.read(glance=False) for _ in range(3)][-1]
        assert (readings["procs"], readings["pids"]) == (b"", b"0\n")
        with child_in(group, lambda: None) as child:
            child.wait_until_done()
            readings = kept.read(glance=False)
            assert readings["procs"].split() == [b"%d" % child.pid]
            assert readings["pids"] == b"1\n"
            child.end()
        readings = kept.read(glance=False)
        assert (readings["procs"], readings["pids"]) == (b"", b"0\n")
    finally:
        kept.close()


def test_it_is_gone_as_soon_as_one_of_its_folders_is(hierarchy: Hierarchy) -> None:
    group = hierarchy.create("going")
    kept = GroupFiles(group.paths, Budget())
    reopened = GroupFiles(group.paths, Budget(1))
    try:
        kept.read(glance=False)
        os.rmdir(group.paths.v1.get("memory", group.paths.unified))
        for files in (kept, reopened):
            with pytest.raises(Gone):
                files.read(glance=False)
    finally:
        kept.close()
        reopened.close()
        group.remove()


def test_short_lives_are_counted(hierarchy: Hierarchy) -> None:
    with watching({}) as sampler:
        burnt = 0.0
        for number in range(5):
            name = f"short{number}"
            group, id = hierarchy.create(name), container(name).id
            sampler.containers.add(container(name))
            sampler.containers.started(id, group.paths, at=time.time())
            with child_in(group, lambda: burn(0.03)) as child:
                child.wait_until_done()
                used = child.end()
            burnt += used.ru_utime + used.ru_stime
            sampler.containers.ended(id, exit_code=0)
            group.remove()
            sampler.containers.removed(id)
        assert sampler.containers.totals().cpu / 1e6 == pytest.approx(burnt, rel=0.02)


# --- the network --------------------------------------------------------------------------------


def test_interface_counters_are_those_of_proc_net_dev() -> None:
    def body() -> list[list[int]]:
        netdev.link_up("lo")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.bind(("127.0.0.1", 0))
            for _ in range(7):
                one.sendto(bytes(100), one.getsockname())
        counters = LinkCounters()
        try:
            first = counters.read()
            second = counters.read()
        finally:
            counters.close()
        assert first == second
        found = first[socket.if_nametoindex("lo")]
        lines = Path("/proc/thread-self/net/dev").read_text().partition("lo:")[2].splitlines()
        values = list(map(int, lines[0].split()))
        # Bytes, packets, errors, dropped and four more, first received and then sent.
        kernel = [values[at] for at in (1, 9, 0, 8, 2, 10, 3, 11)]
        return [list(found), kernel]

    found, kernel = in_child(body, flags=namespaces.CLONE_NEWNET)
    assert found == kernel
    assert found[0] == 7  # packets
    assert found[2] >= 7 * 128  # their bytes, with UDP's and IP's headers


def veth(pid: int, name: str) -> int:
    """A pair, one end as eth0 in the namespace of `pid`; the index of the end that is here."""
    here = ["ip", "link", "add", name, "up", "type", "veth", "peer", "name", "eth0"]
    subprocess.run([*here, "netns", str(pid)], check=True)
    subprocess.run(["ip", "addr", "add", "10.9.8.1/24", "dev", name], check=True)
    inside = ["nsenter", "-t", str(pid), "-n", "ip"]
    subprocess.run([*inside, "addr", "add", "10.9.8.2/24", "dev", "eth0"], check=True)
    subprocess.run([*inside, "link", "set", "eth0", "up"], check=True)
    return socket.if_nametoindex(name)


@contextmanager
def within(namespace: int) -> Iterator[None]:
    """This thread in another network namespace."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    namespaces.setns(namespace, namespaces.CLONE_NEWNET)
    try:
        yield
    finally:
        namespaces.setns(own, namespaces.CLONE_NEWNET)
        os.close(own)


def talk(namespace: int) -> list[int]:
    """Send 300 packets in, 500 out; the counters of eth0 as the container sees them, of
    `Link`'s order."""
    with within(namespace):
        inner = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        inner.bind(("10.9.8.2", 0))
    with inner, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outer:
        outer.bind(("10.9.8.1", 0))
        for source, target, count in ((outer, inner, 300), (inner, outer, 500)):
            for _ in range(count):
                source.sendto(bytes(1400), target.getsockname())
                assert len(target.recv(2000)) == 1400
    with within(namespace):
        lines = Path("/proc/thread-self/net/dev").read_text().partition("eth0:")[2].splitlines()
    values = list(map(int, lines[0].split()))
    return [values[at] for at in (1, 9, 0, 8, 2, 10, 3, 11)]


def test_what_passes_a_pair_is_counted_as_the_container_sees_it() -> None:
    def body() -> list[list[int]]:
        with sleeping_child(namespaces.CLONE_NEWNET) as (pid, _):
            namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
            index = veth(pid, "one")
            interfaces, counters = Interfaces([Interface("eth0", index)]), LinkCounters()
            try:
                found = [talk(namespace)]
                interfaces.take(counters.read())
                found.append(list(interfaces.counters()["eth0"]))
                assert counters.read_some([index]) == {index: counters.read()[index]}
                subprocess.run(["ip", "link", "del", "one"], check=True)
                assert counters.read_some([index]) == {}
                assert index not in counters.read()
                again = veth(pid, "two")
                assert again != index
                interfaces.change([Interface("eth0", again)])
                found.append(talk(namespace))
                interfaces.take(counters.read_some([again]))
                found.append(list(interfaces.counters()["eth0"]))
            finally:
                counters.close()
                os.close(namespace)
        return found

    inside, found, second, both = in_child(body, flags=namespaces.CLONE_NEWNET)
    assert inside[0] >= 300
    assert inside[1] >= 500
    assert inside[2] >= 300 * 1400
    # A few packets of IPv6's own may pass between the two readings.
    assert found == [pytest.approx(value, rel=0.01, abs=2) for value in inside]
    total = [one + other for one, other in zip(inside, second, strict=True)]
    assert both == [pytest.approx(value, rel=0.01, abs=2) for value in total]


def test_the_dump_has_every_interface_of_this_host() -> None:
    counters = LinkCounters()
    try:
        found = counters.read()
    finally:
        counters.close()
    assert set(found) == {index for index, _ in socket.if_nameindex()}


# --- the host -----------------------------------------------------------------------------------


def test_the_hosts_interfaces_are_no_containers_and_no_bridges() -> None:
    """Whatever they are called, and whosever namespace the sysfs at /sys shows."""

    def body() -> list[str]:
        for words in (
            "link add br-lan type bridge",
            "link add ol1 type veth peer name eth0",
            "link set ol1 master br-lan",
            "link add veth9 type veth peer name eth9",
        ):
            subprocess.run(["ip", *words.split()], check=True)
        return [n for i, _ in socket.if_nameindex() if (n := own_interface(i))]

    found = in_child(body, flags=namespaces.CLONE_NEWNET)
    assert set(found) & {"lo", "br-lan", "ol1", "veth9", "eth0", "eth9"} == {"eth0", "eth9"}


def test_the_host_is_read(short_folder: Path) -> None:
    with watching({}) as sampler:
        host = sampler._host
        times = host.cpu()
        figures = host.figures(times, sampler.links())
        process = host.process(times.boot)
        (storage,) = host.storage([str(short_folder)])
        space = shutil.disk_usage(short_folder)
        fds = len(os.listdir("/proc/self/fd")) - 1
    assert times.cpus == os.sysconf("SC_NPROCESSORS_ONLN")
    assert host.machine.memory == pytest.approx(
        os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), rel=0.001
    )
    assert figures.memory is not None
    assert 0 < figures.memory.working_set <= figures.memory.usage < host.machine.memory
    assert figures.cpu is not None
    assert 0 < figures.cpu.usage < times.total
    assert process.cpu_seconds == pytest.approx(time.process_time(), abs=0.5)
    assert process.started == pytest.approx(time.time(), abs=3600)
    assert process.open_fds == fds
    assert storage.limit == space.total
    assert storage.usage == pytest.approx(space.used, rel=0.01, abs=MIB)
