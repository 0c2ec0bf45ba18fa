"""Images made from this host's own programs: busybox, or named binaries with their libraries.

Blocking. The result is an ordinary OCI image with one layer: config, manifest and layer
tar as blobs, and the layer unpacked.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from supervisor.errors import InvalidArgument, NotFound
from supervisor.oci import config, manifest
from supervisor.oci.config import ConfigFile, ImageConfig
from supervisor.oci.digest import Digest
from supervisor.oci.platform import architecture
from supervisor.store import elf
from supervisor.store.layout import DataRoot
from supervisor.store.tree import Tree

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MAX_BINARIES = 256
_LIST_SECONDS = 10.0

_FOLDERS = {
    "dev": 0o755,
    "etc": 0o755,
    "home": 0o755,
    "proc": 0o755,
    "root": 0o700,
    "run": 0o755,
    "sys": 0o755,
    "tmp": 0o1777,
    "usr": 0o755,
    "var": 0o755,
    "var/tmp": 0o1777,
}
_PASSWD = b"""\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
sys:x:3:3:sys:/dev:/bin/false
sync:x:4:100:sync:/bin:/bin/sync
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
operator:x:37:37:Operator:/var:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
_GROUP = b"""\
root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
mail:x:8:
wheel:x:10:root
shadow:x:42:
utmp:x:43:
audio:x:29:
www-data:x:33:
operator:x:37:
video:x:44:
staff:x:50:
users:x:100:
nogroup:x:65534:
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A scratch image in the data root's tmp folder, durable there, not yet in the store."""

    folder: Path
    layer_tar: Path
    diff_id: Digest
    size: int
    config_json: bytes
    manifest_json: bytes


def build(root: DataRoot, binaries: Sequence[str]) -> Built:
    """Make the image; [] is busybox. Raises InvalidArgument, NotFound, OSError.

    Nothing stays in `tmp` if it raises.
    """
    tree = _tree_of_binaries(binaries) if binaries else _tree_of_busybox()
    name = secrets.token_hex(16)
    folder, layer_tar = root.tmp / name, root.tmp / f"{name}.tar"
    try:
        size = tree.make(folder)
        with layer_tar.open("xb") as output:
            diff_id, tar_size = tree.pack(folder, output)
            output.flush()
            os.fsync(output.fileno())
    except BaseException:
        # Fixed depth and made by us alone, a moment ago.
        shutil.rmtree(folder, ignore_errors=True)
        layer_tar.unlink(missing_ok=True)
        raise
    config_json = _config(tree, diff_id, binaries)
    return Built(
        folder=folder,
        layer_tar=layer_tar,
        diff_id=diff_id,
        size=size,
        config_json=config_json,
        manifest_json=manifest.encode(manifest.of_layer(config_json, diff_id, tar_size)),
    )


def _config(tree: Tree, diff_id: Digest, binaries: Sequence[str]) -> bytes:
    # As old as its newest part: the same programs give the same image, and it has an age.
    newest = max(Path(entry.source).stat().st_mtime for entry in tree if entry.source)
    return config.encode(
        ConfigFile(
            architecture=architecture(os.uname().machine),
            os="linux",
            created=config.format_time(int(newest)),
            diff_ids=(diff_id,),
            config=ImageConfig(env=(f"PATH={PATH}",), cmd=(binaries[0] if binaries else "sh",)),
        ),
        created_by=" ".join(["orlop image scratch", *(binaries or ["busybox"])]),
    )


def _skeleton() -> Tree:
    tree = Tree()
    for path, mode in _FOLDERS.items():
        tree.folder(path, mode)
    tree.file("etc/passwd", _PASSWD)
    tree.file("etc/group", _GROUP)
    return tree


def _tree_of_binaries(binaries: Sequence[str]) -> Tree:
    if len(binaries) > MAX_BINARIES:
        raise InvalidArgument(f"too many binaries: {len(binaries)}, at most {MAX_BINARIES}")
    tree = _skeleton()
    programs = []
    for path in binaries:
        if not path.startswith("/") or "\0" in path:
            raise InvalidArgument(f"not an absolute path of a program: {path!r:.200}")
        programs.append(elf.read(path))
        tree.mirror(path)
    _add_libraries(tree, programs)
    return tree


def _add_libraries(tree: Tree, programs: Iterable[elf.Program]) -> None:
    links: dict[str, str] = {}
    for program in programs:
        if not program.interpreter:
            continue
        home = Path(tree.mirror(program.interpreter)).parent
        for name, path in elf.closure(program).items():
            real = tree.mirror(path)
            if Path(path).parent.resolve() != home:
                links.setdefault(str(home / name)[1:], real)
    # There is no ld.so.cache in the image: what the host's loader finds only by that, the
    # image's finds in the folder it lives in, which it always searches. Last, since a
    # library that is there by itself has the better right to its name.
    for name, real in links.items():
        if name not in tree:
            tree.link(name, real)


def _tree_of_busybox() -> Tree:
    busybox = find_busybox()
    tree = _skeleton()
    program = elf.read(busybox)
    tree.copy("bin/busybox", os.path.realpath(busybox), 0o755)
    _add_libraries(tree, [program])
    for applet in applets(busybox):
        if applet not in tree:
            tree.link(applet, "/bin/busybox")
    return tree


def find_busybox() -> str:
    """The host's busybox; NotFound says which package has it."""
    found = shutil.which("busybox", path=f"{os.environ.get('PATH', '')}:{PATH}")
    if found is None:
        raise NotFound(
            "there is no busybox on this host to make an image of: apt-get install "
            "busybox-static (or name binaries of this host)"
        )
    return found


def applets(busybox: str) -> list[str]:
    """The paths, without a leading slash, under which busybox expects to be called."""
    for option in ("--list-full", "--list"):
        # Started by vfork (subprocess does, without preexec_fn), so that the supervisor's
        # memory is not copied; no input, no environment.
        result = subprocess.run(  # noqa: S603 # the host's own program, by absolute path
            [busybox, option],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LIST_SECONDS,
            env={},
            check=False,
        )
        names = result.stdout.decode("ascii", "replace").split()
        if result.returncode == 0 and names:
            # A bare name is of a busybox that does not know paths; linuxrc belongs in /.
            return [n if "/" in n or n == "linuxrc" else f"bin/{n}" for n in names]
    raise InvalidArgument(f"{busybox} does not list its applets")
