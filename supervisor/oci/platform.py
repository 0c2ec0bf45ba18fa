"""Platform names as images use them (Go's GOARCH; OCI image-index.md, "platform")."""

from __future__ import annotations

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


def architecture(machine: str) -> str:
    """The image architecture of a machine as uname(2) names it; unknown names stay."""
    return _GOARCH.get(machine, machine)
