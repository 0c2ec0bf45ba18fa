"""`docker top`: the processes of a container, read from the host's /proc."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from supervisor.errors import InvalidArgument

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class Process:
    """One process's /proc/PID/stat, cmdline and owner, read at once."""

    def __init__(self, pid: int) -> None:
        folder = Path(f"/proc/{pid}")
        stat = (folder / "stat").read_bytes()
        words = (folder / "cmdline").read_bytes().rstrip(b"\0")
        self.args = words.replace(b"\0", b" ").decode(errors="replace")
        self.uid = folder.stat().st_uid
        name, _, rest = stat.partition(b"(")[2].rpartition(b")")
        fields = rest.split()
        self.pid = pid
        self.name = name.decode(errors="replace")
        self.state = fields[0].decode()
        self.ppid = int(fields[1])
        self.tty = int(fields[4])
        self.ticks = int(fields[11]) + int(fields[12])
        self.start_ticks = int(fields[19])
        self.vsz = int(fields[20])
        self.rss = int(fields[21]) * PAGE

    @property
    def command(self) -> str:
        """The command line, or the name in brackets of a process without one."""
        return self.args or f"[{self.name}]"

    @property
    def age(self) -> float:
        """Seconds since its start."""
        return max(0.01, time.clock_gettime(time.CLOCK_BOOTTIME) - self.start_ticks / TICKS)

    @property
    def percent(self) -> float:
        """CPU time per life time, in percent of one CPU (ps's C)."""
        return 100 * self.ticks / TICKS / self.age

    @property
    def started(self) -> str:
        """Clock time of the start, or the day if that was not today."""
        at = time.localtime(time.time() - self.age)
        today = time.localtime()
        same_day = (at.tm_year, at.tm_yday) == (today.tm_year, today.tm_yday)
        return time.strftime("%H:%M" if same_day else "%b%d", at)


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _terminal(number: int) -> str:
    major, minor = number >> 8 & 0xFFF, (number & 0xFF) | (number >> 12 & 0xFFF00)
    return f"pts/{minor}" if 136 <= major <= 143 else "?" if not number else f"tty{minor}"


# ps(1)'s keyword → (title, value).
COLUMNS: dict[str, tuple[str, Callable[[Process], str]]] = {
    "pid": ("PID", lambda p: str(p.pid)),
    "ppid": ("PPID", lambda p: str(p.ppid)),
    "user": ("USER", lambda p: _user(p.uid)),
    "uid": ("UID", lambda p: str(p.uid)),
    "c": ("C", lambda p: str(int(p.percent))),
    "%cpu": ("%CPU", lambda p: f"{p.percent:.1f}"),
    "pcpu": ("%CPU", lambda p: f"{p.percent:.1f}"),
    "vsz": ("VSZ", lambda p: str(p.vsz // 1024)),
    "rss": ("RSS", lambda p: str(p.rss // 1024)),
    "tty": ("TTY", lambda p: _terminal(p.tty)),
    "tt": ("TT", lambda p: _terminal(p.tty)),
    "stat": ("STAT", lambda p: p.state),
    "s": ("S", lambda p: p.state),
    "stime": ("STIME", lambda p: p.started),
    "start": ("START", lambda p: p.started),
    "time": ("TIME", lambda p: _clock(p.ticks // TICKS)),
    "etimes": ("ELAPSED", lambda p: str(int(p.age))),
    "comm": ("COMMAND", lambda p: p.name),
    "cmd": ("CMD", lambda p: p.command),
    "args": ("COMMAND", lambda p: p.command),
    "command": ("COMMAND", lambda p: p.command),
}
FULL = ("user:UID", "pid", "ppid", "c", "stime", "tty", "time", "cmd")
STYLES = {
    "-ef": FULL,
    "ef": FULL,
    "-f": FULL,
    "-e": ("pid", "tty", "time", "comm:CMD"),
    "aux": ("user", "pid", "%cpu", "vsz", "rss", "tty", "stat", "start", "time", "args"),
    "-aux": ("user", "pid", "%cpu", "vsz", "rss", "tty", "stat", "start", "time", "args"),
}


def table(pids: Iterable[int], ps_args: str) -> tuple[list[str], list[list[str]]]:
    """Titles and rows for `ps_args`: -ef (default), aux, or -o with ps's column names."""
    columns = [_column(word) for word in _words(ps_args)]
    rows = []
    for pid in sorted(pids):
        try:
            process = Process(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended between the listing and the look
        rows.append([value(process) for _, value in columns])
    return [title for title, _ in columns], rows


def _words(ps_args: str) -> tuple[str, ...]:
    text = ps_args.strip() or "-ef"
    if text in STYLES:
        return STYLES[text]
    words = text.replace(",", " ").split()
    chosen = [w for w in words if w not in ("-o", "o", "-eo", "-e", "-A")]
    if len(chosen) < len(words) and chosen:
        return tuple(w.removeprefix("-o") for w in chosen)
    raise InvalidArgument(
        f"ps arguments {ps_args!r:.80} are not supported: give -ef, aux, or -o with columns of: "
        + ", ".join(COLUMNS)
    )


def _column(word: str) -> tuple[str, Callable[[Process], str]]:
    name, _, title = word.partition(":") if ":" in word else word.partition("=")
    if name.lower() not in COLUMNS:
        raise InvalidArgument(
            f"ps column {name!r:.40} is not known: give some of {', '.join(COLUMNS)}"
        )
    default, value = COLUMNS[name.lower()]
    return title or default, value
