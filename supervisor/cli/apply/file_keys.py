"""Keys of a service about files: volumes, tmpfs, read_only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from supervisor.cli import values
from supervisor.cli.apply.draft import Draft, Key, each, host
from supervisor.cli.apply.nodes import Keys, Node, Wrong
from supervisor.cli.apply.reader import Reader
from supervisor.spec.units import parse_size

Json = dict[str, Any]

_KINDS = ("bind", "volume", "tmpfs")
_FORM = "[SOURCE:]TARGET[:ro] is expected"


def _volumes(draft: Draft, node: Node) -> None:
    for item in draft.reader.items(node):
        with draft.reader.noting():
            if isinstance(item, Keys):
                draft.host.setdefault("Mounts", []).append(_long(draft, item))
            else:
                _short(draft, item)


def _short(draft: Draft, node: Node) -> None:
    parts = draft.reader.text(node).split(":")
    if len(parts) > 3 or not all(parts):
        raise Wrong(node.place, f"'{':'.join(parts)}': {_FORM}")
    if len(parts) == 1:
        draft.body.setdefault("Volumes", {})[parts[0]] = {}
        return
    source, *rest = parts
    if source.startswith((".", "/", "~")):
        source = draft.reader.path(source, node)
    else:
        source = _volume(draft, source, node)
    draft.host.setdefault("Binds", []).append(":".join([source, *rest]))


def _volume(draft: Draft, name: str, node: Node) -> str:
    """The real name of a volume of the file."""
    if name not in draft.scope.volumes:
        raise Wrong(
            node.place,
            f"there is no volume '{name}' in volumes: of the file: add it, or write ./{name} for a"
            " folder beside the file",
        )
    draft.volumes.add(name)
    return draft.scope.volumes[name]


def _long(draft: Draft, node: Keys) -> Json:
    reader = draft.reader
    made: Json = {}
    reads = {
        "type": lambda value: made.update(Type=reader.word(value, *_KINDS)),
        "source": lambda value: made.update(Source=reader.text(value)),
        "target": lambda value: made.update(Target=reader.text(value)),
        "read_only": lambda value: made.update(ReadOnly=reader.truth(value)),
        "consistency": reader.text,
        "bind": lambda value: made.update(BindOptions=_bind(reader, value)),
        "volume": lambda value: made.update(VolumeOptions=_volume_options(reader, value)),
        "tmpfs": lambda value: made.update(TmpfsOptions=_tmpfs_options(reader, value)),
    }
    reader.fields(node, reads, "volumes")
    kind = made.get("Type")
    for word in ("type", "target"):
        if word not in node.entries:
            raise Wrong(node.place, f"{word} is missing: type (bind, volume, tmpfs) and target")
    if kind is None:
        return made  # what is wrong with it is noted
    for other, group in (
        ("bind", "BindOptions"),
        ("volume", "VolumeOptions"),
        ("tmpfs", "TmpfsOptions"),
    ):
        if other != kind and group in made:
            raise Wrong(node.places[other], f"{other} goes with type: {other}, not with {kind}")
    _complete(draft, made, node)
    return made


def _complete(draft: Draft, made: Json, node: Keys) -> None:
    at = node.entries.get("source", node)
    if made["Type"] == "tmpfs" and "Source" in made:
        raise Wrong(at.place, "type: tmpfs takes no source")
    if made["Type"] == "bind":
        if "Source" not in made:
            raise Wrong(node.place, "source is missing: type: bind needs a path of this host")
        made["Source"] = draft.reader.path(made["Source"], at)
        made["BindOptions"] = {"CreateMountpoint": True, **made.get("BindOptions", {})}
    elif "Source" in made:
        made["Source"] = _volume(draft, made["Source"], at)


def _bind(reader: Reader, node: Node) -> Json:
    made: Json = {}
    reads = {
        "create_host_path": lambda value: made.update(CreateMountpoint=reader.truth(value)),
        "propagation": lambda value: made.update(
            Propagation=reader.word(
                value, "private", "rprivate", "shared", "rshared", "slave", "rslave"
            )
        ),
    }
    reader.fields(reader.map(node), reads, "bind", {"selinux": "there are no SELinux labels"})
    return made


def _volume_options(reader: Reader, node: Node) -> Json:
    made: Json = {}
    reads = {
        "nocopy": lambda value: made.update(NoCopy=reader.truth(value)),
        "subpath": lambda value: made.update(Subpath=reader.text(value)),
    }
    reader.fields(reader.map(node), reads, "volume")
    return made


def _tmpfs_options(reader: Reader, node: Node) -> Json:
    made: Json = {}
    reads = {
        "mode": lambda value: made.update(Mode=reader.value(value, _octal)),
        "size": lambda value: made.update(SizeBytes=reader.value(value, parse_size)),
    }
    reader.fields(reader.map(node), reads, "tmpfs")
    return made


def _octal(text: str) -> int:
    try:
        return int(text, 8)
    except ValueError:
        raise ValueError("an octal number is expected, as 0755") from None


def _tmpfs(draft: Draft, node: Node) -> None:
    draft.host["Tmpfs"] = dict(each(values.tmpfs)(draft.reader, node))


KEYS: Mapping[str, Key] = {
    "read_only": host("ReadonlyRootfs", Reader.truth),
    "tmpfs": _tmpfs,
    "volumes": _volumes,
}
