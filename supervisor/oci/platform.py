"""Platforms as images name them (Go's GOOS and GOARCH; OCI image-index.md, "platform").

Which platforms a host runs, and which it prefers, follows github.com/containerd/platforms,
which docker uses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from supervisor.errors import InvalidArgument

_GOARCH = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
    "i386": "386",
    "i686": "386",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
    "loongarch64": "loong64",
}
_VARIANTS = {"armv7l": "v7", "armv6l": "v6"}
_ALIASES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "i386": ("386", ""),
}
# An empty variant means this one.
_DEFAULT_VARIANTS = {"arm64": "v8", "arm": "v7", "amd64": "v1"}
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """What an image runs on. `variant` is the CPU's ("v7"), "" where it does not matter."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        parts = (self.os, self.architecture, self.variant)
        return "/".join(part for part in parts if part)


def architecture(machine: str) -> str:
    """The image architecture of a machine as uname(2) names it; unknown names stay."""
    return _GOARCH.get(machine, machine)


def of_machine(machine: str) -> Platform:
    """The platform of a Linux machine as uname(2) names it."""
    return normal("linux", architecture(machine), _VARIANTS.get(machine, ""))


def normal(os: str, architecture: str, variant: str = "") -> Platform:
    """A platform with one spelling for each name."""
    architecture, variant = architecture.lower(), variant.lower()
    if architecture in _ALIASES:
        architecture, default = _ALIASES[architecture]
        variant = variant or default
    variant = variant and f"v{variant.removeprefix('v')}"
    if _DEFAULT_VARIANTS.get(architecture) == variant and architecture != "arm":
        variant = ""
    if architecture == "arm":
        variant = variant or "v7"
    return Platform(os=os.lower(), architecture=architecture, variant=variant)


def parse(text: str) -> Platform:
    """`os/arch[/variant]`, `arch` alone is of Linux; InvalidArgument for anything else."""
    parts = text.split("/")
    if not 1 <= len(parts) <= 3 or not all(map(_PART.fullmatch, parts)):
        raise InvalidArgument(
            f"invalid platform {text!r:.80}: give os/arch[/variant], as in linux/arm64"
        )
    if len(parts) == 1:
        parts = parts if parts == ["linux"] else ["linux", *parts]
    if len(parts) == 1:
        raise InvalidArgument(f"invalid platform {text!r:.80}: give os/arch, as in linux/amd64")
    return normal(*parts)


def preference(wanted: Platform, found: Platform) -> int | None:
    """How well `found` serves who wants `wanted`: 0 is best; None if it does not run there."""
    found = normal(found.os, found.architecture, found.variant)
    for rank, candidate in enumerate(_runnable(wanted)):
        if found == candidate:
            return rank
    return None


def _runnable(wanted: Platform) -> Iterator[Platform]:
    """Platforms whose images run on `wanted`, best first."""
    wanted = normal(wanted.os, wanted.architecture, wanted.variant)
    yield wanted
    os, arch = wanted.os, wanted.architecture
    level = wanted.variant or _DEFAULT_VARIANTS.get(arch, "")
    number = int(level[1:]) if level[1:].isdecimal() and len(level) < 4 else 0
    if arch == "amd64":
        yield from (normal(os, arch, f"v{n}") for n in range(number - 1, 0, -1))
        yield normal(os, "386")
    if arch == "arm":
        yield from (normal(os, arch, f"v{n}") for n in range(number - 1, 4, -1))
    if arch == "arm64":
        yield from (normal(os, arch, f"v{n}") for n in range(number - 1, 7, -1))
        yield from (normal(os, "arm", f"v{n}") for n in range(8, 4, -1))
