"""Which shared libraries a host program needs, read from ELF headers alone.

Never by running ldd, which runs the program's own loader. The search follows ld.so(8):
DT_RPATH of the object and of those that needed it, DT_RUNPATH of the object, the folders
of ld.so.conf (what ld.so.cache is made of), the default folders. Objects of another
machine or word size are passed over, as the loader does.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import InterpSegment

from supervisor.errors import InvalidArgument

_DEFAULT_FOLDERS = ("/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib")
_CONF_DEPTH = 4
# pyelftools believes the headers: these are what it trips over when they lie.
_BROKEN = (
    ELFError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """The dynamic part of an ELF file; `interpreter` is "" for a library or a static program."""

    path: str
    machine: str
    bits: int
    interpreter: str = ""
    needed: tuple[str, ...] = ()
    rpath: tuple[str, ...] = ()
    runpath: tuple[str, ...] = ()

    @property
    def target(self) -> tuple[str, int]:
        """What must be equal for two objects to go into one process."""
        return self.machine, self.bits


def open_regular(path: str) -> int:
    """A read-only fd of a regular file; InvalidArgument for anything else at `path`."""
    try:
        # O_NONBLOCK: opening a FIFO must not wait for its writer.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise InvalidArgument(f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise InvalidArgument(f"{path} is not a regular file")
    return fd


def read(path: str) -> Program:
    """Read the headers of a program or library; raises InvalidArgument if it is none."""
    with os.fdopen(open_regular(path), "rb") as file:
        start = file.read(64)
        if start.startswith(b"#!"):
            interpreter = start[2:].split(b"\n")[0].decode(errors="replace").strip()
            raise InvalidArgument(
                f"{path} is a script for {interpreter}: an image of single binaries takes "
                "ELF programs only"
            )
        if not start.startswith(b"\x7fELF"):
            raise InvalidArgument(f"{path} is not an ELF program")
        file.seek(0)
        try:
            return _read(path, ELFFile(file))
        except _BROKEN as error:
            raise InvalidArgument(f"{path} is a damaged ELF file: {error}") from None


def _read(path: str, elf: ELFFile) -> Program:
    interpreter = ""
    names: dict[str, list[str]] = {"needed": [], "rpath": [], "runpath": []}
    for segment in elf.iter_segments():
        if isinstance(segment, InterpSegment):
            interpreter = segment.get_interp_name()
        elif isinstance(segment, DynamicSegment):
            for tag in segment.iter_tags():
                name = str(tag.entry.d_tag).removeprefix("DT_").lower()
                if name in names:
                    names[name].append(getattr(tag, name))
    return Program(
        path=path,
        machine=str(elf["e_machine"]),
        bits=elf.elfclass,
        interpreter=interpreter,
        needed=tuple(names["needed"]),
        rpath=_split(names["rpath"]),
        runpath=_split(names["runpath"]),
    )


def _split(paths: list[str]) -> tuple[str, ...]:
    return tuple(part for path in paths for part in path.split(":") if part)


def closure(program: Program, conf: Path = Path("/etc/ld.so.conf")) -> dict[str, str]:
    """All libraries that `program` loads at start: the name asked for → path on this host.

    The interpreter is not among them. Raises InvalidArgument naming what is missing.
    """
    system = system_folders(program, conf)
    found: dict[str, str] = {}
    # Breadth first, as the loader: the first to ask for a name decides where it is from.
    pending: list[tuple[Program, tuple[Program, ...]]] = [(program, ())]
    for asking, loaders in pending:
        for name in asking.needed:
            if name in found:
                continue
            library = _find(name, asking, loaders, system)
            found[name] = library.path
            pending.append((library, (asking, *loaders)))
    return found


def _find(
    name: str, asking: Program, loaders: tuple[Program, ...], system: tuple[str, ...]
) -> Program:
    candidates = (name,) if "/" in name else _candidates(name, asking, loaders, system)
    for candidate in candidates:
        if not Path(candidate).is_file():
            continue
        try:
            library = read(candidate)
        except InvalidArgument:
            continue
        if library.target == asking.target:
            return library
    raise InvalidArgument(
        f"{asking.path} needs {name}, which is not on this host "
        f"(looked in {', '.join(system)} and the program's own RPATH)"
    )


def _candidates(
    name: str, asking: Program, loaders: tuple[Program, ...], system: tuple[str, ...]
) -> Iterator[str]:
    if not asking.runpath:  # DT_RUNPATH switches DT_RPATH off, its loaders' too
        for loading in (asking, *loaders):
            if not loading.runpath:
                yield from (f"{folder}/{name}" for folder in _expand(loading, loading.rpath))
    yield from (f"{folder}/{name}" for folder in _expand(asking, asking.runpath))
    yield from (f"{folder}/{name}" for folder in system)


def _expand(program: Program, folders: tuple[str, ...]) -> Iterator[str]:
    """Folders with $ORIGIN and $LIB filled in; $LIB differs between distributions."""
    origin = os.path.dirname(os.path.realpath(program.path))  # noqa: PTH120 # text, as in the ELF
    for folder in folders:
        for token in ("ORIGIN", "LIB"):
            folder = folder.replace(f"${{{token}}}", f"${token}")
        folder = folder.replace("$ORIGIN", origin)
        if "$LIB" in folder:
            for lib in ("lib64", f"lib/{os.uname().machine}-linux-gnu", "lib"):
                yield folder.replace("$LIB", lib)
        elif folder.startswith("/"):
            yield folder


def system_folders(program: Program, conf: Path) -> tuple[str, ...]:
    """Where the host's loader looks for every program, in order and without repeats."""
    folders = list(_read_conf(conf, 0))
    if program.interpreter:
        # ld.so always searches the folder that it was built to live in.
        folders.append(str(Path(program.interpreter).resolve().parent))
    return tuple(dict.fromkeys((*folders, *_DEFAULT_FOLDERS)))


def _read_conf(conf: Path, depth: int) -> Iterator[str]:
    """The folders of an ld.so.conf and of the files it includes (ldconfig(8))."""
    try:
        lines = conf.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        words = line.partition("#")[0].replace(",", " ").replace(":", " ").split()
        if words[:1] == ["include"] and depth < _CONF_DEPTH:
            for pattern in words[1:]:
                # An absolute pattern stays absolute when joined.
                root = conf.parent / pattern
                for path in sorted(root.parent.glob(root.name)):
                    yield from _read_conf(path, depth + 1)
        elif words and words[0].startswith("/"):
            yield from words
