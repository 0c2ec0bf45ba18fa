"""Files below /proc/sys/net, of the calling thread's network namespace: for a KernelThread."""

from __future__ import annotations

from pathlib import Path

from netplumb.errors import Refused
from netplumb.plan.operation import Setting

ROOT = Path("/proc/sys/net")


def read(path: str) -> str | None:
    """A value; None where the kernel has no such file."""
    try:
        return (ROOT / path).read_text().strip()
    except FileNotFoundError:
        return None


def write(setting: Setting) -> None:
    """Set a value unless it is set; Refused."""
    if read(setting.path) == setting.value:
        return
    try:
        with (ROOT / setting.path).open("wb", buffering=0) as file:
            file.write(setting.value.encode())
    except OSError as error:
        raise Refused(setting.describe(), error.errno or 0) from None


def interfaces(family: str) -> list[str]:
    """The interfaces that have settings, without "all" and "default"."""
    try:
        names = [path.name for path in (ROOT / family / "conf").iterdir()]
    except FileNotFoundError:
        return []
    return [name for name in names if name not in ("all", "default")]
