#!/usr/bin/env python3
"""Which kernel the guest boots; as a program, prints its path (and fetches it if need be).

The first of these that exists:

1. the file named by ORLOP_GUEST_KERNEL;
2. CACHE/built/linux, made by build.sh (`make guest-kernel`): every feature;
3. CACHE/debian-sid/linux, fetched here: Debian sid's user-mode-linux, which lacks PSI,
   nftables, landlock and the cpuset controller.

CACHE is ORLOP_GUEST_CACHE or ~/.cache/orlop-guest. The stable suites' user-mode-linux (6.1,
6.12) panic on processors with wide registers ("ptrace set fp regs failed"), hence sid.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CACHE = Path(os.environ.get("ORLOP_GUEST_CACHE") or Path.home() / ".cache/orlop-guest")
SUITE = "sid"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# The loader named in the kernel's ELF header, and what it is overwritten with: sid's kernel
# runs with sid's libc, unpacked beside it, from that folder as its working directory.
LOADER = b"/lib64/ld-linux-x86-64.so.2\0"
OUR_LOADER = b"./ld.so"


class NoKernelError(Exception):
    """No guest kernel is here and none can be fetched; the message says why."""


def find() -> Path:
    """The kernel to boot, fetched if need be (10 seconds, 25 MB, once)."""
    named = os.environ.get("ORLOP_GUEST_KERNEL")
    if named:
        if not os.access(named, os.X_OK):
            raise NoKernelError(f"ORLOP_GUEST_KERNEL={named} is not an executable file")
        return Path(named).resolve()
    for folder in (CACHE / "built", CACHE / f"debian-{SUITE}"):
        if os.access(folder / "linux", os.X_OK):
            return (folder / "linux").resolve()
    if platform.machine() != "x86_64":
        raise NoKernelError("User-Mode Linux runs on x86_64 only")
    if not shutil.which("apt-get"):
        raise NoKernelError("without apt-get no kernel can be fetched; set ORLOP_GUEST_KERNEL")
    try:
        return _fetch(CACHE / f"debian-{SUITE}") / "linux"
    except subprocess.CalledProcessError as error:
        raise NoKernelError(f"fetching user-mode-linux failed: {error}") from error


def modules(kernel: Path) -> Path | None:
    """The folder of the kernel's modules (with modules.dep), if it has any."""
    folder = kernel.parent / "modules"
    return folder if folder.is_dir() else None


def _fetch(target: Path) -> Path:
    print(f"guest: fetching Debian {SUITE}'s user-mode-linux into {target}", file=sys.stderr)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fetch.", dir=CACHE) as folder:
        tmp = Path(folder)
        _download(tmp, ["user-mode-linux", "libc6"])
        new = _assemble(tmp / "root", tmp / "new")
        try:
            new.rename(target)
        except OSError:  # another fetch was faster, and its result is as good
            if not (target / "linux").exists():
                raise
    return target


def _mirror() -> str:
    """The Debian mirror that this machine uses."""
    codename = platform.freedesktop_os_release()["VERSION_CODENAME"]
    uris = subprocess.run(
        ["apt-get", "--print-uris", "update"], check=True, capture_output=True, text=True
    ).stdout
    found = re.search(rf"^'(\S+)/dists/{codename}/InRelease'", uris, re.MULTILINE)
    return found[1] if found else "http://deb.debian.org/debian"


def _download(tmp: Path, packages: list[str]) -> None:
    """Unpack `packages` into tmp/root by an apt that shares nothing with the machine's own."""
    for folder in ("lists/partial", "cache/archives/partial", "none"):
        (tmp / "apt" / folder).mkdir(parents=True)
    (tmp / "apt/list").write_text(f"deb [signed-by={KEYRING}] {_mirror()} {SUITE} main\n")
    # An old mirror is fine (Check-Valid-Until), an unsigned one is not.
    (tmp / "apt/conf").write_text(f"""
        Dir::State "{tmp}/apt";
        Dir::State::status "/dev/null";
        Dir::Cache "{tmp}/apt/cache";
        Dir::Etc {{
            sourcelist "{tmp}/apt/list"; sourceparts "{tmp}/apt/none";
            preferences "/dev/null"; preferencesparts "{tmp}/apt/none";
        }};
        APT::Architectures {{ "amd64"; }};
        APT::Sandbox::User "";
        Acquire {{
            Languages "none"; Retries "3";
            Check-Valid-Until "false"; Check-Date "false"; AllowInsecureRepositories "false";
        }};
    """)
    environment = {**os.environ, "APT_CONFIG": str(tmp / "apt/conf")}
    for command in (["update"], ["download", *(f"{name}/{SUITE}" for name in packages)]):
        subprocess.run(
            ["apt-get", "-qq", *command], check=True, cwd=tmp, env=environment, stdout=sys.stderr
        )
    for package in tmp.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, tmp / "root"], check=True)


def _assemble(root: Path, new: Path) -> Path:
    """Put kernel, loader, libc and modules into one folder."""
    new.mkdir()
    loader = next(p for p in root.rglob("ld-linux-x86-64.so.2") if not p.is_symlink())
    shutil.copy(loader, new / "ld.so")
    shutil.copy(loader.with_name("libc.so.6"), new)
    kernel = (root / "usr/bin/linux.uml").read_bytes()
    if kernel.count(LOADER, 0, 4096) != 1:
        raise NoKernelError("linux.uml does not name the loader that was expected")
    (new / "linux").write_bytes(kernel.replace(LOADER, OUR_LOADER.ljust(len(LOADER), b"\0"), 1))
    (new / "linux").chmod(0o755)
    next((root / "usr/lib/uml/modules").iterdir()).rename(new / "modules")
    return new


if __name__ == "__main__":
    try:
        print(find())
    except NoKernelError as error:
        sys.exit(f"guest: {error}")
