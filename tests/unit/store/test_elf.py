"""Reading ELF headers and finding libraries, on this host's own programs."""

from __future__ import annotations

import os
import struct
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from supervisor.errors import InvalidArgument
from supervisor.store import elf
from supervisor.store.elf import Program

ENV = "/usr/bin/env"
DYNSTR_AT, DYNAMIC_AT = 0x200, 0x300


def make_library(
    path: Path,
    needed: tuple[str, ...] = (),
    rpath: str = "",
    runpath: str = "",
    machine: int = 62,  # EM_X86_64
    interpreter: str = "",
) -> Path:
    """Write a minimal ELF64 shared object: headers, a string table, a dynamic section."""
    strings = b"\0"
    tags: list[tuple[int, int]] = []
    for tag, text in ((15, rpath), (29, runpath), *((1, name) for name in needed)):
        if text:
            tags.append((tag, len(strings)))
            strings += text.encode() + b"\0"
    at_interpreter = len(strings)
    strings += interpreter.encode() + b"\0"
    tags += [(5, DYNSTR_AT), (10, len(strings)), (0, 0)]
    dynamic = b"".join(struct.pack("<qQ", *tag) for tag in tags)
    segments = [(1, 0, 0x1000), (2, DYNAMIC_AT, len(dynamic))]
    if interpreter:
        segments.append((3, DYNSTR_AT + at_interpreter, len(interpreter) + 1))
    header = b"\x7fELF\x02\x01\x01" + b"\0" * 9
    header += struct.pack(
        "<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, len(segments), 64, 0, 0
    )
    for kind, at, size in segments:
        header += struct.pack("<IIQQQQQQ", kind, 4, at, at, at, size, size, 8)
    content = header.ljust(DYNSTR_AT, b"\0") + strings
    content = (content.ljust(DYNAMIC_AT, b"\0") + dynamic).ljust(0x1000, b"\0")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(elf, "_DEFAULT_FOLDERS", (str(tmp_path / "default"),))
    return tmp_path


def closure(host: Path, program: Path, conf: str = "") -> dict[str, str]:
    (host / "ld.so.conf").write_text(conf)
    found = elf.closure(elf.read(str(program)), host / "ld.so.conf")
    return {name: path.removeprefix(f"{host}/") for name, path in found.items()}


def test_a_real_dynamic_program() -> None:
    program = elf.read(ENV)
    assert Path(program.interpreter).is_file()
    found = elf.closure(program)
    assert any(name.startswith("libc.") for name in found)
    # What the kernel and the loader really mapped into this very interpreter.
    maps = Path("/proc/self/maps").read_text().splitlines()
    mapped = {line.split()[-1] for line in maps if ".so" in line}
    ours = elf.read(os.path.realpath(sys.executable))
    resolved = {os.path.realpath(path) for path in elf.closure(ours).values()}
    assert resolved <= mapped


def test_the_made_library_reads_as_made(host: Path) -> None:
    path = make_library(
        host / "x", ("a.so", "b.so"), "/r1:/r2", "$ORIGIN/../lib", interpreter="/lib/ld.so"
    )
    assert elf.read(str(path)) == Program(
        path=str(path),
        machine="EM_X86_64",
        bits=64,
        interpreter="/lib/ld.so",
        needed=("a.so", "b.so"),
        rpath=("/r1", "/r2"),
        runpath=("$ORIGIN/../lib",),
    )


def test_libraries_of_libraries_are_found_once(host: Path) -> None:
    program = make_library(host / "program", ("a.so",))
    make_library(host / "default" / "a.so", ("b.so", "c.so"))
    make_library(host / "default" / "b.so", ("c.so", "a.so"))
    make_library(host / "default" / "c.so")
    assert closure(host, program) == {
        "a.so": "default/a.so",
        "b.so": "default/b.so",
        "c.so": "default/c.so",
    }


def test_runpath_is_for_the_object_alone_and_rpath_for_what_it_needs(host: Path) -> None:
    for folder in ("run", "r"):
        make_library(host / folder / "a.so", ("b.so",))
        make_library(host / folder / "b.so")
    make_library(host / "default" / "b.so")
    by_runpath = make_library(host / "one", ("a.so",), runpath=f"{host}/run")
    assert closure(host, by_runpath) == {"a.so": "run/a.so", "b.so": "default/b.so"}
    by_rpath = make_library(host / "two", ("a.so",), rpath=f"{host}/r")
    assert closure(host, by_rpath) == {"a.so": "r/a.so", "b.so": "r/b.so"}
    # An object with a RUNPATH has no RPATH, neither its own nor its loaders'.
    both = make_library(host / "three", ("a.so",), rpath=f"{host}/r", runpath=f"{host}/run")
    assert closure(host, both) == {"a.so": "run/a.so", "b.so": "default/b.so"}


def test_origin_is_where_the_object_really_is(host: Path) -> None:
    make_library(host / "app" / "lib" / "a.so")
    program = make_library(host / "app" / "bin" / "x", ("a.so",), runpath="${ORIGIN}/../lib")
    link = host / "x"
    link.symlink_to(program)
    assert closure(host, link) == {"a.so": "app/bin/../lib/a.so"}


def test_the_conf_file_and_what_it_includes(host: Path) -> None:
    program = make_library(host / "x", ("a.so", "b.so"))
    make_library(host / "one" / "a.so")
    make_library(host / "two" / "a.so")
    make_library(host / "two" / "b.so")
    (host / "conf.d").mkdir()
    (host / "conf.d" / "1.conf").write_text(f"# a comment\n{host}/one # and one here\n")
    (host / "conf.d" / "2.conf").write_text(f"include {host}/conf.d/*.conf\n{host}/two\n")
    found = closure(host, program, "hwcap 0 nosegneg\ninclude conf.d/*.conf\n")
    assert found == {"a.so": "one/a.so", "b.so": "two/b.so"}


def test_objects_of_another_machine_are_passed_over(host: Path) -> None:
    program = make_library(host / "x", ("a.so",))
    make_library(host / "wrong" / "a.so", machine=183)
    (host / "text").mkdir()
    (host / "text" / "a.so").write_text("INPUT(-lreal)")
    make_library(host / "default" / "a.so")
    conf = f"{host}/wrong\n{host}/text\n{host}/missing\n"
    assert closure(host, program, conf) == {"a.so": "default/a.so"}


def test_a_missing_library_is_named_with_who_needs_it(host: Path) -> None:
    program = make_library(host / "x", ("a.so",))
    make_library(host / "default" / "a.so", ("gone.so.1",))
    with pytest.raises(InvalidArgument, match=r"default/a\.so needs gone\.so\.1"):
        closure(host, program)


def test_what_is_no_program_is_refused(tmp_path: Path) -> None:
    cases = {
        "empty": b"",
        "text": b"hello",
        "script": b"#!/bin/sh -e\necho",
        "head": b"\x7fELF\x02\x01\x01",
        "garbage": b"\x7fELF\x02\x01\x01" + b"\xff" * 500,
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InvalidArgument, match=name):
            elf.read(str(tmp_path / name))
    with pytest.raises(InvalidArgument, match="script for /bin/sh -e"):
        elf.read(str(tmp_path / "script"))
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "missing", "."):
        with pytest.raises(InvalidArgument):
            elf.read(str(tmp_path / name))


def test_flipped_headers_never_do_worse_than_refuse(host: Path) -> None:
    whole = make_library(host / "x", ("a.so",), "/r", "/s", interpreter="/ld.so").read_bytes()
    headers, dynamic = range(0x120), range(DYNAMIC_AT, DYNAMIC_AT + 0x60)
    for at in (*headers, *range(DYNSTR_AT, DYNSTR_AT + 0x20, 4), *dynamic):
        damaged = host / "damaged"
        damaged.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        with suppress(InvalidArgument):
            elf.read(str(damaged))
