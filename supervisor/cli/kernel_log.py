"""Which processes the kernel's OOM killer took, as its own log has it (/dev/kmsg).

Only root on the container's own host can read it, and it is a ring: what is not found is unknown.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

KMSG = "/dev/kmsg"
_RECORD = 8192  # one read is one record, and none is longer (Documentation/ABI/testing/dev-kmsg)
# mm/oom_kill.c: dump_oom_summary, then __oom_kill_process.
_CHOSEN = re.compile(r"oom-kill:constraint=.*,oom_memcg=([^,]*),.*task=(.*),pid=(\d+),uid=")
_KILLED = re.compile(r"Killed process (\d+) \((.*)\) total-vm:.* anon-rss:(\d+)kB.*shmem-rss:(\d+)")


class Victim(NamedTuple):
    """A process that was killed: `memory` in bytes, `boot_us` µs after the host's boot."""

    pid: int
    command: str
    memory: int
    boot_us: int


def victims(container_id: str, path: str = KMSG) -> list[Victim]:
    """Those of a container, oldest first; none where the log cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        return find(container_id, _records(fd))
    finally:
        os.close(fd)


def find(container_id: str, records: Iterable[str]) -> list[Victim]:
    """Those that the log's records ("priority,number,µs,flags;text") tell of."""
    found, waiting = [], 0
    for record in records:
        head, _, text = record.partition(";")
        if (chosen := _CHOSEN.search(text)) and container_id in chosen[1]:
            waiting = int(chosen[3])
        elif waiting and (killed := _KILLED.search(text)) and int(killed[1]) == waiting:
            memory = (int(killed[3]) + int(killed[4])) * 1024
            found.append(Victim(waiting, killed[2], memory, int(head.split(",")[2])))
            waiting = 0
    return found


def _records(fd: int) -> Iterator[str]:
    while True:
        try:
            record = os.read(fd, _RECORD)
        except OSError as error:
            if error.errno == errno.EPIPE:  # it was overwritten meanwhile: go on with the oldest
                continue
            return
        if not record:
            return
        yield record.decode("utf-8", "replace")
