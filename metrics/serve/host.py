"""The host's own figures: /proc, its file systems, the names of its devices and interfaces."""

from __future__ import annotations

import fcntl
import os
import platform
import resource
import socket
import struct
from array import array
from collections.abc import Iterable, Mapping
from pathlib import Path

from metrics.errors import Malformed
from metrics.model import Roots, Storage
from metrics.parse import host
from metrics.parse.figures import DeviceIo, Figures, Link, Pressure, Tasks
from metrics.parse.pressure import stall
from metrics.render.snapshot import Machine
from metrics.serve.files import KeptFile, close_all
from metrics.serve.links import master_of

MAX_INTERFACES = 32
MAX_DEVICES = 1024
_SIOCETHTOOL, _ETHTOOL_GDRVINFO = 0x8946, 0x3
_DRVINFO = struct.Struct("I32s160x")  # struct ethtool_drvinfo: cmd, driver, the rest
_PAGE = resource.getpagesize()
_KEPT = (
    "stat",
    "meminfo",
    "loadavg",
    "diskstats",
    "self/stat",
    "pressure/cpu",
    "pressure/memory",
    "pressure/io",
)


class Host:
    """Reads the host as if it were a container. Every method may raise OSError or Malformed."""

    def __init__(self, roots: Roots) -> None:
        self._sys = Path(roots.sys)
        self._self = Path(roots.proc, "self/fd")
        self._kept = {name: KeptFile(f"{roots.proc}/{name}") for name in _KEPT}
        self._interfaces: dict[int, str] = {}
        self.machine = Machine(kernel=os.uname().release, os=_os_name())

    def cpu(self) -> host.CpuTimes:
        """The CPU times, which every sample of a container needs beside it."""
        return host.cpu_times(self._kept["stat"].read())

    def figures(self, times: host.CpuTimes, links: Mapping[int, Link]) -> Figures:
        """All figures; sets `machine` along the way."""
        memory, total = host.memory(self._kept["meminfo"].read())
        self.machine = self.machine._replace(cpus=times.cpus, memory=total)
        return Figures(
            cpu=host.as_cpu(times),
            memory=memory,
            tasks=Tasks(threads=host.threads(self._kept["loadavg"].read())),
            pressure=self._pressure(),
            io=self._disks(),
            network=self._named(links),
        )

    def memory_size(self) -> int:
        """Bytes of memory, 0 when that cannot be read; asked of the kernel once."""
        if not self.machine.memory:
            try:
                total = host.memory(self._kept["meminfo"].read())[1]
            except (OSError, Malformed):
                return 0
            self.machine = self.machine._replace(memory=total)
        return self.machine.memory

    def process(self, boot: int) -> host.Process:
        """The agent itself."""
        read = host.process(self._kept["self/stat"].read(), boot, _PAGE)
        # Linux 6.2 and later tell the number as the folder's size.
        fds = self._self.stat().st_size or sum(1 for _ in self._self.iterdir())
        return read._replace(open_fds=fds, max_fds=resource.getrlimit(resource.RLIMIT_NOFILE)[0])

    def storage(self, folders: Iterable[str]) -> tuple[Storage, ...]:
        """The use of the file systems that hold the folders, each once. It may block on a disk."""
        found: dict[int, Storage] = {}
        for folder in folders:
            number, device = Path(folder).stat().st_dev, self.device_of(folder)
            v = os.statvfs(folder)
            used, size = (v.f_blocks - v.f_bfree) * v.f_frsize, v.f_blocks * v.f_frsize
            found[number] = Storage(device, used, size, v.f_ffree, v.f_files)
        return tuple(found.values())

    def device_of(self, folder: str) -> str:
        """The name of the device that the folder's file system is on."""
        number = Path(folder).stat().st_dev
        return self.device(f"{os.major(number)}:{os.minor(number)}")

    def device(self, number: str) -> str:
        """`/dev/sda` for `8:0`; the number itself for one without a name, such as an overlay's."""
        try:
            return f"/dev/{(self._sys / 'dev/block' / number).readlink().name}"
        except OSError:
            return number

    def forget_names(self) -> None:
        """Ask again for the interfaces' names, which may change. What is a container's stays so."""
        self._interfaces = {index: "" for index, name in self._interfaces.items() if not name}

    def close(self) -> None:
        """Close what was kept open."""
        close_all(self._kept.values())

    def _pressure(self) -> Pressure | None:
        try:
            cpu, memory, io = (
                stall(self._kept[f"pressure/{name}"].read()) for name in ("cpu", "memory", "io")
            )
        except OSError:  # a kernel without it, or it is switched off (psi=0: EOPNOTSUPP)
            return None
        return Pressure(*cpu, *memory, *io)

    def _disks(self) -> dict[str, DeviceIo]:
        names = (path.name for path in (self._sys / "block").iterdir())
        real = frozenset(n for n in names if not n.startswith(("loop", "ram", "zram")))
        return host.disks(self._kept["diskstats"].read(), real)

    def _named(self, links: Mapping[int, Link]) -> dict[str, Link]:
        named: dict[str, Link] = {}
        if len(self._interfaces) > 2 * len(links) + MAX_INTERFACES:  # of those that are gone
            self._interfaces = {i: name for i, name in self._interfaces.items() if i in links}
        for index, link in links.items():
            if index not in self._interfaces:
                self._interfaces[index] = own_interface(index)
            if name := self._interfaces[index]:
                named[name] = link
                if len(named) == MAX_INTERFACES:
                    break
        return named


def own_interface(index: int) -> str:
    """The name of an interface that is the host's own business; "" for others.

    A veth in a bridge is a container's (a host that is a container itself has one that is in
    none), what passes a bridge has passed an interface in it, lo's traffic never left the host.
    """
    try:
        name = socket.if_indextoname(index)
        driver = _driver(name)
        if driver == "veth":
            of_others = name.startswith("veth") or master_of(index) != 0
        else:
            of_others = driver == "bridge" or name == "lo"
    except OSError:  # it has gone
        return ""
    return "" if of_others else name


def _driver(name: str) -> str:
    """Of an interface, whatever it is called; "" for one that tells none. linux/ethtool.h."""
    answer = array("B", _DRVINFO.pack(_ETHTOOL_GDRVINFO, b""))
    request = struct.pack("16sP16x", name.encode(), answer.buffer_info()[0])  # struct ifreq
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as any_socket:
        try:
            fcntl.ioctl(any_socket, _SIOCETHTOOL, request)
        except OSError:
            return ""
    driver: bytes = _DRVINFO.unpack(answer.tobytes())[1]
    return driver.rstrip(b"\0").decode("ascii", "replace")


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return ""


class DeviceNames:
    """Remembers the names of block devices."""

    def __init__(self, reader: Host) -> None:
        self._reader = reader
        self._names: dict[str, str] = {}

    def named(self, io: Mapping[str, DeviceIo], most: int) -> dict[str, DeviceIo]:
        """The counters by name, of the first `most` devices."""
        result = {}
        for number in list(io)[:most]:
            if number not in self._names:
                if len(self._names) >= MAX_DEVICES:
                    self._names.clear()
                self._names[number] = self._reader.device(number)
            result[self._names[number]] = io[number]
        return result
