"""The zygote's stand-ins for modules of the standard library, beside the originals."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from supervisor.engine.zygote import BOOT
from supervisor.spec.codec import from_json, to_json
from supervisor.spec.types import Spec
from tests.support.lean import LEAN, lean

STOOD_IN = sorted(
    str(path.relative_to(LEAN).with_suffix("")).replace("/", ".").removesuffix(".__init__")
    for path in LEAN.rglob("*.py")
    if path.parent != LEAN or path.name != "__init__.py"
)
SPEC: dict[str, Any] = {
    "version": 1,
    "id": "a" * 64,
    "process": {"args": ["sh", "-c", "x"], "user": "0", "umask": 7, "oomScoreAdj": None},
    "root": {"lower": ["/a", "/b"], "upper": "/u", "work": "/w", "volatile": True},
    "mounts": [{"destination": "/proc", "type": "proc", "options": ["nosuid"]}],
    "cgroup": {"v1": {"memory": "/m"}},
    "unknown": 1,
}
DOCUMENTS = (
    '{"a": [1, -2.5e3, true, null, "\\u00fc\\n"], "": {}}',
    " \n[ ]\t",
    '"\\ud834\\udd1e"',
    "",
    "[1,",
    "{'a': 1}",
    '{"a": 1} x',
    '"a\nb"',
)


def test_the_zygote_finds_them_first() -> None:
    assert "/supervisor/shim/lean" in BOOT
    loaded = lean(
        "from supervisor.shim import zygote\n"
        "print(json.dumps({n: getattr(m, '__file__', '') for n, m in sys.modules.items()}))"
    )
    # Not one of the originals, nor what they bring.
    assert {name: loaded[name] for name in STOOD_IN if name in loaded} == {
        name: str(LEAN / (name.replace(".", "/") + end))
        for name in STOOD_IN
        for end in (".py", "/__init__.py")
        if name in loaded and (LEAN / (name.replace(".", "/") + end)).exists()
    }
    assert not {"re", "inspect", "ast", "selectors", "importlib"} & set(loaded)


def test_they_have_what_is_used_of_them() -> None:
    files = lean(
        "from supervisor.shim import zygote\n"
        "print(json.dumps([m.__file__ for n, m in sys.modules.items()"
        " if n.startswith('supervisor') and m.__file__]))"
    )
    used: defaultdict[str, set[str]] = defaultdict(set)
    for file in files:
        for node in ast.walk(ast.parse(Path(file).read_text())):
            if isinstance(node, ast.ImportFrom) and node.module in STOOD_IN:
                used[str(node.module)] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                used[node.value.id].add(node.attr)
    assert used["socket"] >= {"socket", "socketpair"}
    used = defaultdict(set, {name: used[name] for name in STOOD_IN if name in used})
    missing = lean(
        f"used = {dict(used)!r}\n"
        "print(json.dumps([f'{m}.{n}' for m, names in used.items() for n in names"
        " if not hasattr(__import__(m, fromlist=['x']), n)]))"
    )
    assert missing == []


def test_specs_are_read_and_written_alike() -> None:
    text = json.dumps(SPEC)
    there = lean(
        "from supervisor.spec.codec import from_json, to_json\n"
        "from supervisor.spec.types import Spec\n"
        f"spec = from_json(Spec, json.loads({text!r}))\n"
        "assert spec == from_json(Spec, json.loads(json.dumps(to_json(spec))))\n"
        "print(json.dumps([repr(spec), to_json(spec)]))"
    )
    here = from_json(Spec, json.loads(text))
    assert there == [repr(here), to_json(here)]


@pytest.mark.parametrize("change", [{"id": 1}, {"root": None}, {"mounts": [{}]}, {"root": {}}])
def test_wrong_specs_are_refused_alike(change: dict[str, Any]) -> None:
    wrong = json.dumps({**SPEC, **change})
    there = lean(
        "from supervisor.spec.codec import from_json\n"
        "from supervisor.spec.types import Spec\n"
        f"try: from_json(Spec, json.loads({wrong!r}))\n"
        "except ValueError as error: print(json.dumps(str(error)))"
    )
    with pytest.raises(ValueError, match=re.escape(there.rpartition(":")[0])):
        from_json(Spec, json.loads(wrong))


@pytest.mark.parametrize("text", DOCUMENTS)
def test_json_is_read_and_written_alike(text: str) -> None:
    there = lean(
        f"try: value = json.loads({text!r}.encode())\n"
        "except ValueError as error: print(json.dumps(['refused', type(error).__name__]))\n"
        "else: print(json.dumps([json.dumps(value), json.dumps(value, separators=(',', ':'))]))"
    )
    assert there == outcome(text)


def outcome(text: str) -> list[str]:
    """The same by the original."""
    try:
        value = json.loads(text.encode())
    except ValueError as error:
        return ["refused", type(error).__name__]
    return [json.dumps(value), json.dumps(value, separators=(",", ":"))]


def test_sockets_pass_descriptors() -> None:
    program = """
import os, socket
near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
socket.send_fds(near, [b"x"], [near.fileno(), far.fileno()])
data, fds, flags, _ = socket.recv_fds(far, 10, 4)
assert (data, len(fds)) == (b"x", 2), (data, fds)
with near.dup() as copy:
    copy.send(b"copy")
assert far.recv(10) == b"copy" and copy.fileno() == -1
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind(f"\\0orlop-test-{os.getpid()}")
listener.listen()
client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
client.connect(listener.getsockname())
server, _ = listener.accept()
client.send(b"hello")
assert server.recv(10) == b"hello" and not os.get_inheritable(server.fileno())
print("true")
"""
    assert lean(program)


def test_a_traceback_names_the_lines() -> None:
    text = lean(
        "import traceback\n"
        "def fails(): raise ValueError('why')\n"
        "try: fails()\n"
        "except ValueError: print(json.dumps(traceback.format_exc()))"
    )
    assert text.startswith("Traceback")
    assert text.endswith("ValueError: why\n")
    assert "in fails" in text


def test_blocks_end_as_they_do_with_the_original() -> None:
    program = """
from contextlib import contextmanager, suppress
said = []
@contextmanager
def block(swallow):
    try:
        yield 1
    except KeyError:
        said.append("error")
        if not swallow:
            raise
    finally:
        said.append("end")
with block(False) as value:
    said.append(value)
with block(True):
    raise KeyError
with suppress(KeyError), block(False):
    raise KeyError
try:
    with block(True):
        raise ValueError
except ValueError:
    said.append("through")
print(json.dumps(said))
"""
    assert lean(program) == [1, "end", "error", "end", "error", "end", "end", "through"]


def test_dataclasses_are_alike() -> None:
    program = """
from __future__ import annotations
import json
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import ClassVar
@dataclass(frozen=True, slots=True)
class Base:
    kind: ClassVar[str] = "k"
    a: int
    b: tuple[int, ...] = (1,)
@dataclass(frozen=True, slots=True)
class Derived(Base):
    c: dict[str, int] = field(default_factory=dict)
@dataclass
class Plain:
    x: int
    y: str = "y"
    def __post_init__(self): self.x += 1
one = Derived(1, c={"z": 1})
try: Base()
except TypeError as error: refused = str(error)
print(json.dumps([
    repr(one), repr(replace(one, a=2)), one == Derived(1, (1,), {"z": 1}), one == Base(1),
    hash(Base(1)) == hash(Base(1)), [f.name for f in fields(Derived)], repr(Plain(1)),
    Plain.__hash__ is None, is_dataclass(one), is_dataclass(3), hasattr(one, "__dict__"),
    Derived(2).c, Base.kind, Plain.y, Derived.__match_args__, refused.partition(" ")[2],
]))
"""
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    # "from __future__" has to be the first statement of a program.
    there = lean(f"exec(compile({program!r}, 'p', 'exec', dont_inherit=True), vars())")
    assert there == json.loads(said.stdout)
